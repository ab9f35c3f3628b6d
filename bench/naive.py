"""The handler of the usual kind: the framework parses the form, the official validator checks it, the ORM selects or
inserts table by table, one transaction a request.

    python -m bench.naive PORT DATABASE_URL TOKEN

Written as a competent developer would who keeps to the framework's manual: same tables, same guarantees on one path,
same web server and event loop as comms, token and validator at hand, dependent rows locked as late as possible.
"""

import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Request, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath, URLEncodedBody
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from twilio.request_validator import RequestValidator

from bench.stage import PUBLIC_URL
from comms.delivery import RANK
from models.base import now
from models.communications import (
    Conversation,
    ConversationMessage,
    ConversationMessageView,
    DeliveryReportRow,
    WebhookReceipt,
    WorkspacePhoneNumber,
)
from models.crm import Contact, ContactPoint
from models.events import Event, EventCounter

POOL = 20

Form = URLEncodedBody[dict[str, str]]
Db = NamedDependency[AsyncSession]


@post("/webhooks/twilio/{connection_id:uuid}/messages", status_code=200, media_type="text/xml")
async def take_message(connection_id: FromPath[uuid.UUID], request: Request[Any, Any, Any], data: Form, db: Db) -> str:
    """A customer has written."""
    _prove(request, data)
    number = await _number(db, connection_id, data["To"])
    workspace_id = number.workspace_id
    message = await _message(db, workspace_id, data["MessageSid"])
    if message is None:
        contact_id = await _contact(db, workspace_id, data["From"])
        conversation = await _conversation(db, number, contact_id)
        message = ConversationMessage(
            workspace_id=workspace_id,
            conversation_id=conversation.id,
            direction="inbound",
            content=data["Body"],
            content_type="text",
            sender_type="contact",
            sender_contact_id=contact_id,
            meta={name: value for name, value in data.items() if value and name.startswith(("From", "To", "Num"))},
            status="received",
            provider="twilio",
            provider_message_id=data["MessageSid"],
            connection_id=connection_id,
            phone_number_id=number.id,
            from_address=data["From"],
            to_address=data["To"],
        )
        conversation.message_count = Conversation.message_count + 1
        conversation.last_message_at = now()
        conversation.phone_number_id = number.id
        db.add(message)
        await db.flush()
        await _keep_receipt(db, request, connection_id, message, "messages", data["MessageSid"])
        await _tell(db, "message.received", message, "contact", contact_id)
    return '<?xml version="1.0" encoding="UTF-8"?><Response/>'


@post("/webhooks/twilio/{connection_id:uuid}/message-status", status_code=204)
async def take_report(connection_id: FromPath[uuid.UUID], request: Request[Any, Any, Any], data: Form, db: Db) -> None:
    """A provider says what became of a message."""
    _prove(request, data)
    number = await _number(db, connection_id, data["From"])
    workspace_id, status = number.workspace_id, data["MessageStatus"]
    known = await db.scalar(
        select(DeliveryReportRow).where(
            DeliveryReportRow.workspace_id == workspace_id,
            DeliveryReportRow.provider == "twilio",
            DeliveryReportRow.provider_message_id == data["MessageSid"],
            DeliveryReportRow.reported == status,
        )
    )
    message = await _message(db, workspace_id, data["MessageSid"])
    if known is not None or message is None:
        return
    at = now()
    report = DeliveryReportRow(
        workspace_id=workspace_id,
        message_id=message.id,
        provider="twilio",
        provider_message_id=data["MessageSid"],
        reported=status,
        status=status,
        reported_at=at,
    )
    db.add(report)
    if RANK[status] > RANK[message.status]:
        message.status = status
        if status == "sent":
            message.sent_at = at
        elif status == "delivered":
            message.delivered_at = at
    await _keep_receipt(db, request, connection_id, message, "message-status", f"{data['MessageSid']}:{status}")
    await _tell(db, "message.status_changed", message, "system", None)


def _prove(request: Request[Any, Any, Any], form: dict[str, str]) -> None:
    validator: RequestValidator = request.app.state.validator
    signature = request.headers.get("x-twilio-signature", "")
    if not validator.validate(PUBLIC_URL + request.url.path, form, signature):
        raise PermissionDeniedException


