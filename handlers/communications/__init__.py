"""Conversations with the outside, channels within, and what providers told us."""

from litestar import Router

from handlers.communications import (
    calls,
    chat,
    consent,
    conversations,
    deliveries,
    handoffs,
    mail,
    messages,
    notes,
    notifications,
    numbers,
    origins,
    outgoing,
    participants,
    sweeps,
    team,
    team_messages,
    teams,
    uploads,
    visitor_socket,
    visitors,
    webhooks,
)

__all__ = ["origins", "routes", "visitor_socket", "visitors"]

routes = Router(
    "/",
    tags=["communications"],
    route_handlers=[
        *conversations.routes,
        *participants.routes,
        *messages.routes,
        *outgoing.routes,
        *handoffs.routes,
        *notes.routes,
        *notifications.routes,
        *numbers.routes,
        *deliveries.routes,
        *calls.routes,
        *chat.routes,
        *mail.routes,
        *team.routes,
        *team_messages.routes,
        *teams.routes,
        *uploads.routes,
        *webhooks.routes,
        *consent.routes,
        *sweeps.routes,
    ],
)
