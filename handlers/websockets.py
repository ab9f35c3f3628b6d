"""Where every websocket begins: it is accepted before all else, is given a wire of its own, and takes a seat."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from comms.sockets import Wire, wire_of

log = structlog.get_logger(__name__)

Frames = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Waits for what the client sends next."""


@asynccontextmanager
async def seated(
    scope: Scope, receive: Receive, send: Send, share: float = 1.0
) -> AsyncIterator[tuple[Wire, Frames] | None]:
    """The client's wire and frames, as long as it sits here; None if it cannot, and then it has been told why.

    ``share`` is how much of the house may be full for it to find a seat.
    """
    if scope["type"] != ScopeType.WEBSOCKET:
        await _upgrade_required(send)
        yield None
        return
    frames: Frames = receive  # type: ignore[assignment]  # ASGI types its messages more loosely
    await frames()
    try:
        # First of all: a refusal before it shows as 1006 in browsers.
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    except OSError:  # gone already
        yield None
        return
    wire = wire_of(scope)
    if wire is None:
        log.error("websocket.wrong_server", remedy="start uvicorn with comms.sockets.uvicorn_options()")
        await send({"type": "websocket.close", "code": 1011, "reason": "the server is not set up for this"})
        yield None
        return
    with scope["litestar_app"].state.service.hub.seat(share) as has_a_seat:
        if has_a_seat:
            yield wire, frames
        else:
            wire.shut(1013, "too many connections: try again later")
            yield None


async def _upgrade_required(send: Send) -> None:
    body = b'{"type":"about:blank","title":"Upgrade Required","status":426,"detail":"This address speaks websocket."}'
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
