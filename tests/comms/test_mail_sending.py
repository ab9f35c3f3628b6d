"""Mail that leaves: its thread, its one sending, and what never answers whom."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.errors import Unsendable
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, rows
from tests.make import communications as make
from tests.make.communications import OUR_MAIL
from tests.make.mail import PostOffice, mail, post_office
from tests.make.sending import HURRY, NONE_WAITS, until


@pytest.fixture
async def mailbox(service: Service, workspace_id: uuid.UUID) -> Connection:
    connection = await make.sendgrid_connection(service, workspace_id)
    await make.mail_address(service, workspace_id, connection_id=connection.id, friendly_name="Acme Support")
    return connection


@pytest.fixture
async def office(service: Service, app: Any, mailbox: Connection) -> AsyncIterator[PostOffice]:
    async with post_office(service, app, mailbox) as office:
        yield office


async def received(anonymous: httpx.AsyncClient, admin: Any, request: Any) -> dict[str, Any]:
    """The newest inbound message, once this mail is in."""
    answer = await post(anonymous, request)
    assert answer.status_code == 200, answer.text
    found = await admin.fetchrow("SELECT * FROM conversation_messages WHERE direction = 'inbound' ORDER BY id DESC")
    return dict(found)


async def test_an_answer_stays_in_its_thread_wherever_the_next_one_comes_from(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    first = await received(
        anonymous,
        admin,
        mail(
            mailbox, subject="Booking", headers={"Message-ID": "<first@example.com>", "References": "<old@example.com>"}
        ),
    )
    async with office.sending():
        view = await office.say(first["conversation_id"], "Yes, 3pm is free.\n\n<Jane> & co", sender_type="system")
        await until(admin, NONE_WAITS)
        await office.exchange.told()
    (taken,) = office.exchange.taken
    ours = f"{view.id}@inbound.example.com"
    assert taken.recipient == "jane@example.com"
    assert taken.document["from"] == {"email": OUR_MAIL, "name": "Acme Support"}
    assert taken.document["subject"] == "Re: Booking"
    assert taken.headers["Message-ID"] == f"<{ours}>"
    assert taken.headers["In-Reply-To"] == "<first@example.com>"
    assert taken.headers["References"] == "<old@example.com> <first@example.com>"
    assert taken.headers["Auto-Submitted"] == "auto-replied"
    assert [part["type"] for part in taken.document["content"]] == ["text/plain", "text/html"]
    assert "&lt;Jane&gt; &amp; co" in taken.document["content"][1]["value"]
    (sent,) = [row for row in await rows(admin, "conversation_messages", workspace_id) if row["id"] == view.id]
    assert (sent["status"], sent["provider_message_id"]) == ("delivered", taken.id)
    # By the signed address, from a program that keeps no headers; and by the headers alone.
    reply_to = taken.document["reply_to"]["email"]
    assert reply_to.startswith("support+")
    assert reply_to.endswith("@inbound.example.com")
    for to, headers in ((reply_to, {}), (OUR_MAIL, {"In-Reply-To": f"<{ours}>"})):
        again = await received(anonymous, admin, mail(mailbox, to=to, headers=headers, text=f"Thanks {to}"))
        assert again["conversation_id"] == first["conversation_id"]
        by = "token" if to == reply_to else "reference"
        assert await admin.fetchval("SELECT threaded_by FROM mails WHERE message_id = $1", again["id"]) == by


@pytest.mark.parametrize("fault", ["lost", "broken"])
async def test_a_mail_whose_answer_was_lost_is_known_by_its_events_and_sent_once(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, fault: Any
) -> None:
    first = await received(anonymous, admin, mail(mailbox))
    office.exchange.faults.append(fault)
    async with office.sending(HURRY):
        view = await office.say(first["conversation_id"], "Once", sender_type="system")
        await until(admin, NONE_WAITS)
    assert len(office.exchange.taken) == office.exchange.requests == 1
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", view.id)
    assert (row["status"], row["provider_message_id"]) == ("delivered", office.exchange.taken[0].id)


async def test_a_mail_that_nothing_tells_of_is_not_sent_again_by_itself(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    first = await received(anonymous, admin, mail(mailbox))
    office.expect_events_within(1)
    office.exchange.faults.append("never")
    async with office.sending(HURRY):
        view = await office.say(first["conversation_id"], "Once", sender_type="system")
        await until(admin, NONE_WAITS)
    assert office.exchange.requests == 1
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", view.id)
    assert (row["status"], row["error_code"]) == ("failed", "unclear")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("to", "status", "events"),
    [
        ("jane@example.com", "delivered", ["delivered", "processed"]),
        ("jane@bounce.example", "undelivered", ["bounced", "processed"]),
        ("jane@spam.example", "delivered", ["complained", "delivered", "processed"]),
    ],
)
async def test_events_that_come_twice_and_in_any_order_end_as_in_theirs(
    owner: Client, office: PostOffice, admin: Any, to: str, status: str, events: list[str], seed: int
) -> None:
    office.exchange.doubled = office.exchange.shuffled = True
    office.exchange.chance.seed(seed)
    async with office.sending():
        body = {"to": to, "channel": "email", "subject": "Your booking", "content": "See you at 7pm"}
        assert (await owner.post("/api/v1/messages", json=body)).status_code == 201
        await until(admin, NONE_WAITS)
        await office.exchange.told()
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE direction = 'outbound'") == status
    assert [row[0] for row in await admin.fetch("SELECT kind FROM mail_events ORDER BY kind")] == events


async def test_what_was_busy_is_sent_later_and_what_is_refused_says_why(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    first = await received(anonymous, admin, mail(mailbox))
    office.exchange.faults.append("busy")
    async with office.sending():
        await office.say(first["conversation_id"], "Later", sender_type="system")
        await until(admin, NONE_WAITS)
    assert (office.exchange.requests, len(office.exchange.taken)) == (2, 1)


async def test_a_program_answers_no_program_and_no_thread_without_end(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    first = await received(anonymous, admin, mail(mailbox))
    for number in range(5):
        await office.say(first["conversation_id"], f"Answer {number}", sender_type="system")
    with pytest.raises(Unsendable, match="within an hour"):
        await office.say(first["conversation_id"], "One more", sender_type="system")
    away = await received(
        anonymous, admin, mail(mailbox, sender="Bob <bob@example.org>", headers={"Auto-Submitted": "auto-replied"})
    )
    with pytest.raises(Unsendable, match="program"):
        await office.say(away["conversation_id"], "Hello?", sender_type="system")


async def test_how_many_automatic_mails_leave_in_an_hour_is_a_setting_of_the_workspace(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, owner: Client
) -> None:
    place = f"/api/v1/workspaces/{owner.workspace_id}"
    assert (await owner.patch(place, json={"settings": {"automaticRepliesPerHour": 1}})).status_code == 200
    first = await received(anonymous, admin, mail(mailbox))
    await office.say(first["conversation_id"], "One", sender_type="system")
    with pytest.raises(Unsendable, match=r"^1 automatic mails"):
        await office.say(first["conversation_id"], "Two", sender_type="system")


@pytest.mark.parametrize(
    ("content_type", "before", "after", "shown"),
    [
        ("text", "See you at 3", "See you at 4 & not later", "See you at 4 &amp; not later"),
        ("html", "<b>At 3</b>", "<b>At 4</b><script>x</script>", "<b>At 4</b>"),
    ],
)
async def test_a_mail_that_is_changed_before_it_leaves_says_the_new_words_in_all_its_parts(
    office: PostOffice, owner: Client, admin: Any, content_type: str, before: str, after: str, shown: str
) -> None:
    at = (now() + timedelta(hours=1)).isoformat()
    said = await owner.post(
        "/api/v1/messages",
        json={"to": "jane@example.com", "channel": "email", "content": "placeholder", "scheduledAt": at},
    )
    talk = said.json()["conversationId"]
    await owner.delete(f"/api/v1/scheduled-messages/{said.json()['id']}")
    body = {"content": before, "contentType": content_type, "scheduledAt": at}
    message = (await owner.post(f"/api/v1/conversations/{talk}/messages", json=body)).json()
    path = f"/api/v1/scheduled-messages/{message['id']}"
    changed = await owner.patch(path, json={"content": after, "scheduledAt": None})
    assert changed.status_code == 200, changed.text
    async with office.sending():
        await until(admin, NONE_WAITS)
    (taken,) = office.exchange.taken
    text, html = (part["value"] for part in taken.document["content"])
    assert "4" in text
    assert "3" not in text + html
    assert shown in html
    (kept,) = (await owner.get("/api/v1/mails", params={"messageId": message["id"]})).json()["items"]
    assert shown in kept["html"]
