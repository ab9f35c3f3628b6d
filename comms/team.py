"""Talk within the team: who belongs to a channel, what is said there, and whom it calls on."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid, Missing
from comms.permissions import ADMINISTRATORS
from models.base import new_id, now
from models.communications import TeamChannel, TeamChannelMember, TeamChannelMemberView, TeamMessage


def is_closed(channel: TeamChannel) -> bool:
    """Whether only those who belong to the channel know of it."""
    return channel.is_private or channel.type == "direct"


def closed_to(member: Identity) -> Select[uuid.UUID]:
    """The ids of the channels that the member knows nothing of: private or direct ones, whatever the member's role."""
    belongs = (
        select(TeamChannelMember.id)
        .where(
            TeamChannelMember.workspace_id == TeamChannel.workspace_id,
            TeamChannelMember.channel_id == TeamChannel.id,
            TeamChannelMember.user_id == member.user_id,
        )
        .correlate(TeamChannel)
        .exists()
    )
    return select(TeamChannel.id).where(
        TeamChannel.workspace_id == member.workspace_id,
        or_(TeamChannel.is_private, TeamChannel.type == "direct"),
        ~belongs,
    )


async def change(db: AsyncSession, asker: Identity, channel: TeamChannel, values: Mapping[str, Any]) -> None:
    """The channel, which the caller holds, has these values; it is closed by those who belong to it."""
    for name, value in values.items():
        setattr(channel, name, value)
    if is_closed(channel) and asker.user_id not in await _members_of(db, channel):
        raise Conflict("join the channel first: once it is closed only those who belong to it know of it")


async def before_removal(db: AsyncSession, channel: TeamChannel) -> None:
    """Those who belong to the channel, which the caller holds, will hear that it is gone."""
    if is_closed(channel):
        events.keep_to(db, channel.id, await _members_of(db, channel))


async def open_all(db: AsyncSession, founder: Identity, many: Sequence[Mapping[str, Any]]) -> list[TeamChannel]:
    """There are these channels, and who founds them is the first to belong to each."""
    await mentions.expect_active(db, founder.workspace_id, founder.user_id)
    channels = [
        TeamChannel(
            workspace_id=founder.workspace_id, id=new_id(), created_by=founder.user_id, member_count=1, **values
        )
        for values in many
    ]
    db.add_all(channels)
    await db.flush()  # first: nobody belongs to a channel that is not there
    belonging = [
        TeamChannelMember(
            workspace_id=founder.workspace_id, id=new_id(), channel_id=channel.id, user_id=founder.user_id
        )
        for channel in channels
    ]
    db.add_all(belonging)
    await db.flush()
    for row in belonging:
        _tell(db, "created", row)
    return channels


async def join(db: AsyncSession, channel: TeamChannel, user_id: uuid.UUID) -> TeamChannelMember:
    """The member belongs to the channel, which counts one more; raises ``Conflict`` when they did before."""
    await mentions.expect_active(db, channel.workspace_id, user_id)
    row: TeamChannelMember | None = await db.scalar(
        insert(TeamChannelMember)
        .values(workspace_id=channel.workspace_id, id=new_id(), channel_id=channel.id, user_id=user_id)
        .on_conflict_do_nothing(index_elements=["workspace_id", "channel_id", "user_id"])
        .returning(TeamChannelMember)
    )
    if row is None:
        there = select(TeamChannelMember.id).where(
            TeamChannelMember.workspace_id == channel.workspace_id,
            TeamChannelMember.channel_id == channel.id,
            TeamChannelMember.user_id == user_id,
        )
        raise Conflict("this member belongs to the channel already", conflicting_id=await db.scalar(there))
    await _count(db, channel, 1)
    _tell(db, "created", row)
    return row


async def leave(db: AsyncSession, asker: Identity, channel: TeamChannel, user_id: uuid.UUID) -> None:
    """The member no longer belongs to the channel, which counts one less.

    Everybody may leave; others are removed by the channel's creator and by administrators.
    """
    if asker.user_id not in (user_id, channel.created_by) and asker.role not in ADMINISTRATORS:
        raise Forbidden("Only the channel's creator and administrators may remove others.")
    row = await db.scalar(
        delete(TeamChannelMember)
        .where(
            TeamChannelMember.workspace_id == channel.workspace_id,
            TeamChannelMember.channel_id == channel.id,
            TeamChannelMember.user_id == user_id,
        )
        .returning(TeamChannelMember)
        .execution_options(synchronize_session=False)
    )
    if row is None:
        raise Missing(f"The member {user_id} does not belong to this channel.")
    await _count(db, channel, -1)
    if is_closed(channel):
        events.keep_to(db, channel.id, [user_id])
    _tell(db, "deleted", row)


