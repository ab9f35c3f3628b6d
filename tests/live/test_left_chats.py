"""A visitor leaves, and the chat goes on by text or mail in the same thread, if they agreed; and a transcript."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms import consent
from comms.directory import Connection
from comms.mail.tokens import Tokens
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make.chat import API, Visitor, answered, conversation_of, heard, proof, visiting, widget
from tests.make.communications import OUR_MAIL, OUR_NUMBER
from tests.make.mail import mail
from tests.make.sending import CUSTOMER, NONE_WAITS, Outside, outside, until
from tests.screens import serving, watching


@pytest.fixture
async def url(app: Any) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        yield world


@pytest.fixture
async def texting(url: str, owner: Client, line: Connection) -> AsyncIterator[Visitor]:
    """A visitor of a widget whose chats go on by text."""
    [number] = (await owner.get(f"{API}/workspace-phone-numbers")).json()["items"]
    made = await widget(owner, continuesBy="sms", phoneNumberId=number["id"], graceSeconds=1)
    async with visiting(url, made["key"]) as visitor:
        yield visitor


@pytest.fixture
async def mailing(url: str, owner: Client, mailbox: Connection) -> AsyncIterator[Visitor]:
    """A visitor of a widget whose chats go on by mail."""
    [address] = (await owner.get(f"{API}/workspace-mail-addresses")).json()["items"]
    made = await widget(owner, continuesBy="email", mailAddressId=address["id"], graceSeconds=1)
    async with visiting(url, made["key"]) as visitor:
        yield visitor


async def gone(visitor: Visitor, admin: Any) -> None:
    """The visitor has been away for their widget's grace time."""
    await until(admin, "NOT EXISTS (SELECT FROM visitor_sessions WHERE present_until > now())")
    await admin.execute("UPDATE visitor_sessions SET present_until = now() - interval '2 seconds'")


