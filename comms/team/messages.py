"""What is said in a channel: by whom it may be, in its place, put differently, pinned, and taken back."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import nh3
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import events
from comms.credentials import Identity
from comms.errors import Forbidden, Invalid, Missing
from comms.permissions import ADMINISTRATORS
from comms.team import cards, enclosing, threads
from comms.team.belonging import expect_may_speak, knows
from comms.team.calling import called_anew, called_in
from comms.team.channels import closed_to
from models.base import new_id, now
from models.communications import (
    TeamChannel,
    TeamMessage,
    TeamMessageReaction,
    TeamMessageRevision,
    TeamMessageView,
)


async def post(db: AsyncSession, sender: Identity, values: Mapping[str, Any]) -> TeamMessage:
    """The member has said something in a channel, or in answer to a message of it; whom it mentions is told.

    In an announcement channel only administrators speak, and who they have named; in a private one only who belongs
    to it, and is called on.
    """
    channel = await _held(db, sender, values["channel_id"])
    await expect_may_speak(db, sender, channel)
    values = _sound(dict(values))
    links, attachment_ids = values.pop("links"), values.pop("attachment_ids")
    named = values.pop("mentions")
    if not values["content"].strip() and not attachment_ids:
        raise Invalid({"content": "must say something, unless a file is attached"})
    called = await called_in(db, sender, channel, values["content"], named)
    thread = await _thread(db, channel, values["parent_message_id"])
    row = TeamMessage(
        workspace_id=sender.workspace_id,
        id=new_id(),
        sender_id=sender.user_id,
        position=channel.last_position + 1,
        created_at=now(),
        mentions=called.user_ids,
        mentions_channel=called.everybody,
        **values,
    )
    files = await enclosing.taken_in(db, sender, channel, row.id, attachment_ids)
    row.attachments = enclosing.shown(files)
    db.add(row)
    await db.flush()
    db.add_all([*files, *await cards.linked(db, sender, row, links)])
    await db.execute(
        update(TeamChannel)
        .where(TeamChannel.workspace_id == row.workspace_id, TeamChannel.id == row.channel_id)
        # Whoever hears of the message knows all three; that the channel was changed nobody has said.
        .values(last_position=row.position, last_message_at=row.created_at, updated_at=TeamChannel.updated_at)
        .execution_options(synchronize_session=False)
    )
    if thread is not None:
        await _count_answer(db, row, 1)
        await threads.draw_in(db, channel, thread, [thread.sender_id, row.sender_id, *called.user_ids])
    return row


async def edit(db: AsyncSession, sender: Identity, row: TeamMessage, values: Mapping[str, Any]) -> None:
    """The sender has put it differently, and everybody sees that and what it was; whom it mentions anew is told."""
    _expect_there(row)
    if row.sender_id != sender.user_id:
        raise Forbidden("Only its sender may edit a message.")
    channel = await db.get_one(TeamChannel, (row.workspace_id, row.channel_id))
    await expect_may_speak(db, sender, channel)
    values = _sound({"content": row.content, "content_type": row.content_type, **values})
    if not values["content"].strip() and not row.attachments:
        raise Invalid({"content": "must say something, unless a file is attached"})
    called = await called_anew(db, sender, channel, row, values["content"], values.pop("mentions", None))
    if (row.content, row.content_type) != (values["content"], values["content_type"]):
        await _remember(db, row)
    changed = {**values, "mentions": called.user_ids, "mentions_channel": called.everybody}
    if any(getattr(row, name) != value for name, value in changed.items()):
        row.is_edited, row.edited_at = True, now()
    for name, value in changed.items():
        setattr(row, name, value)


async def remove(db: AsyncSession, asker: Identity, row: TeamMessage) -> None:
    """Nothing is left of what the message said, nor of what was felt about it, attached, or said before it was edited.

    Its sender takes it back, or an administrator removes it. It keeps its place, so that others are still counted
    right, and is seen as deleted as long as the thread that it began has answers.
    """
    _expect_there(row)
    if row.sender_id != asker.user_id and asker.role not in ADMINISTRATORS:
        raise Forbidden("Only its sender or an administrator may delete a message.")
    for table in (TeamMessageRevision, TeamMessageReaction):
        await db.execute(
            delete(table)
            .where(table.workspace_id == row.workspace_id, table.message_id == row.id)
            .execution_options(synchronize_session=False)
        )
    await enclosing.remove_files(db, row)
    await cards.unlink(db, row)
    row.content, row.attachments, row.mentions = "", [], []
    row.mentions_channel = row.is_pinned = row.is_edited = False
    row.edited_at, row.deleted_at = None, now()
    await db.flush()
    await _tell_deleted(db, row)
    if row.parent_message_id is not None:
        await _count_answer(db, row, -1)


async def pin(db: AsyncSession, asker: Identity, row: TeamMessage, *, pinned: bool) -> bool:
    """The message, which the caller holds, is pinned for everybody, or not; whether that is news."""
    _expect_there(row)
    await expect_may_speak(db, asker, await db.get_one(TeamChannel, (row.workspace_id, row.channel_id)))
    was, row.is_pinned = row.is_pinned, pinned
    return was != pinned


def _expect_there(row: TeamMessage) -> None:
    """``Missing`` when only its place is left."""
    if row.deleted_at is not None:
        raise Missing("This message was deleted.")


def _sound(values: dict[str, Any]) -> dict[str, Any]:
    """What a member may say: HTML without what a browser would run, and nothing in our name."""
    if values["content_type"] == "system":
        raise Invalid({"contentType": "system is what we say ourselves"})
    if values["content_type"] == "html":
        values["content"] = nh3.clean(values["content"])
    return values


async def _held(db: AsyncSession, sender: Identity, channel_id: uuid.UUID) -> TeamChannel:
    """The channel, locked: what is said in it comes one after another. One that the sender does not know is none."""
    channel: TeamChannel | None = await db.scalar(
        select(TeamChannel)
        .where(TeamChannel.id == channel_id, TeamChannel.id.not_in(closed_to(sender)))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    # Asked again now that nobody comes or goes: who was removed while we waited for the lock is gone.
    if channel is None or not await knows(db, sender, channel):
        raise Invalid({"channelId": "refers to nothing in this workspace"})
    return channel


async def _thread(db: AsyncSession, channel: TeamChannel, parent_id: uuid.UUID | None) -> TeamMessage | None:
    """The message that began the thread, locked; raises ``Invalid`` when it is none of the channel's, or an answer."""
    if parent_id is None:
        return None
    parent = await db.get(TeamMessage, (channel.workspace_id, parent_id), with_for_update=True, populate_existing=True)
    if parent is None or parent.channel_id != channel.id or (parent.deleted_at and not parent.thread_count):
        raise Invalid({"parentMessageId": "refers to no message of this channel"})
    if parent.parent_message_id is not None:
        raise Invalid({"parentMessageId": "is an answer itself: answer the message that began the thread"})
    return parent


