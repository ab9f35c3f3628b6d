"""What is to be sent: said in a conversation or to an address, seen, changed and called off until it leaves."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Invalid
from comms.outbox import Intent, beginning, changing, put
from comms.providers.addresses import channel_of
from comms.providers.segments import Encoding, measure
from handlers import shapes
from handlers.communications import messages as recorded
from handlers.communications.messages import messages
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import reader, writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.communications import (
    ConversationChannel,
    ConversationMessage,
    ConversationMessageView,
    OutgoingMessage,
    OutgoingMessageView,
)
from models.communications.conversations import MessageContentType

TheirAddress = Annotated[str, msgspec.Meta(max_length=320)]
MediaUrl = Annotated[str, msgspec.Meta(max_length=2000, pattern="^https?://[^\\s]+$")]


class Said(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is to be sent, and how."""

    content: Annotated[str, msgspec.Meta(max_length=65_536, description="The text.", examples=["See you at 7pm"])] = ""
    media_urls: Annotated[
        list[MediaUrl],
        msgspec.Meta(
            max_length=10,
            description="Addresses of pictures and other media that the provider fetches and sends along.",
            examples=[["https://example.com/menu.png"]],
        ),
    ] = []
    attachment_ids: Annotated[
        list[uuid.UUID],
        msgspec.Meta(
            max_length=10,
            description="Uploads, or stored attachments of other messages, to be sent along.",
            examples=[[]],
        ),
    ] = []
    phone_number_id: Annotated[
        uuid.UUID | None,
        msgspec.Meta(description="The number of ours it leaves by; null is the one last used with the contact."),
    ] = None
    from_: Annotated[
        TheirAddress | None,
        msgspec.Meta(
            description="The same by its address, in E.164 or a short code; of a mail, an address of ours.",
            examples=["+14155550100"],
        ),
    ] = msgspec.field(default=None, name="from")
    scheduled_at: Annotated[
        Annotated[datetime, msgspec.Meta(tz=True)] | None,
        msgspec.Meta(description="When it is to leave; null is as soon as it can.", examples=["2036-03-01T09:00:00Z"]),
    ] = None
    subject: Annotated[
        Annotated[str, msgspec.Meta(max_length=500)] | None,
        msgspec.Meta(description="Of a mail; null is its conversation's.", examples=["Your booking"]),
    ] = None
    metadata: dict[str, Any] = {}


class SaidHere(Said, kw_only=True):
    """A message of a conversation. With `providerMessageId` another system has sent it, and it is only recorded."""

    channel: Annotated[
        ConversationChannel | None,
        msgspec.Meta(description="Another channel: then it is said in the contact's conversation there."),
    ] = None
    to: Annotated[
        TheirAddress | None,
        msgspec.Meta(
            description="Another address of the conversation's contact; null is the one they last wrote from.",
            examples=["+14155550199"],
        ),
    ] = None
    fence: Annotated[
        int | None,
        msgspec.Meta(
            description="The fence as you have seen it: if the conversation has changed hands since, it is refused.",
            examples=[3],
        ),
    ] = None
    direction: Literal["outbound"] = "outbound"
    content_type: MessageContentType | None = None
    is_read: bool = False
    provider: Literal["twilio", "signalwire", "sendgrid"] | None = None
    provider_message_id: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class SaidTo(Said, kw_only=True):
    """A message to an address, whoever has it."""

    to: Annotated[
        TheirAddress,
        msgspec.Meta(description="Their address: a number in E.164, or a mail address.", examples=["+14155550199"]),
    ]
    channel: Annotated[
        ConversationChannel | None,
        msgspec.Meta(description="Null is the one that `to` names, as `whatsapp:+14155550199` does; else `sms`."),
    ] = None


