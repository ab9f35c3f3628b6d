"""Channels: who knows of one, how one begins, changes and ends; and the one that two people have."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid
from comms.permissions import ADMINISTRATORS
from comms.team import enclosing
from comms.team.belonging import belong, members_of
from models.base import new_id
from models.communications import TeamChannel, TeamChannelMember, TeamChannelView
from models.core import User, WorkspaceMember

RESTRICTED = ("type", "is_private")
"""What only a channel's creator and administrators change."""


def closed_to(member: Identity) -> Select[uuid.UUID]:
    """The ids of the channels that the member knows nothing of: private ones of others, whatever the member's role."""
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
        TeamChannel.workspace_id == member.workspace_id, TeamChannel.is_private, ~belongs
    )


async def open_all(db: AsyncSession, founder: Identity, many: Sequence[Mapping[str, Any]]) -> list[TeamChannel]:
    """There are these channels, and who founds them is the first to belong to each."""
    await mentions.expect_active(db, founder.workspace_id, founder.user_id)
    if any(values.get("type") == "direct" for values in many):
        raise Invalid({"type": "direct is between two: PUT /api/v1/team-channels/direct/{userId} opens it"})
    channels = [
        TeamChannel(
            workspace_id=founder.workspace_id, id=new_id(), created_by=founder.user_id, member_count=1, **values
        )
        for values in many
    ]
    db.add_all(channels)
    await db.flush()  # first: nobody belongs to a channel that is not there
    await belong(db, founder.workspace_id, [(channel, founder.user_id, None) for channel in channels], counted=True)
    return channels


async def open_direct(db: AsyncSession, asker: Identity, user_id: uuid.UUID) -> TeamChannel:
    """The one channel of these two, who both belong to it; opened and told if there was none yet.

    However many ask at once, in whichever direction: the pair is unique, and whoever comes second finds the first's.
    """
    if user_id == asker.user_id:
        raise Invalid({"userId": "is yourself: a direct channel is between two"})
    await mentions.expect_active(db, asker.workspace_id, user_id)
    first, second = sorted((asker.user_id, user_id))
    row: TeamChannel | None = await db.scalar(
        insert(TeamChannel)
        .values(
            workspace_id=asker.workspace_id,
            id=new_id(),
            created_by=asker.user_id,
            name=await _named_after(db, asker.workspace_id, (first, second)),
            type="direct",
            is_private=True,
            member_count=2,
            first_user_id=first,
            second_user_id=second,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "first_user_id", "second_user_id"])
        .returning(TeamChannel)
    )
    if row is None:
        return (await db.scalars(_between(asker.workspace_id, first, second))).one()
    await belong(db, asker.workspace_id, [(row, first, 1), (row, second, 2)], counted=True)
    events.record(db, "team_channel.created", row, msgspec.convert(row, TeamChannelView, from_attributes=True))
    return row


async def change(db: AsyncSession, asker: Identity, channel: TeamChannel, values: Mapping[str, Any]) -> None:
    """The channel, which the caller holds, has these values; it is closed by those who belong to it.

    Whoever no longer knows of it then is told that it is closed to them.
    """
    changed = {name for name, value in values.items() if getattr(channel, name) != value}
    if channel.type == "direct" and changed & set(RESTRICTED):
        raise Conflict("a direct channel stays one: open another for more people")
    if "type" in changed and values["type"] == "direct":
        raise Conflict("no channel becomes direct: PUT /api/v1/team-channels/direct/{userId} opens one")
    there = await members_of(db, channel)
    closes = "is_private" in changed and values["is_private"]
    if closes and asker.user_id not in there:
        raise Conflict("join the channel first: once it is closed only those who belong to it know of it")
    if changed & set(RESTRICTED):
        expect_in_charge(asker, channel, "change its type, or who knows of it")
    if closes:
        others = select(WorkspaceMember.user_id).where(
            WorkspaceMember.workspace_id == channel.workspace_id,
            WorkspaceMember.is_active,
            WorkspaceMember.user_id.not_in(there),
        )
        audience = set(await db.scalars(others))
        # As they knew it: what it is called from now on is not theirs to know.
        looked = msgspec.convert(channel, TeamChannelView, from_attributes=True)
        events.record(db, "team_channel.closed", channel, looked, audience=audience)
    for name, value in values.items():
        setattr(channel, name, value)


async def before_removal(db: AsyncSession, asker: Identity, channel: TeamChannel) -> None:
    """Those who belong to the channel, which the caller holds, will hear that it is gone; raises if it may not go."""
    if channel.type == "direct":
        raise Conflict("a direct channel is the other's too: it stays")
    expect_in_charge(asker, channel, "delete it")
    if channel.is_private:
        events.keep_to(db, channel.id, await members_of(db, channel))
    await enclosing.remove_all_files(db, channel)


def expect_in_charge(asker: Identity, channel: TeamChannel, what: str) -> None:
    """Raises ``Forbidden`` for whoever neither made the channel nor is an administrator."""
    if asker.user_id != channel.created_by and asker.role not in ADMINISTRATORS:
        raise Forbidden(f"Only the channel's creator and administrators may {what}.")


def _between(workspace_id: uuid.UUID, first: uuid.UUID, second: uuid.UUID) -> Select[TeamChannel]:
    return select(TeamChannel).where(
        TeamChannel.workspace_id == workspace_id,
        TeamChannel.first_user_id == first,
        TeamChannel.second_user_id == second,
    )


async def _named_after(db: AsyncSession, workspace_id: uuid.UUID, user_ids: tuple[uuid.UUID, uuid.UUID]) -> str:
    """The two by their names, for whoever shows a name."""
    found = await db.scalars(select(User).where(User.id.in_(user_ids)).order_by(User.id))
    return ", ".join(" ".join(filter(None, (user.first_name, user.last_name))) or user.email for user in found)
