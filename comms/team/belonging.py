"""Who belongs to a channel: they come, they go, and in an announcement channel some of them are named to speak."""

import uuid
from collections import Counter
from collections.abc import Sequence

import msgspec
from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Missing
from comms.permissions import ADMINISTRATORS
from models.base import new_id
from models.communications import (
    TeamChannel,
    TeamChannelMember,
    TeamChannelMemberView,
    TeamChannelReading,
    TeamChannelReadingView,
)

Comer = tuple[TeamChannel, uuid.UUID, int | None]
"""Whoever comes to belong: to which channel, who, and on which of a direct one's two seats."""


async def join(db: AsyncSession, asker: Identity, channel: TeamChannel, user_id: uuid.UUID) -> TeamChannelMember:
    """The member belongs to the channel, which the caller holds and which counts one more.

    Raises ``Conflict`` when they did before, and for a direct channel, which is its two members'.
    """
    if not await knows(db, asker, channel):  # any more: they were removed while they waited
        raise Missing(f"There is no team channel {channel.id} in this workspace.")
    if channel.type == "direct":
        raise Conflict("a direct channel is between two: make a group for more")
    await mentions.expect_active(db, channel.workspace_id, user_id)
    rows = await belong(db, channel.workspace_id, [(channel, user_id, None)])
    if not rows:
        there = await db.scalar(_membership(channel, user_id))
        raise Conflict("this member belongs to the channel already", conflicting_id=None if there is None else there.id)
    return rows[0]


async def belong(
    db: AsyncSession, workspace_id: uuid.UUID, comers: Sequence[Comer], *, counted: bool = False
) -> list[TeamChannelMember]:
    """They belong to the channels, and have read what was said until now; the rows of who did not before, told.

    The channels count them, unless they do already.
    """
    values = [
        {
            "workspace_id": workspace_id,
            "id": new_id(),
            "channel_id": channel.id,
            "channel_type": channel.type or "group",
            "user_id": user_id,
            "seat": seat,
        }
        for channel, user_id, seat in comers
    ]
    rows = list(
        await db.scalars(
            insert(TeamChannelMember)
            .values(values)
            .on_conflict_do_nothing(index_elements=["workspace_id", "channel_id", "user_id"])
            .returning(TeamChannelMember)
        )
    )
    if not rows:
        return []
    here = {(row.channel_id, row.user_id) for row in rows}
    readings = await db.scalars(
        insert(TeamChannelReading)
        .values(
            [
                {
                    "workspace_id": workspace_id,
                    "id": new_id(),
                    "channel_id": channel.id,
                    "user_id": user_id,
                    "read_position": channel.last_position or 0,
                }
                for channel, user_id, _ in comers
                if (channel.id, user_id) in here
            ]
        )
        .returning(TeamChannelReading)
    )
    if not counted:
        for channel_id, more in Counter(row.channel_id for row in rows).items():
            await _count(db, workspace_id, channel_id, more)
    for row in rows:
        _tell(db, "created", row)
    for reading in readings:
        # Nothing has been said since.
        events.record(db, "team_channel_reading.created", reading, _unread(reading))
    return rows


async def leave(db: AsyncSession, asker: Identity, channel: TeamChannel, user_id: uuid.UUID) -> None:
    """The member no longer belongs to the channel, which the caller holds and which counts one less.

    Everybody may leave; others are removed by the channel's creator and by administrators. Nobody leaves a direct
    channel, and the last one does not leave a private one: nobody would know of it any more.
    """
    if asker.user_id not in (user_id, channel.created_by) and asker.role not in ADMINISTRATORS:
        raise Forbidden("Only the channel's creator and administrators may remove others.")
    row = await db.scalar(_membership(channel, user_id))
    if row is None:
        raise Missing(f"The member {user_id} does not belong to this channel.")
    if channel.type == "direct":
        raise Conflict("a direct channel is between two: neither of them leaves it")
    if channel.is_private and channel.member_count <= 1:
        raise Conflict("you are the last in a private channel: delete it, or add somebody first")
    await db.execute(
        delete(TeamChannelMember)
        .where(TeamChannelMember.workspace_id == row.workspace_id, TeamChannelMember.id == row.id)
        .execution_options(synchronize_session=False)
    )
    await db.execute(
        delete(TeamChannelReading)
        .where(
            TeamChannelReading.workspace_id == row.workspace_id,
            TeamChannelReading.channel_id == channel.id,
            TeamChannelReading.user_id == user_id,
        )
        .execution_options(synchronize_session=False)
    )
    await _count(db, channel.workspace_id, channel.id, -1)
    if channel.is_private:
        events.keep_to(db, channel.id, [user_id])
    _tell(db, "deleted", row)


