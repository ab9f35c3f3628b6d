"""Who takes part in a conversation, and how far they have read."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import and_, exists, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from comms import events, mentions
from comms.credentials import Identity
from comms.errors import Invalid
from comms.notifications import reading as notifications
from models.base import new_id, now
from models.communications import (
    Conversation,
    ConversationMessage,
    ConversationParticipant,
    ConversationParticipantView,
)

UNREAD_WITHIN = timedelta(days=30)
"""What is older is not listed as unread: somebody who has read all there is would else wait for a look at all of it."""

MOST_UNREAD = 1000
"""More unread messages than this are not counted: nobody reads the difference."""


async def join(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> ConversationParticipant:
    """An active member takes part; raises ``Invalid``."""
    [row] = await join_all(db, workspace_id, [values])
    if isinstance(row, Invalid):
        raise row
    return row


async def join_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[ConversationParticipant | Invalid]:
    """Each active member takes part; ``Invalid`` is who is none."""
    active = await mentions.active_of(db, workspace_id, {values["user_id"] for values in many})
    rows = [
        ConversationParticipant(workspace_id=workspace_id, id=new_id(), **values)
        if values["user_id"] in active
        else Invalid({"userId": mentions.NOT_ACTIVE})
        for values in many
    ]
    db.add_all(row for row in rows if isinstance(row, ConversationParticipant))
    return rows


async def make_owner(db: AsyncSession, conversation: Conversation, user_id: uuid.UUID) -> None:
    """The member takes part as the owner, and whoever was the owner before takes part as others do."""
    await release_owner(db, conversation, but=user_id)
    await _enter(db, conversation, user_id, {"role": "owner"}, ConversationParticipant.role != "owner")


async def make_owners(db: AsyncSession, owners: Sequence[tuple[Conversation, uuid.UUID]]) -> None:
    """The same of many conversations of one workspace that had no owner, each once."""
    if not owners:
        return
    here = owners[0][0].workspace_id
    asked = [(conversation.id, user_id) for conversation, user_id in owners]
    theirs = tuple_(ConversationParticipant.conversation_id, ConversationParticipant.user_id)
    held = select(ConversationParticipant).where(ConversationParticipant.workspace_id == here, theirs.in_(asked))
    held = held.order_by(ConversationParticipant.id).with_for_update(key_share=True)
    there = (await db.scalars(held.execution_options(populate_existing=True))).all()
    for row in there:
        row.role = "owner"
    await db.flush()
    for row in there:
        _tell(db, "updated", row)
    missing = set(asked) - {(row.conversation_id, row.user_id) for row in there}
    if not missing:
        return
    made = await db.scalars(
        insert(ConversationParticipant)
        .values(
            [
                {"workspace_id": here, "id": new_id(), "conversation_id": talk, "user_id": user_id, "role": "owner"}
                for talk, user_id in sorted(missing)
            ]
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "conversation_id", "user_id"])
        .returning(ConversationParticipant)
    )
    for row in made:
        _tell(db, "created", row)
        missing.discard((row.conversation_id, row.user_id))
    for conversation, user_id in owners:  # who has entered just now
        if (conversation.id, user_id) in missing:
            await make_owner(db, conversation, user_id)


async def release_owner(db: AsyncSession, conversation: Conversation, *, but: uuid.UUID | None = None) -> None:
    """Nobody is the conversation's owner, except ``but``."""
    await release_owners(db, [conversation], but=but)


async def release_owners(
    db: AsyncSession, conversations: Sequence[Conversation], *, but: uuid.UUID | None = None
) -> None:
    """The same of many conversations of one workspace."""
    if not conversations:
        return
    released = await db.scalars(
        update(ConversationParticipant)
        .where(
            ConversationParticipant.workspace_id == conversations[0].workspace_id,
            ConversationParticipant.conversation_id.in_([conversation.id for conversation in conversations]),
            ConversationParticipant.role == "owner",
            ConversationParticipant.user_id.is_distinct_from(but),
        )
        .values(role="participant")
        .returning(ConversationParticipant)
        .execution_options(populate_existing=True)
    )
    for row in released:
        _tell(db, "updated", row, msgspec.structs.replace(_shown(row), role="owner"))


class ReadState(msgspec.Struct, rename="camel"):
    """How far the member who asks has read a conversation.

    ``unreadCount`` is of what others said with the contact since then; at most 1000 are counted.
    """

    conversation_id: uuid.UUID
    user_id: uuid.UUID
    last_read_at: datetime | None
    unread_count: int


async def read_state(db: AsyncSession, reader: Identity, conversation: Conversation) -> ReadState:
    """How far ``reader`` has read."""
    last_read_at = await db.scalar(
        select(ConversationParticipant.last_read_at).where(
            ConversationParticipant.workspace_id == conversation.workspace_id,
            ConversationParticipant.conversation_id == conversation.id,
            ConversationParticipant.user_id == reader.user_id,
        )
    )
    some = (
        select(1)
        .where(
            ConversationMessage.workspace_id == conversation.workspace_id,
            ConversationMessage.conversation_id == conversation.id,
            *_said_by_others(reader),
            *([] if last_read_at is None else [ConversationMessage.created_at > last_read_at]),
        )
        .limit(MOST_UNREAD)
        .subquery()
    )
    unread = await db.scalar(select(func.count()).select_from(some))
    return ReadState(conversation.id, reader.user_id, last_read_at, unread or 0)


