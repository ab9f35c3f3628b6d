"""A mail, and three answers from three sorts of mail program; and a mailbox that is not there."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from tests.conftest import Client
from tests.handlers.webhooks import post, rows
from tests.make import communications as make
from tests.make.mail import JANE, PostOffice, mail, post_office
from tests.make.sending import NONE_WAITS, until

ANSWERS = {
    # Gmail keeps the headers, and writes to the signed address.
    "gmail": (
        True,
        True,
        "{said}\n\nOn Thu, Nov 21, 2024 at 9:00 AM Acme <support@inbound.example.com>\nwrote:\n\n{quote}",
    ),
    # Outlook by Exchange may lose the references: the address alone leads back.
    "outlook": (
        True,
        False,
        "{said}\n\n________________________________\nFrom: Acme <support@inbound.example.com>\nSent: Thursday\n"
        "To: Jane\nSubject: Re: Booking\n\nsee below",
    ),
    # Apple Mail answers to an address book's entry: the headers alone lead back.
    "apple": (
        False,
        True,
        "{said}\n\n> On 21 Nov 2024, at 09:00, Acme <support@inbound.example.com> wrote:\n> \n{quote}",
    ),
}


@pytest.fixture
async def mailbox(service: Service, workspace_id: uuid.UUID) -> Connection:
    connection = await make.sendgrid_connection(service, workspace_id)
    await make.mail_address(service, workspace_id, connection_id=connection.id, friendly_name="Acme")
    return connection


@pytest.fixture
async def office(service: Service, app: Any, mailbox: Connection) -> AsyncIterator[PostOffice]:
    async with post_office(service, app, mailbox) as office:
        yield office


async def test_a_thread_holds_through_three_answers_of_three_programs(
    owner: Client, anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    first = mail(mailbox, subject="Booking", text="Is 3pm free?", headers={"Message-ID": "<jane-0@example.com>"})
    assert (await post(anonymous, first)).status_code == 200
    (conversation,) = (await owner.get("/api/v1/conversations")).json()["items"]
    address = f"/api/v1/conversations/{conversation['id']}/messages"
    said = ["Is 3pm free?"]
    async with office.sending():
        for number, (by_address, by_headers, text) in enumerate(ANSWERS.values(), start=1):
            answer = await owner.post(address, json={"content": f"Our answer {number}"})
            assert answer.status_code == 201, answer.text
            await until(admin, NONE_WAITS)
            taken = office.exchange.taken[-1]
            # An answer is called what the mail is that it answers, whatever their program has made of it.
            assert taken.document["subject"] == ("Re: Booking" if number == 1 else f"Re: {number - 1}")
            reply = mail(
                mailbox,
                to=taken.document["reply_to"]["email"] if by_address else "Support@Inbound.example.com",
                subject=f"AW: {number}",
                text=text.format(said=f"Jane's answer {number}", quote=f"> Our answer {number}"),
                headers={
                    "Message-ID": f"<jane-{number}@example.com>",
                    **({"In-Reply-To": taken.headers["Message-ID"]} if by_headers else {}),
                },
            )
            assert (await post(anonymous, reply)).status_code == 200
            said += [f"Our answer {number}", f"Jane's answer {number}"]
    await office.exchange.told()
    messages = (await owner.get(address, params={"sort": "createdAt"})).json()["items"]
    assert [message["content"] for message in messages] == said
    assert {message["status"] for message in messages if message["direction"] == "outbound"} == {"delivered"}
    assert len((await owner.get("/api/v1/conversations")).json()["items"]) == 1
    # The thread that Jane's program sees: each of ours answers her newest, and names what was before it.
    assert [taken.headers["In-Reply-To"] for taken in office.exchange.taken] == [
        f"<jane-{number}@example.com>" for number in range(3)
    ]
    assert await admin.fetchval("SELECT count(*) FROM mails WHERE quoted IS NOT NULL") == 3


async def test_a_mailbox_that_is_not_there_is_written_to_once(
    owner: Client, office: PostOffice, admin: Any, workspace_id: uuid.UUID
) -> None:
    body = {"to": "jane@bounce.example", "channel": "email", "subject": "Your booking", "content": "See you at 7pm"}
    async with office.sending():
        answer = await owner.post("/api/v1/messages", json=body)
        assert answer.status_code == 201, answer.text
        await until(admin, NONE_WAITS)
        await office.exchange.told()
    message = (await owner.get(f"/api/v1/conversation-messages/{answer.json()['id']}")).json()
    assert (message["status"], message["errorCode"]) == ("undelivered", "5.1.1")
    again = await owner.post("/api/v1/messages", json=body)
    assert again.status_code == 422
    assert "their mailbox does not exist" in again.json()["detail"]
    assert len(office.exchange.taken) == 1
    (kept, *_) = await rows(admin, "conversations", workspace_id)
    assert kept["subject"] == "Your booking"


async def test_html_of_ours_leaves_as_both_and_goes_to_whom_we_know(
    owner: Client, anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any
) -> None:
    assert (await post(anonymous, mail(mailbox, sender=JANE.replace("jane", "Jane")))).status_code == 200
    (conversation,) = (await owner.get("/api/v1/conversations")).json()["items"]
    html = '<p>See <b>you</b></p><img src="https://acme.example/logo.png"><script>x()</script>'
    async with office.sending():
        address = f"/api/v1/conversations/{conversation['id']}/messages"
        answer = await owner.post(address, json={"content": html, "contentType": "html"})
        assert answer.status_code == 201, answer.text
        by_address = await owner.post(
            "/api/v1/messages", json={"to": "JANE@EXAMPLE.COM", "channel": "email", "content": "Hi"}
        )
        assert by_address.json()["conversationId"] == conversation["id"]
        await until(admin, NONE_WAITS)
    plain, shown = (part["value"] for part in office.exchange.taken[0].document["content"])
    assert plain == "See you"
    assert shown == '<p>See <b>you</b></p><img src="https://acme.example/logo.png">'
