"""One server for all that the providers answer over HTTP: routes in lists, each with who may ask.

    Server([*exchange.routes, *calls.routes], prefix="/simulators")

A route is a method, a path with ``{names}``, and a coroutine that answers what was asked. Whoever adds a part of a
provider's API adds a list.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from comms.simulators.wire import JSON

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Asked(msgspec.Struct, frozen=True):
    """A request: ``named`` are the parts of its path, ``query`` and ``form`` the first value of each name."""

    method: str
    path: str
    named: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    gone: Callable[[], Awaitable[None]]
    """Waits until whoever asked has gone away."""


class Reply(msgspec.Struct, frozen=True):
    """What is answered; a ``broken`` one ends in the middle, and ``None`` instead of a reply never comes."""

    status: int
    document: Any = None
    content: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = {}
    broken: bool = False

    @property
    def body(self) -> bytes:
        """The document, or the content as it is."""
        return self.content if self.document is None else msgspec.json.encode(self.document)


Answers = Callable[[Asked], Awaitable[Reply | None]]


class Route:
    """What answers at a path, whose ``{names}`` stand for anything but a slash."""

    def __init__(self, method: str, path: str, answers: Answers) -> None:
        self.method = method
        self.answers = answers
        self._pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(path)))

    def named(self, method: str, path: str) -> Mapping[str, str] | None:
        """The parts of the path that have names; None when the route is not asked for."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


class Server:
    """An ASGI application; what no route knows goes to ``otherwise``. ``asked`` lists all requests, oldest first."""

    def __init__(
        self, routes: Sequence[Route], *, prefix: str = "", otherwise: Application | None = None, remember: int = 10_000
    ) -> None:
        self.routes = list(routes)
        self.prefix = prefix
        self.otherwise = otherwise
        self.asked: list[Asked] = []
        self._remember = remember

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        path = str(scope.get("path", "")).removeprefix(self.prefix)
        for route in self.routes:
            named = route.named(scope["method"], path) if scope["type"] == "http" else None
            if named is not None:
                asked = await _asked(scope, receive, path, named)
                if len(self.asked) < self._remember:
                    self.asked.append(asked)
                await _reply(await route.answers(asked), asked, send)
                return
        if self.otherwise is not None:
            await self.otherwise(scope, receive, send)
        elif scope["type"] == "http":
            await _reply(Reply(404, {"code": 20404, "message": "not found", "status": 404}), None, send)


def basic(name: str, password: str) -> str:
    """The Authorization header that this name and password make."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def is_proven(asked: Asked, *allowed: str) -> bool:
    """Whether the request carries one of these Authorization headers."""
    said = asked.headers.get("authorization", "").encode()
    return any(hmac.compare_digest(said, header.encode()) for header in allowed)


async def _asked(scope: Scope, receive: Receive, path: str, named: Mapping[str, str]) -> Asked:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body"))
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    pairs = parse_qsl(body.decode(), keep_blank_values=True) if is_form else []
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return Asked(scope["method"], path, named, dict(reversed(query)), dict(reversed(pairs)), pairs, headers, body, gone)


async def _reply(reply: Reply | None, asked: Asked | None, send: Send) -> None:
    if reply is None:
        assert asked is not None
        await asked.gone()
        return
    body = reply.body
    headers = {"content-type": reply.content_type, "content-length": str(len(body)), **reply.headers}
    start = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": start})
    if reply.broken:  # the server closes a connection whose answer is not what was announced
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
