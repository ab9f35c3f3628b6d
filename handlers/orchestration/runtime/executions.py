"""What an agent reports of its work: each run with its steps, what they took and what came of them."""

import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, post
from litestar.params import JSONBody
from sqlalchemy import ColumnElement

from comms.agents import reporting, runs
from comms.credentials import Identity
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import agent_acts
from handlers.listing import Page
from handlers.orchestration.runtime.own import agent_of, own
from handlers.resource import listed
from models.agents import AgentExecution, AgentExecutionView, AgentLog, AgentLogView

Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Cost = Annotated[
    Decimal,
    msgspec.Meta(
        description="In dollars, as a decimal string.", examples=["0.0021"], extra={"law": reporting.affordable}
    ),
]
Summary = Annotated[str, msgspec.Meta(max_length=10_000)]


class OwnExecution(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What the agent works on."""

    input: dict[str, Any] = {}


class OwnStep(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One step, such as a call of a model, in short."""

    input_summary: (
        Annotated[Summary, msgspec.Meta(description="What it was given.", examples=["A question"])] | None
    ) = None
    output_summary: Annotated[Summary, msgspec.Meta(description="What came of it.", examples=["An answer"])] | None = (
        None
    )
    duration: (
        Annotated[
            int, msgspec.Meta(ge=0, le=2**31 - 1, description="How long it took, in milliseconds.", examples=[820])
        ]
        | None
    ) = None
    success: bool = True
    provider: Annotated[str, msgspec.Meta(max_length=100, description="Whose model.", examples=["openai"])] | None = (
        None
    )
    model: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    error: Summary | None = None
    tokens_used: Tokens | None = None
    cost: Cost | None = None
    metadata: dict[str, Any] = {}


class OwnLog(OwnStep, kw_only=True):
    """A step, of an execution or of none."""

    execution_id: uuid.UUID | None = None


class OwnResult(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """How a run ended; without ``tokensUsed`` and ``cost`` they are the sums of its steps."""

    status: Annotated[
        Literal["completed", "failed"], msgspec.Meta(description="How it ended.", examples=["completed"])
    ] = "completed"
    output: dict[str, Any] | None = None
    error: (
        Annotated[
            dict[str, Any],
            msgspec.Meta(description="What went wrong, of one that failed.", examples=[{"reason": "late"}]),
        ]
        | None
    ) = None
    tokens_used: Tokens | None = None
    cost: Cost | None = None


def whose(identity: Identity) -> ColumnElement[bool]:
    """The agent's own runs."""
    return AgentExecution.agent_id == agent_of(identity)


def logged(identity: Identity) -> ColumnElement[bool]:
    """The agent's own steps."""
    return AgentLog.agent_id == agent_of(identity)


executions = own("/agent/executions", AgentExecution, AgentExecutionView, whose, filters=("status", "triggered_by"))
logs = own("/agent/logs", AgentLog, AgentLogView, logged, filters=("execution_id", "success", "provider", "model"))


@listed(executions, "/", operation_id="list_own_agent_executions")
async def of_agent(request: Request, db: Db, identity: Asker, asked: Any) -> Page[AgentExecutionView]:
    """This agent's runs; `status=pending` are those that somebody has asked for and it has not begun."""
    return await executions.listing.page(db, request, asked, *executions.visible(identity))


@post("/", operation_id="begin_own_agent_execution", guards=[agent_acts])
async def begin(db: Db, identity: Asker, data: JSONBody[OwnExecution]) -> AgentExecutionView:
    """The agent works on something of its own accord: a run is running."""
    row = await runs.request(db, identity.workspace_id, agent_of(identity), data.input)
    await runs.begin(db, identity.workspace_id, row.id)
    view: AgentExecutionView = executions.shown(await executions.find(db, identity, row.id))
    return view


@post("/{row_id:uuid}/beginning", operation_id="begin_asked_agent_execution", guards=[agent_acts])
async def begin_asked(db: Db, identity: Asker, row_id: RowId) -> AgentExecutionView:
    """The agent works on what it was asked for; of two who begin at once, one does."""
    await executions.find(db, identity, row_id)
    await runs.begin(db, identity.workspace_id, row_id)
    view: AgentExecutionView = executions.shown(await executions.find(db, identity, row_id))
    return view


@post("/{row_id:uuid}/steps", operation_id="report_own_agent_step", guards=[agent_acts])
async def step(db: Db, identity: Asker, row_id: RowId, data: JSONBody[OwnStep]) -> AgentLogView:
    """One step of a run is done: what it took and whether it worked."""
    await executions.find(db, identity, row_id)
    row = await reporting.note(db, identity.workspace_id, agent_of(identity), row_id, _given(data))
    view: AgentLogView = await logs.tell(db, identity, "created", row)
    return view


@post(
    "/{row_id:uuid}/result",
    operation_id="end_own_agent_execution",
    guards=[agent_acts],
    example={"status": "completed", "output": {"answer": "Yes, it is."}, "tokensUsed": 1840, "cost": "0.0021"},
)
async def end(db: Db, identity: Asker, row_id: RowId, data: JSONBody[OwnResult]) -> AgentExecutionView:
    """The run is over; said once."""
    await executions.find(db, identity, row_id)
    await reporting.end(db, identity.workspace_id, row_id, _given(data))
    view: AgentExecutionView = executions.shown(await executions.find(db, identity, row_id))
    return view


@listed(logs, "/", operation_id="list_own_agent_logs")
async def steps(request: Request, db: Db, identity: Asker, asked: Any) -> Page[AgentLogView]:
    """This agent's steps."""
    return await logs.listing.page(db, request, asked, *logs.visible(identity))


@post("/", operation_id="report_own_agent_log", guards=[agent_acts])
async def note(db: Db, identity: Asker, data: JSONBody[OwnLog]) -> AgentLogView:
    """One step, of a run or of none."""
    if data.execution_id is not None:
        await executions.find(db, identity, data.execution_id)
    values = _given(data)
    execution_id = values.pop("execution_id")
    row = await reporting.note(db, identity.workspace_id, agent_of(identity), execution_id, values)
    view: AgentLogView = await logs.tell(db, identity, "created", row)
    return view


def _given(data: msgspec.Struct) -> dict[str, Any]:
    values = msgspec.structs.asdict(data)
    if "metadata" in values:
        values["meta"] = values.pop("metadata")
    return values


routes = [
    Router("/executions", route_handlers=[of_agent, begin, begin_asked, step, end]),
    Router("/logs", route_handlers=[steps, note]),
]
