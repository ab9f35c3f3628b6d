"""A conversation changes hands: claimed, given, taken over, let go, or lost with its lease."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions, participants
from comms.database import Database
from comms.outbox import fencing, lines
from comms.ownership import settling, targets
from comms.ownership.holding import ByAgent, ByMember, NotYours, Owned, Owner, Stale, holding_of
from models.base import now
from models.communications import Conversation, ConversationView

MOST_EXPIRED = 200
LONGEST_REASON = 500
IS_DUE = "EXISTS (SELECT FROM conversations WHERE agent_id IS NOT NULL AND lease_expires_at <= now())"
"""When a lease is over, as PostgreSQL says it."""


async def claim(db: AsyncSession, conversation: Conversation, agent_id: uuid.UUID, seconds: float) -> None:
    """The agent has the conversation for so many seconds; raises ``Owned`` when somebody else has it.

    It may when nobody has it or the lease is over of who has, it was not handed on to others, and it is neither closed
    nor put off (``NotYours``). Its own it renews, under the same fence.
    """
    at, holding = now(), holding_of(conversation)
    if holding.agent_id == agent_id:
        conversation.lease_expires_at = at + timedelta(seconds=seconds)
        await db.flush()
        return
    if holding.assigned_to is not None or holding.is_leased(at):
        raise Owned("this conversation cannot be claimed", holding)
    if conversation.status != "active" or (conversation.snoozed_until is not None and conversation.snoozed_until > at):
        state = "snoozed" if conversation.status == "active" else conversation.status
        raise NotYours(f"this conversation is {state}, and cannot be claimed", holding)
    handoff = await settling.open_of(db, conversation)
    if handoff is not None and handoff.target_agent_id != agent_id:
        raise Owned("this conversation was handed on, and not to this agent", holding)
    why = "claimed by the agent" if holding.agent_id is None else "claimed by the agent: another's lease was over"
    await _move(db, conversation, ByAgent(agent_id, seconds), "claimed", why, settles=handoff is not None)


async def renew(db: AsyncSession, conversation: Conversation, agent_id: uuid.UUID, fence: int, seconds: float) -> None:
    """The agent has the conversation for so many seconds from now; raises ``Stale``. It is told to nobody."""
    holding = holding_of(conversation)
    if holding.agent_id != agent_id or holding.fence != fence:
        raise Stale(f"there is no lease of this agent's under fence {fence}", holding)
    if not holding.is_leased(now()):
        raise Stale("this agent's lease is over", holding)
    conversation.lease_expires_at = now() + timedelta(seconds=seconds)
    await db.flush()


async def release(db: AsyncSession, conversation: Conversation, *, why: str) -> None:
    """The conversation is nobody's, and waits."""
    await give(db, conversation, None, why=why)


async def give(db: AsyncSession, conversation: Conversation, owner: Owner, *, why: str, tells: bool = True) -> None:
    """The conversation is the owner's, or nobody's; raises ``Invalid`` for who may not answer in it.

    Where it was handed on, the contact is told that somebody has it now, unless not even that is to be said.
    """
    holding = holding_of(conversation)
    if isinstance(owner, ByMember):
        if holding.assigned_to == owner.id:
            return
        await mentions.expect_answerer(db, conversation.workspace_id, owner.id)
        await _move(db, conversation, owner, "assigned", why, tells=tells)
    elif isinstance(owner, ByAgent):
        if not holding.is_with(owner.id, now()):
            await _move(db, conversation, owner, "claimed", why, tells=tells)
    else:
        await let_go(db, conversation, "unassigned" if holding.assigned_to else "released", why)


async def take_over(
    db: AsyncSession, conversation: Conversation, user_id: uuid.UUID, *, why: str = "taken over", tells: bool = True
) -> None:
    """The conversation is this member's at once, whoever had it; what an agent was about to say is not said.

    Where it was handed on, the contact is told that somebody has it now, unless not even that is to be said.
    """
    if conversation.assigned_to == user_id:
        return
    await mentions.expect_answerer(db, conversation.workspace_id, user_id)
    await _move(db, conversation, ByMember(user_id), "taken_over", why, tells=tells)


async def let_go(db: AsyncSession, conversation: Conversation, what: str, why: str) -> None:
    """The conversation is nobody's, and that is told as this."""
    if conversation.assigned_to is not None or conversation.agent_id is not None:
        await _move(db, conversation, None, what, why)


