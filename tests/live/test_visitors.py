"""A visitor chats: what both sides see, whatever the network does, and what nobody else ever sees."""

import argparse
import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comms.cli.chatting import chat
from comms.service import Service
from comms.settings import Settings
from tests.conftest import Client
from tests.make.chat import API, Visitor, answered, conversation_of, heard, refused, visiting, widget
from tests.screens import Screen, serving, watching


@pytest.fixture
async def url(app: Any) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


@pytest.fixture
async def shop(owner: Client) -> dict[str, Any]:
    return await widget(owner)


@pytest.fixture
async def visitor(url: str, shop: dict[str, Any]) -> AsyncIterator[Visitor]:
    async with visiting(url, shop["key"]) as visitor:
        yield visitor


@pytest.fixture
async def agent(url: str, owner: Client) -> AsyncIterator[Screen]:
    async with watching(url, owner.token) as agent:
        yield agent


async def test_what_a_visitor_says_is_on_the_agents_screen_and_the_answer_on_theirs(
    visitor: Visitor, agent: Screen, owner: Client
) -> None:
    begun = await visitor.begin(page={"url": "https://shop.example.com/boots", "title": "Boots"})
    assert begun["widget"]["isOpen"] is True
    async with visitor.connected() as page:
        assert (page.ready["seq"], page.ready["head"], page.ready["isOpen"]) == (0, 0, True)
        await page.say(type="say", clientId="1", content="Do you have boots?")
        assert (await page.next("kept"))["place"] == 1
        told = await heard(agent, "message.received")
        assert (told["data"]["content"], told["data"]["fromAddress"]) == (
            "Do you have boots?",
            f"visitor:{begun['visitorId']}",
        )
        assert told["data"]["metadata"]["page"] == {"url": "https://shop.example.com/boots", "title": "Boots"}
        conversation = await conversation_of(owner)
        assert (conversation["channel"], conversation["messageCount"], conversation["status"]) == (
            "live_chat",
            1,
            "active",
        )
        own = await visitor.hears(page)
        assert (own["isOwn"], own["clientId"], own["place"]) == (True, "1", 1)
        sent = await answered(owner, conversation["id"], "We do!")
        assert (sent["status"], sent["provider"], sent["sentAt"] is not None) == ("sent", None, True)
        assert (await heard(agent, "message.sent"))["data"] == sent
        message = await visitor.hears(page)
        assert (message["content"], message["isOwn"], message["place"]) == ("We do!", False, 2)
        assert message["id"] != sent["id"]
    assert visitor.seen == await visitor.fetched()
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []


async def test_who_reloads_or_loses_the_network_misses_nothing_and_sends_nothing_twice(
    visitor: Visitor, agent: Screen, owner: Client
) -> None:
    await visitor.begin()
    async with visitor.connected() as page:
        await page.say(type="say", clientId="1", content="Hello")
        await visitor.hears(page)
        # The network goes while this is on its way: the page never learns what became of it.
        await page.say(type="say", clientId="2", content="Anybody?")
        page.connection.transport.abort()
    await heard(agent, "message.received")
    conversation = await conversation_of(owner)
    for content in ("Yes", "I am here"):
        await answered(owner, conversation["id"], content)
    before = visitor.after
    async with visitor.connected(after=visitor.after) as page:
        assert (page.ready["seq"], page.ready["head"]) == (before, before + 3) or page.ready["head"] == before + 2
        await page.say(type="say", clientId="2", content="Anybody?")
        await page.say(type="say", clientId="2", content="Anybody?")
        assert (await page.next("kept"))["clientId"] == "2"
        assert (await page.next("kept"))["clientId"] == "2"
    async with visitor.connected(after=visitor.after) as page:
        for _ in range(3):
            await visitor.hears(page)
        assert await page.is_quiet()
    assert [message["content"] for message in visitor.seen.values()].count("Anybody?") == 1
    assert visitor.seen == await visitor.fetched()
    assert (await conversation_of(owner))["messageCount"] == 4


