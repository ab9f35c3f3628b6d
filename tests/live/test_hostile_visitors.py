"""Visitors at their worst, and bad luck at its: nobody else is kept waiting, and nobody loses their chat."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from comms.chat import staff, visitors
from comms.chat.protocol import Said
from comms.errors import Unauthenticated
from comms.hub.presence import Report
from comms.service import Service
from models.base import new_id
from tests.conftest import Client
from tests.make.chat import API, SITE, Visitor, answered, conversation_of, refused, visiting, widget
from tests.screens import serving, watching


@pytest.fixture
async def url(app: Any) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


@pytest.fixture
async def visitor(url: str, owner: Client) -> AsyncIterator[Visitor]:
    shop = await widget(owner)
    async with visiting(url, shop["key"]) as visitor:
        await visitor.begin(visitor={"email": "ada@example.com"})
        yield visitor


async def test_a_page_that_fetches_while_it_connects_keeps_nobody_waiting(visitor: Visitor) -> None:
    async def comes() -> None:
        async with visitor.connected():
            pass

    async with asyncio.timeout(4):  # a connection that waits for itself is given up after five
        await asyncio.gather(*(visitor.ask("GET", "/messages") for _ in range(12)), *(comes() for _ in range(6)))


async def test_that_the_database_is_slow_is_no_reason_to_begin_a_chat_anew(
    visitor: Visitor, service: Service, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.desk, "auth_seconds", 0.2)
    async with admin.transaction():
        await admin.execute("LOCK TABLE visitor_sessions IN ACCESS EXCLUSIVE MODE")
        entering = asyncio.create_task(_ready(visitor))
        await asyncio.sleep(0.5)
    assert (await entering)["type"] == "ready"
    async with visitor.socket(token="") as page:
        assert (await page.closed())[0] == 4401


async def _ready(visitor: Visitor) -> dict[str, Any]:
    async with visitor.socket() as page:
        return await page.next()


async def test_text_that_cannot_be_kept_is_named_and_the_socket_stays(visitor: Visitor) -> None:
    async with visitor.connected() as page:
        for frame in ({"type": "say", "clientId": "a\x00", "content": "x"}, {"type": "page", "title": "a\x00"}):
            await page.say(**frame)
            assert "NUL" in (await page.next("error"))["detail"]
        await page.say(type="ping")
        await page.next("pong")


async def test_visitors_never_take_the_last_seats(
    visitor: Visitor, url: str, owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.hub, "_max_sockets", 8)
    async with AsyncExitStack() as windows:
        for _ in range(6):
            await windows.enter_async_context(visitor.connected())
        async with visitor.socket() as page:
            assert (await page.closed())[0] == 1013
        async with watching(url, owner.token) as screen:
            await screen.say(type="ping")
            await screen.next("pong")


async def test_one_session_has_so_many_sockets_and_no_more(visitor: Visitor, owner: Client) -> None:
    before = await refused(owner, "flood")
    async with AsyncExitStack() as windows:
        for _ in range(10):
            await windows.enter_async_context(visitor.connected())
        async with visitor.socket() as page:
            assert (await page.closed())[0] == 1013
        assert await refused(owner, "flood") == before + 1
    async with visitor.connected():
        pass


async def test_what_was_under_way_when_a_session_ended_is_not_kept(
    visitor: Visitor, service: Service, owner: Client
) -> None:
    caller = await visitors.identify(service.database, service.desk.tokens, visitor.token)
    await service.desk.say(caller, Said("1", "Hello"), None)
    assert (await owner.post(f"{API}/visitor-sessions/{caller.session_id}/revocation")).status_code == 201
    with pytest.raises(Unauthenticated):
        await service.desk.say(caller, Said("2", "And another thing"), None)
    assert len((await owner.get(f"{API}/conversation-messages")).json()["items"]) == 1


async def test_who_left_is_not_there_because_a_colleague_still_is(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that somebody left may be lost: whom their process does not name any more is gone before long."""
    monkeypatch.setattr(staff, "FORGET_SECONDS", 0.05)
    here, workspace_id, place, ada, grace = staff.Staff(service.hub), *(new_id() for _ in range(4))
    here.hears(Report(place, workspace_id, {ada: "online", grace: "online"}))
    assert await here.is_anybody(workspace_id)
    await asyncio.sleep(0.06)
    here.hears(Report(place, workspace_id, {grace: "online"}))
    assert await here.is_anybody(workspace_id)
    here.hears(Report(place, workspace_id, {grace: "offline"}))
    assert not await here.is_anybody(workspace_id)


async def test_a_page_that_is_no_longer_allowed_is_closed_and_others_are_not(visitor: Visitor, owner: Client) -> None:
    [shop] = (await owner.get(f"{API}/chat-widgets")).json()["items"]
    path = f"{API}/chat-widgets/{shop['id']}"
    both = [SITE, "https://blog.example.com"]
    assert (await owner.patch(path, json={"allowedOrigins": both})).status_code == 200
    async with visitor.connected() as kept, visitor.connected(origin=both[1]) as page:
        assert (await owner.patch(path, json={"allowedOrigins": [SITE]})).status_code == 200
        assert (await page.closed())[0] == 4403
        await kept.say(type="ping")
        await kept.next("pong")


@contextmanager
def written() -> Iterator[list[str]]:
    """What is asked of the database through sessions meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_what_was_read_is_read_once_however_often_it_is_said(visitor: Visitor, owner: Client) -> None:
    await visitor.says("Hello")
    conversation = await conversation_of(owner)
    async with visitor.connected() as page:
        place = 0
        for content in ("Hi", "How are you?"):
            await answered(owner, conversation["id"], content)
            place = (await visitor.hears(page))["place"]
            for kind in ("received", "read"):
                await page.say(type=kind, place=place)
        await page.say(type="ping")
        await page.next("pong")
        with written() as statements:
            for _ in range(10):
                await page.say(type="read", place=place)
                await page.say(type="received", place=place - 1)
            await page.say(type="ping")
            await page.next("pong")
        assert not [one for one in statements if "chat_messages" in one]
    said = (await owner.get(f"{API}/conversation-messages", params={"direction": "outbound"})).json()["items"]
    assert [one["status"] for one in said] == ["read", "read"]


async def test_the_log_is_not_filled_by_who_turns_pages_without_end(visitor: Visitor, owner: Client) -> None:
    refused_ones = 0
    for window in range(4):
        async with visitor.connected() as page:
            for number in range(6):
                await page.say(type="page", title=f"{window}.{number}")
            await page.say(type="ping")
            while (frame := await page.next())["type"] != "pong":
                refused_ones += frame["type"] == "error"
    told = (await owner.get(f"{API}/events", params={"event": "visitor_session.updated", "limit": 200})).json()
    assert refused_ones >= 3
    assert len(told["items"]) <= 21