async def _count_answer(db: AsyncSession, answer: TeamMessage, more: int) -> None:
    await db.execute(
        update(TeamMessage)
        .where(TeamMessage.workspace_id == answer.workspace_id, TeamMessage.id == answer.parent_message_id)
        .values(thread_count=TeamMessage.thread_count + more, updated_at=TeamMessage.updated_at)
        .execution_options(synchronize_session=False)
    )


async def _remember(db: AsyncSession, row: TeamMessage) -> None:
    """What the message, which the caller holds, said until now."""
    last = select(func.coalesce(func.max(TeamMessageRevision.number), 0)).where(
        TeamMessageRevision.workspace_id == row.workspace_id, TeamMessageRevision.message_id == row.id
    )
    db.add(
        TeamMessageRevision(
            workspace_id=row.workspace_id,
            channel_id=row.channel_id,
            message_id=row.id,
            number=(await db.scalar(last) or 0) + 1,
            content=row.content,
            content_type=row.content_type,
            said_at=row.edited_at or row.created_at,
        )
    )


async def _tell_deleted(db: AsyncSession, row: TeamMessage) -> None:
    shown = await db.scalar(
        select(TeamMessage)
        .where(TeamMessage.workspace_id == row.workspace_id, TeamMessage.id == row.id)
        .options(selectinload(TeamMessage.reaction_rows), selectinload(TeamMessage.link_rows))
        .execution_options(populate_existing=True)
    )
    view = msgspec.convert(shown, TeamMessageView, from_attributes=True)
    events.record(db, "team_message.deleted", row, view)
