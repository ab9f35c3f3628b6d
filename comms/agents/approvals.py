"""What agents ask before they act: decided once, by somebody else than whose agent it is, before it expires.

And done once: what comms knows how to do is done in the transaction that approves it.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, permissions
from comms.agents import acting, kinds, policies
from comms.agents.acting import Records
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid, Refused
from comms.ownership.holding import Holding, Stale
from models.agents import Agent
from models.base import new_id, now
from models.core import WorkspaceMember
from models.orchestration import (
    ActionTrigger,
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
    RiskLevel,
)

SWEPT_AT_ONCE = 500
OWN_WORDS = ("draft_message",)
"""Action types whose approver does it in their own name: nobody else has to look."""


async def ask(
    db: AsyncSession, asker: Identity, values: Mapping[str, Any], records: Records, fence: int | None = None
) -> AgentPendingAction:
    """The action waits for a person; or it is low in risk, a policy lets it pass, and it is done.

    ``fence`` is that of the conversation it is about, as the agent knows it. ``Invalid`` when it could never be done,
    or would expire before anybody could see it.
    """
    [row] = await ask_all(db, asker, [values], records, fence)
    if isinstance(row, Refused):
        raise row
    return row


async def ask_all(
    db: AsyncSession,
    asker: Identity,
    many: Sequence[Mapping[str, Any]],
    records: Records,
    fence: int | None = None,
) -> list[AgentPendingAction | Refused]:
    """The same of many actions; in the place of one what refuses it."""
    at = now()
    asked = [(values["agent_id"], values["action_type"], values.get("details", {})) for values in many]
    possible = await acting.all_possible(db, asker, asked, records)
    decided = await policies.policies_of(db, asker.workspace_id, {values["agent_id"] for values in many})
    by_agent = asker.agent_id is not None
    outcome: list[AgentPendingAction | Refused] = []
    alone: list[AgentPendingAction] = []
    for values, about in zip(many, possible, strict=True):
        if values.get("expires_at") is not None and values["expires_at"] <= at:
            outcome.append(Invalid({"expiresAt": "must lie in the future"}))
        elif isinstance(about, Refused):
            outcome.append(about)
        elif fence is not None and about[0] is None:
            outcome.append(Invalid({"fence": "is for actions in a conversation"}))
        else:
            conversation_id, holding = about
            policy = decided[values["agent_id"]]
            passes = by_agent and policy.passes(values["action_type"], values["risk_level"])
            passes = passes and not _takes_from_member(values["action_type"], holding)
            if holding is not None and (wrong := _late(holding, fence, passes=passes)) is not None:
                outcome.append(wrong)
                continue
            by_default = at + timedelta(seconds=policy.answer_within_seconds)
            row = AgentPendingAction(
                workspace_id=asker.workspace_id,
                id=new_id(),
                requested_at=at,
                asked_by=asker.user_id,
                conversation_id=conversation_id,
                fence=None if holding is None else holding.fence,
                **{**values, "expires_at": values.get("expires_at") or by_default},
            )
            outcome.append(row)
            alone += [row] if passes else []
    rows = [row for row in outcome if isinstance(row, AgentPendingAction)]
    db.add_all(rows)
    by: ActionTrigger = "agent" if by_agent else "user"
    await note_all(db, asker.workspace_id, [_said(row, "asked", by, asker) for row in rows])
    for row in alone:
        row.status, row.passed_alone, row.reviewed_at = "approved", True, at
        await _perform(db, row, asker, records, "agent")
    return outcome


async def ask_in_name(
    db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, values: Mapping[str, Any], user_id: uuid.UUID | None
) -> AgentPendingAction:
    """A workflow asks in the agent's name whether it may go on; for the member behind it, if there is one.

    Approved, nothing is done but that it goes on, with the rights of that member: whatever the ``values`` say, it is
    about no conversation, so that neither the agent's reach nor a fence is asked. An agent that is not active passes
    nothing alone.
    """
    at = now()
    policy = await policies.policy_of(db, workspace_id, agent_id)
    row = AgentPendingAction(
        workspace_id=workspace_id,
        id=new_id(),
        requested_at=at,
        asked_by=user_id,
        **{"expires_at": at + timedelta(seconds=policy.answer_within_seconds), **values},
        agent_id=agent_id,
        action_type=kinds.GOING_ON,
    )
    db.add(row)
    await _log(db, row, "asked", "agent", None)
    if policy.passes(row.action_type, msgspec.convert(row.risk_level, RiskLevel)):
        query = select(Agent.status).where(Agent.workspace_id == workspace_id, Agent.id == agent_id)
        if await db.scalar(query.with_for_update(read=True)) == "active":
            row.status, row.passed_alone, row.reviewed_at = "approved", True, at
    return row


async def performed(db: AsyncSession, row: AgentPendingAction, result: Mapping[str, Any]) -> None:
    """What was approved is done, by whoever of us has asked; the caller holds the row."""
    row.performed_by, row.performed_at, row.succeeded, row.result = "comms", now(), True, dict(result)
    await _log(db, row, "performed", "agent", None)


async def withdraw(db: AsyncSession, row: AgentPendingAction) -> None:
    """What nobody has decided is not asked any more; the caller holds the row."""
    row.status, row.expires_at = "expired", now()
    await _log(db, row, "expired", "agent", None)


def _takes_from_member(action_type: str, holding: Holding | None) -> bool:
    """Whether somebody would lose a conversation by it: no policy lets that pass. If they get it later, it is late."""
    return action_type in kinds.MOVING and holding is not None and holding.assigned_to is not None


def _late(holding: Holding, fence: int | None, *, passes: bool) -> Stale | None:
    """Why it is too late for what was written under that fence; what no person looks at has to say one."""
    if fence is None:
        return Stale("an agent says the fence under which it acts alone", holding) if passes else None
    return None if fence == holding.fence else Stale(f"this was written under fence {fence}", holding)


async def approve(
    db: AsyncSession,
    row: AgentPendingAction,
    approver: Identity,
    records: Records,
    details: Mapping[str, Any] | None = None,
) -> None:
    """It may be done, as it was asked or with the ``details`` as edited; and is, if comms knows how.

    The caller holds the row. Whatever keeps it from being done is raised, and then it is not approved either.
    """
    if row.action_type not in OWN_WORDS:
        await _expect_second_pair_of_eyes(db, row, approver)
    _decide(row, "approved", approver)
    if details is not None and details != row.details:
        await acting.expect_unmoved(db, row)
        about, _ = await acting.expect_possible(db, approver, (row.agent_id, row.action_type, details), records)
        if about != row.conversation_id:
            raise Invalid({"details.conversationId": "must stay: the action is about another conversation"})
        row.edited_details = dict(details)
    await _log(db, row, "approved", "user", approver)
    await _perform(db, row, approver, records, "user")


async def reject(db: AsyncSession, row: AgentPendingAction, reviewer: Identity, reason: str | None) -> None:
    """The agent must not do it. Whoever answers for an agent may stop it themselves."""
    _decide(row, "rejected", reviewer)
    row.reason = reason
    await _log(db, row, "rejected", "user", reviewer)


async def report(
    db: AsyncSession,
    row: AgentPendingAction,
    reporter: Identity,
    *,
    succeeded: bool,
    result: Mapping[str, Any] | None,
    error: str | None,
) -> None:
    """The agent's runtime has done, or tried, what was approved and comms does not know; told once.

    The caller holds the row.
    """
    if row.status != "approved":
        raise Conflict(f"this action is {row.status}: only what was approved may be done")
    if row.performed_at is not None:
        raise Conflict(f"this action was done at {row.performed_at.isoformat()} by {row.performed_by}: it is done once")
    row.performed_by, row.performed_at, row.succeeded = "runtime", now(), succeeded
    row.result, row.error = None if result is None else dict(result), error
    await _log(db, row, "performed", "agent", reporter, succeeded=succeeded)


async def _perform(
    db: AsyncSession, row: AgentPendingAction, by: Identity, records: Records, triggered_by: ActionTrigger
) -> None:
    began = time.monotonic()
    await acting.perform(db, row, by, records)
    if row.performed_at is not None:
        took = round((time.monotonic() - began) * 1000)
        await _log(db, row, "performed", triggered_by, by, took=took)


async def _log(
    db: AsyncSession, row: AgentPendingAction, stage: str, triggered_by: ActionTrigger, by: Identity | None, **more: Any
) -> None:
    """What has become of an action is in the audit log."""
    await note(db, row.workspace_id, _said(row, stage, triggered_by, by, **more))


def _said(
    row: AgentPendingAction,
    stage: str,
    triggered_by: ActionTrigger,
    by: Identity | None,
    *,
    succeeded: bool = True,
    took: int | None = None,
) -> dict[str, Any]:
    """What has become of an action, as the audit log has it."""
    said: dict[str, Any] = {"actionId": str(row.id), "stage": stage, "riskLevel": row.risk_level}
    if by is not None:
        said["by"] = {"userId": str(by.user_id), "agentId": None if by.agent_id is None else str(by.agent_id)}
    if stage == "asked":
        said["details"] = row.details
    elif stage == "approved":
        said["details"] = row.edited_details or row.details
        said["wasEdited"] = row.edited_details is not None
    elif stage == "performed":
        said |= {"performedBy": row.performed_by, "result": row.result, "passedAlone": row.passed_alone}
    return {
        "agent_id": row.agent_id,
        "team_id": row.team_id,
        "action_type": row.action_type,
        "action_details": said,
        "success": succeeded and stage not in ("rejected", "expired"),
        "error": row.reason if stage == "rejected" else row.error,
        "triggered_by": triggered_by,
        "duration_ms": took,
    }


def _decide(row: AgentPendingAction, status: str, reviewer: Identity) -> None:
    at = now()
    if row.status != "pending":
        raise Conflict(f"this action is {row.status} already: only a pending one can be decided")
    if row.expires_at is not None and row.expires_at <= at:
        raise Conflict(f"this action expired at {row.expires_at.isoformat()}: the agent has to ask again")
    row.status, row.reviewed_by, row.reviewed_at = status, reviewer.user_id, at


async def _expect_second_pair_of_eyes(db: AsyncSession, row: AgentPendingAction, approver: Identity) -> None:
    """``Forbidden`` to whoever made the agent or posted the action, unless there is nobody else who could approve."""
    owner = await db.scalar(
        select(Agent.created_by).where(Agent.workspace_id == row.workspace_id, Agent.id == row.agent_id)
    )
    own = {user_id for user_id in (owner, row.asked_by) if user_id is not None}
    if approver.user_id not in own:
        return
    # Members differ in thousands of ways, their rights in this area in a dozen.
    others = await db.execute(
        select(WorkspaceMember.role, WorkspaceMember.permissions["agents"])
        .where(
            WorkspaceMember.workspace_id == row.workspace_id,
            WorkspaceMember.user_id.not_in(own),
            WorkspaceMember.is_active,
        )
        .distinct()
    )
    is_ours = row.action_type in kinds.KNOWN  # then a viewer could not approve it, whatever else they may
    for role, level in others:
        if is_ours and role not in permissions.WRITERS:
            continue
        if permissions.allows(role, {} if level is None else {"agents": level}, "agents", "write"):
            whose = "This agent is yours" if owner == approver.user_id else "You have posted this action"
            raise Forbidden(f"{whose}: another member who may write agents has to approve what it does.")


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
        before = msgspec.structs.replace(view, status="pending")
        events.record(db, "agent_pending_action.expired", row, view, before=before)
        await _log(db, row, "expired", "schedule", None)
    return len(rows)


async def note(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentActionAuditLog:
    """What an agent did is in the audit log, where nobody can change it."""
    [row] = await note_all(db, workspace_id, [values])
    return row


async def note_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[AgentActionAuditLog]:
    """The same of many."""
    rows = [AgentActionAuditLog(workspace_id=workspace_id, id=new_id(), **values) for values in many]
    db.add_all(rows)
    await db.flush()
    ids = [row.id for row in rows]
    here = AgentActionAuditLog.workspace_id == workspace_id
    written = select(AgentActionAuditLog).where(here, AgentActionAuditLog.id.in_(ids))
    (await db.scalars(written.execution_options(populate_existing=True))).all()  # told of as GET shows them
    for row in rows:
        view = msgspec.convert(row, AgentActionAuditLogView, from_attributes=True)
        events.record(db, "agent_action_audit_log.created", row, view)
    return rows
