"""Talk within the team."""

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Router, delete, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from comms import team as stories
from comms.credentials import Identity
from comms.errors import Forbidden
from comms.permissions import ADMINISTRATORS
from handlers import shapes
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.communications import (
    TeamChannel,
    TeamChannelMember,
    TeamChannelMemberView,
    TeamChannelView,
    TeamMessage,
    TeamMessageView,
)


async def post_message(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> TeamMessage:
    """Said by who says it."""
    return await stories.post(db, identity, values)


async def edit_message(db: AsyncSession, identity: Identity, row: TeamMessage, values: dict[str, Any]) -> None:
    """Put differently by who said it."""
    await stories.edit(db, identity, row, values)


async def change_channel(db: AsyncSession, identity: Identity, row: TeamChannel, values: dict[str, Any]) -> None:
    """Closed by nobody who would not see it then."""
    await stories.change(db, identity, row, values)


def _whose(column: Any) -> Callable[[Identity], ColumnElement[bool]]:
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
    whose=_whose(TeamChannel.id),
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
    whose=_whose(TeamChannelMember.channel_id),
)
messages = crud(
    "/team-messages",
    TeamMessage,
    TeamMessageView,
    search=("content",),
    filters=("channel_id", "sender_id", "parent_message_id", "is_pinned"),
    verbs=("list", "get", "create", "change"),
    whose=_whose(TeamMessage.channel_id),
    create=post_message,
    change=edit_message,
)
messages.edit = shapes.change_shape(TeamMessage, TeamMessageView, only=("content", "content_type", "mentions"))


@delete("/{row_id:uuid}", operation_id="delete_team_channel", guards=[writer])
async def remove_channel(db: Db, identity: Asker, row_id: RowId) -> None:
    """The channel is gone, with what was said in it."""
    await stories.before_removal(db, await channels.find(db, identity, row_id, to_change=True))
    await channels.remove(db, identity, row_id)


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
    """You belong to the channel, or the member whom you name does."""
    channel = await channels.find(db, identity, channel_id, to_change=True)
    row = await stories.join(db, channel, data.user_id or identity.user_id)
    view: TeamChannelMemberView = members.shown(row)
    return view


@delete("/{channel_id:uuid}/members/{user_id:uuid}", operation_id="leave_team_channel", guards=[writer])
async def leave(db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], user_id: FromPath[uuid.UUID]) -> None:
    """The member no longer belongs to the channel. Only its creator and administrators remove others."""
    await stories.leave(db, identity, await channels.find(db, identity, channel_id, to_change=True), user_id)


@listed(messages, "/{channel_id:uuid}/messages", operation_id="list_messages_of_channel")
async def said_in(
    request: Request, db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], asked: Any
) -> Page[TeamMessageView]:
    """What was said in one channel."""
    await channels.find(db, identity, channel_id)
    return await messages.listing.page(db, request, asked, TeamMessage.channel_id == channel_id)


@delete("/{row_id:uuid}", operation_id="delete_team_message", guards=[writer])
async def remove_message(db: Db, identity: Asker, row_id: RowId) -> None:
    """A message is taken back by its sender, or removed by an administrator."""
    row = await messages.find(db, identity, row_id)
    if row.sender_id != identity.user_id and identity.role not in ADMINISTRATORS:
        raise Forbidden("Only its sender or an administrator may delete a message.")
    await messages.remove(db, identity, row_id)
    await stories.forget_answer(db, row)


@put("/{row_id:uuid}/pin", operation_id="pin_team_message", guards=[writer])
async def pin(db: Db, identity: Asker, row_id: RowId) -> TeamMessageView:
    """The message is pinned for everybody in its channel."""
    return await _pin(db, identity, row_id, pinned=True)


@delete("/{row_id:uuid}/pin", operation_id="unpin_team_message", status_code=200, guards=[writer])
async def unpin(db: Db, identity: Asker, row_id: RowId) -> TeamMessageView:
    """The message is no longer pinned."""
    return await _pin(db, identity, row_id, pinned=False)


async def _pin(db: AsyncSession, identity: Identity, row_id: uuid.UUID, *, pinned: bool) -> TeamMessageView:
    row: TeamMessage = await messages.find(db, identity, row_id, to_change=True)
    if row.is_pinned != pinned:
        row.is_pinned = pinned
        await messages.tell(db, identity, "pinned" if pinned else "unpinned", row)
    view: TeamMessageView = messages.shown(row)
    return view


routes = [
    channels.router(remove_channel),
    Router("/team-channels", route_handlers=[of_channel, join, leave, said_in]),
    members.router(),
    messages.router(remove_message, pin, unpin),
]
