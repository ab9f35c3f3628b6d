"""A mail of ours that comes back as a mail: who sends by a mail server hears of it in no other way."""

import uuid
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from models.communications import Mail
from tests.conftest import Client
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make
from tests.make.communications import OUR_MAIL

OURS = "0198c0de-7000-7000-8000-000000000001@inbound.example.com"


@pytest.fixture
async def sent(service: Service, workspace_id: uuid.UUID) -> Any:
    """A mail that has left by a mail server."""
    conversation = await make.conversation(service, workspace_id, channel="email")
    message = await make.sent(
        service, workspace_id, OURS, provider="smtp", status="sent", conversation_id=conversation.id,
        to_address="Jane@example.com",
    )  # fmt: skip
    async with service.database.everywhere() as db:
        db.add(Mail(workspace_id=workspace_id, message_id=message.id, rfc_message_id=OURS))
    return message


def bounce(mailbox: Connection, *, to: str = "jane@example.com", status: str = "5.1.1", action: str = "failed",
           original: str = OURS) -> Any:  # fmt: skip
    """As Postfix writes it."""
    whole = (
        "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        f"Message-ID: <{uuid.uuid4()}@mx.example.net>\r\nAuto-Submitted: auto-replied\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nI'm sorry to have to inform you\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; 550 {status} <{to}>: no such user\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{original}>\r\nSubject: Hi\r\n--b--\r\n"
    )
    return inbound(mailbox, whole.encode())


def inbound(mailbox: Connection, whole: bytes) -> Any:
    url = url_of(mailbox, "inbound")
    sender = "MAILER-DAEMON@mx.example.net"
    return sendgrid.inbound_raw(url, mailbox.credentials, now(), sender=sender, recipients=[OUR_MAIL], mail=whole)


async def state_of(admin: Any, message: Any) -> tuple[str, str | None]:
    row = await admin.fetchrow("SELECT status, error_code FROM conversation_messages WHERE id = $1", message.id)
    return row["status"], row["error_code"]


@pytest.mark.parametrize(
    ("to", "named"),
    [("jane.@docomo.ne.jp", '"jane."@docomo.ne.jp'), ("jane@exämple.com", "jane@xn--exmple-cua.com")],
)
async def test_a_bounce_names_an_odd_address_as_it_was_written_to(
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any, to: str, named: str
) -> None:
    await admin.execute("UPDATE conversation_messages SET to_address = $2 WHERE id = $1", sent.id, to)
    assert (await post(anonymous, bounce(mailbox, to=named))).status_code == 200
    assert await state_of(admin, sent) == ("undelivered", "5.1.1")


async def test_a_mailbox_that_is_not_there_is_known_from_the_mail_that_says_so(
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any, owner: Client, workspace_id: uuid.UUID
) -> None:
    request = bounce(mailbox)
    for _ in range(2):
        assert (await post(anonymous, request)).status_code == 200
    assert await state_of(admin, sent) == ("undelivered", "5.1.1")
    (consent,) = await rows(admin, "consents", workspace_id)
    assert (consent["address"], consent["sender"], consent["source"]) == ("jane@example.com", "*", "bounce")
    (event,) = (await owner.get("/api/v1/mail-events")).json()["items"]
    assert (event["kind"], event["messageId"]) == ("bounced", str(sent.id))
    assert "no such user" in event["reason"]
    # What the server wrote stands where the mail does, and is nobody's message.
    (report,) = [
        row for row in await rows(admin, "conversation_messages", workspace_id) if row["direction"] == "inbound"
    ]
    assert (report["conversation_id"], report["sender_type"]) == (sent.conversation_id, "system")
    told = [row["event"] for row in await rows(admin, "events", workspace_id)]
    assert (told.count("message.status_changed"), told.count("consent.withdrawn")) == (1, 1)


async def test_a_bounce_that_sendgrid_has_taken_apart_is_one(
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any
) -> None:
    status = b"Reporting-MTA: dns; mx\n\nOriginal-Recipient: rfc822;jane@example.com\nAction: failed\nStatus: 5.1.1\n"
    request = sendgrid.inbound(
        url_of(mailbox, "inbound"), mailbox.credentials, now(), sender="postmaster@mx.example.net",
        recipients=[OUR_MAIL], envelope=f'{{"to":["{OUR_MAIL}"],"from":""}}',
        headers={"Content-Type": "multipart/report; report-type=delivery-status; boundary=b"},
        attachments=[
            ("details.txt", "message/delivery-status", status),
            ("mail.eml", "message/rfc822", f"Subject: Hi\r\nMessage-ID: <{OURS}>\r\n\r\nHello".encode()),
        ],
    )  # fmt: skip
    assert (await post(anonymous, request)).status_code == 200
    assert await state_of(admin, sent) == ("undelivered", "5.1.1")


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        ({"status": "5.2.2"}, "undelivered", "blocked"),
        ({"status": "5.7.1"}, "undelivered", "blocked"),
        ({"status": "4.4.1", "action": "delayed"}, "sent", "deferred"),
    ],
)
async def test_what_may_pass_keeps_nobody_from_being_written_to(
    said: dict[str, str], status: str, kind: str,
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any, workspace_id: uuid.UUID,
) -> None:  # fmt: skip
    assert (await post(anonymous, bounce(mailbox, **said))).status_code == 200
    assert (await state_of(admin, sent))[0] == status
    assert [row["kind"] for row in await rows(admin, "mail_events", workspace_id)] == [kind]
    assert await rows(admin, "consents", workspace_id) == []


@pytest.mark.parametrize("said", [{"to": "bob@example.org"}, {"original": "guessed@inbound.example.com"}])
async def test_a_bounce_of_nothing_we_sent_there_changes_nothing(
    said: dict[str, str],
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any, workspace_id: uuid.UUID,
) -> None:  # fmt: skip
    assert (await post(anonymous, bounce(mailbox, **said))).status_code == 200
    assert await state_of(admin, sent) == ("sent", None)
    assert await rows(admin, "consents", workspace_id) == []
    assert await rows(admin, "mail_events", workspace_id) == []
    assert await rows(admin, "contacts", workspace_id) == []


async def test_a_bounce_of_another_workspaces_mail_changes_nothing(
    anonymous: httpx.AsyncClient, service: Service, sent: Any, admin: Any, stranger: Client
) -> None:
    theirs = await make.sendgrid_connection(service, stranger.workspace_id)
    await make.mail_address(service, stranger.workspace_id, connection_id=theirs.id)
    assert (await post(anonymous, bounce(theirs))).status_code == 200
    assert await state_of(admin, sent) == ("sent", None)
    assert await rows(admin, "consents", stranger.workspace_id) == []


async def test_a_complaint_that_comes_as_a_mail_is_one(
    anonymous: httpx.AsyncClient, mailbox: Connection, sent: Any, admin: Any, workspace_id: uuid.UUID
) -> None:
    whole = (
        "From: feedback@mail.example.net\r\nSubject: FW: Hi\r\nMessage-ID: <f@mail.example.net>\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report\r\n"
        "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <{OURS}>\r\nSubject: Hi\r\n\r\nHello\r\n--b--\r\n"
    )
    assert (await post(anonymous, inbound(mailbox, whole.encode()))).status_code == 200
    (consent,) = await rows(admin, "consents", workspace_id)
    assert (consent["address"], consent["source"]) == ("jane@example.com", "complaint")
    assert await state_of(admin, sent) == ("sent", None)
