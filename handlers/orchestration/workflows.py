"""Workflows of agents and their runs."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from comms import audience, permissions
from comms.agents import workflow_runs as runs
from comms.agents import workflows as stories
from comms.credentials import Identity
from comms.errors import Forbidden
from comms.workflows import explaining, requesting, settling
from comms.workflows import hosts as hosts_
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import administrator, reads, writes
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.orchestration import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowHost,
    AgentWorkflowHostView,
    AgentWorkflowStepRun,
    AgentWorkflowStepRunView,
    AgentWorkflowView,
    WorkflowStatus,
)


class AgentWorkflowStatusChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The status a workflow is to have."""

    status: Annotated[WorkflowStatus, msgspec.Meta(examples=["active"])]


class NewSecretHeader(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What a header says that proves to a host who calls."""

    value: Annotated[
        str,
        msgspec.Meta(
            min_length=8,
            max_length=hosts_.LONGEST_HEADER,
            description="What the header says, whole: with `Bearer `, where it has that.",
            examples=["Bearer 7f3d8b1c9f2c"],
        ),
    ]


class NewAgentWorkflowExecution(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What a run is about: what set it off, and what its steps share."""

    trigger_data: dict[str, Any] = {}
    context: dict[str, Any] = {}


class AgentWorkflowRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Which agent asks, and what for."""

    agent_id: Annotated[uuid.UUID, msgspec.Meta(description="The agent who asks.")]
    data: Annotated[
        dict[str, Any],
        msgspec.Meta(description="What steps find as `trigger.data`.", examples=[{"dealId": "42"}]),
    ] = {}
    context: dict[str, Any] = {}


async def create_workflow(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentWorkflow:
    """A draft whose steps and trigger are sound."""
    return await stories.create(db, identity, values, _heard_by(identity))


async def change_workflow(db: AsyncSession, identity: Identity, row: AgentWorkflow, values: dict[str, Any]) -> None:
    """Changed, and its steps and trigger still sound."""
    await stories.change(db, identity, row, values, _heard_by(identity))


async def change_host(db: AsyncSession, identity: Identity, row: AgentWorkflowHost, values: dict[str, Any]) -> None:
    """Changed; one that is sent secrets stays the host it is."""
    hosts_.change(row, values)


def _heard_by(identity: Identity) -> Callable[[str], bool]:
    """Of which nouns they may hear."""

    def may(noun: str) -> bool:
        need = audience.need_of(noun)
        return need is None or permissions.allows(identity.role, identity.permissions, *need)

    return may


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
step_runs = crud(
    "/agent-workflow-step-runs",
    AgentWorkflowStepRun,
    AgentWorkflowStepRunView,
    filters=("execution_id", "step_id", "action", "status"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
hosts = crud(
    "/agent-workflow-hosts",
    AgentWorkflowHost,
    AgentWorkflowHostView,
    search=("host", "description"),
    filters=("host",),
    who_reads=reads("agents"),
    who_writes=administrator,
    change=change_host,
)


@put("/{row_id:uuid}/status", operation_id="set_agent_workflow_status", guards=[writes("agents")])
async def set_status(
    db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentWorkflowStatusChange]
) -> AgentWorkflowView:
    """Activate, pause or archive a workflow, or take it out of the archive as a draft.

    Whoever activates it stands behind it: it does what they may. While it is paused its runs are held, and go on with
    it; those of a workflow that is archived end as failed.
    """
    row = await workflows.find(db, identity, row_id, to_change=True)
    before = workflows.shown(row)
    await stories.set_status(db, identity, row, data.status, _heard_by(identity))
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


@post("/{workflow_id:uuid}/requests", operation_id="request_agent_workflow", guards=[writes("agents")])
async def ask_for(
    db: Db, identity: Asker, workflow_id: RowId, data: JSONBody[AgentWorkflowRequest]
) -> AgentWorkflowExecutionView:
    """An agent asks for this workflow, whose `triggerType` is `agent_request`.

    `409` says which of its conditions do not hold.
    """
    row = await requesting.ask(
        db, identity.workspace_id, workflow_id, data.agent_id, data.data, data.context, identity.user_id
    )
    view: AgentWorkflowExecutionView = await executions.tell(db, identity, "created", row)
    return view


@get(
    "/{workflow_id:uuid}/dry-run",
    operation_id="dry_run_agent_workflow",
    guards=[reads("agents")],
    problems={409: "No event sets this workflow off."},
)
async def dry_run(
    db: Db,
    identity: Asker,
    workflow_id: RowId,
    days: Annotated[int, QueryParameter(ge=1, le=90, description="How many days to look back.")] = 7,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="How many to show, the latest first.")] = 50,
) -> explaining.DryRun:
    """What would have set this workflow off in the last days, and why the rest would not; nothing is done.

    The past is judged by the trigger as it is now.
    """
    row = await workflows.find(db, identity, workflow_id)
    _expect_heard(identity, row)
    return await explaining.dry_run(db, row, days, limit)


@get(
    "/{workflow_id:uuid}/explanation",
    operation_id="explain_agent_workflow",
    guards=[reads("agents")],
    problems={409: "No event sets this workflow off."},
)
async def explain(
    db: Db,
    identity: Asker,
    workflow_id: RowId,
    seq: Annotated[int, QueryParameter(ge=1, le=2**62, description="The event, by its `seq`.")],
) -> explaining.Explanation:
    """Why this event did or did not set this workflow off."""
    row = await workflows.find(db, identity, workflow_id)
    _expect_heard(identity, row)
    return await explaining.explain(db, row, seq)


def _expect_heard(identity: Identity, row: AgentWorkflow) -> None:
    noun = row.trigger_config.get("eventType", "").partition(".")[0]
    if not _heard_by(identity)(noun):
        raise Forbidden(f"What sets this workflow off is told of a {noun}, of which you may not hear.")


@listed(step_runs, "/{execution_id:uuid}/steps", operation_id="list_steps_of_agent_workflow_execution")
async def of_execution(
    request: Request, db: Db, identity: Asker, execution_id: RowId, asked: Any
) -> Page[AgentWorkflowStepRunView]:
    """What each step of this run saw and did."""
    await executions.find(db, identity, execution_id)
    return await step_runs.listing.page(db, request, asked, AgentWorkflowStepRun.execution_id == execution_id)


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
    """The run is over before its time. What it asked of a person is expired; what it did stays done."""
    row = await executions.find(db, identity, row_id, to_change=True)
    is_news = runs.cancel(row)
    if is_news:
        await settling.drop(db, row)
    view: AgentWorkflowExecutionView = await executions.tell_if(is_news, db, identity, "cancelled", row)
    return view


@put("/{row_id:uuid}/secret-headers/{name:str}", operation_id="put_secret_header", guards=[administrator])
async def put_secret(
    db: Db, service: Here, identity: Asker, row_id: RowId, name: FromPath[str], data: JSONBody[NewSecretHeader]
) -> AgentWorkflowHostView:
    """Every call of a workflow to this host carries this header.

    It is kept encrypted and shown as its last four characters: no workflow, run or event holds it, and no other host is
    sent it.
    """
    row = await hosts.find(db, identity, row_id, to_change=True)
    before = hosts.shown(row)
    hosts_.keep_secret(row, service.vault, name, data.value)
    view: AgentWorkflowHostView = await hosts.settle(db, identity, row, before, ["secretHeaders"])
    return view


@delete("/{row_id:uuid}/secret-headers/{name:str}", operation_id="delete_secret_header", guards=[administrator])
async def remove_secret(db: Db, identity: Asker, row_id: RowId, name: FromPath[str]) -> None:
    """No call carries this header any more."""
    row = await hosts.find(db, identity, row_id, to_change=True)
    before = hosts.shown(row)
    hosts_.forget_secret(row, name)
    await hosts.settle(db, identity, row, before)


async def _moved(
    db: AsyncSession, identity: Identity, row_id: Any, move: Callable[[AgentWorkflowExecution], bool], what: str
) -> AgentWorkflowExecutionView:
    row = await executions.find(db, identity, row_id, to_change=True)
    view: AgentWorkflowExecutionView = await executions.tell_if(move(row), db, identity, what, row)
    return view


routes = [
    workflows.router(set_status),
    Router("/agent-workflows", route_handlers=[of_workflow, execute, ask_for, dry_run, explain]),
    executions.router(pause, resume, cancel),
    Router("/agent-workflow-executions", route_handlers=[of_execution]),
    step_runs.router(),
    hosts.router(put_secret, remove_secret),
]
