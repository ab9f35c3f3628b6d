"""Conversations with the outside, channels within, and what providers told us."""

from litestar import Router

from handlers.communications import conversations, messages, notes, numbers, outgoing, participants, team, webhooks

routes = Router(
    "/",
    tags=["communications"],
    route_handlers=[
        *conversations.routes,
        *participants.routes,
        *messages.routes,
        *outgoing.routes,
        *notes.routes,
        *numbers.routes,
        *team.routes,
        *webhooks.routes,
    ],
)
