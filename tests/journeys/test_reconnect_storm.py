"""A thousand screens come back in the same instant, and whoever texts us meanwhile is answered as ever."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, listed, phone
from tests.journeys.lines import Line
from tests.journeys.processes import ROOT

SCREENS = 1_000
EVERY_SECONDS = 0.1


class Crowd:
    """A process whose thousand sockets come and go together."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def told(self, order: str, *, within: float = 60) -> Any:
        """What it answers."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{order}\n".encode())
        return json.loads(await asyncio.wait_for(self._child.stdout.readline(), within))


@asynccontextmanager
async def crowd(port: int, token: str, after: int) -> AsyncIterator[Crowd]:
    """They were there before, up to that event; nobody is connected yet."""
    orders = json.dumps({"port": port, "token": token, "sockets": SCREENS, "after": after})
    command = (sys.executable, "-m", "tests.journeys.returning", orders)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, limit=1 << 20)
    try:
        assert child.stdout is not None
        await child.stdout.readline()
        yield Crowd(child)
    finally:
        child.kill()
        await child.wait()


class Texts:
    """Customers text at a steady pace; how long each waited for the answer."""

    def __init__(self, desk: Desk, port: int) -> None:
        self.waited: list[float] = []
        self._desk = desk
        self._line = Line(port)

    async def go_on(self, until: "asyncio.Task[Any] | float") -> list[float]:
        """The waits of those that left until then."""
        await self._line.open()  # the last one may have been idle for too long
        begin, began = len(self.waited), time.monotonic()
        while (time.monotonic() - began < until) if isinstance(until, float) else not until.done():
            due = began + (len(self.waited) - begin) * EVERY_SECONDS
            await asyncio.sleep(due - time.monotonic())
            assert await self._line.post(self._desk.text(phone(1))) == 200
            self.waited.append(time.monotonic() - due)
        return self.waited[begin:]


async def test_a_thousand_screens_reconnect_at_once_and_texts_keep_their_latency(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient
) -> None:
    texts = Texts(desk, pair.one.port)
    await texts.go_on(0.1)
    seen = (await listed(agent, "events"))[-1]["seq"]
    calm = await texts.go_on(1.0)
    async with crowd(pair.one.port, desk.token, seen) as screens:
        coming = asyncio.create_task(screens.told("storm"))
        stormy = await texts.go_on(coming)
        last = (await listed(agent, "events", event="message.received"))[-1]["seq"]
        assert await screens.told(f"until {last}") == [0, 0], "missed, doubled or closed"
    assert len(coming.result()) == SCREENS
    assert last >= seen + len(calm) + len(stormy)
    # On two cores that also run the suite: what a storm that is served before everybody else would take is seconds.
    assert statistics.median(stormy) < 0.5
    assert max(stormy) < 2.5
