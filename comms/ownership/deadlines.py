"""Nobody has taken what was handed on: the next is asked, the contact is told, a call is owed; or it waits again."""

import uuid
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.database import Database, is_passing
from comms.errors import Forbidden, Invalid
from comms.ownership import settling, telling
from comms.ownership.handing import ask, expect_open
from comms.ownership.holding import ByAgent, ByMember
from comms.ownership.targets import expect_target, tidy
from models.base import new_id, now
from models.communications import Conversation, ConversationHandoff
from models.communications.handoffs import Callback, Step, Target
from models.crm import CrmInteraction, CrmInteractionView

log = structlog.get_logger(__name__)

MOST = 200
AGAIN = timedelta(minutes=1)  # until what failed is tried again
IS_DUE = "EXISTS (SELECT FROM conversation_handoffs WHERE status = 'open' AND deadline_at <= now())"
"""When a deadline has passed, as PostgreSQL says it."""


async def pass_deadlines(database: Database) -> int:
    """What nobody has taken in time goes its next step, each in a transaction of its own; how many those were."""
    async with database.everywhere() as db:
        due = (
            select(ConversationHandoff.workspace_id, ConversationHandoff.conversation_id)
            .where(ConversationHandoff.status == "open", ConversationHandoff.deadline_at <= now())
            .order_by(ConversationHandoff.deadline_at)
            .limit(MOST)
        )
        waiting = [tuple(row) for row in await db.execute(due)]
    passed = 0
    for workspace_id, conversation_id in waiting:
        try:
            async with database.workspace(workspace_id) as db:
                passed += await _pass(db, conversation_id)
        except Exception as error:  # one that cannot be helped must not stop the others, now or at the next look
            log.error("handoffs.deadline_failed", conversation=str(conversation_id), error=type(error).__name__)
            async with database.workspace(workspace_id) as db:
                await (_put_off if is_passing(error) else _leave_out)(db, conversation_id)
    return passed


async def _put_off(db: AsyncSession, conversation_id: uuid.UUID) -> None:
    await db.execute(
        update(ConversationHandoff)
        .where(ConversationHandoff.conversation_id == conversation_id, ConversationHandoff.status == "open")
        .values(deadline_at=now() + AGAIN)
    )


async def _leave_out(db: AsyncSession, conversation_id: uuid.UUID) -> None:
    """What would fail each time is not tried again: the next look begins with the step after, or it is over."""
    _, handoff = await _due(db, conversation_id)
    if handoff is None:
        return
    if handoff.steps_taken < len(handoff.steps):
        handoff.steps_taken += 1
    else:
        await settling.end(db, handoff, "expired", "nobody could be told or asked any more")


async def _due(db: AsyncSession, conversation_id: uuid.UUID) -> tuple[Conversation | None, ConversationHandoff | None]:
    """The conversation, held, and its handoff if its deadline has passed: else somebody was quicker."""
    conversation = await db.scalar(
        select(Conversation).where(Conversation.id == conversation_id).with_for_update(key_share=True)
    )
    handoff = None if conversation is None else await settling.open_of(db, conversation)
    return conversation, None if handoff is None or handoff.deadline_at > now() else handoff


async def _pass(db: AsyncSession, conversation_id: uuid.UUID) -> bool:
    conversation, handoff = await _due(db, conversation_id)
    if conversation is None or handoff is None:
        return False
    if conversation.status != "active":  # its contact was merged into another, whose conversation goes on
        await settling.end(db, handoff, "withdrawn", f"the conversation is {conversation.status}")
        return True
    await _go_on(db, conversation, handoff, is_refused=False)
    return True


