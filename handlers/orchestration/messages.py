"""What agents tell each other."""

from handlers.guards import reads, writes
from handlers.resource import crud
from models.orchestration import AgentMessage, AgentMessageView

messages = crud(
    "/agent-messages",
    AgentMessage,
    AgentMessageView,
    filters=("thread_id", "from_agent_id", "to_agent_id", "team_id", "message_type", "status", "parent_message_id"),
    verbs=("list", "get", "create"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [messages.router()]
