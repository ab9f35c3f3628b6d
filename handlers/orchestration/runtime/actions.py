"""What an agent asks leave for, and what it reports of what it was let do."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import JSONBody
from sqlalchemy import ColumnElement

from comms.agents import approvals as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import agent_acts, agent_reads
from handlers.listing import Page
from handlers.orchestration.records import RECORDS
from handlers.orchestration.runtime.own import agent_of, own
from handlers.resource import listed
from models.orchestration import AgentPendingAction, AgentPendingActionView, RiskLevel

Fence = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=2**63 - 1,
        description="The conversation's fence as the agent knows it: else the current one; what passes alone says it.",
    ),
]


class OwnAction(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Something the agent would do. What ``details`` an action type takes is in docs/agents.md."""

    action_type: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=200, description="What it is, such as `send_message`.", examples=["email.send"]
        ),
    ]
    risk_level: RiskLevel = "medium"
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    description: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None
    details: dict[str, Any] = {}
    expires_at: datetime | None = None
    fence: Fence | None = None


class ActionResult(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What came of an action that the runtime was let do."""

    succeeded: Annotated[bool, msgspec.Meta(description="Whether it went well.", examples=[True])]
    result: (
        Annotated[dict[str, Any], msgspec.Meta(description="What came of it: any JSON object.", examples=[{"sent": 1}])]
        | None
    ) = None
    error: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None


def whose(identity: Identity) -> ColumnElement[bool]:
    """The agent's own."""
    return AgentPendingAction.agent_id == agent_of(identity)


actions = own(
    "/agent/actions",
    AgentPendingAction,
    AgentPendingActionView,
    whose,
    filters=("status", "action_type", "conversation_id", "performed_by"),
)


@listed(actions, "/", operation_id="list_own_agent_actions")
async def of_agent(request: Request, db: Db, identity: Asker, asked: Any) -> Page[AgentPendingActionView]:
    """What this agent has asked for, and what became of it."""
    return await actions.listing.page(db, request, asked, *actions.visible(identity))


@get("/{row_id:uuid}", operation_id="get_own_agent_action", guards=[agent_reads])
async def one(db: Db, identity: Asker, row_id: RowId) -> AgentPendingActionView:
    """One action this agent has asked for."""
    view: AgentPendingActionView = actions.shown(await actions.find(db, identity, row_id))
    return view


@post(
    "/",
    operation_id="propose_own_agent_action",
    guards=[agent_acts],
    problems={
        409: "The conversation is somebody else's under that fence, or it passes alone and says none: see `owner`.",
        422: "It passes alone, and cannot be sent: `errors` says why.",
    },
)
async def ask(db: Db, identity: Asker, data: JSONBody[OwnAction]) -> AgentPendingActionView:
    """Ask to do something. It waits for a person, unless its risk is low and the workspace's policy lets it pass.

    What comms knows how to do is done by comms as it is approved, once; `agent_pending_action.approved` on the
    websocket tells. Anything else is approved and handed back: do it, and report it to `…/result`.
    """
    values = msgspec.structs.asdict(data) | {"agent_id": agent_of(identity)}
    fence = values.pop("fence")
    row = await stories.ask(db, identity, values, RECORDS, fence)
    view: AgentPendingActionView = await actions.tell(db, identity, "created", row)
    return view


@post("/{row_id:uuid}/result", operation_id="report_own_agent_action", guards=[agent_acts])
async def report(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ActionResult]) -> AgentPendingActionView:
    """What came of an approved action that comms does not know how to do. Said once: another time is 409."""
    row = await actions.find(db, identity, row_id, to_change=True)
    await stories.report(db, row, identity, succeeded=data.succeeded, result=data.result, error=data.error)
    view: AgentPendingActionView = await actions.tell(db, identity, "performed", row)
    return view


routes = [Router("/actions", route_handlers=[of_agent, one, ask, report])]
