"""What agents did: executions and logs."""

from handlers.guards import reads, writes
from handlers.resource import READ, crud
from models.agents import AgentExecution, AgentExecutionView, AgentLog, AgentLogView

executions = crud(
    "/agent-executions",
    AgentExecution,
    AgentExecutionView,
    filters=("agent_id", "status", "triggered_by"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
logs = crud(
    "/agent-logs",
    AgentLog,
    AgentLogView,
    search=("input_summary", "output_summary", "error"),
    filters=("agent_id", "user_id", "success", "provider", "model"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [executions.router(), logs.router()]
