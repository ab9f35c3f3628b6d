"""A visitor's websocket: their token first, and from then on what changes of their chat. See docs/chat.md."""

import asyncio
from typing import Any

import msgspec
import structlog
from litestar import asgi
from litestar.types import Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError

from comms import metrics
from comms.chat import widgets
from comms.chat.desk import Desk
from comms.chat.guests import Guest
from comms.chat.protocol import ChatAuth
from comms.errors import Unauthenticated
from comms.sockets import Wire
from comms.wakeups import GONE
from handlers.communications.origins import header_of
from handlers.communications.visitors import proved
from handlers.websockets import Frames, seated

log = structlog.get_logger(__name__)

SHARE = 0.75
"""Of all seats: whoever comes from the street leaves the last ones to the members."""


@asgi("/chat/ws", copy_scope=False)
async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    """What changes of a visitor's chat, as it does."""
    async with seated(scope, receive, send, SHARE) as here:
        if here is not None:
            await _serve(scope["litestar_app"].state.service, scope, *here)


async def _serve(service: Any, scope: Scope, wire: Wire, frames: Frames) -> None:
    desk: Desk = service.desk
    guest: Guest | None = None
    try:
        said = await _first_frame(frames, desk.auth_seconds)
        if said is None:
            wire.shut(4401, "no auth frame in time")
            return
        async with desk.door:
            caller = await proved(service, said.token)
        origin = header_of(scope, b"origin")
        if not widgets.admits(list(caller.origins), origin):
            metrics.CHAT_REFUSED.labels("origin").inc()
            wire.shut(4403, "this page is not where this widget may be")
            return
        client = scope.get("client")
        guest = Guest(wire, caller, client[0] if client else None, origin)
        await desk.enter(guest, said.after)
        while (message := await frames())["type"] == "websocket.receive":
            await desk.hear(guest, message.get("text"))
    except (msgspec.MsgspecError, RecursionError):
        wire.shut(4401, 'the first frame must be {"type":"auth","token":"…"}')
    except Unauthenticated:
        wire.shut(4401, "we do not know who you are")
    except (*GONE, SQLAlchemyError) as error:
        log.warning("chat.no_database", error=type(error).__name__)
        wire.shut(1013, "try again later")
    finally:
        if guest is not None:
            desk.leave(guest)


async def _first_frame(frames: Frames, within: float) -> ChatAuth | None:
    """Who it says it is; None when it says nothing. That we are slow to look it up begins nobody's chat anew."""
    try:
        text = (await asyncio.wait_for(frames(), within)).get("text") or ""
    except TimeoutError:
        return None
    return msgspec.json.decode(text, type=ChatAuth)
