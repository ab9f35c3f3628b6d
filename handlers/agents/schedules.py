"""When agents run by themselves."""

from handlers.guards import reads, writes
from handlers.resource import crud
from models.agents import AgentSchedule, AgentScheduleView

schedules = crud(
    "/agent-schedules",
    AgentSchedule,
    AgentScheduleView,
    filters=("agent_id", "trigger_type", "enabled", "last_run_status"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [schedules.router()]
