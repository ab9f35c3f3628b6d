"""Where providers post: plain ASGI, one read of the body, one answer after the commit.

    /webhooks/{provider}/{connection}/{kind}
    /webhooks/agents/{workspace}/{schedule}

404 unknown, 405 wrong method, 408 too slow, 413 too large, 403 forged, 400 unreadable, 503 when it cannot be kept now;
else 2xx.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, MutableMapping
from functools import partial
from time import perf_counter
from types import coroutine
from typing import Any, cast

import structlog

from comms import metrics
from comms.calls.taking import KINDS as VOICE
from comms.directory import Connection, DirectoryUnknown
from comms.groups import Unavailable
from comms.providers.base import Forged, Request, Unreadable
from comms.service import Service
from handlers.webhooks import agents, messages, sendgrid, voice
from handlers.webhooks.answers import Answer, refused

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Take = Callable[[Service, Connection, Request], Awaitable[Answer]]
TakeStream = Callable[[Service, Connection, Request, AsyncIterator[bytes]], Awaitable[Answer]]


class Route:
    """What may be posted to a kind of webhook, and who takes it: whole, or with its body still on the way."""

    def __init__(
        self,
        kind: str,
        take: Take | None = None,
        *,
        take_stream: TakeStream | None = None,
        methods: tuple[str, ...],
        most_bytes: int,
    ) -> None:
        self.kind = kind
        self._take = take
        self._take_stream = take_stream
        self.seconds = metrics.WEBHOOK_SECONDS.labels(kind)
        self.methods = methods
        self.most_bytes = most_bytes
        self.most_seconds = _MESSAGE_SECONDS if most_bytes == _MESSAGE_BYTES else _MAIL_SECONDS

    async def taken(self, service: Service, connection: Connection, head: Request, content: "_Content") -> Answer:
        """What the provider is answered; ``head`` is the request without its body."""
        if self._take_stream is not None:
            return await self._take_stream(service, connection, head, content.pieces())
        assert self._take is not None
        request = Request(head.method, head.url, head.headers, await content.whole())
        return await self._take(service, connection, request)


_MESSAGE_BYTES = 1024 * 1024
_CALL_BYTES = 256 * 1024
_MESSAGE_SECONDS = 15.0  # no provider waits for longer
_MAIL_SECONDS = 120.0
_MAIL_BYTES = 35 * 1024 * 1024  # SendGrid sends up to 30 MB, and a 4xx would lose the mail

ROUTES: Mapping[tuple[str, str], Route] = {
    **{
        (provider, kind): Route(kind, take, methods=("POST", "GET"), most_bytes=_MESSAGE_BYTES)
        for provider in ("twilio", "signalwire")
        for kind, take in (("messages", messages.take_message), ("message-status", messages.take_report))
    },
    **{
        (provider, kind): Route(kind, partial(voice.take, kind), methods=("POST", "GET"), most_bytes=_MESSAGE_BYTES)
        for provider in ("twilio", "signalwire")
        for kind in VOICE
    },
    ("sendgrid", "events"): Route("events", sendgrid.take_events, methods=("POST",), most_bytes=_MAIL_BYTES),
    ("sendgrid", "inbound"): Route(
        "inbound", take_stream=sendgrid.take_inbound, methods=("POST",), most_bytes=_MAIL_BYTES
    ),
}


def routes(service: Service) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The ASGI application below ``/webhooks/``."""
    public_url = service.settings.server.public_url

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await take(scope, receive)
        await send(answer.start)
        await send(answer.body)

    async def take(scope: Scope, receive: Receive) -> Answer:
        # The path as it came: a decoded one would not verify.
        path = scope["raw_path"].decode("latin-1")
        parts = path.split("/")
        if len(parts) != 5:
            return refused(404)
        _, _, provider, connection_id, kind = parts
        if provider == "agents":
            return await _called(connection_id, kind, scope, receive)
        route = ROUTES.get((provider, kind))
        if route is None:
            return refused(404)
        if scope["method"] not in route.methods:
            return refused(405, allow=", ".join(route.methods))
        began = perf_counter()
        answer, verdict = await _taken(provider, connection_id, route, scope, receive, public_url + path)
        if verdict == "unavailable" and route.kind in VOICE:  # no caller hears a provider's error voice
            answer = voice.failed(route.kind, provider, f"{public_url}{path.rpartition('/')[0]}") or answer
        metrics.WEBHOOKS.labels(provider, kind, verdict).inc()
        route.seconds.observe(perf_counter() - began)
        return answer

    async def _called(workspace: str, schedule: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return refused(405, allow="POST")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        content = _Content(receive, headers.get("content-length", ""), _CALL_BYTES, _MESSAGE_SECONDS)
        try:
            return await agents.take(service, workspace, schedule, headers, await content.whole())
        except ClientGone:
            return refused(400)
        except TooLarge:
            return refused(413)
        except TooSlow:
            return refused(408)
        except Exception as error:
            log.exception("webhook.failed", provider="agents", error=type(error).__name__)
            return refused(503)

    async def _taken(
        provider: str, connection_id: str, route: Route, scope: Scope, receive: Receive, url: str
    ) -> tuple[Answer, str]:
        try:
            connection = await service.directory.look_up(connection_id)
        except DirectoryUnknown:
            return refused(503), "unavailable"
        if connection is None or connection.provider != provider:
            return refused(404), "unknown"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if connection.credentials is None:
            return refused(503), "unavailable"
        query = scope["query_string"]
        head = Request(scope["method"], f"{url}?{query.decode('latin-1')}" if query else url, headers, b"")
        content = _Content(receive, headers.get("content-length", ""), route.most_bytes, route.most_seconds)
        try:
            answer = await route.taken(service, connection, head, content)
            service.directory.used(connection)
            return answer, "accepted"
        except ClientGone:
            return refused(400), "gone"
        except TooLarge:
            log.warning(
                "webhook.too_large", provider=provider, connection_id=connection_id, most_bytes=route.most_bytes
            )
            return refused(413), "too_large"
        except TooSlow:
            return refused(408), "too_slow"
        except Forged:
            return refused(403), "forged"
        except Unreadable:
            return refused(400), "unreadable"
        except Unavailable:
            return refused(503), "unavailable"
        except Exception as error:
            log.exception("webhook.failed", provider=provider, connection_id=connection_id, error=type(error).__name__)
            return refused(503), "unavailable"

    return app


class ClientGone(Exception):
    """Whoever posted went away before the body was complete."""


class TooLarge(Exception):
    """More was posted than this address takes."""


class TooSlow(Exception):
    """What was announced has not come in time."""


class _Content:
    """A request's body on its way; raises ``TooLarge``, ``TooSlow``, and ``ClientGone`` where it breaks off."""

    def __init__(self, receive: Receive, announced: str, most: int, seconds: float) -> None:
        self._receive = receive
        self._announced = announced
        self._most = most
        self._seconds = seconds
        self._deadline: float | None = None

    async def _received(self) -> MutableMapping[str, Any]:
        """The next message. What is here already is taken without a clock, which would cost a tenth of the request."""
        waiting: Any = self._receive().__await__()
        try:
            awaited = next(waiting)
        except StopIteration as ended:
            return cast(MutableMapping[str, Any], ended.value)
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):  # nobody is proven yet, and might hold a place for ever
                return await _resumed(waiting, awaited)
        except TimeoutError as error:
            raise TooSlow from error

    async def whole(self) -> bytes:
        """All of it."""
        pieces = [piece async for piece in self.pieces()]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Some at a time."""
        if self._announced.isdigit() and int(self._announced) > self._most:
            raise TooLarge
        size, more = 0, True
        while more:
            message = await self._received()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body: bytes = message.get("body", b"")
            size += len(body)
            if size > self._most:
                raise TooLarge
            more = message.get("more_body", False)
            yield body


@coroutine
def _resumed(waiting: Any, awaited: Any) -> Generator[Any, Any, MutableMapping[str, Any]]:
    """What something returns in the end that has begun already and waits for ``awaited``."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:
                awaited = waiting.throw(error)
            else:
                awaited = waiting.send(sent)
    except StopIteration as ended:
        return cast(MutableMapping[str, Any], ended.value)
