"""Conversations that are handed on."""

from handlers.resource import READ, crud
from models.communications import ConversationHandoff, ConversationHandoffView

handoffs = crud(
    "/conversation-handoffs",
    ConversationHandoff,
    ConversationHandoffView,
    filters=("status", "conversation_id", "target_user_id", "target_agent_id", "target_team_id"),
    verbs=READ,
)

routes = [handoffs.router()]
