"""Channels, campaigns and their recipients; segments; rules for leads and for what follows from what."""

from litestar import Router

from handlers.marketing import campaigns, channels, rules, segments

routes = Router(
    "/",
    tags=["marketing"],
    route_handlers=[*channels.routes, *campaigns.routes, *segments.routes, *rules.routes],
)
