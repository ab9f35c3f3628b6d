"""Conversations with the outside, channels within, and what providers told us."""

from litestar import Router

from handlers.communications import (
    calls,
    consent,
    conversations,
    mail,
    messages,
    notes,
    numbers,
    participants,
    sweeps,
    team,
    webhooks,
)

routes = Router(
    "/",
    tags=["communications"],
    route_handlers=[
        *conversations.routes,
        *participants.routes,
        *messages.routes,
        *notes.routes,
        *numbers.routes,
        *calls.routes,
        *mail.routes,
        *team.routes,
        *webhooks.routes,
        *consent.routes,
        *sweeps.routes,
    ],
)