async def _number(db: AsyncSession, connection_id: uuid.UUID, phone_number: str) -> WorkspacePhoneNumber:
    number = await db.scalar(
        select(WorkspacePhoneNumber).where(
            WorkspacePhoneNumber.connection_id == connection_id,
            WorkspacePhoneNumber.phone_number == phone_number,
        )
    )
    if number is None:
        raise NotFoundException
    return number


async def _message(db: AsyncSession, workspace_id: uuid.UUID, sid: str) -> ConversationMessage | None:
    found: ConversationMessage | None = await db.scalar(
        select(ConversationMessage).where(
            ConversationMessage.workspace_id == workspace_id,
            ConversationMessage.provider == "twilio",
            ConversationMessage.provider_message_id == sid,
        )
    )
    return found


async def _contact(db: AsyncSession, workspace_id: uuid.UUID, phone: str) -> uuid.UUID:
    point = await db.scalar(
        select(ContactPoint).where(
            ContactPoint.workspace_id == workspace_id, ContactPoint.kind == "phone", ContactPoint.value_key == phone
        )
    )
    if point is not None:
        return point.contact_id
    contact = Contact(workspace_id=workspace_id, phone=phone, source="inbound_sms")
    db.add(contact)
    await db.flush()
    db.add(ContactPoint(workspace_id=workspace_id, contact_id=contact.id, kind="phone", value=phone, is_primary=True))
    await db.flush()
    return contact.id


async def _conversation(db: AsyncSession, number: WorkspacePhoneNumber, contact_id: uuid.UUID) -> Conversation:
    conversation = await db.scalar(
        select(Conversation).where(
            Conversation.workspace_id == number.workspace_id,
            Conversation.contact_id == contact_id,
            Conversation.channel == "sms",
            Conversation.status == "active",
        )
    )
    if conversation is None:
        conversation = Conversation(workspace_id=number.workspace_id, contact_id=contact_id, channel="sms")
        db.add(conversation)
        await db.flush()
    return conversation


async def _keep_receipt(
    db: AsyncSession,
    request: Request[Any, Any, Any],
    connection_id: uuid.UUID,
    message: ConversationMessage,
    kind: str,
    identity: str,
) -> None:
    names = ("content-type", "user-agent", "i-twilio-idempotency-token", "x-twilio-signature")
    db.add(
        WebhookReceipt(
            workspace_id=message.workspace_id,
            connection_id=connection_id,
            provider="twilio",
            kind=kind,
            identity=identity,
            method="POST",
            url=PUBLIC_URL + request.url.path,
            headers={name: request.headers[name] for name in names},
            body=await request.body(),
            state="processed",
            message_id=message.id,
        )
    )


async def _tell(
    db: AsyncSession, event: str, message: ConversationMessage, actor_type: str, actor_id: uuid.UUID | None
) -> None:
    """The event, numbered; flushed first, so that the workspace's counter is locked for as short as possible."""
    await db.flush()
    workspace_id = message.workspace_id
    seq = await db.scalar(
        update(EventCounter)
        .where(EventCounter.workspace_id == workspace_id)
        .values(seq=EventCounter.seq + 1)
        .returning(EventCounter.seq)
    )
    db.add(
        Event(
            workspace_id=workspace_id,
            seq=seq,
            event=event,
            subject_type="message",
            subject_id=message.id,
            conversation_id=message.conversation_id,
            actor_type=actor_type,
            actor_id=actor_id,
            data=msgspec.to_builtins(_view(message)),
        )
    )


def _view(message: ConversationMessage) -> ConversationMessageView:
    names = [name for name in ConversationMessageView.__struct_fields__ if name not in ("attachments", "sender_id")]
    return ConversationMessageView(
        **{name: getattr(message, name) for name in names}, sender_id=message.sender_contact_id, attachments=[]
    )


def create_app(database_url: str, token: str) -> Litestar:
    """The application."""
    engine = create_async_engine(database_url, pool_size=POOL, max_overflow=0, pool_timeout=30)
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)

    async def db() -> AsyncIterator[AsyncSession]:
        async with sessions.begin() as session:
            yield session

    app = Litestar([take_message, take_report], dependencies={"db": Provide(db)}, openapi_config=None)
    app.state.validator = RequestValidator(token)
    return app


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        print("listening", flush=True)


def main() -> None:
    """The process."""
    port, database_url, token = sys.argv[1:]
    config = uvicorn.Config(
        create_app(database_url, token),
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    _Server(config).run()


if __name__ == "__main__":
    main()
