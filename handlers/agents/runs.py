"""What agents did: executions and logs."""

from litestar import post

from comms.agents import runs
from handlers.given import Asker, Db, RowId
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


@post("/{row_id:uuid}/cancellation", operation_id="cancel_agent_execution", guards=[writes("agents")])
async def cancel(db: Db, identity: Asker, row_id: RowId) -> AgentExecutionView:
    """Nobody waits for this execution any more. One that is over is over."""
    row = await executions.find(db, identity, row_id, to_change=True)
    view: AgentExecutionView = await executions.tell_if(runs.cancel(row), db, identity, "cancelled", row)
    return view


routes = [executions.router(cancel), logs.router()]