async def read_up_to(
    db: AsyncSession,
    reader: Identity,
    conversation: Conversation,
    *,
    message_id: uuid.UUID | None = None,
    at: datetime | None = None,
) -> None:
    """The member has read up to this message, or this time: never back, and not what has not been said yet.

    Whoever reads without taking part is an observer from now on.
    """
    if (message_id is None) == (at is None):
        raise Invalid({"lastReadMessageId": "say either this or `at`"})
    if message_id is not None:
        at = await db.scalar(
            select(ConversationMessage.created_at).where(
                ConversationMessage.workspace_id == conversation.workspace_id,
                ConversationMessage.conversation_id == conversation.id,
                ConversationMessage.id == message_id,
            )
        )
        if at is None:
            raise Invalid({"lastReadMessageId": "refers to no message of this conversation"})
    assert at is not None
    until = min(at, now())
    is_news = ConversationParticipant.last_read_at.is_(None) | (ConversationParticipant.last_read_at < until)
    await _enter(db, conversation, reader.user_id, {"last_read_at": until}, is_news, role="observer")
    # At once what they were told of it; what somebody is being told just now is read when the log tells of this.
    await notifications.read_all(
        db, conversation.workspace_id, reader.user_id, until=until, subject_ids=[conversation.id]
    )


async def follow(db: AsyncSession, follower: Identity, conversation: Conversation) -> None:
    """The member takes part, and is told what is new in the conversation."""
    heard = {"notifications_enabled": True}
    is_news = ConversationParticipant.notifications_enabled.is_(False)
    await _enter(db, conversation, follower.user_id, heard, is_news, role="participant")
    is_observer = ConversationParticipant.role == "observer"
    await _enter(db, conversation, follower.user_id, {"role": "participant"}, is_observer)


async def unfollow(db: AsyncSession, follower: Identity, conversation: Conversation) -> None:
    """The member is told nothing of what is new in the conversation, even if it is theirs."""
    silent = {"notifications_enabled": False}
    is_news = ConversationParticipant.notifications_enabled.is_(True)
    await _enter(db, conversation, follower.user_id, silent, is_news, role="observer")


def has_unread(reader: Identity) -> ColumnElement[bool]:
    """Whether others have said something in a conversation lately that ``reader`` has not read."""
    mine = (
        ConversationParticipant.workspace_id == Conversation.workspace_id,
        ConversationParticipant.conversation_id == Conversation.id,
        ConversationParticipant.user_id == reader.user_id,
    )
    read = select(ConversationParticipant.last_read_at).where(*mine).correlate(Conversation).scalar_subquery()
    since = func.coalesce(read, literal_column("'-infinity'::timestamptz"))
    return and_(
        # The first two spare most conversations a look at their messages.
        Conversation.last_message_at > func.now() - UNREAD_WITHIN,
        ~exists(
            select(1)
            .where(*mine, ConversationParticipant.last_read_at >= Conversation.last_message_at)
            .correlate(Conversation)
        ),
        exists(
            select(1)
            .where(
                ConversationMessage.workspace_id == Conversation.workspace_id,
                ConversationMessage.conversation_id == Conversation.id,
                ConversationMessage.created_at > since,
                *_said_by_others(reader),
            )
            .correlate(Conversation)
        ),
    )


def _said_by_others(reader: Identity) -> tuple[ColumnElement[bool], ...]:
    return (
        ConversationMessage.is_internal.is_(False),
        ConversationMessage.sender_user_id.is_distinct_from(reader.user_id),
    )


async def _enter(
    db: AsyncSession,
    conversation: Conversation,
    user_id: uuid.UUID,
    changes: dict[str, Any],
    is_news: ColumnElement[bool],
    **at_first: Any,
) -> None:
    """The member takes part, with these changes if they are news; whichever of two at once came first."""
    theirs = (
        ConversationParticipant.workspace_id == conversation.workspace_id,
        ConversationParticipant.conversation_id == conversation.id,
        ConversationParticipant.user_id == user_id,
    )
    held = select(ConversationParticipant).where(*theirs).with_for_update(key_share=True)
    held = held.execution_options(populate_existing=True)
    there = await db.scalar(held)
    if there is None:
        made = await db.scalar(
            insert(ConversationParticipant)
            .values(
                workspace_id=conversation.workspace_id,
                id=new_id(),
                conversation_id=conversation.id,
                user_id=user_id,
                **at_first,
                **changes,
            )
            .on_conflict_do_nothing(index_elements=["workspace_id", "conversation_id", "user_id"])
            .returning(ConversationParticipant)
        )
        if made is not None:
            _tell(db, "created", made)
            return
        there = (await db.scalars(held)).one()
    before = _shown(there)
    changed = await db.scalar(
        update(ConversationParticipant)
        .where(*theirs, is_news)
        .values(**changes)
        .returning(ConversationParticipant)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    if changed is not None:
        _tell(db, "updated", changed, before)


def _tell(
    db: AsyncSession, what: str, row: ConversationParticipant, before: ConversationParticipantView | None = None
) -> None:
    events.record(db, f"conversation_participant.{what}", row, _shown(row), before=before)


def _shown(row: ConversationParticipant) -> ConversationParticipantView:
    return msgspec.convert(row, ConversationParticipantView, from_attributes=True)