async def name_poster(db: AsyncSession, channel: TeamChannel, user_id: uuid.UUID) -> TeamChannelMember:
    """The member may speak in the announcement channel, which the caller holds."""
    if channel.type != "announcement":
        raise Conflict(f"in a {channel.type} channel everybody speaks: posters are for announcement channels")
    return await _let_post(db, channel, user_id, may=True)


async def take_back_poster(db: AsyncSession, channel: TeamChannel, user_id: uuid.UUID) -> TeamChannelMember:
    """The member no longer speaks in the announcement channel, unless as an administrator."""
    return await _let_post(db, channel, user_id, may=False)


async def members_of(db: AsyncSession, channel: TeamChannel) -> set[uuid.UUID]:
    """Who belongs to the channel."""
    belonging = select(TeamChannelMember.user_id).where(
        TeamChannelMember.workspace_id == channel.workspace_id, TeamChannelMember.channel_id == channel.id
    )
    return set(await db.scalars(belonging))


async def knows(db: AsyncSession, member: Identity, channel: TeamChannel) -> bool:
    """Whether the member knows of the channel."""
    return not channel.is_private or await db.scalar(_membership(channel, member.user_id)) is not None


async def expect_may_speak(db: AsyncSession, sender: Identity, channel: TeamChannel) -> None:
    """In an announcement channel only administrators speak, and who they have named; raises ``Forbidden``."""
    if channel.type != "announcement" or sender.role in ADMINISTRATORS:
        return
    row = await db.scalar(_membership(channel, sender.user_id))
    if row is None or not row.is_poster:
        raise Forbidden("Only administrators, and whom they have named, speak in an announcement channel.")


async def _let_post(db: AsyncSession, channel: TeamChannel, user_id: uuid.UUID, *, may: bool) -> TeamChannelMember:
    row: TeamChannelMember | None = await db.scalar(_membership(channel, user_id))
    if row is None:
        raise Missing(f"The member {user_id} does not belong to this channel: add them first.")
    if row.is_poster != may:
        row.is_poster = may
        await db.flush()
        _tell(db, "updated", row)
    return row


def _membership(channel: TeamChannel, user_id: uuid.UUID) -> Select[TeamChannelMember]:
    return select(TeamChannelMember).where(
        TeamChannelMember.workspace_id == channel.workspace_id,
        TeamChannelMember.channel_id == channel.id,
        TeamChannelMember.user_id == user_id,
    )


async def _count(db: AsyncSession, workspace_id: uuid.UUID, channel_id: uuid.UUID, more: int) -> None:
    await db.execute(
        update(TeamChannel)
        .where(TeamChannel.workspace_id == workspace_id, TeamChannel.id == channel_id)
        .values(member_count=TeamChannel.member_count + more, updated_at=TeamChannel.updated_at)
        .execution_options(synchronize_session=False)
    )


def _tell(db: AsyncSession, what: str, row: TeamChannelMember) -> None:
    view = msgspec.convert(row, TeamChannelMemberView, from_attributes=True)
    events.record(db, f"team_channel_member.{what}", row, view)


def _unread(row: TeamChannelReading) -> TeamChannelReadingView:
    return TeamChannelReadingView(
        id=row.id,
        channel_id=row.channel_id,
        user_id=row.user_id,
        read_position=row.read_position,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
