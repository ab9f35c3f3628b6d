"""Who leaves, may only read from now on, or is out of work, has no conversation any more: they wait for somebody else.

The first are let go in the very transaction, except those that somebody else is at; a job lets go of the others.
"""

import uuid
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.database import Database
from comms.ownership import moving
from comms.ownership.holding import ByAgent, ByMember
from comms.permissions import WRITERS
from models.agents import Agent
from models.communications import Conversation
from models.core import WorkspaceMember

LET_GO = "ownership.let_go"
AT_ONCE = 200
AGAIN_SECONDS = 5.0
"""Until what somebody was at is looked at again."""


async def leave(db: AsyncSession, workspace_id: uuid.UUID, who: ByMember | ByAgent) -> None:
    """They have no conversation, or soon none, and of what they have scheduled as an agent nothing leaves."""
    # Whoever has locked a conversation may wait for the membership, which is ours: so nobody is waited for.
    await _let_go(db, workspace_id, who)
    name = "userId" if isinstance(who, ByMember) else "agentId"
    await jobs.enqueue(db, LET_GO, [{"workspaceId": str(workspace_id), name: str(who.id)}])


async def let_go(database: Database, payload: dict[str, Any]) -> None:
    """The job: all that is theirs waits for somebody else, unless they are back."""
    workspace_id = uuid.UUID(payload["workspaceId"])
    is_member = "userId" in payload
    who = ByMember(uuid.UUID(payload["userId"])) if is_member else ByAgent(uuid.UUID(payload["agentId"]))
    just = AT_ONCE
    while just == AT_ONCE:
        async with database.workspace(workspace_id) as db:
            just = 0 if await _is_back(db, who) else await _let_go(db, workspace_id, who)
    async with database.workspace(workspace_id) as db:
        some: uuid.UUID | None = await db.scalar(select(Conversation.id).where(_of(who)).limit(1))
        if some is not None and not await _is_back(db, who):
            await jobs.enqueue(db, LET_GO, [payload], delay_seconds=AGAIN_SECONDS)


async def _let_go(db: AsyncSession, workspace_id: uuid.UUID, who: ByMember | ByAgent) -> int:
    await db.flush()
    theirs = (
        select(Conversation)
        .where(Conversation.workspace_id == workspace_id, _of(who))
        .order_by(Conversation.status != "active", Conversation.id)
        .limit(AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    rows = (await db.scalars(theirs)).all()
    if isinstance(who, ByMember):
        what, why = "unassigned", f"member {who.id} does not answer here any more"
    else:
        what, why = "released", f"agent {who.id} is out of work"
    await moving.let_go_all(db, rows, what, {row.id: why for row in rows})
    return len(rows)


def _of(who: ByMember | ByAgent) -> ColumnElement[bool]:
    return (Conversation.assigned_to if isinstance(who, ByMember) else Conversation.agent_id) == who.id


async def _is_back(db: AsyncSession, who: ByMember | ByAgent) -> bool:
    if isinstance(who, ByMember):
        answers = WorkspaceMember.is_active & WorkspaceMember.role.in_(WRITERS)
        return await db.scalar(select(WorkspaceMember.id).where(WorkspaceMember.user_id == who.id, answers)) is not None
    return await db.scalar(select(Agent.id).where(Agent.id == who.id, Agent.status == "active")) is not None