async def give_waiting(db: AsyncSession, given: Sequence[tuple[Conversation, uuid.UUID, str]]) -> None:
    """Conversations that waited are each this member's, for that reason: ``give`` for many, in a few statements.

    The caller knows that they are nobody's, that no handoff is open for any, and that the members stay active ones.
    """
    for conversation, user_id, why in given:
        _set(conversation, ByMember(user_id), why)
    await db.flush()
    for conversation, _, _ in given:
        events.record(db, "conversation.assigned", conversation, _view(conversation))
    await call_back(db, [conversation for conversation, _, _ in given])
    await participants.make_owners(db, [(conversation, user_id) for conversation, user_id, _ in given])


async def expire_leases(database: Database) -> int:
    """Conversations whose agent has let its lease run out wait for somebody else; how many those were."""
    expired = 0
    while True:
        async with database.everywhere() as db:
            over = (
                select(Conversation)
                .where(Conversation.agent_id.is_not(None), Conversation.lease_expires_at <= now())
                .order_by(Conversation.workspace_id, Conversation.id)
                .limit(MOST_EXPIRED)
                .with_for_update(key_share=True, skip_locked=True)
            )
            rows = (await db.scalars(over)).all()
            why = {row.id: f"the lease of agent {row.agent_id} ran out" for row in rows}
            await let_go_all(db, rows, "lease_expired", why)
        expired += len(rows)
        if len(rows) < MOST_EXPIRED:
            return expired


async def let_go_all(db: AsyncSession, rows: Sequence[Conversation], what: str, why: Mapping[uuid.UUID, str]) -> None:
    """These conversations, which somebody has, are nobody's: ``let_go`` for many, in a few statements."""
    of_members = [row for row in rows if row.assigned_to is not None]
    for row in rows:
        _set(row, None, why[row.id])
    await db.flush()
    for row in rows:
        events.record(db, f"conversation.{what}", row, _view(row))
    await call_back(db, rows)
    await participants.release_owners(db, of_members)


async def _move(
    db: AsyncSession,
    conversation: Conversation,
    owner: Owner,
    what: str,
    why: str,
    *,
    tells: bool = True,
    settles: bool = True,
) -> None:
    if isinstance(owner, ByAgent):
        await _expect_at_work(db, conversation, owner.id)
    had_member, had_agent = conversation.assigned_to is not None, conversation.agent_id is not None
    _set(conversation, owner, why)
    await db.flush()
    events.record(db, f"conversation.{what}", conversation, _view(conversation))
    if had_agent or (owner is not None and not had_member):
        await call_back(db, [conversation])
    if isinstance(owner, ByMember):
        await participants.make_owner(db, conversation, owner.id)
    elif had_member:
        await participants.release_owner(db, conversation)
    if owner is not None and settles:
        await settling.settle(db, conversation, owner, tells=tells)


async def _expect_at_work(db: AsyncSession, conversation: Conversation, agent_id: uuid.UUID) -> None:
    """The agent is active until the commit: whoever pauses it waits for that, and then lets go of this one too."""
    status = await targets.status_of(db, conversation.workspace_id, agent_id)
    if status != "active":
        raise NotYours(f"this agent is {status}, and can have no conversation", holding_of(conversation))


async def call_back(db: AsyncSession, rows: Sequence[Conversation]) -> None:
    """What agents have said in these, which may not leave any more, does not wait to."""
    held = [(row.workspace_id, row.id) for row in rows]
    if await fencing.call_back(db, held):
        await lines.promote(db, held)


def _set(conversation: Conversation, owner: Owner, why: str) -> None:
    at = now()
    conversation.assigned_to = owner.id if isinstance(owner, ByMember) else None
    conversation.agent_id = owner.id if isinstance(owner, ByAgent) else None
    conversation.lease_expires_at = at + timedelta(seconds=owner.seconds) if isinstance(owner, ByAgent) else None
    conversation.waiting_since = at if owner is None else None
    conversation.fence += 1
    conversation.ownership_reason = why[:LONGEST_REASON]


def _view(conversation: Conversation) -> ConversationView:
    return msgspec.convert(conversation, ConversationView, from_attributes=True)
