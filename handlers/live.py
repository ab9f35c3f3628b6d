"""The websocket: a client proves who it is, and from then on sees what happens in its workspace. See docs/live.md."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog
from litestar import asgi
from litestar.types import Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError

from comms import credentials
from comms.credentials import Identity
from comms.errors import Forbidden, Unauthenticated, Unavailable
from comms.hub import Hub, topics
from comms.hub.protocol import Proof, Wishes
from comms.sockets import Wire
from comms.wakeups import GONE
from handlers.websockets import Frames, seated

log = structlog.get_logger(__name__)


class Refused(Exception):
    """The connection closes with ``code`` before it was let in."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@asgi("/ws", copy_scope=False)
async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything that happens in the workspace, as it happens."""
    async with seated(scope, receive, send) as here:
        if here is None:
            return
        wire, frames = here
        service = scope["litestar_app"].state.service
        try:
            identity, wishes = await _who(service, _query(scope), frames)
            listening = topics.EVERYTHING if wishes.topics is None else topics.more(topics.EVERYTHING, wishes.topics)
        except topics.UnknownTopic as unknown:
            wire.shut(1008, _brief(unknown))
        except Refused as refused:
            wire.shut(refused.code, refused.reason)
        else:
            await _listen(service.hub, wire, identity, listening, wishes.after, frames)


async def _listen(
    hub: Hub, wire: Wire, identity: Identity, listening: topics.Topics, after: int | None, frames: Frames
) -> None:
    socket = hub.enter(wire, identity, listening, after)
    try:
        while (message := await frames())["type"] == "websocket.receive":
            hub.hear(socket, message.get("text"))
    finally:
        hub.leave(socket)


async def _who(service: Any, query: dict[str, str], frames: Frames) -> tuple[Identity, Wishes]:
    """Who it is, by a ticket in the address or a token in the first frame, and what they wish."""
    named = {name: value.split(",") if name == "topics" else value for name, value in query.items()}
    wishes = _wishes(lambda: msgspec.convert(named, Wishes, strict=False))
    try:
        if "ticket" in query:
            async with service.hub.door:
                identity = await credentials.redeem_ticket(service.database, query["ticket"])
            if identity is None:
                raise Unauthenticated("this ticket is spent or too old")
            return identity, wishes
        proof, further = await _first_frame(frames, service.hub.auth_seconds)
        async with service.hub.door:
            identity = await credentials.identify(service.database, proof.token, service.clerk)
    except Unauthenticated:
        raise Refused(4401, "we do not know who you are") from None
    except Forbidden:
        raise Refused(4403, "you may not listen here") from None
    except Unavailable:
        raise Refused(1013, "try again later") from None
    except (*GONE, SQLAlchemyError) as error:
        log.warning("live.no_database", error=type(error).__name__)
        raise Refused(1013, "try again later") from None
    return identity, Wishes(
        after=wishes.after if further.after is None else further.after,
        topics=wishes.topics if further.topics is None else further.topics,
    )


async def _first_frame(frames: Frames, within: float) -> tuple[Proof, Wishes]:
    """The client's time is measured, not ours: in a storm the database may need longer to say who they all are."""
    try:
        text = (await asyncio.wait_for(frames(), within)).get("text") or ""
    except TimeoutError:
        raise Refused(4401, "no auth frame in time") from None
    try:
        proof = msgspec.json.decode(text, type=Proof)
    except (msgspec.MsgspecError, RecursionError):
        raise Refused(4401, 'the first frame must be {"type":"auth","token":"…"}') from None
    return proof, _wishes(lambda: msgspec.json.decode(text, type=Wishes))


def _wishes(read: Callable[[], Wishes]) -> Wishes:
    try:
        return read()
    except msgspec.ValidationError as error:
        raise Refused(1008, _brief(error)) from None


def _brief(error: Exception) -> str:
    """As much of it as a closing frame has room for, which counts bytes (RFC 6455, 5.5)."""
    return str(error).encode()[:100].decode(errors="ignore")


def _query(scope: Scope) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
