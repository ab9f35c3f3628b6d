"""Agents watch while providers post: over two processes, with lines that break and screens that stall."""

import asyncio
import itertools
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from comms.providers.base import Request
from comms.simulators import wire
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, fetched, listed, phone, replayed
from tests.journeys.lines import Line, Load, at_once
from tests.journeys.waiting import until
from tests.screens import Screen, watching

TEXTS = 1500
PAGE = 500  # how much of the past is told at a time
VISITS = (25, 25, 25, 25, 700, 25, 250)  # events seen until the line breaks


async def test_two_web_processes_deliver_to_each_others_screens(pair: Pair, desk: Desk) -> None:
    delays = []
    lines = [Line(port) for port in pair.ports]
    async with watching(pair.one.screen_url, desk.token) as one, watching(pair.other.screen_url, desk.token) as other:
        for line in lines * 10:
            sid = wire.sid("SM")
            assert await line.post(desk.text(phone(1), sid=sid)) == 200
            answered = time.monotonic()
            for screen in (one, other):
                await _hears(screen, sid, within=10)
            delays.append(time.monotonic() - answered)
    assert statistics.median(delays) < 0.25, "only the look once a second brings it"


async def test_a_client_that_reconnects_under_load_has_what_a_fresh_fetch_has(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient, books: Any
) -> None:
    sent = await _a_history(pair, desk, agent)
    state = await fetched(agent)
    seq = (await listed(agent, "events"))[-1]["seq"]

    async def behind() -> int:
        counter = "SELECT seq FROM event_counters WHERE workspace_id = $1"
        return int(await books.fetchval(counter, desk.workspace_id)) - seq

    async def enough_for(visit: int) -> bool:
        return visit <= PAGE or load.is_over or await behind() > PAGE

    load = Load(pair.ports, _traffic(desk, sent), lines=32)
    visits = itertools.cycle(VISITS)
    screens = itertools.cycle((pair.one.screen_url, pair.other.screen_url))
    async with asyncio.timeout(20):
        while not load.is_over or await behind():
            upto = next(visits)
            await until(lambda upto=upto: enough_for(upto), within=10)
            async with watching(next(screens), desk.token, after=seq) as screen:
                async for event in _some(screen, upto):
                    assert event["seq"] == seq + 1
                    seq = event["seq"]
                    replayed(state, event)
                screen.connection.transport.abort()
    assert set(load.answers.values()) == {200, 204}
    again = await fetched(agent)
    for noun, rows in again.items():
        assert state[noun] == rows, noun
    statuses = {row["providerMessageId"]: row["status"] for row in again["messages"].values()}
    assert {statuses[sid] for sid in sent} == {"delivered"}


async def test_a_screen_that_stalls_delays_no_other_and_can_come_back(pair: Pair, desk: Desk) -> None:
    line = Line(pair.one.port)
    long_text = "all work and no play " * 3000
    delays = []
    async with (
        _stalled(pair.one.screen_url, desk.token) as stalled,
        watching(pair.one.screen_url, desk.token) as one,
        watching(pair.other.screen_url, desk.token) as other,
    ):
        for _ in range(40):
            sid = wire.sid("SM")
            assert await line.post(desk.text(phone(1), long_text, sid=sid)) == 200
            answered = time.monotonic()
            for screen in (one, other):
                last = await _hears(screen, sid, within=10)
            delays.append(time.monotonic() - answered)
        seen, code = await _until_closed(stalled)
    assert statistics.median(delays) < 1  # the machine itself may have stood still for one of them
    assert code == 4409
    assert 0 < len(seen) < 40
    async with watching(pair.one.screen_url, desk.token, after=seen[-1]) as back:
        assert await back.seqs(last - seen[-1]) == list(range(seen[-1] + 1, last + 1))


async def _hears(screen: Screen, sid: str, *, within: float) -> int:
    """The screen shows that message; the number of the event."""
    async with asyncio.timeout(within):
        while True:
            event = await screen.next("event")
            if event["data"].get("providerMessageId") == sid:
                return int(event["seq"])


async def _a_history(pair: Pair, desk: Desk, agent: httpx.AsyncClient) -> list[str]:
    """Customers have written before, some conversations are closed, and ten messages were sent: their ids."""
    assert await at_once(pair.ports, [desk.text(phone(index)) for index in range(20)]) == [200] * 20
    conversations = await listed(agent, "conversations")
    for conversation in conversations[:10]:
        closing = await agent.post(f"/api/v1/conversations/{conversation['id']}/closure")
        assert closing.status_code == 201, closing.text
    sids = [wire.sid("SM") for _ in range(10)]
    for conversation, sid in zip(conversations[10:], sids, strict=True):
        body = {"direction": "outbound", "content": "See you at 7pm", "provider": "twilio", "providerMessageId": sid}
        answer = await agent.post(f"/api/v1/conversations/{conversation['id']}/messages", json=body)
        assert answer.status_code == 201, answer.text
    return sids


def _traffic(desk: Desk, sent: list[str]) -> dict[str, Request]:
    """Texts of old and new customers, every tenth repeated, and what became of the messages sent."""
    texts = desk.texts(TEXTS, senders=40)
    repeated = {f"{sid} again": text for sid, text in itertools.islice(texts.items(), 0, None, 10)}
    reports = {
        f"{sid} {status}": desk.report(sid, status) for status in ("queued", "delivered", "sent") for sid in sent
    }
    mixed = itertools.zip_longest(texts.items(), repeated.items(), reports.items())
    return dict(item for items in mixed for item in items if item is not None)


async def _some(screen: Screen, count: int) -> AsyncIterator[dict[str, Any]]:
    """The next events, until there are so many or it is quiet."""
    try:
        for _ in range(count):
            yield await screen.next("event", within=0.5)
    except TimeoutError:
        return


@asynccontextmanager
async def _stalled(url: str, token: str) -> AsyncIterator[Screen]:
    """A client that is let in and then reads nothing; its machine holds little for it."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    port = int(url.rpartition(":")[2].partition("/")[0])
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
    async with connect(url, sock=narrow, compression=None, max_queue=1, close_timeout=1) as client:
        screen = Screen(client)
        await screen.say(type="auth", token=token)
        await screen.next("ready")
        yield screen


async def _until_closed(screen: Screen) -> tuple[list[int], int | None]:
    """The numbers of all events that still come, and how the connection ends."""
    seen = []
    try:
        while True:
            seen.append((await screen.next("event", within=10))["seq"])
    except ConnectionClosed as ended:
        return seen, ended.rcvd and ended.rcvd.code
