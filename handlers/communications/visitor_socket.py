"""A visitor's websocket: their token first, and from then on what changes of their chat. See docs/chat.md."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import structlog
from litestar import asgi
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError

from comms import metrics
from comms.chat import widgets
from comms.chat.desk import Desk
from comms.chat.guests import Guest
from comms.chat.protocol import ChatAuth
from comms.errors import Unauthenticated
from comms.sockets import Wire, wire_of
from comms.wakeups import GONE
from handlers.communications.visitors import proved

log = structlog.get_logger(__name__)

Frames = Callable[[], Awaitable[MutableMapping[str, Any]]]


@asgi("/chat/ws", copy_scope=False)
async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    """What changes of a visitor's chat, as it does."""
    if scope["type"] != ScopeType.WEBSOCKET:
        body = (
            b'{"type":"about:blank","title":"Upgrade Required","status":426,"detail":"This address speaks websocket."}'
        )
        headers = [(b"content-type", b"application/problem+json"), (b"upgrade", b"websocket")]
        await send({"type": "http.response.start", "status": 426, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return
    frames: Frames = receive  # type: ignore[assignment]  # ASGI types its messages more loosely
    await frames()
    try:
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    except OSError:  # gone already
        return
    wire = wire_of(scope)
    if wire is None:
        log.error("chat.wrong_server", remedy="start uvicorn with comms.sockets.uvicorn_options()")
        await send({"type": "websocket.close", "code": 1011, "reason": "the server is not set up for this"})
        return
    service = scope["litestar_app"].state.service
    with service.hub.seat() as seated:
        if not seated:
            wire.shut(1013, "too many connections: try again later")
            return
        await _serve(service, scope, wire, frames)


async def _serve(service: Any, scope: Scope, wire: Wire, frames: Frames) -> None:
    desk: Desk = service.desk
    guest: Guest | None = None
    try:
        async with asyncio.timeout(desk.auth_seconds):
            said = msgspec.json.decode((await frames()).get("text") or "", type=ChatAuth)
            caller = await proved(service, said.token)
        if not widgets.admits(list(caller.origins), _origin(scope)):
            metrics.CHAT_REFUSED.labels("origin").inc()
            wire.shut(4403, "this page is not where this widget may be")
            return
        client = scope.get("client")
        guest = Guest(wire, caller, client[0] if client else None)
        await desk.enter(guest, said.after)
        while (message := await frames())["type"] == "websocket.receive":
            await desk.hear(guest, message.get("text"))
    except (msgspec.MsgspecError, RecursionError):
        wire.shut(4401, 'the first frame must be {"type":"auth","token":"…"}')
    except TimeoutError:
        wire.shut(4401, "no auth frame in time")
    except Unauthenticated:
        wire.shut(4401, "we do not know who you are")
    except (*GONE, SQLAlchemyError) as error:
        log.warning("chat.no_database", error=type(error).__name__)
        wire.shut(1013, "try again later")
    finally:
        if guest is not None:
            desk.leave(guest)


def _origin(scope: Scope) -> str | None:
    found = next((value for name, value in scope["headers"] if name.lower() == b"origin"), None)
    return None if found is None else found.decode("latin-1")
