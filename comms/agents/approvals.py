"""What agents ask before they act: decided once, by somebody else than whose agent it is, before it expires."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, permissions
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid
from models.agents import Agent
from models.base import new_id, now
from models.core import WorkspaceMember
from models.orchestration import (
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
)

SWEPT_AT_ONCE = 500


def ask(workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentPendingAction:
    """The action waits for a person; ``Invalid`` when it would expire before anybody could see it."""
    at = now()
    if values.get("expires_at") is not None and values["expires_at"] <= at:
        raise Invalid({"expiresAt": "must lie in the future"})
    return AgentPendingAction(workspace_id=workspace_id, id=new_id(), requested_at=at, **values)


async def approve(
    db: AsyncSession, row: AgentPendingAction, approver: Identity, details: Mapping[str, Any] | None = None
) -> None:
    """The agent may do it, as it asked or with the ``details`` as edited. The caller holds the row."""
    await _expect_second_pair_of_eyes(db, row, approver)
    _decide(row, "approved", approver)
    row.edited_details = None if details is None or details == row.details else dict(details)


def reject(row: AgentPendingAction, reviewer: Identity, reason: str | None) -> None:
    """The agent must not do it. Whoever answers for an agent may stop it themselves."""
    _decide(row, "rejected", reviewer)
    row.reason = reason


def _decide(row: AgentPendingAction, status: str, reviewer: Identity) -> None:
    at = now()
    if row.status != "pending":
        raise Conflict(f"this action is {row.status} already: only a pending one can be decided")
    if row.expires_at is not None and row.expires_at <= at:
        raise Conflict(f"this action expired at {row.expires_at.isoformat()}: the agent has to ask again")
    row.status, row.reviewed_by, row.reviewed_at = status, reviewer.user_id, at


async def _expect_second_pair_of_eyes(db: AsyncSession, row: AgentPendingAction, approver: Identity) -> None:
    """``Forbidden`` to whoever made the agent that asks, unless there is nobody else who could approve."""
    owner = await db.scalar(
        select(Agent.created_by).where(Agent.workspace_id == row.workspace_id, Agent.id == row.agent_id)
    )
    if owner != approver.user_id:
        return
    # Members differ in thousands of ways, their rights in this area in a dozen.
    others = await db.execute(
        select(WorkspaceMember.role, WorkspaceMember.permissions["agents"])
        .where(
            WorkspaceMember.workspace_id == row.workspace_id,
            WorkspaceMember.user_id != approver.user_id,
            WorkspaceMember.is_active,
        )
        .distinct()
    )
    for role, level in others:
        if permissions.allows(role, {} if level is None else {"agents": level}, "agents", "write"):
            raise Forbidden("This agent is yours: another member who may write agents has to approve what it does.")


async def expire_overdue(db: AsyncSession) -> int:
    """Some of what nobody decided in time is expired, in whichever workspace, and told; returns how many."""
    overdue = (
        select(AgentPendingAction.workspace_id, AgentPendingAction.id)
        .where(AgentPendingAction.status == "pending", AgentPendingAction.expires_at <= now())
        .order_by(AgentPendingAction.expires_at)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("overdue")
    )
    rows = (
        await db.scalars(
            update(AgentPendingAction)
            .where(
                AgentPendingAction.workspace_id == overdue.c.workspace_id,
                AgentPendingAction.id == overdue.c.id,
                AgentPendingAction.status == "pending",
            )
            .values(status="expired")
            .returning(AgentPendingAction)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
    ).all()
    for row in rows:
        view = msgspec.convert(row, AgentPendingActionView, from_attributes=True)
        events.record(db, "agent_pending_action.expired", row, view)
    return len(rows)


async def note(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentActionAuditLog:
    """What an agent did is in the audit log, where nobody can change it."""
    row = AgentActionAuditLog(workspace_id=workspace_id, id=new_id(), **values)
    db.add(row)
    await db.flush()
    await db.refresh(row)
    view = msgspec.convert(row, AgentActionAuditLogView, from_attributes=True)
    events.record(db, "agent_action_audit_log.created", row, view)
    return row
