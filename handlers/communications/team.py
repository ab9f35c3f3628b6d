"""Where the team talks, who belongs there and how far they have read."""

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from comms import team as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import administrator, person, reader, writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.communications import (
    TeamChannel,
    TeamChannelMember,
    TeamChannelMemberView,
    TeamChannelReading,
    TeamChannelReadingView,
    TeamChannelView,
)


async def change_channel(db: AsyncSession, identity: Identity, row: TeamChannel, values: dict[str, Any]) -> None:
    """Closed by nobody who would not see it then."""
    await stories.change(db, identity, row, values)


def read_by(identity: Identity) -> ColumnElement[bool]:
    """What somebody has read is theirs alone to know."""
    return TeamChannelReading.user_id == identity.user_id


def within(column: Any) -> Callable[[Identity], ColumnElement[bool]]:
    """Private and direct channels, and what is in them, are there for those who belong to them, and nobody else."""

    def seen(identity: Identity) -> ColumnElement[bool]:
        seen: ColumnElement[bool] = column.not_in(stories.closed_to(identity))
        return seen

    return seen


async def create_channel(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> TeamChannel:
    """A channel of the member who asks for it, and who is the first to belong to it."""
    [channel] = await stories.open_all(db, identity, [values])
    return channel


channels = crud(
    "/team-channels",
    TeamChannel,
    TeamChannelView,
    search=("name", "description"),
    filters=("type", "is_private", "created_by"),
    verbs=("list", "get", "create", "change"),
    whose=within(TeamChannel.id),
    create=create_channel,
    change=change_channel,
)
channels.create_all = stories.open_all
members = crud(
    "/team-channel-members",
    TeamChannelMember,
    TeamChannelMemberView,
    filters=("channel_id", "user_id"),
    verbs=READ,
    whose=within(TeamChannelMember.channel_id),
)
readings = crud(
    "/team-channel-readings",
    TeamChannelReading,
    TeamChannelReadingView,
    filters=("channel_id",),
    verbs=READ,
    whose=read_by,
)


@delete("/{row_id:uuid}", operation_id="delete_team_channel", guards=[writer])
async def remove_channel(db: Db, identity: Asker, row_id: RowId) -> None:
    """The channel is gone, with what was said in it. Its creator and administrators may; no direct channel goes."""
    await stories.before_removal(db, identity, await channels.find(db, identity, row_id, to_change=True))
    await channels.remove(db, identity, row_id)


@put("/direct/{user_id:uuid}", operation_id="open_direct_channel", guards=[writer], versioned=False)
async def direct(db: Db, identity: Asker, user_id: FromPath[uuid.UUID]) -> TeamChannelView:
    """The channel that you and the other member have, and nobody else: found, or opened now. There is only one."""
    view: TeamChannelView = channels.shown(await stories.open_direct(db, identity, user_id))
    return view


class Joining(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Who is to belong to a channel: the member who asks, unless another is named."""

    user_id: uuid.UUID | None = None


@listed(members, "/{channel_id:uuid}/members", operation_id="list_members_of_channel")
async def of_channel(
    request: Request, db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], asked: Any
) -> Page[TeamChannelMemberView]:
    """The members who belong to one channel."""
    await channels.find(db, identity, channel_id)
    return await members.listing.page(db, request, asked, TeamChannelMember.channel_id == channel_id)


@post("/{channel_id:uuid}/members", operation_id="join_team_channel", guards=[writer])
async def join(
    db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], data: JSONBody[Joining]
) -> TeamChannelMemberView:
    """You belong to the channel, or the member whom you name does. Into a private one, its members bring others."""
    channel = await channels.find(db, identity, channel_id, to_change=True)
    row = await stories.join(db, identity, channel, data.user_id or identity.user_id)
    view: TeamChannelMemberView = members.shown(row)
    return view


@delete(
    "/{channel_id:uuid}/members/{user_id:uuid}",
    operation_id="leave_team_channel",
    guards=[person],
    versioned=False,
)
async def leave(db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], user_id: FromPath[uuid.UUID]) -> None:
    """The member no longer belongs to the channel. Only its creator and administrators remove others."""
    await stories.leave(db, identity, await channels.find(db, identity, channel_id, to_change=True), user_id)


@put(
    "/{channel_id:uuid}/posters/{user_id:uuid}",
    operation_id="name_poster",
    guards=[administrator],
    versioned=False,
)
async def name_poster(
    db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], user_id: FromPath[uuid.UUID]
) -> TeamChannelMemberView:
    """The member, who belongs to the announcement channel, may speak in it as administrators do."""
    channel = await channels.find(db, identity, channel_id, to_change=True)
    view: TeamChannelMemberView = members.shown(await stories.name_poster(db, channel, user_id))
    return view


@delete(
    "/{channel_id:uuid}/posters/{user_id:uuid}",
    operation_id="take_back_poster",
    status_code=200,
    guards=[administrator],
    versioned=False,
)
async def take_back_poster(
    db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], user_id: FromPath[uuid.UUID]
) -> TeamChannelMemberView:
    """The member no longer speaks in the announcement channel."""
    channel = await channels.find(db, identity, channel_id, to_change=True)
    view: TeamChannelMemberView = members.shown(await stories.take_back_poster(db, channel, user_id))
    return view


class HowFar(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The newest message that was read; without one, all there is."""

    message_id: uuid.UUID | None = None


@get("/{channel_id:uuid}/reading", operation_id="get_channel_reading", guards=[reader])
async def reading(db: Db, identity: Asker, channel_id: FromPath[uuid.UUID]) -> TeamChannelReadingView:
    """How far you have read the channel, and what others have said since. Nobody else learns of it."""
    await channels.find(db, identity, channel_id)
    view: TeamChannelReadingView = readings.shown(await stories.reading_of(db, identity, channel_id))
    return view


@put("/{channel_id:uuid}/reading", operation_id="read_channel", guards=[person], versioned=False)
async def read(
    db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], data: JSONBody[HowFar]
) -> TeamChannelReadingView:
    """You have read the channel up to that message, on all your devices. What was read does not become unread."""
    await channels.find(db, identity, channel_id)
    view: TeamChannelReadingView = readings.shown(await stories.read(db, identity, channel_id, data.message_id))
    return view


routes = [
    channels.router(remove_channel),
    Router(
        "/team-channels",
        route_handlers=[direct, of_channel, join, leave, name_poster, take_back_poster, reading, read],
    ),
    members.router(),
    readings.router(),
]
