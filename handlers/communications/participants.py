"""The members who take part in conversations, and how far each has read."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import participants as stories
from comms.credentials import Identity
from comms.errors import Missing
from comms.messages import ConversationMissing
from comms.participants import ReadState
from handlers import shapes
from handlers.batches import Many
from handlers.given import Asker, Db, Request
from handlers.guards import person, reader, writer
from handlers.listing import Page
from handlers.resource import crud, listed
from models.communications import Conversation, ConversationParticipant, ConversationParticipantView, ParticipantRole


async def create_participant(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> ConversationParticipant:
    """Whoever takes part is an active member."""
    return await stories.join(db, identity.workspace_id, values)


async def create_participants(db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
    """Whoever takes part is an active member."""
    return await stories.join_all(db, identity.workspace_id, many)


participants = crud(
    "/conversation-participants",
    ConversationParticipant,
    ConversationParticipantView,
    filters=("conversation_id", "user_id", "role"),
    create=create_participant,
)
participants.create_all = create_participants
participants.edit = shapes.change_shape(
    ConversationParticipant, ConversationParticipantView, only=("role", "notifications_enabled")
)
NewHere: Any = shapes.create_shape(
    ConversationParticipant, ConversationParticipantView, name="NewParticipantHere", without=("conversation_id",)
)


async def _conversation(db: AsyncSession, conversation_id: uuid.UUID) -> Conversation:
    row: Conversation | None = await db.scalar(select(Conversation).where(Conversation.id == conversation_id))
    if row is None:
        raise ConversationMissing
    return row


@listed(participants, "/{conversation_id:uuid}/participants", operation_id="list_participants_of_conversation")
async def of_conversation(
    request: Request, db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConversationParticipantView]:
    """The members who take part in one conversation."""
    await _conversation(db, conversation_id)
    here = ConversationParticipant.conversation_id == conversation_id
    return await participants.listing.page(db, request, asked, here)


@post("/{conversation_id:uuid}/participants", operation_id="create_participant_of_conversation", guards=[writer])
async def create_here(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], data: JSONBody[NewHere]
) -> ConversationParticipantView:
    """A member takes part in this conversation."""
    await _conversation(db, conversation_id)
    values = shapes.given(data) | {"conversation_id": conversation_id}
    row = await participants.make(db, identity, values)
    view: ConversationParticipantView = await participants.tell(db, identity, "created", row)
    return view


@delete(
    "/{conversation_id:uuid}/participants/{user_id:uuid}",
    operation_id="delete_participant_of_conversation",
    guards=[writer],
    versioned=False,
)
async def remove_here(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], user_id: FromPath[uuid.UUID]
) -> None:
    """The member no longer takes part in this conversation."""
    row_id = await db.scalar(
        select(ConversationParticipant.id).where(
            ConversationParticipant.conversation_id == conversation_id, ConversationParticipant.user_id == user_id
        )
    )
    if row_id is None:
        raise Missing(f"The member {user_id} does not take part in this conversation.")
    await participants.remove(db, identity, row_id)


class Read(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How far one has read: up to a message, or a time."""

    last_read_message_id: uuid.UUID | None = None
    at: datetime | None = None


@get("/{conversation_id:uuid}/read-state", operation_id="get_read_state", guards=[reader])
async def read_state(db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID]) -> ReadState:
    """How far you have read this conversation, and how much others have said since."""
    return await stories.read_state(db, identity, await _conversation(db, conversation_id))


# That one has read is one's own affair, a viewer's too.
@put("/{conversation_id:uuid}/read-state", operation_id="set_read_state", guards=[person], versioned=False)
async def read(db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], data: JSONBody[Read]) -> ReadState:
    """You have read this conversation up to `lastReadMessageId`, or up to `at`: never back, and not the future.

    Who reads without taking part is an observer from now on.
    """
    conversation = await _conversation(db, conversation_id)
    await stories.read_up_to(db, identity, conversation, message_id=data.last_read_message_id, at=data.at)
    return await stories.read_state(db, identity, conversation)


class Following(msgspec.Struct, rename="camel"):
    """Whether the member who asks is told what is new in a conversation, and what they are in it."""

    conversation_id: uuid.UUID
    user_id: uuid.UUID
    role: Annotated[ParticipantRole, msgspec.Meta(description="What they are in it.", examples=["participant"])]
    notifications_enabled: bool


# Whom one listens to is one's own affair, a viewer's too.
@put("/{conversation_id:uuid}/following", operation_id="follow_conversation", guards=[reader], versioned=False)
async def follow(db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID]) -> Following:
    """You take part in the conversation, and are told what is new in it. Whoever it is assigned to is told anyway."""
    await stories.follow(db, identity, await _conversation(db, conversation_id))
    return await _following(db, identity, conversation_id)


@delete(
    "/{conversation_id:uuid}/following",
    operation_id="unfollow_conversation",
    status_code=200,
    guards=[reader],
    versioned=False,
)
async def unfollow(db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID]) -> Following:
    """You are told nothing of what is new in the conversation, even if it is yours."""
    await stories.unfollow(db, identity, await _conversation(db, conversation_id))
    return await _following(db, identity, conversation_id)


async def _following(db: AsyncSession, identity: Identity, conversation_id: uuid.UUID) -> Following:
    query = select(ConversationParticipant).where(
        ConversationParticipant.conversation_id == conversation_id,
        ConversationParticipant.user_id == identity.user_id,
    )
    row = (await db.scalars(query.execution_options(populate_existing=True))).one()
    return msgspec.convert(row, Following, from_attributes=True)


routes = [
    participants.router(),
    Router(
        "/conversations",
        route_handlers=[of_conversation, create_here, remove_here, read_state, read, follow, unfollow],
    ),
]
