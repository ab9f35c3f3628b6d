"""What is done with a conversation as a whole: given to somebody, closed, put off, labelled, removed.

Each of these finds the conversation's row locked by its caller, as arriving messages lock it: what arrives while
somebody closes either is there before, or finds it closed and reopens it.
"""

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, messages, ownership
from comms.database import Database
from comms.errors import Conflict, Invalid
from models.base import new_id, now
from models.communications import MOST_TAGS, Conversation, ConversationStatus, ConversationView

LONGEST_TAG = 100


async def begin(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Conversation:
    """The conversation is active; raises ``AnotherIsActive``."""
    conversation = _new(workspace_id, values)
    async with _the_only_active(db, workspace_id, conversation.contact_id, conversation.channel):
        db.add(conversation)
    return conversation


async def begin_all(db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]) -> list[Conversation]:
    """Each of them is active, or none: which one is in the way is asked of each by itself."""
    if len(many) == 1:
        return [await begin(db, workspace_id, many[0])]
    conversations = [_new(workspace_id, values) for values in many]
    db.add_all(conversations)
    await db.flush()
    return conversations


def _new(workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Conversation:
    return Conversation(
        workspace_id=workspace_id, id=new_id(), status="active", **{**values, "tags": tidy(values["tags"])}
    )


async def change(db: AsyncSession, conversation: Conversation, values: Mapping[str, Any]) -> None:
    """The conversation has the new values; raises ``AnotherIsActive`` when it would be a contact's second one."""
    if "tags" in values:
        values = {**values, "tags": tidy(values["tags"])}
    moves = bool({"contact_id", "channel"} & values.keys())
    contact_id = values.get("contact_id", conversation.contact_id)
    channel = values.get("channel", conversation.channel)
    async with _the_only_active(db, conversation.workspace_id, contact_id, channel) if moves else nullcontext():
        for name, value in values.items():
            setattr(conversation, name, value)


async def assign(db: AsyncSession, conversation: Conversation, user_id: uuid.UUID) -> None:
    """The conversation is this member's, who owns it among those who take part."""
    await ownership.give(db, conversation, ownership.ByMember(user_id), why="assigned by hand")


async def unassign(db: AsyncSession, conversation: Conversation) -> None:
    """The conversation is nobody's; who it was still takes part. An agent's stays the agent's."""
    if conversation.assigned_to is not None:
        await ownership.release(db, conversation, why="unassigned by hand")


class State(msgspec.Struct, frozen=True):
    """A status other than active: how it is called, what is told, and what it can follow on."""

    status: ConversationStatus
    noun: str
    entered: str
    left: str
    follows: tuple[ConversationStatus, ...]


CLOSURE = State("closed", "closure", "closed", "reopened", ("active",))
ARCHIVING = State("archived", "archiving", "archived", "reopened", ("active", "closed"))
SPAM = State("spam", "spam", "marked_spam", "unmarked_spam", ("active", "closed", "archived"))
STATES = (CLOSURE, ARCHIVING, SPAM)


class AnotherIsActive(Conflict):
    """The contact has another active conversation on this channel: close that one first."""


class NotNow(Conflict):
    """The conversation's status does not allow this."""

    def __init__(self, status: str) -> None:
        open_to = [f"POST …/{state.noun}" for state in STATES if status in state.follows]
        open_to += [f"DELETE …/{state.noun}" for state in STATES if status == state.status]
        super().__init__(f"this conversation is {status}; what can be done: {', '.join(open_to)}")


async def enter(db: AsyncSession, conversation: Conversation, state: State) -> None:
    """The conversation is in that state, no longer put off, and no agent's any more; raises ``NotNow``.

    What an agent writes that has not seen this is refused, and what it has scheduled never leaves.
    """
    if conversation.status == state.status:
        return
    if conversation.status not in state.follows:
        raise NotNow(conversation.status)
    before = _view(conversation)
    conversation.status, conversation.snoozed_until = state.status, None
    why = f"the conversation was {state.entered.replace('_', ' ')}"
    await ownership.withdraw(db, conversation, why=why)
    if conversation.agent_id is not None:
        await ownership.release(db, conversation, why=why)
    await _tell(db, state.entered, conversation, before)


async def leave(db: AsyncSession, conversation: Conversation, state: State) -> None:
    """The conversation is active again; raises ``NotNow`` and ``AnotherIsActive``."""
    if conversation.status == "active":
        return
    if conversation.status != state.status:
        raise NotNow(conversation.status)
    async with _the_only_active(db, conversation.workspace_id, conversation.contact_id, conversation.channel):
        conversation.status = "active"
        conversation.waiting_since = conversation.waiting_since and now()
    await _tell(db, state.left, conversation)


async def snooze(db: AsyncSession, conversation: Conversation, until: datetime) -> None:
    """The conversation is put off until then, or until the contact writes again."""
    if until <= now():
        raise Invalid({"until": "must be in the future"})
    if conversation.status != "active":
        raise NotNow(conversation.status)
    if conversation.snoozed_until != until:
        conversation.snoozed_until = conversation.put_off_until = until
        await _tell(db, "snoozed", conversation)


async def unsnooze(db: AsyncSession, conversation: Conversation) -> None:
    """The conversation is no longer put off."""
    if conversation.snoozed_until is not None:
        conversation.snoozed_until = None
        await _tell(db, "unsnoozed", conversation)


async def wake(database: Database, *, most: int = 500) -> int:
    """Conversations whose time has come are no longer put off, and everybody hears; how many those were."""
    woken = 0
    while True:
        async with database.everywhere() as db:
            due = (
                select(Conversation.workspace_id, Conversation.id, Conversation.snoozed_until)
                .where(Conversation.snoozed_until <= func.now())
                .order_by(Conversation.workspace_id, Conversation.id)
                .limit(most)
                .with_for_update(key_share=True, skip_locked=True)
            )
            before = {(row.workspace_id, row.id): row.snoozed_until for row in await db.execute(due)}
            rows = (
                await db.scalars(
                    update(Conversation)
                    .where(tuple_(Conversation.workspace_id, Conversation.id).in_(list(before)))
                    .values(snoozed_until=None)
                    .returning(Conversation)
                    .execution_options(synchronize_session=False)
                )
            ).all()
            for row in rows:
                seen = msgspec.structs.replace(_view(row), snoozed_until=before[row.workspace_id, row.id])
                events.record(db, "conversation.woken", row, _view(row), before=seen)
        woken += len(rows)
        if len(rows) < most:
            return woken


def tidy(tags: Iterable[str], field: str = "tags") -> list[str]:
    """Tags as they are kept: trimmed, none empty, each once, in their order; raises ``Invalid``."""
    kept = list(dict.fromkeys(tag for tag in (written.strip() for written in tags) if tag))
    if any(tag in (".", "..") or "/" in tag or "\ufffd" in tag for tag in kept):
        raise Invalid({field: "must not contain / or \ufffd, nor be . or ..: a tag is part of an address"})
    if any(len(tag) > LONGEST_TAG for tag in kept):
        raise Invalid({field: f"must be at most {LONGEST_TAG} characters each"})
    if len(kept) > MOST_TAGS:
        raise Invalid({field: f"must be at most {MOST_TAGS}"})
    return kept


def tag(conversation: Conversation, name: str) -> None:
    """The conversation has this tag besides those it has."""
    if not name.strip():
        raise Invalid({"tag": "must not be empty"})
    conversation.tags = tidy([*conversation.tags, name], "tag")


def untag(conversation: Conversation, name: str) -> None:
    """The conversation does not have this tag."""
    conversation.tags = [kept for kept in conversation.tags if kept != name.strip()]


async def remove(db: AsyncSession, conversation: Conversation) -> None:
    """The conversation and all that was said in it are gone, and no repeated webhook brings them back."""
    view = _view(conversation)
    await messages.bury_all(db, conversation)
    await db.delete(conversation)
    await db.flush()
    events.record(db, "conversation.deleted", conversation, view)


@asynccontextmanager
async def _the_only_active(
    db: AsyncSession, workspace_id: uuid.UUID, contact_id: uuid.UUID | None, channel: str
) -> AsyncIterator[None]:
    """What is done here is written; the unique index decides which conversation is a contact's active one."""
    try:
        async with db.begin_nested():
            yield
            await db.flush()
    except IntegrityError as error:
        if "uq_conversations_active" not in str(error.orig):
            raise
        other = await db.scalar(
            select(Conversation.id).where(
                Conversation.workspace_id == workspace_id,
                Conversation.contact_id == contact_id,
                Conversation.channel == channel,
                Conversation.status == "active",
                Conversation.is_unproven.is_(False),
            )
        )
        raise AnotherIsActive(conflicting_id=other) from None


async def _tell(
    db: AsyncSession, what: str, conversation: Conversation, before: ConversationView | None = None
) -> None:
    await db.flush()
    events.record(db, f"conversation.{what}", conversation, _view(conversation), before=before)


def _view(conversation: Conversation) -> ConversationView:
    return msgspec.convert(conversation, ConversationView, from_attributes=True)
