"""Conversations and the members who take part in them."""

from handlers import shapes
from handlers.resource import crud
from models.communications import (
    Conversation,
    ConversationParticipant,
    ConversationParticipantView,
    ConversationView,
)

conversations = crud(
    "/conversations",
    Conversation,
    ConversationView,
    search=("subject",),
    filters=("status", "channel", "contact_id", "assigned_to", "phone_number_id", "tags"),
)
participants = crud(
    "/conversation-participants",
    ConversationParticipant,
    ConversationParticipantView,
    filters=("conversation_id", "user_id", "role"),
)
participants.edit = shapes.change_shape(
    ConversationParticipant,
    ConversationParticipantView,
    only=("role", "last_read_at", "notifications_enabled"),
)

routes = [conversations.router(), participants.router()]