async def test_the_same_message_sent_at_once_over_all_ways_is_kept_once(visitor: Visitor, owner: Client) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    bodies = [{"clientId": "same", "content": "Hello"}] * 4 + [{"clientId": "other", "content": "There"}] * 4
    answers = await asyncio.gather(*(visitor.ask("POST", "/messages", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 2
    conversation = await conversation_of(owner)
    assert conversation["messageCount"] == 2
    told = (await owner.get(f"{API}/events", params={"event": "message.received"})).json()["items"]
    assert len([one for one in told if one["event"] == "message.received"]) == 2


async def test_typing_and_reading_are_seen_on_both_sides(visitor: Visitor, agent: Screen, owner: Client) -> None:
    await owner.patch(f"{API}/me", json={"firstName": "Ada"})
    begun = await visitor.begin()
    async with visitor.connected() as page:
        await page.say(type="say", clientId="1", content="Hello")
        told = await heard(agent, "message.received")
        conversation_id = told["conversationId"]
        await visitor.hears(page)
        await page.say(type="typing", typing=True)
        assert await agent.next("visitor_typing") == {
            "type": "visitor_typing",
            "conversationId": conversation_id,
            "visitorId": begun["visitorId"],
            "typing": True,
        }
        await agent.say(type="typing", conversationId=conversation_id, typing=True)
        assert await page.next("typing") == {"type": "typing", "typing": True, "name": "Ada"}
        read = await owner.put(
            f"{API}/conversations/{conversation_id}/read-state", json={"lastReadMessageId": told["data"]["id"]}
        )
        assert read.status_code < 300, read.text
        assert await page.next("read") == {"type": "read", "place": 1}
        sent = await answered(owner, conversation_id, "Hi")
        answer = await visitor.hears(page)
        assert answer["name"] == "Ada"
        await page.say(type="received", place=answer["place"])
        changed = await heard(agent, "message.status_changed")
        assert (changed["data"]["id"], changed["changes"]["status"]["after"]) == (sent["id"], "delivered")
        await page.say(type="read", place=answer["place"])
        changed = await heard(agent, "message.status_changed")
        assert changed["data"] | {"status": "read", "isRead": True} == changed["data"]
        await page.say(type="received", place=answer["place"])  # never back
        await page.say(type="ping")
        await page.next("pong")
    shown = (await owner.get(f"{API}/conversation-messages/{sent['id']}")).json()
    assert shown == changed["data"]


async def test_who_types_and_answers_is_not_said_where_the_widget_says_so(
    url: str, agent: Screen, owner: Client
) -> None:
    await owner.patch(f"{API}/me", json={"firstName": "Ada"})
    quiet = await widget(owner, showsNames=False)
    async with visiting(url, quiet["key"]) as visitor:
        await visitor.begin()
        async with visitor.connected() as page:
            await page.say(type="say", clientId="1", content="Hello")
            told = await heard(agent, "message.received")
            await visitor.hears(page)
            await agent.say(type="typing", conversationId=told["conversationId"], typing=True)
            assert await page.next("typing") == {"type": "typing", "typing": True, "name": None}
            await answered(owner, told["conversationId"], "Hi")
            assert (await visitor.hears(page))["name"] is None


async def test_notes_and_what_else_happens_are_neither_seen_nor_counted(
    visitor: Visitor, agent: Screen, owner: Client
) -> None:
    await visitor.begin()
    async with visitor.connected() as page:
        await visitor.says("Hello")
        await visitor.hears(page)
        conversation = await conversation_of(owner)
        note = await owner.post(f"{API}/conversations/{conversation['id']}/notes", json={"content": "a rude one"})
        assert note.status_code == 201, note.text
        await owner.post(f"{API}/contacts", json={"firstName": "Grace"})
        assert await page.is_quiet()
        sent = await answered(owner, conversation["id"], "Hi")
        message = await visitor.hears(page)
        assert message["seq"] == 2, "nothing of what happened in between"
        whole = str(message)
        for secret in (sent["id"], str(owner.user_id), conversation["id"], "owner@acme.example", "rude"):
            assert secret not in whole
    assert "rude" not in str(await visitor.fetched())


async def test_a_deleted_answer_is_gone_from_the_page_and_stays_gone(visitor: Visitor, owner: Client) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    await visitor.says("Hello")
    conversation = await conversation_of(owner)
    async with visitor.connected(after=0) as page:
        await visitor.hears(page)
        sent = await answered(owner, conversation["id"], "oops")
        await visitor.hears(page)
        assert (await owner.delete(f"{API}/conversation-messages/{sent['id']}")).status_code == 204
        gone = await visitor.hears(page)
        assert (gone["isDeleted"], gone["content"], gone["place"]) == (True, "", 2)
        assert visitor.seen == await visitor.fetched()
        assert (await owner.delete(f"{API}/conversations/{conversation['id']}")).status_code == 204
        assert (await visitor.hears(page))["isDeleted"]
    assert visitor.seen == await visitor.fetched()
    await visitor.says("Still there?")
    assert (await conversation_of(owner))["id"] != conversation["id"]


async def test_the_screen_stays_right_over_two_processes_reconnects_and_edits(
    visitor: Visitor, owner: Client, service: Service
) -> None:
    """First fetch and frames heard are the second fetch, of a visitor whose answers come by another process."""
    other = Service(service.settings, service.database.urls, worker=False)
    await other.start()
    try:
        from handlers.app import create_app

        async with serving(create_app(other)) as there, visiting(there, visitor.key) as away:
            await visitor.begin(visitor={"email": "ada@example.com"})
            away.token = visitor.token
            await visitor.says("Hello")
            away.seen = await away.fetched()
            away.after = max(one["seq"] for one in away.seen.values())
            conversation = await conversation_of(owner)
            sent: list[str] = []
            for round_ in range(3):
                async with away.connected(after=away.after) as page:
                    for number in range(3):
                        made = await answered(owner, conversation["id"], f"{round_}.{number}")
                        sent.append(made["id"])
                        await away.hears(page)
                await owner.delete(f"{API}/conversation-messages/{sent.pop(0)}")
                await visitor.says(f"{round_}")
            async with away.connected(after=away.after) as page:
                while away.after < page.ready["head"]:
                    await away.hears(page)
            assert away.seen == await away.fetched() == await visitor.fetched()
            assert sum(one["isDeleted"] for one in away.seen.values()) == 3
    finally:
        await other.stop()


async def test_a_position_ahead_of_what_was_said_means_to_fetch_anew(visitor: Visitor) -> None:
    await visitor.begin()
    async with visitor.socket(after=7) as page:
        assert (await page.closed())[0] == 4409


async def test_a_revoked_session_is_closed_and_good_for_nothing(visitor: Visitor, owner: Client) -> None:
    begun = await visitor.begin()
    async with visitor.connected() as page:
        answer = await owner.post(f"{API}/visitor-sessions/{begun['sessionId']}/revocation")
        assert answer.status_code == 201, answer.text
        assert (await page.closed())[0] == 4401
    assert (await visitor.ask("GET", "/messages")).status_code == 401
    async with visitor.socket() as page:
        assert (await page.closed())[0] == 4401
    assert (await owner.post(f"{API}/visitor-sessions/{begun['sessionId']}/revocation")).status_code == 409


async def test_the_page_a_visitor_looks_at_is_shown_to_agents(visitor: Visitor, agent: Screen, owner: Client) -> None:
    begun = await visitor.begin(page={"url": "https://shop.example.com/", "referrer": "https://search.example/"})
    async with visitor.connected() as page:
        await page.say(type="page", url="https://shop.example.com/boots", title="Boots")
        told = await heard(agent, "visitor_session.updated")
    session = (await owner.get(f"{API}/visitor-sessions/{begun['sessionId']}")).json()
    assert told["data"] == session
    assert (session["pageTitle"], session["referrer"]) == ("Boots", "https://search.example/")


async def test_files_go_both_ways_and_only_to_this_chat(
    visitor: Visitor, url: str, agent: Screen, owner: Client
) -> None:
    await visitor.begin()
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    up = await visitor.ask("POST", "/uploads?fileName=boots.png", content=picture)
    assert up.status_code == 201, up.text
    assert up.json()["contentType"] == "image/png"
    await visitor.says("", uploadIds=[up.json()["id"]])
    told = await heard(agent, "message.received")
    [attached] = told["data"]["attachments"]
    assert (attached["fileName"], attached["state"], told["data"]["contentType"]) == ("boots.png", "stored", "media")
    content = await owner.get(f"{API}/message-attachments/{attached['id']}/content")
    assert content.content == picture
    [seen] = (await visitor.fetched()).values()
    [file] = seen["files"]
    assert (await visitor.ask("GET", f"/files/{file['id']}")).content == picture
    async with visiting(url, visitor.key) as other:
        await other.begin()
        assert (await other.ask("GET", f"/files/{file['id']}")).status_code == 404
        body = {"clientId": "1", "content": "mine", "uploadIds": [up.json()["id"]]}
        assert (await other.ask("POST", "/messages", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"MZ\x90\x00" + bytes(200), 400), (b"\x7fELF" + bytes(200), 400), (bytes(11 * 1024 * 1024), 413)],
)
async def test_what_visitors_may_not_bring_is_refused(visitor: Visitor, content: bytes, status: int) -> None:
    await visitor.begin()
    assert (await visitor.ask("POST", "/uploads", content=content)).status_code == status


async def test_a_socket_that_sends_nonsense_or_too_much_is_closed_and_others_do_not_notice(
    visitor: Visitor, url: str
) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    async with visiting(url, visitor.key) as other:
        await other.begin(visitor={"email": "grace@example.com"})
        async with other.connected() as calm:
            async with visitor.connected() as page:
                for nonsense in ("{", '{"type":"fish"}', '{"type":"say"}', '{"type":"read","place":-1}', "[" * 9_000):
                    await page.connection.send(nonsense)
                    assert (await page.next("error"))["detail"]
                await page.connection.send(b"\x00")
                for _ in range(20):
                    await page.connection.send("nonsense")
                assert (await page.closed())[0] == 1008
            async with visitor.connected() as page:
                for _ in range(100):
                    await page.say(type="ping")
                assert (await page.closed())[0] == 1008
            async with visitor.connected() as page:
                await page.say(type="say", clientId="1", content="x" * 20_000)
                assert (await page.closed())[0] == 1009
            await calm.say(type="say", clientId="1", content="Hello")
            assert (await calm.next("kept"))["place"] == 1


async def test_nobody_there_hears_of_a_visitor_without_a_conversation(visitor: Visitor, agent: Screen) -> None:
    await visitor.begin()
    async with visitor.connected() as page:
        await page.say(type="typing")
        await page.say(type="read", place=5)
        await page.say(type="ping")
        await page.next("pong")
    assert uuid.UUID(visitor.begun["visitorId"])


async def test_a_socket_of_a_foreign_page_or_a_forged_session_is_closed_and_counted(
    visitor: Visitor, owner: Client
) -> None:
    await visitor.begin()
    before = {reason: await refused(owner, reason) for reason in ("origin", "forged")}
    async with visitor.socket(origin="https://evil.example") as page:
        assert (await page.closed())[0] == 4403
    for token in (visitor.token[:-4] + "AAAA", "cv_nonsense", owner.token):
        async with visitor.socket(token=token) as page:
            assert (await page.closed())[0] == 4401
    async with visitor.socket(origin=None) as page:  # a mobile app
        assert (await page.next())["type"] == "ready"
    assert await refused(owner, "origin") == before["origin"] + 1
    assert await refused(owner, "forged") == before["forged"] + 3


async def test_who_says_too_much_on_a_socket_is_told_which_message_was_not_kept(
    visitor: Visitor, owner: Client
) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    before = await refused(owner, "flood")
    async with visitor.connected() as page:
        for number in range(25):
            await page.say(type="say", clientId=str(number), content="x")
        kept = 0
        while (frame := await page.next())["type"] != "error":
            kept += frame["type"] == "kept"
        assert frame["clientId"] == str(kept)
    assert 20 <= kept < 25
    assert await refused(owner, "flood") > before


async def test_somebody_simulated_chats(url: str, owner: Client, settings: Settings, tmp_path: Path) -> None:
    made = {"baseUrl": url.replace("ws://", "http://").removesuffix("/ws"), "publicUrl": "x", "email": "x"}
    made |= {"workspaceId": str(owner.workspace_id), "userId": str(owner.user_id), "accessToken": owner.token}
    (tmp_path / "demo.json").write_text(json.dumps({**made, "connections": []}))
    asked = argparse.Namespace(sender="visitor@customer.example", body="Is anybody there?")
    for _ in range(2):
        assert await asyncio.to_thread(chat, msgspec.structs.replace(settings, data_dir=tmp_path), asked) == 0
    said = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    assert [message["content"] for message in said] == ["Is anybody there?"] * 2
    assert len((await owner.get(f"{API}/chat-widgets")).json()["items"]) == 1
