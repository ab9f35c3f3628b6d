"""An agent's screen, and the server it is connected to: a real websocket to a real uvicorn, in the test's own loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from comms.database import Database
from comms.hub import Hub
from comms.sockets import uvicorn_options
from handlers.live import live


@asynccontextmanager
async def serving(database: Database, hub: Hub, **options: Any) -> AsyncIterator[str]:
    """The address of a server that has nothing but the live socket."""
    app = Litestar(
        [live], state=State({"service": SimpleNamespace(database=database, hub=hub)}), openapi_config=None, debug=True
    )
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", **{**uvicorn_options(), **options})
    server = _Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Screen:
    """What one connected client sees."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.ready: dict[str, Any] = {}
        self.close_code: int | None = None
        self.close_reason = ""

    async def say(self, **frame: Any) -> None:
        """The client sends a frame."""
        await self.socket.send(json.dumps(frame))

    async def next(self, kind: str | None = None, *, within: float = 5) -> dict[str, Any]:
        """The next frame, or the next of a kind; fails when the connection closes or nothing comes."""
        async with asyncio.timeout(within):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if kind is None or frame["type"] == kind:
                    return frame

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
        async with asyncio.timeout(within):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as ended:
                assert ended.rcvd is not None, "the connection broke off without a close frame"
                return ended.rcvd.code, ended.rcvd.reason


@asynccontextmanager
async def screen(url: str, token: str | None, **auth: Any) -> AsyncIterator[Screen]:
    """A connected client that has said who it is; None says nothing."""
    async with connect(url, compression=None, max_queue=None) as socket:
        seen = Screen(socket)
        if token is not None:
            await seen.say(type="auth", token=token, **auth)
        yield seen


@asynccontextmanager
async def watching(url: str, token: str, **auth: Any) -> AsyncIterator[Screen]:
    """A client that is let in."""
    async with screen(url, token, **auth) as seen:
        seen.ready = await seen.next("ready")
        yield seen