@post(
    "/{conversation_id:uuid}/messages",
    operation_id="create_message_of_conversation",
    guards=[writer],
    example={"content": "See you at 7pm", "scheduledAt": "2036-03-01T09:00:00Z"},
    problems={409: "The conversation has changed hands since `fence`; `owner` is whose it is now."},
)
async def send_here(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], data: JSONBody[SaidHere]
) -> ConversationMessageView:
    """Send a message in this conversation: now, or at `scheduledAt`.

    It is kept in its conversation's line and answered with `status` `queued` or `scheduled`; what becomes of it is told
    by events. Messages of one conversation leave one after the other. What cannot be sent, or must not be since the
    recipient has opted out, is 422 before anything is kept.

    Where no member has the conversation it is yours from now on. With `fence` it is refused if the conversation has
    changed hands meanwhile.

    With `provider` and `providerMessageId` it has been sent by another system, and is only recorded.
    """
    if data.provider_message_id is not None:
        return await recorded.record(db, identity, _recorded(data, conversation_id))
    if data.channel is not None:
        conversation_id = await beginning.beside(db, identity.workspace_id, conversation_id, data.channel)
    intent = await _intent(db, identity, conversation_id, data, data.to, data.content_type)
    message = await put(db, msgspec.structs.replace(intent, fence=data.fence))
    if data.to is not None:
        await beginning.expect_theirs(db, identity.workspace_id, message)
    return message


@post("/", operation_id="send_message", guards=[writer])
async def send(db: Db, identity: Asker, data: JSONBody[SaidTo]) -> ConversationMessageView:
    """Send a message to an address, in the conversation that the threading rule gives.

    Whoever has the address is its contact, a new one if nobody has; an active conversation takes the message, one
    that ended a short while ago is reopened, else a new one begins.
    """
    channel = data.channel or channel_of(data.to) or "sms"
    conversation_id = await beginning.conversation_with(db, identity.workspace_id, channel, data.to, data.subject)
    return await put(db, await _intent(db, identity, conversation_id, data, data.to, None))


async def _intent(
    db: AsyncSession,
    identity: Identity,
    conversation_id: uuid.UUID,
    said: Said,
    to: str | None,
    content_type: MessageContentType | None,
) -> Intent:
    if content_type == "system":
        raise Invalid({"contentType": "is ours to say: text, media or html"})
    mail = {"subject": said.subject} if said.subject else {}
    number_id = said.phone_number_id
    if said.from_ is not None and (
        "@" in said.from_ or await beginning.is_mail(db, identity.workspace_id, conversation_id)
    ):
        mail["from"] = said.from_.strip()
    elif said.from_ is not None:
        number_id = await beginning.number_at(db, identity.workspace_id, said.from_)
        if said.phone_number_id not in (None, number_id):
            raise Invalid({"from": "is another number than phoneNumberId: send one of them"})
    return Intent(
        workspace_id=identity.workspace_id,
        conversation_id=conversation_id,
        content=said.content,
        content_type=content_type,
        sender_type="user",
        sender_user_id=identity.user_id,
        number_id=number_id,
        to=to,
        attachment_ids=said.attachment_ids,
        media_urls=said.media_urls,
        scheduled_at=said.scheduled_at,
        metadata=said.metadata,
        details={"mail": mail} if mail else {},
    )


def _recorded(said: SaidHere, conversation_id: uuid.UUID) -> dict[str, Any]:
    unknown = [
        name
        for name in ("media_urls", "attachment_ids", "scheduled_at", "to", "from_", "channel", "subject", "fence")
        if getattr(said, name)
    ]
    if unknown:
        raise Invalid(
            {
                shapes.msgspec_camel(name.rstrip("_")): "is for what is to be sent, not for what has been"
                for name in unknown
            }
        )
    return {
        "conversation_id": conversation_id,
        "direction": said.direction,
        "content": said.content,
        "content_type": said.content_type or "text",
        "meta": said.metadata,
        "is_read": said.is_read,
        "provider": said.provider,
        "provider_message_id": said.provider_message_id,
        "phone_number_id": said.phone_number_id,
    }


# Until it leaves


