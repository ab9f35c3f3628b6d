"""Agents, the catalogue they come from, when they run, and what they did."""

from litestar import Router

from handlers.agents import agents, catalogue, runs, schedules

routes = Router(
    "/", tags=["agents"], route_handlers=[*agents.routes, *catalogue.routes, *runs.routes, *schedules.routes]
)
