"""Two conversations become one, and two again: whose they are then, and under which fence."""

import uuid
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions, participants
from comms.ownership import moving, settling
from models.base import now
from models.communications import Conversation, ConversationHandoff

WHY = "its contact was merged with another"
AND_BACK = "the merge of its contact was undone"

_FENCE_ANEW = text(
    """
    UPDATE outgoing_messages o SET fence = :fence FROM conversation_messages m
    WHERE o.workspace_id = :workspace AND o.conversation_id = :kept AND o.fence = :was
        AND m.workspace_id = o.workspace_id AND m.id = o.id AND m.sender_agent_id = :agent
    """
)


class United(msgspec.Struct, frozen=True):
    """What it takes to part them: the fence they have as one, and the open handoff that came along."""

    fence: int
    handoff_id: uuid.UUID | None = None


async def unite(db: AsyncSession, gone: Conversation, kept: Conversation) -> United:
    """Everything of the one is the other's from now on, and the one is nobody's; both are held by the caller.

    A member has the united conversation before an open handoff does, that before an agent, and that before nobody; the
    kept one's before the other's. Its fence is beyond both: an agent has to look again before it says anything. What
    the agent that keeps it has said already still leaves, another's does not.
    """
    theirs, ours = await settling.open_of(db, gone), await settling.open_of(db, kept)
    if not (gone.fence or kept.fence or theirs or ours):
        return United(0)  # nobody has ever had either, or been asked to
    fence = max(gone.fence, kept.fence) + 2  # one more is that of who has just let go (outbox.fencing)
    comes_along = _rank(gone, theirs) > _rank(kept, ours)
    owned = gone if comes_along else kept
    if owned.agent_id is not None:
        keys = {"workspace": kept.workspace_id, "kept": kept.id, "agent": owned.agent_id}
        await db.execute(_FENCE_ANEW, keys | {"was": owned.fence, "fence": fence})
    if comes_along:
        if kept.assigned_to is not None:
            await participants.release_owner(db, kept)
        kept.assigned_to, kept.agent_id = gone.assigned_to, gone.agent_id
        kept.lease_expires_at, kept.waiting_since = gone.lease_expires_at, gone.waiting_since
        kept.ownership_reason = WHY
        if kept.assigned_to is not None:
            await participants.make_owner(db, kept, kept.assigned_to)
    if gone.assigned_to is not None:
        await participants.release_owner(db, gone)
    kept.fence = fence
    _let_wait(gone, fence, WHY)
    await db.flush()
    await moving.call_back(db, [kept])  # whatever waits to leave has come along
    lost, won = (ours, theirs) if comes_along else (theirs, ours)
    if lost is not None:
        await settling.end(db, lost, "withdrawn", WHY)
    if comes_along and won is not None:
        won.conversation_id, won.fence = kept.id, fence
        await settling.record(db, "updated", won)
    return United(fence, won.id if comes_along and won is not None else None)


async def part(
    db: AsyncSession, back: Conversation, kept: Conversation | None, united: United, was: Any, into: Any
) -> None:
    """Each is whose it was, as ``was`` and ``into`` tell, if they may still have it; else it waits. Both are held.

    What has changed hands since stays with whoever has it. An agent has to claim again.
    """
    handoff = None
    is_as_it_was = back.fence == united.fence
    if kept is not None and kept.fence == united.fence:
        handoff = await settling.open_of(db, kept)
        if handoff is not None and (handoff.id != united.handoff_id or not is_as_it_was):
            handoff = None  # its own, or there is nobody to wait for
        if handoff is not None:
            handoff.conversation_id = back.id
            await db.flush()
        await _return(db, kept, into)
    if is_as_it_was:
        await _return(db, back, was)
    if handoff is not None:
        handoff.fence = back.fence
        await settling.record(db, "updated", handoff)
    await moving.call_back(db, [back] if kept is None else [back, kept])


async def _return(db: AsyncSession, conversation: Conversation, was: Any) -> None:
    """The conversation is the member's again who had it, or waits."""
    member = None if was.get("assigned_to") is None else uuid.UUID(was["assigned_to"])
    if member is not None and member in await mentions.no_answerers_of(db, conversation.workspace_id, [member]):
        member = None
    if conversation.assigned_to != member or conversation.agent_id is not None:
        if conversation.assigned_to is not None:
            await participants.release_owner(db, conversation)
        _let_wait(conversation, conversation.fence + 1, AND_BACK)
        if member is not None:
            conversation.assigned_to, conversation.waiting_since = member, None
            await participants.make_owner(db, conversation, member)
    await db.flush()


def _rank(conversation: Conversation, handoff: ConversationHandoff | None) -> int:
    if conversation.assigned_to is not None:
        return 3
    if handoff is not None:
        return 2
    return 1 if conversation.agent_id is not None else 0


def _let_wait(conversation: Conversation, fence: int, why: str) -> None:
    conversation.assigned_to = conversation.agent_id = conversation.lease_expires_at = None
    conversation.waiting_since = conversation.waiting_since or now()
    conversation.fence, conversation.ownership_reason = fence, why