async def said_in(owner: Client, conversation: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    path = f"{API}/conversations/{conversation['id']}/messages"
    items = (await owner.get(path, params={"sort": "createdAt"})).json()["items"]
    return [(item["direction"], item["content"], item["provider"]) for item in items]


async def test_a_visitor_chats_reloads_loses_the_network_comes_back_leaves_and_goes_on_by_text(
    texting: Visitor, world: Outside, url: str, owner: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    visitor = texting
    async with watching(url, owner.token) as agent, world.sending():
        await visitor.begin(visitor={"name": "Grace", "phone": CUSTOMER, "agrees": True})
        async with visitor.connected() as page:
            await page.say(type="say", clientId="1", content="Do you have boots?")
            await visitor.hears(page)
            await heard(agent, "message.received")
            conversation = await conversation_of(owner)
            await answered(owner, conversation["id"], "Which size?")
            await visitor.hears(page)
        # The page is loaded anew: it has its token and nothing else.
        visitor.seen = await visitor.fetched()
        async with visitor.connected(after=visitor.after) as page:
            await page.say(type="say", clientId="2", content="42")
            page.connection.transport.abort()
        await heard(agent, "message.received")
        async with visitor.connected(after=visitor.after) as page:
            await page.say(type="say", clientId="2", content="42")
            await visitor.hears(page)
            assert (await page.next("kept"))["clientId"] == "2"
        assert visitor.seen == await visitor.fetched()
        await gone(visitor, admin)
        sent = await answered(owner, conversation["id"], "We have them. Shall I put them aside?")
        assert (sent["status"], sent["fromAddress"], sent["toAddress"]) == ("queued", OUR_NUMBER, CUSTOMER)
        changed = await heard(agent, "conversation.updated")
        assert changed["changes"] == {"continuedBy": {"before": None, "after": "sms"}}
        await until(admin, NONE_WAITS)
        [taken] = world.exchange.sent
        assert (taken.sender, taken.recipient, taken.body) == (OUR_NUMBER, CUSTOMER, sent["content"])
        answer = await post(anonymous, text(world.line, sender=CUSTOMER, body="Yes please"))
        assert answer.status_code == 200
        received = await heard(agent, "message.received")
        assert (received["data"]["content"], received["conversationId"]) == ("Yes please", conversation["id"])
        await answered(owner, conversation["id"], "Done!")
        await until(admin, NONE_WAITS)
        assert [one.body for one in world.exchange.sent] == [sent["content"], "Done!"]
    assert (await conversation_of(owner))["continuedBy"] == "sms"
    assert await said_in(owner, conversation) == [
        ("inbound", "Do you have boots?", None),
        ("outbound", "Which size?", None),
        ("inbound", "42", None),
        ("outbound", sent["content"], "twilio"),
        ("inbound", "Yes please", "twilio"),
        ("outbound", "Done!", "twilio"),
    ]
    [entry] = (await owner.get(f"{API}/consent-entries")).json()["items"]
    assert (entry["says"], entry["source"], entry["address"], entry["sender"]) == (
        "start",
        "chat",
        CUSTOMER,
        OUR_NUMBER,
    )
    # On the page is what was said there: whoever has the phone need not be who sits before it.
    assert visitor.seen == await visitor.fetched()
    await visitor.says("I am back")
    back = await answered(owner, conversation["id"], "Welcome back")
    assert (back["provider"], back["status"]) == (None, "sent")
    assert [one["content"] for one in (await visitor.fetched()).values()][-2:] == ["I am back", "Welcome back"]


async def test_who_did_not_agree_finds_the_answer_on_the_page_when_they_come_back(
    texting: Visitor, owner: Client, admin: Any
) -> None:
    await texting.begin(visitor={"phone": CUSTOMER})
    await texting.says("Hello")
    await gone(texting, admin)
    conversation = await conversation_of(owner)
    sent = await answered(owner, conversation["id"], "Hi")
    assert (sent["status"], sent["provider"]) == ("sent", None)
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []
    async with texting.connected(after=1) as page:
        assert (await texting.hears(page))["content"] == "Hi"


async def test_a_text_to_somebody_who_texts_too_goes_to_where_was_spoken_last(
    texting: Visitor, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sender=CUSTOMER, body="An earlier thing"))
    [texted] = (await owner.get(f"{API}/conversations")).json()["items"]
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    await texting.says("Hello")
    [chat] = (await owner.get(f"{API}/conversations", params={"channel": "live_chat"})).json()["items"]
    assert chat["contactId"] == texted["contactId"]
    await post(anonymous, text(line, sender=CUSTOMER, body="Before"))
    assert ("inbound", "Before", "twilio") in await said_in(owner, texted)
    await gone(texting, admin)
    await answered(owner, chat["id"], "Are you there?")
    await post(anonymous, text(line, sender=CUSTOMER, body="Size 42"))
    assert ("inbound", "Size 42", "twilio") in await said_in(owner, chat)
    closed = await owner.post(f"{API}/conversations/{chat['id']}/closure")
    assert closed.status_code == 201
    await post(anonymous, text(line, sender=CUSTOMER, body="Thanks"))
    assert ("inbound", "Thanks", "twilio") in await said_in(owner, texted)


async def test_the_answer_to_a_closed_chat_reopens_it(
    texting: Visitor, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    await texting.says("Hello")
    await gone(texting, admin)
    chat = await conversation_of(owner)
    await answered(owner, chat["id"], "Bye")
    await owner.post(f"{API}/conversations/{chat['id']}/closure")
    answers = await asyncio.gather(
        *(post(anonymous, text(line, sender=CUSTOMER, body=f"Thanks {n}", sid=f"SM{n:032}")) for n in range(3))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert (await conversation_of(owner))["status"] == "active"
    assert len(await said_in(owner, chat)) == 5


async def test_an_opt_out_is_not_undone_by_what_somebody_says_in_a_chat(
    texting: Visitor, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sender=CUSTOMER, body="STOP"))
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    await texting.says("Hello")
    await gone(texting, admin)
    [chat] = (await owner.get(f"{API}/conversations", params={"channel": "live_chat"})).json()["items"]
    answer = await owner.post(f"{API}/conversations/{chat['id']}/messages", json={"content": "Hi"})
    assert answer.status_code == 422
    [consent] = (await owner.get(f"{API}/consents")).json()["items"]
    assert consent["state"] == "opted_out"


async def test_an_opt_out_from_the_numbers_messaging_service_is_not_undone_in_a_chat_either(
    texting: Visitor, service: Service, owner: Client, admin: Any
) -> None:
    sid = "MG" + "1" * 32
    await admin.execute("UPDATE workspace_phone_numbers SET messaging_service_sid = $1", sid)
    await _say(service, owner, "stop", sid)
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    assert not await _may_text(service, owner)


async def test_plain_words_that_wait_for_a_member_are_not_undone_in_a_chat_either(
    texting: Visitor, owner: Client, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    await post(anonymous, text(line, sender=CUSTOMER, body="Please stop texting me"))
    assert [review["state"] for review in (await owner.get(f"{API}/opt-out-reviews")).json()["items"]] == ["open"]
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    assert (await owner.get(f"{API}/consent-entries")).json()["items"] == []
    assert (await owner.get(f"{API}/consents")).json()["items"] == []


async def test_whoever_has_said_start_to_the_number_since_may_agree_in_a_chat(
    texting: Visitor, service: Service, owner: Client
) -> None:
    await _say(service, owner, "stop", "*")
    await _say(service, owner, "start", OUR_NUMBER)
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    assert await _may_text(service, owner)
    entries = (await owner.get(f"{API}/consent-entries")).json()["items"]
    assert "chat" in {entry["source"] for entry in entries}


async def _say(service: Service, owner: Client, says: Any, sender: str) -> None:
    """The customer says so about that sender of ours."""
    async with service.database.workspace(owner.workspace_id) as db:
        word = consent.Word(
            workspace_id=owner.workspace_id,
            address=CUSTOMER,
            sender=sender,
            says=says,
            source="keyword",
            channel="sms",
            at=now(),
            proof=f"{says}:{sender}",
        )
        await consent.note(db, [word])


async def _may_text(service: Service, owner: Client) -> bool:
    question = consent.Question(
        workspace_id=owner.workspace_id,
        channel="sms",
        address=CUSTOMER,
        sender=OUR_NUMBER,
        is_reply=True,
        at=now(),
    )
    async with service.database.workspace(owner.workspace_id) as db:
        [decision] = await consent.decide(db, [question])
    return decision.allowed


async def test_what_is_answered_by_text_by_whoever_has_the_number_is_not_shown_on_the_page(
    texting: Visitor, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    """Somebody chats under a number that is another's."""
    await texting.begin(visitor={"phone": CUSTOMER, "agrees": True})
    await texting.says("Hello")
    await gone(texting, admin)
    chat = await conversation_of(owner)
    await answered(owner, chat["id"], "A code for you")
    await post(anonymous, text(line, sender=CUSTOMER, body="my secret"))
    assert [one["content"] for one in (await texting.fetched()).values()] == ["Hello"]


async def test_a_chat_goes_on_by_mail_and_its_answer_is_in_the_same_thread(
    mailing: Visitor, owner: Client, anonymous: httpx.AsyncClient, mailbox: Connection, settings: Any, admin: Any
) -> None:
    await mailing.begin(visitor={"email": "jane@example.com", "agrees": True})
    await mailing.says("Where is my order?")
    await gone(mailing, admin)
    chat = await conversation_of(owner)
    sent = await answered(owner, chat["id"], "On its way.")
    assert (sent["fromAddress"], sent["toAddress"], sent["provider"]) == (OUR_MAIL, "jane@example.com", "sendgrid")
    to = Tokens(settings.security).address_for(OUR_MAIL, owner.workspace_id, uuid.UUID(chat["id"]))
    answer = await post(anonymous, mail(mailbox, to=to, text="Thank you"))
    assert answer.status_code == 200, answer.text
    assert (await conversation_of(owner))["continuedBy"] == "email"
    assert (await said_in(owner, chat))[-1] == ("inbound", "Thank you", "sendgrid")
    await admin.execute("UPDATE visitor_sessions SET present_until = now() + interval '1 minute'")
    again = await answered(owner, chat["id"], "Welcome")
    assert again["toAddress"] == "jane@example.com", "where they last wrote from, though the page is open"


async def test_a_transcript_is_mailed_once_however_often_it_is_asked_for(
    mailing: Visitor, owner: Client, admin: Any
) -> None:
    await mailing.begin(visitor={"name": "Jane"})
    assert (await mailing.ask("POST", "/transcripts", json={})).status_code == 400
    await mailing.ask("PATCH", "/visitor", json={"email": "jane@example.com"})
    assert (await mailing.ask("POST", "/transcripts", json={})).status_code == 409
    await mailing.says("Where is my order?")
    chat = await conversation_of(owner)
    await answered(owner, chat["id"], "On its way.")
    note = await owner.post(f"{API}/conversations/{chat['id']}/notes", json={"content": "a rude one"})
    assert note.status_code == 201
    answers = await asyncio.gather(*(mailing.ask("POST", "/transcripts", json={}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409], answers[0].text
    [waiting] = (await owner.get(f"{API}/outgoing-messages")).json()["items"]
    letter = (await owner.get(f"{API}/conversation-messages/{waiting['id']}")).json()
    assert letter["toAddress"] == "jane@example.com"
    assert "You:\nWhere is my order?" in letter["content"]
    assert "On its way." in letter["content"]
    assert "rude" not in letter["content"]
    assert len(await mailing.fetched()) == 2, "the letter is no part of the chat"
    assert (await conversation_of(owner))["continuedBy"] is None


async def test_contacts_who_are_merged_keep_their_chats_apart(texting: Visitor, url: str, owner: Client) -> None:
    await texting.begin(visitor={"phone": CUSTOMER})
    await texting.says("mine")
    async with visiting(url, texting.key) as other:
        await other.begin(visitor={"phone": "+14155550166"})
        await other.says("theirs")
        contacts = (await owner.get(f"{API}/contacts")).json()["items"]
        merged = await owner.post(f"{API}/contacts/{contacts[0]['id']}/merge", json={"contactId": contacts[1]["id"]})
        assert merged.status_code == 201, merged.text
        chats = (await owner.get(f"{API}/conversations")).json()["items"]
        assert len({chat["contactId"] for chat in chats}) == 1
        assert [chat["status"] for chat in chats] == ["active", "active"]
        for visitor, words in ((texting, "mine"), (other, "theirs")):
            await visitor.says("still here")
            assert [one["content"] for one in (await visitor.fetched()).values()] == [words, "still here"]


async def test_of_a_proved_visitor_a_chat_is_one_of_the_threading_rule(
    texting: Visitor, url: str, owner: Client
) -> None:
    await owner.put(
        f"{API}/chat-widgets/{(await owner.get(f'{API}/chat-widgets')).json()['items'][0]['id']}/secret",
        json={"secret": "the-website-and-we-know-this"},
    )
    await texting.begin(identity=proof(email="ada@example.com"))
    await texting.says("Hello")
    chat = await conversation_of(owner)
    assert chat["isUnproven"] is False
    twin = await owner.post(f"{API}/conversations", json={"contactId": chat["contactId"], "channel": "live_chat"})
    assert twin.status_code == 409
    await owner.post(f"{API}/conversations/{chat['id']}/closure")
    await texting.says("One more thing")
    assert (await conversation_of(owner))["status"] == "active"
