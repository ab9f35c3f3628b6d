"""A server that is being shut down: whoever connects is let in, told its last word, and left with an open line."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comms.database import Urls
from comms.settings import Secret


def _said(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


_COME_IN = b"".join(
    (
        _said(b"R", struct.pack("!I", 0)),
        _said(b"S", b"server_version\x0018.0\x00"),
        _said(b"S", b"client_encoding\x00UTF8\x00"),
        _said(b"K", struct.pack("!II", 1, 1)),
        _said(b"Z", b"I"),
    )
)
_LAST_WORD = _said(b"E", b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0")


@asynccontextmanager
async def dying() -> AsyncIterator[tuple[Urls, asyncio.Event]]:
    """Its addresses, and what is set once somebody has come."""
    came = asyncio.Event()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)  # who they are
        writer.write(_COME_IN + _LAST_WORD)
        came.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = Secret(f"postgresql://comms@127.0.0.1:{port}/comms?sslmode=disable")
        yield Urls(owner=address, web=address, worker=address), came
