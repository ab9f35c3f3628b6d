"""Conversations: who has them, where they stand, what they are labelled with."""

import inspect
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy import ColumnElement, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conversations as stories
from comms import participants
from comms.credentials import Identity
from comms.errors import Invalid, Missing
from handlers import shapes
from handlers.batches import Many
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Listing, Page
from handlers.resource import crud, listed
from models.communications import Conversation, ConversationView
from models.crm import Contact

FILTERS = ("status", "channel", "contact_id", "assigned_to", "agent_id", "phone_number_id", "tags")
SEARCH = ("subject",)


class Inbox(Listing):
    """The list of conversations, which also knows what the member who asks has not read, and what is put off."""

    QUESTIONS: Mapping[str, str] = {
        "unread": "`true`: only conversations in which others have said something that you have not read, of those with"
        " a message in the last 30 days.",
        "snoozed": "Only conversations that are put off; or, with `false`, only those that are not.",
    }

    def _parameters(self, filters: Any) -> dict[str, inspect.Parameter]:
        parameters = super()._parameters(filters)
        for name, says in self.QUESTIONS.items():
            annotation: Any = Annotated[bool | None, QueryParameter(name=name, description=says)]
            parameters[name] = inspect.Parameter(
                f"by_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        return parameters

    def _conditions(self, wanted: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        return super()._conditions({name: value for name, value in wanted.items() if name not in self.QUESTIONS})

    async def page(
        self,
        db: AsyncSession,
        request: Request,
        asked: Mapping[str, Any],
        *conditions: ColumnElement[bool],
        within: uuid.UUID | None = None,
    ) -> Page[Any]:
        unread, snoozed = asked.get("by_unread"), asked.get("by_snoozed")
        if unread is False:
            raise Invalid({"unread": "can only be true"})
        is_snoozed = Conversation.snoozed_until > func.now()
        more = [participants.has_unread(request.user)] if unread else []
        if snoozed is not None:
            more.append(is_snoozed if snoozed else or_(Conversation.snoozed_until.is_(None), not_(is_snoozed)))
        return await super().page(db, request, asked, *conditions, *more, within=within)


async def create_conversation(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Conversation:
    """A contact has one active conversation on a channel."""
    return await stories.begin(db, identity.workspace_id, values)


async def create_conversations(db: AsyncSession, identity: Identity, many: Many) -> list[Conversation]:
    """The same of many."""
    return await stories.begin_all(db, identity.workspace_id, many)


async def change_conversation(db: AsyncSession, identity: Identity, row: Conversation, values: dict[str, Any]) -> None:
    """As before, a contact has one active conversation on a channel."""
    await stories.change(db, row, values)


conversations = crud(
    "/conversations",
    Conversation,
    ConversationView,
    search=SEARCH,
    filters=FILTERS,
    verbs=("list", "get", "create", "change"),
    create=create_conversation,
    change=change_conversation,
)
conversations.create_all = create_conversations
conversations.listing = Inbox(Conversation, ConversationView, SEARCH, FILTERS)


async def held(db: AsyncSession, identity: Identity, row_id: uuid.UUID) -> Conversation:
    """The conversation, which nobody else changes until the commit."""
    row: Conversation = await conversations.find(db, identity, row_id, to_change=True)
    return row


def shown(row: Conversation) -> ConversationView:
    view: ConversationView = conversations.shown(row)
    return view


@delete("/{row_id:uuid}", operation_id="delete_conversation", guards=[writer])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The conversation is gone with all that was said in it and the files that were attached.

    A webhook that is repeated later does not bring it back.
    """
    await stories.remove(db, await held(db, identity, row_id))


class Assignment(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whose a conversation is to be."""

    user_id: uuid.UUID


@put("/{row_id:uuid}/assignment", operation_id="assign_conversation", guards=[writer])
async def assign(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Assignment]) -> ConversationView:
    """The conversation is this member's, who takes part as its owner and is notified, unless they took it themselves.

    Of two who assign it at once the later one wins.
    """
    row = await held(db, identity, row_id)
    await stories.assign(db, row, data.user_id)
    return shown(row)


@delete("/{row_id:uuid}/assignment", operation_id="unassign_conversation", status_code=200, guards=[writer])
async def unassign(db: Db, identity: Asker, row_id: RowId) -> ConversationView:
    """The conversation is nobody's; whose it was still takes part."""
    row = await held(db, identity, row_id)
    await stories.unassign(db, row)
    return shown(row)


def state_routes(state: stories.State, entering: str, leaving: str, is_told: str) -> list[HTTPRouteHandler]:
    """POST puts a conversation into a state, DELETE takes it out again."""

    @post(
        f"/{{row_id:uuid}}/{state.noun}",
        operation_id=entering,
        summary=entering.replace("_", " ").capitalize(),
        description=f"The conversation is {state.status}, and no longer snoozed. {is_told}",
        guards=[writer],
    )
    async def enter(db: Db, identity: Asker, row_id: RowId) -> ConversationView:
        row = await held(db, identity, row_id)
        await stories.enter(db, row, state)
        return shown(row)

    @delete(
        f"/{{row_id:uuid}}/{state.noun}",
        operation_id=leaving,
        summary=leaving.replace("_", " ").capitalize(),
        description="The conversation is active again. When its contact has another active one on the same channel,"
        " the answer is 409, and `conflictingId` is that one.",
        status_code=200,
        guards=[writer],
    )
    async def leave(db: Db, identity: Asker, row_id: RowId) -> ConversationView:
        row = await held(db, identity, row_id)
        await stories.leave(db, row, state)
        return shown(row)

    return [enter, leave]


states = [
    *state_routes(
        stories.CLOSURE, "close_conversation", "reopen_conversation", "The contact's next message reopens it."
    ),
    *state_routes(
        stories.ARCHIVING,
        "archive_conversation",
        "unarchive_conversation",
        "The contact's next message reopens it.",
    ),
    *state_routes(
        stories.SPAM,
        "mark_conversation_as_spam",
        "unmark_conversation_as_spam",
        "What the contact writes from now on is kept here, and nobody is told.",
    ),
]


class Snooze(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Until when a conversation is put off."""

    until: Annotated[datetime, msgspec.Meta(examples=["2036-03-01T09:00:00Z"])]


@put("/{row_id:uuid}/snooze", operation_id="snooze_conversation", guards=[writer])
async def snooze(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Snooze]) -> ConversationView:
    """The conversation is put off until then, or until the contact writes again, whichever comes first."""
    row = await held(db, identity, row_id)
    await stories.snooze(db, row, data.until)
    return shown(row)


@delete("/{row_id:uuid}/snooze", operation_id="unsnooze_conversation", status_code=200, guards=[writer])
async def unsnooze(db: Db, identity: Asker, row_id: RowId) -> ConversationView:
    """The conversation is no longer put off."""
    row = await held(db, identity, row_id)
    await stories.unsnooze(db, row)
    return shown(row)


class Tags(msgspec.Struct, forbid_unknown_fields=True):
    """All the tags of a conversation."""

    tags: list[str]


class Tag(msgspec.Struct, forbid_unknown_fields=True):
    """One tag, as a path names it."""

    tag: str


@put("/{row_id:uuid}/tags", operation_id="replace_conversation_tags", guards=[writer])
async def replace_tags(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Tags]) -> ConversationView:
    """The conversation has these tags and no others: trimmed, each once; at most 50 of at most 100 characters."""
    view: ConversationView = await conversations.update(db, identity, row_id, {"tags": data.tags})
    return view


@post("/{row_id:uuid}/tags/{tag:str}", operation_id="add_conversation_tag", guards=[writer])
async def add_tag(db: Db, identity: Asker, row_id: RowId, tag: FromPath[str]) -> ConversationView:
    """The conversation has this tag too. Two who add one each at once both succeed."""
    row = await held(db, identity, row_id)
    before = shown(row)
    stories.tag(row, shapes.read(Tag, {"tag": tag}).tag)
    view: ConversationView = await conversations.settle(db, identity, row, before)
    return view


@delete("/{row_id:uuid}/tags/{tag:str}", operation_id="remove_conversation_tag", status_code=200, guards=[writer])
async def remove_tag(db: Db, identity: Asker, row_id: RowId, tag: FromPath[str]) -> ConversationView:
    """The conversation does not have this tag."""
    row = await held(db, identity, row_id)
    before = shown(row)
    stories.untag(row, shapes.read(Tag, {"tag": tag}).tag)
    view: ConversationView = await conversations.settle(db, identity, row, before)
    return view


@listed(conversations, "/{contact_id:uuid}/conversations", operation_id="list_conversations_of_contact")
async def of_contact(
    request: Request, db: Db, identity: Asker, contact_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConversationView]:
    """The conversations with one contact, on every channel."""
    if await db.scalar(select(Contact.id).where(Contact.id == contact_id)) is None:
        raise Missing(f"There is no contact {contact_id} in this workspace.")
    return await conversations.listing.page(db, request, asked, Conversation.contact_id == contact_id)


routes = [
    conversations.router(remove, assign, unassign, *states, snooze, unsnooze, replace_tags, add_tag, remove_tag),
    Router("/contacts", route_handlers=[of_contact]),
]
