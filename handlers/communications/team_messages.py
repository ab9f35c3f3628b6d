"""What is said within the team: messages, their threads, reactions, revisions, files and cards."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, put
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import team as stories
from comms.credentials import Identity
from comms.errors import Invalid
from comms.team.cards import Card
from comms.team.enclosing import attachment_of
from handlers import shapes
from handlers.communications.messages import downloaded
from handlers.communications.team import channels, within
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import person, reader, writer
from handlers.listing import MOST, Page
from handlers.resource import READ, RESOURCES, crud, listed
from models.base import Base
from models.communications import (
    TeamMessage,
    TeamMessageReaction,
    TeamMessageReactionView,
    TeamMessageRevision,
    TeamMessageRevisionView,
    TeamMessageView,
    TeamThreadFollowing,
    TeamThreadFollowingView,
)


async def post_message(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> TeamMessage:
    """Said by who says it."""
    return await stories.post(db, identity, values)


async def edit_message(db: AsyncSession, identity: Identity, row: TeamMessage, values: dict[str, Any]) -> None:
    """Put differently by who said it."""
    await stories.edit(db, identity, row, values)


def seen_by(identity: Identity) -> ColumnElement[bool]:
    """What is said where the member may be; of what was deleted only what holds a thread together."""
    is_there = or_(TeamMessage.deleted_at.is_(None), TeamMessage.thread_count > 0)
    return and_(is_there, within(TeamMessage.channel_id)(identity))


def followed_by(identity: Identity) -> ColumnElement[bool]:
    """Whom a thread interests is theirs alone to know."""
    is_mine: ColumnElement[bool] = TeamThreadFollowing.user_id == identity.user_id
    return and_(is_mine, within(TeamThreadFollowing.channel_id)(identity))


messages = crud(
    "/team-messages",
    TeamMessage,
    TeamMessageView,
    search=("content",),
    filters=("channel_id", "sender_id", "parent_message_id", "is_pinned"),
    verbs=("list", "get", "create", "change"),
    whose=seen_by,
    create=post_message,
    change=edit_message,
)
messages.listing.options += [selectinload(TeamMessage.reaction_rows), selectinload(TeamMessage.link_rows)]
Uploads = Annotated[
    list[uuid.UUID],
    msgspec.Meta(
        max_length=shapes.MANY, description="Uploads that come with it, ten at most; they are copied.", examples=[[]]
    ),
]
messages.new = shapes.create_shape(
    TeamMessage,
    TeamMessageView,
    also=[("attachment_ids", Uploads, msgspec.field(default_factory=list))],
)
messages.edit = shapes.change_shape(TeamMessage, TeamMessageView, only=("content", "content_type", "mentions"))
revisions = crud(
    "/team-message-revisions",
    TeamMessageRevision,
    TeamMessageRevisionView,
    filters=("message_id", "channel_id"),
    verbs=READ,
    whose=within(TeamMessageRevision.channel_id),
)
reactions = crud(
    "/team-message-reactions",
    TeamMessageReaction,
    TeamMessageReactionView,
    filters=("message_id", "channel_id", "user_id", "emoji"),
    verbs=READ,
    whose=within(TeamMessageReaction.channel_id),
)
followings = crud(
    "/team-thread-followings",
    TeamThreadFollowing,
    TeamThreadFollowingView,
    filters=("channel_id", "message_id", "is_following"),
    verbs=READ,
    whose=followed_by,
)


@listed(messages, "/{channel_id:uuid}/messages", operation_id="list_messages_of_channel")
async def said_in(
    request: Request, db: Db, identity: Asker, channel_id: FromPath[uuid.UUID], asked: Any
) -> Page[TeamMessageView]:
    """What was said in one channel."""
    await channels.find(db, identity, channel_id)
    return await messages.listing.page(
        db, request, asked, TeamMessage.channel_id == channel_id, *messages.visible(identity)
    )


@listed(messages, "/{row_id:uuid}/answers", operation_id="list_answers_of_team_message")
async def answers(request: Request, db: Db, identity: Asker, row_id: RowId, asked: Any) -> Page[TeamMessageView]:
    """What was said in the thread that this message began."""
    await messages.find(db, identity, row_id)
    return await messages.listing.page(
        db, request, asked, TeamMessage.parent_message_id == row_id, *messages.visible(identity)
    )


@listed(revisions, "/{row_id:uuid}/revisions", operation_id="list_revisions_of_team_message")
async def said_before(
    request: Request, db: Db, identity: Asker, row_id: RowId, asked: Any
) -> Page[TeamMessageRevisionView]:
    """What the message said before it was edited."""
    await messages.find(db, identity, row_id)
    return await revisions.listing.page(db, request, asked, TeamMessageRevision.message_id == row_id)


@delete("/{row_id:uuid}", operation_id="delete_team_message", guards=[writer])
async def remove_message(db: Db, identity: Asker, row_id: RowId) -> None:
    """Taken back by its sender, or removed by an administrator, with its revisions, reactions and files.

    While the thread that it began has answers its place is still shown, empty and with `deletedAt`.
    """
    await stories.remove(db, identity, await messages.find(db, identity, row_id, to_change=True))


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
    is_news = await stories.pin(db, identity, row, pinned=pinned)
    view: TeamMessageView = await messages.tell_if(is_news, db, identity, "pinned" if pinned else "unpinned", row)
    return view


Emoji = FromPath[str]


@put("/{row_id:uuid}/reactions/{emoji:str}", operation_id="react_to_team_message", guards=[writer])
async def react(db: Db, identity: Asker, row_id: RowId, emoji: Emoji) -> TeamMessageView:
    """Your emoji is under the message: one alone, twenty different ones at most. Doing it again changes nothing."""
    await stories.react(db, identity, await messages.find(db, identity, row_id, to_change=True), emoji)
    view: TeamMessageView = messages.shown(await messages.find(db, identity, row_id))
    return view


@delete(
    "/{row_id:uuid}/reactions/{emoji:str}",
    operation_id="take_back_reaction",
    status_code=200,
    guards=[writer],
)
async def take_back(db: Db, identity: Asker, row_id: RowId, emoji: Emoji) -> TeamMessageView:
    """Your emoji is not under the message."""
    await messages.find(db, identity, row_id, to_change=True)
    await stories.take_back(db, identity, row_id, emoji)
    view: TeamMessageView = messages.shown(await messages.find(db, identity, row_id))
    return view


@put("/{row_id:uuid}/following", operation_id="follow_team_thread", guards=[person], versioned=False)
async def follow(db: Db, identity: Asker, row_id: RowId) -> TeamThreadFollowingView:
    """You follow the thread of the message, as who began it, answers in it or is mentioned in it does anyway."""
    row = await stories.follow(db, identity, await messages.find(db, identity, row_id))
    view: TeamThreadFollowingView = followings.shown(row)
    return view


@delete(
    "/{row_id:uuid}/following",
    operation_id="unfollow_team_thread",
    status_code=200,
    guards=[person],
    versioned=False,
)
async def unfollow(db: Db, identity: Asker, row_id: RowId) -> TeamThreadFollowingView:
    """You do not follow the thread of the message, whatever is said in it."""
    row = await stories.unfollow(db, identity, await messages.find(db, identity, row_id))
    view: TeamThreadFollowingView = followings.shown(row)
    return view


@get("/{row_id:uuid}/attachments/{attachment_id:uuid}/content", operation_id="get_team_attachment", guards=[reader])
async def content(service: Here, identity: Asker, row_id: RowId, attachment_id: FromPath[uuid.UUID]) -> Stream:
    """A file that came with the message, for who may see the message. Always a download."""
    async with service.database.workspace(identity.workspace_id) as db:
        row = await attachment_of(db, await messages.find(db, identity, row_id), attachment_id)
    return downloaded(await service.media.read(row.storage_key), row)


class MessageCards(msgspec.Struct, rename="camel"):
    """What one message links, as you may see it."""

    message_id: uuid.UUID
    cards: Annotated[list[Card], msgspec.Meta(description="What is linked, in its order.")]


class Cards(msgspec.Struct, rename="camel"):
    """The cards of some messages."""

    items: list[MessageCards]


@get("/cards", operation_id="get_team_message_cards", guards=[reader])
async def cards(
    db: Db,
    identity: Asker,
    message_ids: Annotated[
        str,
        QueryParameter(
            name="messageIds",
            description="The messages, separated by commas, 200 at most.",
        ),
    ],
) -> Cards:
    """The conversations, contacts and deals that these messages link, as they are now and as you may see them.

    Messages that you may not see, or that link nothing, are not among the `items`.
    """
    asked = _ids(message_ids)
    found = set(await db.scalars(select(TeamMessage.id).where(TeamMessage.id.in_(asked), seen_by(identity))))
    shown = await stories.cards_of(db, identity.workspace_id, found, lambda table: _limits(identity, table))
    return Cards([MessageCards(message_id, shown[message_id]) for message_id in asked if message_id in shown])


def _ids(text: str) -> list[uuid.UUID]:
    try:
        asked = [uuid.UUID(one) for one in text.split(",")]
    except ValueError:
        raise Invalid({"messageIds": "must be ids of messages, separated by commas"}) from None
    if len(asked) > MOST:
        raise Invalid({"messageIds": f"are more than {MOST}"})
    return list(dict.fromkeys(asked))


def _limits(identity: Identity, table: type[Base]) -> Sequence[ColumnElement[bool]] | None:
    """What its own list shows the reader of a table."""
    resource = next(resource for resource in RESOURCES if resource.table is table)
    return resource.visible(identity) if resource.who_reads.admits(identity) else None


routes = [
    messages.router(
        remove_message,
        answers,
        said_before,
        pin,
        unpin,
        react,
        take_back,
        follow,
        unfollow,
        content,
        cards,
    ),
    Router("/team-channels", route_handlers=[said_in]),
    revisions.router(),
    reactions.router(),
    followings.router(),
]
