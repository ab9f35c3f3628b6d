"""Agents together: teams, messages, workflows, memory, and what they ask before they act."""

from litestar import Router

from handlers.orchestration import actions, memory, messages, policies, runtime, teams, workflows

__all__ = ["routes", "runtime"]

routes = Router(
    "/",
    tags=["orchestration"],
    route_handlers=[
        *teams.routes,
        *messages.routes,
        *workflows.routes,
        *memory.routes,
        *actions.routes,
        *policies.routes,
    ],
)
