"""Conversations with the outside, channels within, and what providers told us."""

from litestar import Router

from handlers.communications import conversations, messages, numbers, team, webhooks

routes = Router(
    "/",
    tags=["communications"],
    route_handlers=[*conversations.routes, *messages.routes, *numbers.routes, *team.routes, *webhooks.routes],
)
