"""What agents ask before they act, and what they did."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import approvals as stories
from comms.credentials import Identity
from handlers.batches import Many
from handlers.given import Asker, Db, RowId
from handlers.guards import reads, writes
from handlers.orchestration.records import RECORDS
from handlers.resource import READ, crud
from models.orchestration import (
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
)


class Approval(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Leave to act: with ``details``, as they are given here instead of as the agent asked."""

    details: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(
            description="All of them, as they are to be done; null as they were asked for.",
            examples=[{"conversationId": "0198c0de-5000-7b44-96c0-086bed0401d7", "content": "We could do 5 % less."}],
        ),
    ] = None


class ActionRejection(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A refusal, and why."""

    reason: Annotated[
        Annotated[str, msgspec.Meta(max_length=10_000)] | None,
        msgspec.Meta(description="Why not.", examples=["We give no discounts."]),
    ] = None


CANNOT = {422: "It cannot be sent: `errors` says why. The action still waits."}


async def ask(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentPendingAction:
    """Waiting for a person."""
    return await stories.ask(db, identity, values, RECORDS)


async def ask_all(db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
    """Each waiting for a person."""
    return await stories.ask_all(db, identity, many, RECORDS)


pending = crud(
    "/agent-pending-actions",
    AgentPendingAction,
    AgentPendingActionView,
    search=("title", "description"),
    filters=(
        "status",
        "risk_level",
        "action_type",
        "agent_id",
        "team_id",
        "reviewed_by",
        "conversation_id",
        "performed_by",
        "succeeded",
    ),
    verbs=("list", "get", "create"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=ask,
)
pending.create_all = ask_all
audit = crud(
    "/agent-action-audit-log",
    AgentActionAuditLog,
    AgentActionAuditLogView,
    filters=("agent_id", "team_id", "action_type", "success", "triggered_by"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)


@post(
    "/{row_id:uuid}/approval", operation_id="approve_agent_pending_action", guards=[writes("agents")], problems=CANNOT
)
async def approve(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Approval]) -> AgentPendingActionView:
    """Let an agent act, as it asked or with edited `details`.

    What comms knows how to do is done in the same commit: it is done exactly once, or it is not approved and the answer
    says why. Anything else is handed back to the agent's runtime. The member who made the agent may not approve, nor
    who posted the action, unless nobody else could. An action is decided once and before it expires.
    """
    row = await pending.find(db, identity, row_id, to_change=True)
    await stories.approve(db, row, identity, RECORDS, data.details)
    view: AgentPendingActionView = await pending.tell(db, identity, "approved", row)
    return view


@post("/{row_id:uuid}/rejection", operation_id="reject_agent_pending_action", guards=[writes("agents")])
async def reject(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ActionRejection]) -> AgentPendingActionView:
    """Forbid an agent what it asked for. An action is decided once and before it expires."""
    row = await pending.find(db, identity, row_id, to_change=True)
    await stories.reject(db, row, identity, data.reason)
    view: AgentPendingActionView = await pending.tell(db, identity, "rejected", row)
    return view


routes = [pending.router(approve, reject), audit.router()]
