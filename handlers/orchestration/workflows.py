"""Workflows of agents and their runs."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Router, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import workflow_runs as runs
from comms.agents import workflows as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import reads, writes
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.orchestration import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
    WorkflowStatus,
)


class AgentWorkflowStatusChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The status a workflow is to have."""

    status: WorkflowStatus


class NewAgentWorkflowExecution(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What a run is about: what set it off, and what its steps share."""

    trigger_data: dict[str, Any] = {}
    context: dict[str, Any] = {}


async def create_workflow(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentWorkflow:
    """A draft whose steps and trigger are sound."""
    return await stories.create(db, identity.workspace_id, values)


async def change_workflow(db: AsyncSession, identity: Identity, row: AgentWorkflow, values: dict[str, Any]) -> None:
    """Changed, and its steps and trigger still sound."""
    await stories.change(db, row, values)


workflows = crud(
    "/agent-workflows",
    AgentWorkflow,
    AgentWorkflowView,
    search=("name", "description"),
    filters=("status", "team_id", "trigger_type", "category"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_workflow,
    change=change_workflow,
)
executions = crud(
    "/agent-workflow-executions",
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    filters=("workflow_id", "status", "trigger_type", "triggered_by"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)


@put("/{row_id:uuid}/status", operation_id="set_agent_workflow_status", guards=[writes("agents")])
async def set_status(
    db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentWorkflowStatusChange]
) -> AgentWorkflowView:
    """Activate, pause or archive a workflow, or take it out of the archive as a draft."""
    row = await workflows.find(db, identity, row_id, to_change=True)
    before = workflows.shown(row)
    stories.set_status(row, data.status)
    view: AgentWorkflowView = await workflows.settle(db, identity, row, before)
    return view


@listed(executions, "/{workflow_id:uuid}/executions", operation_id="list_executions_of_agent_workflow")
async def of_workflow(
    request: Request, db: Db, identity: Asker, workflow_id: RowId, asked: Any
) -> Page[AgentWorkflowExecutionView]:
    """The runs of one workflow."""
    await workflows.find(db, identity, workflow_id)
    return await executions.listing.page(db, request, asked, AgentWorkflowExecution.workflow_id == workflow_id)


@post("/{workflow_id:uuid}/executions", operation_id="begin_agent_workflow_execution", guards=[writes("agents")])
async def execute(
    db: Db, identity: Asker, workflow_id: RowId, data: JSONBody[NewAgentWorkflowExecution]
) -> AgentWorkflowExecutionView:
    """Begin an active workflow: it runs by the steps it has now, whatever becomes of them."""
    row = await runs.begin(
        db,
        identity.workspace_id,
        workflow_id,
        trigger_data=data.trigger_data,
        context=data.context,
        triggered_by=identity.user_id,
    )
    view: AgentWorkflowExecutionView = await executions.tell(db, identity, "created", row)
    return view


@post("/{row_id:uuid}/pause", operation_id="pause_agent_workflow_execution", guards=[writes("agents")])
async def pause(db: Db, identity: Asker, row_id: RowId) -> AgentWorkflowExecutionView:
    """No further step of this run begins until it is resumed."""
    return await _moved(db, identity, row_id, runs.pause, "paused")


@post(
    "/{row_id:uuid}/resumption",
    operation_id="resume_agent_workflow_execution",
    guards=[writes("agents")],
)
async def resume(db: Db, identity: Asker, row_id: RowId) -> AgentWorkflowExecutionView:
    """A paused run goes on where it was."""
    return await _moved(db, identity, row_id, runs.resume, "resumed")


@post(
    "/{row_id:uuid}/cancellation",
    operation_id="cancel_agent_workflow_execution",
    guards=[writes("agents")],
)
async def cancel(db: Db, identity: Asker, row_id: RowId) -> AgentWorkflowExecutionView:
    """The run is over before its time."""
    return await _moved(db, identity, row_id, runs.cancel, "cancelled")


async def _moved(
    db: AsyncSession, identity: Identity, row_id: Any, move: Callable[[AgentWorkflowExecution], bool], what: str
) -> AgentWorkflowExecutionView:
    row = await executions.find(db, identity, row_id, to_change=True)
    view: AgentWorkflowExecutionView = await executions.tell_if(move(row), db, identity, what, row)
    return view


routes = [
    workflows.router(set_status),
    Router("/agent-workflows", route_handlers=[of_workflow, execute]),
    executions.router(pause, resume, cancel),
]
