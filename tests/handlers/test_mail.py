"""Mail that comes in: where it goes, what is kept of it, and what never happens because of it."""

import uuid
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.providers.base import Request
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make
from tests.make.communications import OUR_MAIL

JANE = "Jane Doe <jane@example.com>"


@pytest.fixture
async def mailbox(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A SendGrid connection of the workspace, and a mail address on it."""
    connection = await make.sendgrid_connection(service, workspace_id)
    await make.mail_address(service, workspace_id, connection_id=connection.id)
    return connection


def mail(connection: Connection, sender: str = JANE, to: str = OUR_MAIL, **more: Any) -> Request:
    """A signed mail to our address."""
    url = url_of(connection, "inbound")
    return sendgrid.inbound(url, connection.credentials, now(), sender=sender, recipients=[to], **more)


async def took(client: httpx.AsyncClient, request: Request) -> None:
    answer = await post(client, request)
    assert answer.status_code == 200, answer.text


async def test_a_mail_is_a_message_of_its_sender_and_told(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    await took(anonymous, mail(mailbox, subject="Booking", text="Hello", html="<p>Hello</p>"))
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    (conversation,) = await rows(admin, "conversations", workspace_id)
    (contact,) = await rows(admin, "contacts", workspace_id)
    (kept,) = await rows(admin, "mails", workspace_id)
    (receipt,) = await rows(admin, "webhook_receipts", workspace_id)
    assert (message["content"], message["direction"], message["from_address"]) == (
        "Hello",
        "inbound",
        "jane@example.com",
    )
    assert (message["to_address"], message["sender_contact_id"]) == (OUR_MAIL, contact["id"])
    assert (conversation["channel"], conversation["subject"], conversation["message_count"]) == ("email", "Booking", 1)
    assert (contact["email"], contact["first_name"]) == ("jane@example.com", "Jane Doe")
    assert (kept["html"], kept["is_verified"], kept["threaded_by"]) == ("<p>Hello</p>", True, "new")
    assert (receipt["state"], receipt["message_id"], receipt["body"]) == ("processed", message["id"], b"")
    told = [row["event"] for row in await rows(admin, "events", workspace_id) if row["subject_type"] != "mail_address"]
    assert told[-3:] == ["contact.created", "conversation.created", "message.received"]


async def test_events_of_a_mail_move_its_message_once_and_spare_who_bounced(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    sent = await make.sent(service, workspace_id, "X1", provider="sendgrid")
    bounce = sendgrid.event("bounce", "jane@example.com", now(), message_id="X1", status="5.1.1", type="bounce")
    batch = ["nonsense", sendgrid.event("processed", "jane@example.com", now(), message_id="X1"), bounce, bounce]
    url = url_of(mailbox, "events")
    for elements in (batch, [bounce]):
        answer = await post(anonymous, sendgrid.events(url, mailbox.credentials, elements, now()))
        assert answer.status_code == 204
    kinds = [row["kind"] for row in await rows(admin, "mail_events", workspace_id)]
    assert sorted(kinds) == ["bounced", "processed", "unknown"]
    (message,) = [row for row in await rows(admin, "conversation_messages", workspace_id) if row["id"] == sent.id]
    assert (message["status"], message["error_code"]) == ("undelivered", "5.1.1")
    (consent,) = await rows(admin, "consents", workspace_id)
    assert (consent["address"], consent["sender"], consent["source"]) == ("jane@example.com", "*", "bounce")
