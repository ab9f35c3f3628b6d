"""To whom an answer goes, what it is called, what it names; and that programs do not write to each other for ever."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.errors import Unsendable
from comms.outbox import Intent
from comms.outbox.putting import put_all
from comms.service import Service
from tests.conftest import Client
from tests.handlers.webhooks import post
from tests.make import communications as make
from tests.make.communications import OUR_MAIL
from tests.make.mail import PostOffice, mail, post_office


@pytest.fixture
async def office(service: Service, app: Any, mailbox: Connection) -> AsyncIterator[PostOffice]:
    async with post_office(service, app, mailbox) as office:
        yield office


async def received(anonymous: httpx.AsyncClient, admin: Any, request: Any) -> uuid.UUID:
    """The conversation of this mail."""
    answer = await post(anonymous, request)
    assert answer.status_code == 200, answer.text
    found: uuid.UUID = await admin.fetchval(
        "SELECT conversation_id FROM conversation_messages WHERE direction = 'inbound' ORDER BY id DESC LIMIT 1"
    )
    return found


async def written(admin: Any, view: Any) -> Any:
    """The mail that a message is to leave as."""
    return await admin.fetchrow(
        "SELECT m.to_address, l.* FROM mails l JOIN conversation_messages m ON m.id = l.message_id WHERE m.id = $1",
        view.id,
    )


@pytest.mark.parametrize(
    ("reply_to", "more", "to"),
    [
        ("Jane Doe <jane@home.example>", {}, "jane@home.example"),
        ("jane@home.example, bob@example.org", {}, "jane@home.example"),
        ("Jane@Example.com", {}, "jane@example.com"),
        ("no address", {}, "jane@example.com"),
        # Ours: we would write to ourselves.
        (OUR_MAIL, {}, "jane@example.com"),
        # From somebody whom we do not know to be Jane, into a conversation of nobody.
        ("jane@home.example", {"dkim": "none", "spf": "none"}, "jane@home.example"),
    ],
)
async def test_an_answer_goes_where_its_sender_wants_it(
    reply_to: str, more: dict[str, str], to: str,
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any,
) -> None:  # fmt: skip
    conversation = await received(anonymous, admin, mail(mailbox, headers={"Reply-To": reply_to}, **more))
    row = await written(admin, await office.say(conversation, "Yes"))
    assert row["to_address"] == to
    # What they answer from there is in the same conversation.
    answer = mail(
        mailbox, sender=to, to=office.tokens.address_for(OUR_MAIL, mailbox.workspace_id, conversation), text="Thanks"
    )
    assert await received(anonymous, admin, answer) == conversation


async def test_who_proves_nothing_leads_no_answer_of_somebody_elses_astray(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    conversation = await received(anonymous, admin, mail(mailbox))
    to = office.tokens.address_for(OUR_MAIL, mailbox.workspace_id, conversation)
    forged = mail(
        mailbox, to=to, text="Send it to me", headers={"Reply-To": "eve@evil.example"}, dkim="none", spf="none"
    )
    assert await received(anonymous, admin, forged) == conversation
    assert (await written(admin, await office.say(conversation, "Yes")))["to_address"] == "jane@example.com"


async def test_an_answer_is_called_what_the_mail_is_that_it_answers(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    for subject, answer in (
        ("Booking", "Re: Booking"),
        ("RE: Booking", "Re: Booking"),
        ("AW: Re[2]: Booking", "Re: Booking"),
        ("The bill", "Re: The bill"),
        ("Regarding: care", "Re: Regarding: care"),
        ("Care: more", "Re: Care: more"),
    ):
        headers = {"Message-ID": f"<{uuid.uuid4()}@example.com>"}
        conversation = await received(anonymous, admin, mail(mailbox, subject=subject, headers=headers))
        row = await written(admin, await office.say(conversation, "Yes", sender_type="user"))
        assert (row["subject"], f"<{row['in_reply_to']}>") == (answer, headers["Message-ID"])


async def test_an_answer_names_the_mail_of_a_person_and_not_the_bounce_after_it(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    conversation = await received(anonymous, admin, mail(mailbox, headers={"Message-ID": "<jane@example.com>"}))
    bounce = mail(
        mailbox, sender="MAILER-DAEMON@example.com", subject="Returned", envelope=f'{{"to":["{OUR_MAIL}"],"from":""}}',
        headers={"In-Reply-To": "<jane@example.com>", "Message-ID": "<bounce@example.com>"},
    )  # fmt: skip
    assert await received(anonymous, admin, bounce) == conversation
    row = await written(admin, await office.say(conversation, "Yes", sender_type="user"))
    assert (row["in_reply_to"], row["subject"]) == ("jane@example.com", "Re: Booking")


async def test_a_mail_leaves_from_the_address_that_is_asked_for_and_its_answers_go_there(
    owner: Client, mailbox: Connection, service: Service, admin: Any, stranger: Client
) -> None:
    theirs = await make.mail_address(service, stranger.workspace_id, "sales@elsewhere.example")
    sales = await make.mail_address(service, mailbox.workspace_id, "sales@acme.example", connection_id=mailbox.id)
    off = await make.mail_address(service, mailbox.workspace_id, "old@acme.example", status="suspended")
    body = {"to": "jane@example.com", "channel": "email", "content": "Hello"}
    for address, status in ((None, 201), (sales, 201), (theirs, 422), (off, 422)):
        asked = body if address is None else {**body, "from": address.address.upper()}
        answer = await owner.post("/api/v1/messages", json=asked)
        assert answer.status_code == status, answer.text
        if status == 201:
            assert answer.json()["fromAddress"] == (OUR_MAIL if address is None else "sales@acme.example")
    replies = await admin.fetchval(
        "SELECT details->'mail'->>'replyAddress' FROM outgoing_messages ORDER BY created_at DESC LIMIT 1"
    )
    assert replies == "sales@acme.example"


async def test_files_that_no_mail_can_carry_are_refused_before_anything_is_kept(
    anonymous: httpx.AsyncClient, owner: Client, mailbox: Connection, service: Service, admin: Any
) -> None:
    conversation = await received(anonymous, admin, mail(mailbox, attachments=[("a.bin", "x/y", b"0")]))
    attachment = await admin.fetchval("SELECT id FROM message_attachments")
    await service.media.fetch(mailbox.workspace_id, attachment)
    address = f"/api/v1/conversations/{conversation}/messages"
    for size, status in ((20 * 2**20 + 1, 422), (20 * 2**20, 201)):
        await admin.execute("UPDATE message_attachments SET size = $1", size)
        answer = await owner.post(address, json={"content": "Here", "attachmentIds": [str(attachment)]})
        assert answer.status_code == status, answer.text
        if status == 422:
            assert "20,971,520 bytes together" in answer.json()["detail"]
            assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 1


async def test_programs_at_once_and_in_one_go_send_no_more_than_the_limit_of_a_thread(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, service: Service, admin: Any
) -> None:
    conversation = await received(anonymous, admin, mail(mailbox))

    async def say(number: int) -> bool:
        try:
            await office.say(conversation, f"Answer {number}", sender_type="system")
        except Unsendable as error:
            return error.code != "automatic_limit"
        return True

    assert sum(await asyncio.gather(*(say(number) for number in range(12)))) == 5
    # A stranger's mails, each a conversation, have one count together.
    said = []
    for number in range(6):
        stranger = mail(mailbox, sender="eve@evil.example", text=f"Away {number}", dkim="none", spf="none")
        conversation = await received(anonymous, admin, stranger)
        said.append(await say(number))
    assert said == [True] * 5 + [False]
    # Another conversation has its own count, also of what is put in line together.
    other = await received(anonymous, admin, mail(mailbox, sender="bob@example.org"))
    intents = [
        Intent(workspace_id=mailbox.workspace_id, conversation_id=other, content=f"{number}", sender_type="system")
        for number in range(12)
    ]
    async with service.database.workspace(mailbox.workspace_id) as db:
        outcomes, _ = await put_all(db, intents)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 5


@pytest.mark.parametrize(
    ("subject", "text", "more", "state"),
    [
        ("unsubscribe", "Sent from my phone", {}, "opted_out"),
        ("Re: Your booking", "Unsubscribe.", {}, "opted_out"),
        ("Re: Your booking", "STOP\n\n> Our news of today", {}, "opted_out"),
        ("Re: Your booking", "Please stop emailing me", {}, "in_review"),
        # In a mail these are answers, and programs and strangers are not heard.
        ("Re: Your booking", "Cancel", {}, None),
        ("Re: Your booking", "Yes", {}, None),
        ("Re: Your booking", "Our news\n\n> unsubscribe", {}, None),
        ("unsubscribe", "", {"headers": {"Auto-Submitted": "auto-replied"}}, None),
        ("unsubscribe", "", {"dkim": "none", "spf": "none"}, None),
    ],
)
async def test_who_unsubscribes_by_mail_is_heard(
    subject: str, text: str, more: dict[str, Any], state: str | None,
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, owner: Client,
) -> None:  # fmt: skip
    request = mail(mailbox, subject=subject, text=text, **more)
    for _ in range(2):
        conversation = await received(anonymous, admin, request)
    consents = [tuple(row) for row in await admin.fetch("SELECT address, sender, state, source FROM consents")]
    assert consents == [("jane@example.com", OUR_MAIL, "opted_out", "unsubscribe")] * (state == "opted_out")
    assert await admin.fetchval("SELECT count(*) FROM opt_out_reviews") == (state == "in_review")
    assert await admin.fetchval("SELECT count(*) FROM consent_entries") == (state == "opted_out")
    answer = await owner.post(f"/api/v1/conversations/{conversation}/messages", json={"content": "Hello"})
    assert answer.status_code == (422 if state == "opted_out" else 201), answer.text
