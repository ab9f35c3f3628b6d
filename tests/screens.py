"""An agent's screen, and the server it is connected to: a real websocket to a real uvicorn, in the test's own loop.

Every screen that is ``watching`` is held against the oracle of ``tests.oracle`` when it goes: what was known when it
came and the frames it has heard are what a fresh fetch shows.
"""

import asyncio
import copy
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvicorn
from litestar import Litestar, Router
from litestar.datastructures import State
from sqlalchemy import select
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from comms import credentials, limits, workspaces
from comms.database import Database
from comms.events import WRITE, Fact, arguments, encode
from comms.hub import Hub
from comms.service import Service
from comms.sockets import uvicorn_options
from handlers import events
from handlers.app import ROOT
from handlers.given import DEPENDENCIES, Request
from handlers.guards import authenticated
from handlers.live import live
from handlers.preconditions import Answer
from handlers.problems import answer
from models.base import new_id, now
from models.core import WorkspaceMember
from models.events import Event, EventView
from tests import oracle


def application(database: Database, hub: Hub) -> Any:
    """An application that has nothing but the live socket, and the log for who wants to fetch it."""
    service: Any = Service.__new__(Service)
    service.settings = SimpleNamespace(server=SimpleNamespace(public_url="https://hooks.example.com"))
    service.database, service.hub, service.clerk, service.vault = database, hub, None, None
    service.agents_pace = limits.Pace(limits.BY_AGENT)
    return Litestar(
        [live, Router(ROOT, guards=[authenticated], response_class=Answer, route_handlers=[events.routes])],
        dependencies=DEPENDENCIES,
        request_class=Request,
        exception_handlers={Exception: answer},
        state=State({"service": service}),
        openapi_config=None,
    )


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """The address of the websocket of a running server."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", **{**uvicorn_options(), **options})
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Without its main loop, which looks every tenth of a second whether it is to end; on a tick it knows the date.
    await server.startup()
    await server.on_tick(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        await _end(server)


async def _end(server: uvicorn.Server) -> None:
    """As its ``shutdown``, which waits a tenth of a second even when nobody is connected any more."""
    state: Any = server.server_state
    for one in server.servers:
        one.close()
    for connection in list(state.connections):
        connection.shutdown()
    for _ in range(20):
        if not (state.connections or state.tasks):
            return
        await asyncio.sleep(0)
    while state.connections or state.tasks:  # noqa: ASYNC110  # uvicorn offers nothing else
        await asyncio.sleep(0.01)


class Screen:
    """What one connected client sees."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ready: dict[str, Any] = {}
        self.heard: list[dict[str, Any]] = []
        self.is_tuned = False  # to other topics than it came with

    async def say(self, **frame: Any) -> None:
        """The client sends a frame."""
        self.is_tuned |= frame.get("type") in ("subscribe", "unsubscribe")
        await self.connection.send(json.dumps(frame))

    async def next(self, kind: str | None = None, *, within: float = 10) -> dict[str, Any]:
        """The next frame, or the next of a kind; fails when the connection closes or nothing comes."""
        async with asyncio.timeout(within):
            while True:
                frame = await self._frame()
                if kind is None or frame["type"] == kind:
                    return frame

    async def _frame(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.connection.recv())
        if frame["type"] == "event":
            self.heard.append(copy.deepcopy(frame))  # what a test makes of it is not what was heard
        return frame

    async def rest(self, *, within: float = 10) -> tuple[list[dict[str, Any]], int, str]:
        """All that still comes until the server closes, with which code, and why."""
        frames = []
        async with asyncio.timeout(within):
            try:
                while True:
                    frames.append(await self._frame())
            except ConnectionClosed as ended:
                return (frames, ended.rcvd.code, ended.rcvd.reason) if ended.rcvd else (frames, 1006, "broken off")

    async def seqs(self, count: int, *, within: float = 10) -> list[int]:
        """The numbers of the next events."""
        return [(await self.next("event", within=within))["seq"] for _ in range(count)]

    async def is_quiet(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        try:
            await self.next(within=seconds)
        except TimeoutError:
            return True
        return False

    async def closed(self, *, within: float = 10) -> tuple[int, str]:
        """How the server closes the connection; what still comes before is read and dropped."""
        _, code, reason = await self.rest(within=within)
        return code, reason


@asynccontextmanager
async def screen(url: str, token: str | None, **auth: Any) -> AsyncIterator[Screen]:
    """A connected client that has said who it is; None says nothing."""
    # A small window, so that a client that does not read is soon felt.
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        raw.setblocking(False)
        async with connect(url, sock=raw, compression=None, max_queue=None, max_size=None) as connection:
            seen = Screen(connection)
            if token is not None:
                with suppress(ConnectionClosed):  # it may have been turned away for its address
                    await seen.say(type="auth", token=token, **auth)
            yield seen


@asynccontextmanager
async def watching(url: str, token: str, *, judged: bool = True, **auth: Any) -> AsyncIterator[Screen]:
    """A client that is let in; and when it goes, nothing was missing, twice, out of order or none of its business.

    Who holds very many against the oracle by hand has them not ``judged`` here: each asks for the log.
    """
    async with screen(url, token, **auth) as seen:
        seen.ready = await seen.next("ready")
        yield seen
        if judged:
            await oracle.judge(seen, url, token, auth.get("topics"))


async def eventually(holds: Callable[[], bool], within: float = 8) -> None:
    """It holds before long."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for knows nothing of events
            await asyncio.sleep(0.01)


class Office:
    """A workspace with an owner, where things happen."""

    def __init__(self, database: Database, member: WorkspaceMember, token: str) -> None:
        self.workspace_id = member.workspace_id
        self.user_id = member.user_id
        self.token = token
        self._database = database
        self._connection: Any = None

    async def happens(
        self,
        event: str = "message.received",
        times: int = 1,
        *,
        told: bool = True,
        conversation_id: uuid.UUID | None = None,
        **data: Any,
    ) -> int:
        """So many events are committed, in one transaction; returns the last number. ``told`` as the program does."""
        facts = [
            Fact(
                workspace_id=self.workspace_id,
                event=event,
                subject_type=event.partition(".")[0],
                subject_id=new_id(),
                data=encode({"number": number, **data}),
                at=now(),
                conversation_id=conversation_id,
            )
            for number in range(times)
        ]
        if self._connection is None:
            self._connection = await self._database.connect()
        rows = await self._connection.fetch(WRITE, *arguments(facts))
        last = [(row[0], row[1]) for row in rows]
        if told:
            self._database.on_told(last)
        return int(last[0][1])

    async def log(self, after: int = 0) -> list[dict[str, Any]]:
        """What a fresh look at the log says, as frames."""
        async with self._database.workspace(self.workspace_id) as db:
            rows = await db.scalars(select(Event).where(Event.seq > after).order_by(Event.seq))
            views = [msgspec.convert(row, EventView, from_attributes=True) for row in rows]
        return [{"type": "event", **json.loads(encode(view))} for view in views]

    async def close(self) -> None:
        """Nothing happens any more."""
        if self._connection is not None:
            await self._connection.close()


async def office(database: Database, name: str = "acme") -> Office:
    """A new workspace, whose owner has a token."""
    async with database.everywhere() as db:
        _, member = await workspaces.found(db, name=name, slug=name, email=f"owner@{name}.example")
        _, token = await credentials.issue(db, member)
        return Office(database, member, token)
