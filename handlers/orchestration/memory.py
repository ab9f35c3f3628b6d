"""What agents remember together."""

from handlers.guards import reads, writes
from handlers.resource import crud
from models.orchestration import AgentSharedMemory, AgentSharedMemoryView

memory = crud(
    "/agent-shared-memory",
    AgentSharedMemory,
    AgentSharedMemoryView,
    search=("key", "value_text"),
    filters=("team_id", "agent_id", "memory_tier", "category", "key"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [memory.router()]