async def post(db: AsyncSession, sender: Identity, values: Mapping[str, Any]) -> TeamMessage:
    """The member has said something in a channel, or in answer to a message of it; whom it mentions is told.

    In an announcement channel only administrators speak; in a closed one only who belongs to it, and is called on.
    """
    channel: TeamChannel | None = await db.scalar(
        select(TeamChannel)
        .where(TeamChannel.id == values["channel_id"], TeamChannel.id.not_in(closed_to(sender)))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if channel is None:
        raise Invalid({"channelId": "refers to nothing in this workspace"})
    if channel.type == "announcement" and sender.role not in ADMINISTRATORS:
        raise Forbidden("Only administrators speak in an announcement channel.")
    called = await mentions.mentioned(db, sender.workspace_id, values["content"], values["mentions"])
    called = await _there(db, channel, called, values["mentions"])
    row = TeamMessage(
        workspace_id=sender.workspace_id,
        id=new_id(),
        sender_id=sender.user_id,
        created_at=now(),
        **{**values, "mentions": called},
    )
    if row.parent_message_id is not None:
        parent = await db.get(TeamMessage, (row.workspace_id, row.parent_message_id), with_for_update=True)
        if parent is None or parent.channel_id != row.channel_id:
            raise Invalid({"parentMessageId": "refers to no message of this channel"})
        parent.thread_count += 1
    db.add(row)
    await db.flush()
    await db.execute(
        update(TeamChannel)
        .where(TeamChannel.workspace_id == row.workspace_id, TeamChannel.id == row.channel_id)
        .values(last_message_at=row.created_at)
        .execution_options(synchronize_session=False)
    )
    return row


async def edit(db: AsyncSession, sender: Identity, row: TeamMessage, values: Mapping[str, Any]) -> None:
    """The sender has put it differently, and everybody sees that; whom it mentions now and did not before is told."""
    if row.sender_id != sender.user_id:
        raise Forbidden("Only its sender may edit a message.")
    before = list(row.mentions)
    content, named = values.get("content", row.content), values.get("mentions")
    called = await mentions.mentioned_anew(db, sender.workspace_id, before, row.content, content, named)
    channel = await db.get_one(TeamChannel, (row.workspace_id, row.channel_id))
    called = await _there(db, channel, called, named or [])
    values = {**values, "mentions": called}
    if any(getattr(row, name) != value for name, value in values.items()):
        row.is_edited, row.edited_at = True, now()
    for name, value in values.items():
        setattr(row, name, value)


async def forget_answer(db: AsyncSession, row: TeamMessage) -> None:
    """The message that ``row`` answers counts one answer less."""
    if row.parent_message_id is None:
        return
    await db.execute(
        update(TeamMessage)
        .where(TeamMessage.workspace_id == row.workspace_id, TeamMessage.id == row.parent_message_id)
        .values(thread_count=TeamMessage.thread_count - 1)
        .execution_options(synchronize_session=False)
    )


async def _members_of(db: AsyncSession, channel: TeamChannel) -> set[uuid.UUID]:
    belonging = select(TeamChannelMember.user_id).where(
        TeamChannelMember.workspace_id == channel.workspace_id, TeamChannelMember.channel_id == channel.id
    )
    return set(await db.scalars(belonging))


async def _there(
    db: AsyncSession, channel: TeamChannel, called: list[uuid.UUID], named: Collection[uuid.UUID]
) -> list[uuid.UUID]:
    """Those who are called on and know of the channel; raises ``Invalid`` when somebody who was named does not."""
    if not called or not is_closed(channel):
        return called
    belonging = await _members_of(db, channel)
    strangers = [user_id for user_id in named if user_id not in belonging]
    if strangers:
        raise Invalid({"mentions": f"names {strangers[0]}, who does not belong to this channel"})
    return [user_id for user_id in called if user_id in belonging]


async def _count(db: AsyncSession, channel: TeamChannel, more: int) -> None:
    await db.execute(
        update(TeamChannel)
        .where(TeamChannel.workspace_id == channel.workspace_id, TeamChannel.id == channel.id)
        .values(member_count=TeamChannel.member_count + more)
        .execution_options(synchronize_session=False)
    )


def _tell(db: AsyncSession, what: str, row: TeamChannelMember) -> None:
    view = msgspec.convert(row, TeamChannelMemberView, from_attributes=True)
    events.record(db, f"team_channel_member.{what}", row, view)
