"""Who follows a thread: who began it, answers in it or is called on in it, and whoever says so; until they say not."""

import uuid
from collections.abc import Iterable

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.credentials import Identity
from comms.team.belonging import members_of
from models.base import new_id
from models.communications import (
    TeamChannel,
    TeamChannelMember,
    TeamMessage,
    TeamThreadFollowing,
    TeamThreadFollowingView,
)


async def followers_of(db: AsyncSession, workspace_id: uuid.UUID, message_id: uuid.UUID) -> list[uuid.UUID]:
    """Who follows the thread that this message began, and still may see it."""
    belongs = (
        select(TeamChannelMember.id)
        .where(
            TeamChannelMember.workspace_id == workspace_id,
            TeamChannelMember.channel_id == TeamThreadFollowing.channel_id,
            TeamChannelMember.user_id == TeamThreadFollowing.user_id,
        )
        .exists()
    )
    following = (
        select(TeamThreadFollowing.user_id)
        .join(
            TeamChannel,
            (TeamChannel.workspace_id == TeamThreadFollowing.workspace_id)
            & (TeamChannel.id == TeamThreadFollowing.channel_id),
        )
        .where(
            TeamThreadFollowing.workspace_id == workspace_id,
            TeamThreadFollowing.message_id == message_id,
            TeamThreadFollowing.is_following,
            or_(~TeamChannel.is_private, belongs),
        )
        .order_by(TeamThreadFollowing.user_id)
    )
    return list(await db.scalars(following))


async def follow(db: AsyncSession, asker: Identity, message: TeamMessage) -> TeamThreadFollowing:
    """The asker follows the thread that the message, which the caller holds, begins or began."""
    return await _say(db, asker, message, following=True)


async def unfollow(db: AsyncSession, asker: Identity, message: TeamMessage) -> TeamThreadFollowing:
    """The asker does not follow the thread, even when they answer or are called on."""
    return await _say(db, asker, message, following=False)


async def draw_in(db: AsyncSession, channel: TeamChannel, thread: TeamMessage, user_ids: Iterable[uuid.UUID]) -> None:
    """Those of these members who know of the channel follow the thread, unless they have said that they do not.

    Who is new is told.
    """
    drawn = set(user_ids)
    if channel.is_private:
        drawn &= await members_of(db, channel)
    values = [
        {
            "workspace_id": thread.workspace_id,
            "id": new_id(),
            "channel_id": thread.channel_id,
            "message_id": thread.id,
            "user_id": user_id,
        }
        for user_id in sorted(drawn)
    ]
    rows = await db.scalars(
        insert(TeamThreadFollowing)
        .values(values)
        .on_conflict_do_nothing(index_elements=["workspace_id", "message_id", "user_id"])
        .returning(TeamThreadFollowing)
    )
    for row in rows:
        _tell(db, "created", row)


async def _say(db: AsyncSession, asker: Identity, message: TeamMessage, *, following: bool) -> TeamThreadFollowing:
    thread_id = message.parent_message_id or message.id
    mine = select(TeamThreadFollowing).where(
        TeamThreadFollowing.workspace_id == asker.workspace_id,
        TeamThreadFollowing.message_id == thread_id,
        TeamThreadFollowing.user_id == asker.user_id,
    )
    row: TeamThreadFollowing | None = await db.scalar(
        insert(TeamThreadFollowing)
        .values(
            workspace_id=asker.workspace_id,
            id=new_id(),
            channel_id=message.channel_id,
            message_id=thread_id,
            user_id=asker.user_id,
            is_following=following,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "message_id", "user_id"])
        .returning(TeamThreadFollowing)
    )
    if row is not None:
        _tell(db, "created", row)
        return row
    there = (await db.scalars(mine.with_for_update())).one()
    if there.is_following != following:
        there.is_following = following
        await db.flush()
        _tell(db, "updated", there)
    return there


def _tell(db: AsyncSession, what: str, row: TeamThreadFollowing) -> None:
    view = msgspec.convert(row, TeamThreadFollowingView, from_attributes=True)
    events.record(db, f"team_thread_following.{what}", row, view)