async def reject(
    db: AsyncSession,
    conversation: Conversation,
    handoff: ConversationHandoff,
    by: ByMember | ByAgent,
    *,
    why: str | None,
    may_for_others: bool = False,
) -> None:
    """Who was asked does not take it: the next is asked at once, and without a next one it waits in the queue."""
    expect_open(conversation, handoff)
    was_asked = await settling.was_asked(db, handoff, by)
    if not may_for_others and not was_asked:
        raise Forbidden("This conversation was handed to somebody else: only they, or an administrator, may refuse it.")
    handoff.settled_because = why
    refused = [_asked_now(handoff)]
    if was_asked and isinstance(by, ByMember) and handoff.target_user_id is None:  # as one of those who were asked
        refused.append(Target(user_id=by.id))
    handoff.refused = [*handoff.refused, *(msgspec.to_builtins(one) for one in refused)]
    await _go_on(db, conversation, handoff, is_refused=True)


async def _can_be_asked(db: AsyncSession, conversation: Conversation, target: Target) -> bool:
    """Whether whom a step names can still be asked: they may have gone since it was written."""
    try:
        await expect_target(db, conversation, target, "target", is_first=False)
    except Invalid:
        return False
    return True


def _asked_now(handoff: ConversationHandoff) -> Target:
    return Target(
        user_id=handoff.target_user_id,
        agent_id=handoff.target_agent_id,
        team_id=handoff.target_team_id,
        needed_skills=handoff.needed_skills,
    )


def _has_refused(handoff: ConversationHandoff, target: Target) -> bool:
    """Whether they have refused this handoff, whoever was asked since."""
    return any(_whom(target) == _whom(msgspec.convert(one, Target)) for one in handoff.refused)


def _whom(target: Target) -> tuple[Any, ...]:
    if target.user_id or target.agent_id:
        return target.user_id, target.agent_id
    return target.team_id, frozenset(tidy(target.needed_skills))


async def _go_on(
    db: AsyncSession, conversation: Conversation, handoff: ConversationHandoff, *, is_refused: bool
) -> None:
    """The next step is taken; whoever has refused is not asked again, nor given more time by steps without a target."""
    words = []
    is_asked = False
    while handoff.steps_taken < len(handoff.steps) and not is_asked:
        step = msgspec.convert(handoff.steps[handoff.steps_taken], Step)
        handoff.steps_taken += 1
        if step.callback is not None:
            await _owe(db, conversation, handoff, step.callback)
        words += [] if step.tell_contact is None else [step.tell_contact]
        has_target = (
            step.target is not None
            and not _has_refused(handoff, step.target)
            and await _can_be_asked(db, conversation, step.target)
        )
        if has_target and step.target is not None:
            ask(handoff, step.target)
        is_asked = has_target or (step.target is None and not is_refused)
        if is_asked:
            handoff.within_seconds = step.within_seconds or handoff.within_seconds
            handoff.deadline_at = now() + timedelta(seconds=handoff.within_seconds)
    if not is_asked:
        expired = (await telling.settled(db, conversation)).words.expired
        words += [] if expired is None else [expired]
    await telling.tell(db, conversation, handoff, "\n".join(words) or None)
    if is_asked:
        await settling.record(db, "escalated", handoff)
    else:
        await settling.end(db, handoff, "rejected" if is_refused else "expired")


async def _owe(db: AsyncSession, conversation: Conversation, handoff: ConversationHandoff, callback: Callback) -> None:
    """Somebody owes the contact a call: whoever was asked, if it was one member."""
    if conversation.contact_id is None:
        return
    row = CrmInteraction(
        workspace_id=conversation.workspace_id,
        id=new_id(),
        contact_id=conversation.contact_id,
        type="call",
        direction="outbound",
        subject=(callback.subject or handoff.packet.get("summary") or handoff.reason)[:500],
        content=handoff.reason,
        scheduled_at=now() + timedelta(seconds=callback.in_seconds),
        user_id=handoff.target_user_id or handoff.from_user_id,
    )
    db.add(row)
    await db.flush()
    await db.refresh(row)
    view = msgspec.convert(row, CrmInteractionView, from_attributes=True)
    events.record(db, "interaction.created", row, view)
