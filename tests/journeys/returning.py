"""Websockets that all come back in the same instant, a process of its own.

    python -m tests.journeys.returning '{"port": …, "token": "…", "sockets": 1000, "after": 41}'

On standard input ``storm`` breaks every line there is and opens all anew at once, each with the last ``seq`` it has
seen; the answer is the seconds until each was let in. ``until SEQ`` waits until everybody has heard that event; the
answer is how many missed a number, heard one twice, or were closed. Each answer is one line of JSON.
"""

import asyncio
import gc
import json
import re
import resource
import sys
import time
from typing import cast

import msgspec
import uvloop

from bench.listeners import masked
from comms.hub.frames import framed

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YmVuY2gtYmVuY2gtYmVuYw==\r\n\r\n"
)
_SEQ = re.compile(rb'"type":"(ready|event)","seq":(\d+)')


class Crowd(msgspec.Struct, frozen=True):
    """Who comes back where: as one member, who had seen the log up to ``after``, or never was there."""

    port: int
    token: str
    sockets: int
    after: int | None = None


class Returning(asyncio.Protocol):
    """One client, which goes on where it was each time it is connected."""

    def __init__(self, token: str, seq: int | None = None) -> None:
        self.token = token
        self.seq = seq
        self.is_in = asyncio.Event()
        self.broken = 0
        self.lost = 0
        self._rest = b""
        self._leaves = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest, self._leaves = cast(asyncio.Transport, transport), b"", False
        self._transport.write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        if not self.is_in.is_set() and b"\r\n\r\n" in data and data.startswith(b"HTTP/1.1 101"):
            auth = {"type": "auth", "token": self.token} | ({} if self.seq is None else {"after": self.seq})
            assert self._transport is not None
            self._transport.write(masked(framed(json.dumps(auth).encode())))
        seen = self._rest + data
        end = 0
        for found in _SEQ.finditer(seen):
            if found.end() == len(seen):  # the number may go on
                break
            self._hear(found[1], int(found[2]))
            end = found.end()
        self._rest = seen[end:][-60:]

    def _hear(self, kind: bytes, seq: int) -> None:
        if kind == b"ready":
            self.is_in.set()
            self.seq = seq if self.seq is None else self.seq
            return
        self.broken += seq != (self.seq or 0) + 1
        self.seq = seq

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._leaves:
            self.lost += 1
            self.is_in.set()

    def breaks(self) -> None:
        """The line is gone without a word."""
        self.is_in.clear()
        self._leaves = True
        if self._transport is not None:
            self._transport.abort()


async def storm(crowd: Crowd, clients: list[Returning]) -> list[float]:
    """Everybody has come back; the seconds it took each."""
    loop = asyncio.get_running_loop()
    for client in clients:
        client.breaks()
    await asyncio.sleep(0.1)
    began = time.monotonic()

    async def come(client: Returning) -> float:
        await loop.create_connection(lambda: client, "127.0.0.1", crowd.port)
        await client.is_in.wait()
        return time.monotonic() - began

    return await asyncio.gather(*(come(client) for client in clients))


async def main() -> None:
    """Does as it is told until its standard input ends."""
    crowd = msgspec.json.decode(sys.argv[1], type=Crowd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    clients = [Returning(crowd.token, crowd.after) for _ in range(crowd.sockets)]
    gc.disable()
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while order := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if order[0] == "storm":
            print(json.dumps(await storm(crowd, clients)), flush=True)
            continue
        while any((client.seq or 0) < int(order[1]) and not client.lost for client in clients):  # noqa: ASYNC110 - each client hears on its own
            await asyncio.sleep(0.01)
        print(json.dumps([sum(c.broken for c in clients), sum(c.lost for c in clients)]), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