class Rescheduled(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is changed of a message that has not left yet."""

    content: Annotated[str, msgspec.Meta(max_length=65_536, description="The text.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    scheduled_at: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET


@listed(messages, "/", operation_id="list_scheduled_messages")
async def scheduled(request: Request, db: Db, identity: Asker, asked: Any) -> Page[ConversationMessageView]:
    """The messages that are to leave at a later time: as it was asked for, or because of quiet hours."""
    held = select(OutgoingMessage.id).where(OutgoingMessage.state == "scheduled")
    waits = or_(ConversationMessage.status == "scheduled", ConversationMessage.id.in_(held))
    return await messages.listing.page(db, request, asked, *messages.visible(identity), waits)


@get("/{row_id:uuid}", operation_id="get_scheduled_message", guards=[reader])
async def one_scheduled(db: Db, identity: Asker, row_id: RowId) -> ConversationMessageView:
    """A message that has not left yet."""
    waits = select(OutgoingMessage.id).where(OutgoingMessage.id == row_id)
    if await db.scalar(waits) is None:
        raise changing.NotWaiting
    view: ConversationMessageView = messages.shown(await messages.find(db, identity, row_id))
    return view


@patch(
    "/{row_id:uuid}",
    operation_id="change_scheduled_message",
    guards=[writer],
    problems={409: "It has left, or is just leaving."},
)
async def reschedule(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Rescheduled]) -> ConversationMessageView:
    """The message says something else, or leaves at another time; with `scheduledAt` null, now."""
    held = await changing.hold(db, identity.workspace_id, row_id)
    await messages.find(db, identity, row_id, to_change=True)
    await changing.change(db, *held, shapes.given(data))
    view: ConversationMessageView = messages.shown(await messages.find(db, identity, row_id))
    return view


@delete(
    "/{row_id:uuid}",
    operation_id="cancel_scheduled_message",
    status_code=200,
    guards=[writer],
    problems={409: "It has left, or is just leaving."},
)
async def call_off(db: Db, identity: Asker, row_id: RowId) -> ConversationMessageView:
    """The message never leaves; it stays in its conversation as `canceled`."""
    held = await changing.hold(db, identity.workspace_id, row_id)
    await messages.find(db, identity, row_id, to_change=True)
    await changing.cancel(db, *held)
    view: ConversationMessageView = messages.shown(await messages.find(db, identity, row_id))
    return view


outgoing = crud(
    "/outgoing-messages",
    OutgoingMessage,
    OutgoingMessageView,
    filters=("state", "conversation_id", "phone_number_id", "connection_id"),
    verbs=READ,
)


# Before it is said


class Draft(msgspec.Struct, forbid_unknown_fields=True):
    """A text that somebody is writing."""

    content: Annotated[
        str, msgspec.Meta(max_length=65_536, description="The text.", examples=["It’s ready at 7pm"])
    ] = ""


class Preview(msgspec.Struct, rename="camel"):
    """How a text would travel."""

    encoding: Annotated[
        Encoding, msgspec.Meta(description="`UCS-2` takes more than twice the room.", examples=["UCS-2"])
    ]
    segments: int
    units: Annotated[
        int, msgspec.Meta(description="Septets of GSM-7, or 16-bit units of UCS-2, that it takes.", examples=[17])
    ]
    left: Annotated[int, msgspec.Meta(description="Units still free in its last segment.", examples=[53])]
    unusual: Annotated[
        list[str], msgspec.Meta(description="The characters that make it UCS-2, each once.", examples=[["’"]])
    ]


@post("/", operation_id="preview_message", status_code=200, guards=[reader])
async def preview(data: JSONBody[Draft]) -> Preview:
    """How a text would travel: in which alphabet and how many segments, and which characters make it dear."""
    found = measure(data.content)
    return Preview(found.encoding, found.segments, found.units, found.left, list(found.unusual))


routes = [
    Router("/conversations", route_handlers=[send_here]),
    Router("/messages", route_handlers=[send]),
    Router("/scheduled-messages", route_handlers=[scheduled, one_scheduled, reschedule, call_off]),
    Router("/message-previews", route_handlers=[preview]),
    outgoing.router(),
]
