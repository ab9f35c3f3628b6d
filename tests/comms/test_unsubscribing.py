"""Who gets mail that no person wrote to them can leave by one click, and by a mail; and only themselves."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.consent.unsubscribing import Subscription
from comms.directory import Connection
from comms.service import Service
from tests.conftest import PUBLIC_URL, Client
from tests.handlers.webhooks import post
from tests.make.communications import OUR_MAIL
from tests.make.mail import PostOffice, mail, post_office
from tests.make.sending import NONE_WAITS, until

JANE = "jane@example.com"


@pytest.fixture
async def office(service: Service, app: Any, mailbox: Connection) -> AsyncIterator[PostOffice]:
    async with post_office(service, app, mailbox) as office:
        yield office


async def consents(admin: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await admin.fetch("SELECT address, sender, state, source FROM consents")]


UNSUBSCRIBED = [(JANE, OUR_MAIL, "opted_out", "unsubscribe")]


async def test_what_a_program_writes_first_can_be_left_by_one_click(
    anonymous: httpx.AsyncClient, office: PostOffice, admin: Any, owner: Client
) -> None:
    contact = (await owner.post("/api/v1/contacts", json={"email": "Jane@example.com"})).json()["id"]
    conversation = (await owner.post("/api/v1/conversations", json={"channel": "email", "contactId": contact})).json()
    async with office.sending():
        await office.say(uuid.UUID(conversation["id"]), "Our news of today", sender_type="system")
        await until(admin, NONE_WAITS)
    headers = office.exchange.taken[0].headers
    link, mailto = (one.strip("<>") for one in headers["List-Unsubscribe"].split(", "))
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link.startswith(f"{PUBLIC_URL}/unsubscribe/")
    assert mailto.startswith("mailto:support+")
    assert mailto.endswith("@inbound.example.com?subject=unsubscribe")
    # A program that looks at the link has unsubscribed nobody.
    page = await anonymous.get(link)
    assert (page.status_code, "<form" in page.text, JANE in page.text.lower()) == (200, True, True)
    assert await consents(admin) == []
    for _ in range(2):
        answer = await anonymous.post(link, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200, answer.text
    assert await consents(admin) == UNSUBSCRIBED
    assert await admin.fetchval("SELECT count(*) FROM consent_entries") == 1
    events = await admin.fetch("SELECT event FROM events WHERE event = 'consent.withdrawn'")
    assert len(events) == 1
    address = f"/api/v1/conversations/{conversation['id']}/messages"
    refused = await owner.post(address, json={"content": "Hello"})
    assert (refused.status_code, "they have unsubscribed" in refused.json()["detail"]) == (422, True)


async def test_the_click_counts_where_another_word_has_come_after_an_opt_out_of_everything(
    anonymous: httpx.AsyncClient, service: Service, mailbox: Connection, owner: Client
) -> None:
    body = {"address": JANE, "reason": "She said so on the phone."}
    for word in ({"says": "stop", "sender": "*"}, {"says": "start", "sender": OUR_MAIL}):
        assert (await owner.post("/api/v1/consent-entries", json=body | word)).status_code == 201
    said = {"to": JANE, "channel": "email", "content": "Hello"}
    assert (await owner.post("/api/v1/messages", json=said)).status_code == 201
    link = service.unsubscribing.address_of(Subscription(owner.workspace_id, JANE, OUR_MAIL))
    for _ in range(2):
        assert (await anonymous.post(link)).status_code == 200
    refused = await owner.post("/api/v1/messages", json=said)
    assert (refused.status_code, "they have unsubscribed" in refused.json()["detail"]) == (422, True)
    entries = (await owner.get("/api/v1/consent-entries")).json()["items"]
    assert [entry["source"] for entry in entries].count("unsubscribe") == 1


async def test_what_answers_somebody_and_what_a_person_writes_has_no_such_link(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, owner: Client
) -> None:
    assert (await post(anonymous, mail(mailbox))).status_code == 200
    conversation = await admin.fetchval("SELECT id FROM conversations")
    async with office.sending():
        await office.say(conversation, "Yes, it is", sender_type="system")
        answer = await owner.post(
            "/api/v1/messages", json={"to": "bob@example.org", "channel": "email", "content": "Hi"}
        )
        assert answer.status_code == 201
        await until(admin, NONE_WAITS)
    assert len(office.exchange.taken) == 2
    assert not any("List-Unsubscribe" in taken.headers for taken in office.exchange.taken)


@pytest.mark.parametrize(("days", "how"), [(90, "auto-generated"), (0, "auto-replied")])
async def test_what_a_program_writes_to_whoever_wrote_long_ago_answers_nobody(
    anonymous: httpx.AsyncClient, office: PostOffice, mailbox: Connection, admin: Any, days: int, how: str
) -> None:
    assert (await post(anonymous, mail(mailbox, subject="Booking"))).status_code == 200
    await admin.execute("UPDATE conversation_messages SET created_at = created_at - $1 * interval '1 day'", days)
    conversation = await admin.fetchval("SELECT id FROM conversations")
    async with office.sending():
        await office.say(conversation, "Our news of today", sender_type="system")
        await until(admin, NONE_WAITS)
    (taken,) = office.exchange.taken
    assert ("List-Unsubscribe" in taken.headers, taken.headers["Auto-Submitted"]) == (days == 90, how)


async def test_a_link_that_we_have_not_made_leads_nowhere(
    anonymous: httpx.AsyncClient, service: Service, admin: Any, owner: Client, stranger: Client
) -> None:
    link = service.unsubscribing.address_of(Subscription(owner.workspace_id, JANE, OUR_MAIL))
    theirs = service.unsubscribing.address_of(Subscription(stranger.workspace_id, JANE, OUR_MAIL))
    said, signature = link.rpartition(".")[::2]
    for forged in (
        f"{said}.{'A' * len(signature)}",
        f"{theirs.rpartition('.')[0]}.{signature}",
        f"{PUBLIC_URL}/unsubscribe/x",
    ):
        assert (await anonymous.get(forged)).status_code == 404
        assert (await anonymous.post(forged)).status_code == 404
    assert await consents(admin) == []
    assert (await anonymous.post(link)).status_code == 200
    assert await admin.fetchval("SELECT workspace_id FROM consents") == owner.workspace_id
