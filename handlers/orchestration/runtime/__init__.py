"""The agent API: all that a runtime needs to be one agent, by that agent's own token, and nothing else."""

from litestar import Router

from handlers.orchestration.runtime import actions, conversations, executions, memory, messages, workflows

routes = [
    Router(
        "/agent",
        tags=["agent API"],
        route_handlers=[
            *conversations.routes,
            *actions.routes,
            *executions.routes,
            *memory.routes,
            *messages.routes,
            *workflows.routes,
        ],
    )
]
