"""Messages carried over HTTP: one request, once, and what came of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from comms.authorities import trusted
from comms.directory import Connection
from comms.providers.outgoing import Accepted, Answer, Busy, Call, Listed, Outgoing, Sends, Unclear

TIMEOUT = httpx.Timeout(15, connect=5, pool=30)
ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
MOST_IDLE = 96
MOST_BYTES = 4 * 1024 * 1024


class Rest:
    """The transport of a provider that ``speaks`` HTTP, at ``base``; None where each account has a place of its own."""

    def __init__(self, speaks: Sends[Any], base: str | None, *, timeout: httpx.Timeout = TIMEOUT) -> None:
        self._speaks = speaks
        self._base = base
        self._timeout = timeout
        self._idle: dict[str, list[httpx.AsyncHTTPTransport]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, outgoing: Outgoing, connection: Connection) -> Accepted:
        """The provider has the message; raises ``Refused``, ``Busy`` or ``Unclear``."""
        return self._speaks.accepted(await self.ask(self._speaks.send(outgoing, connection.credentials, self._base)))

    async def find(self, outgoing: Outgoing, connection: Connection) -> Sequence[Listed]:
        """What the provider has between the same two addresses, newest first; ``Unclear`` if it cannot say now."""
        try:
            answer = await self.ask(self._speaks.look(outgoing, connection.credentials, self._base))
        except Busy as error:
            raise Unclear(error.words) from error
        return self._speaks.listed(answer)

    async def ask(self, call: Call) -> Answer:
        """The provider's answer to one request, made once.

        Raises ``Busy`` when it never left, for nobody listens there, and ``Unclear`` when it may have.
        """
        request = httpx.Request(
            call.method,
            call.url,
            headers={"User-Agent": "comms", "Accept": "application/json", **call.headers},
            data=None if call.form is None else _multi(call.form),
            json=call.json,
            extensions={"timeout": self._timeout.as_dict()},
        )
        if call.basic is not None:
            request.headers["Authorization"] = httpx.BasicAuth(*call.basic)._auth_header
        line, is_whole = self._take(request.url), False
        try:
            response = await line.handle_async_request(request)
            try:
                body = await _body(response)
                is_whole = True
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Busy(f"{request.url.host} cannot be reached ({type(error).__name__})") from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Unclear(f"the connection to {request.url.host} broke ({type(error).__name__})") from error
        finally:
            self._give_back(request.url, line, is_whole=is_whole)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, body)

    async def close(self) -> None:
        """No connection is open any more."""
        idle, self._idle = self._idle, {}
        for line in (line for lines in idle.values() for line in lines):
            await line.aclose()
        if self._closing:
            await asyncio.wait(set(self._closing))

    # A pool of one connection for each request at once, and the pools are ours: httpx's own looks at every connection
    # it has for every request, which at sixty-four of them costs more than all else together (7 ms a message).
    def _take(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        idle = self._idle.get(_origin(url))
        if idle:
            return idle.pop()
        # Not a client: no redirects, cookies, proxies of the environment, and above all no second try.
        return httpx.AsyncHTTPTransport(verify=trusted(), trust_env=False, limits=ONE, retries=0)

    def _give_back(self, url: httpx.URL, line: httpx.AsyncHTTPTransport, *, is_whole: bool) -> None:
        """A line on which an answer was read to its end is used again; whatever else may be on it is not."""
        if is_whole and sum(map(len, self._idle.values())) < MOST_IDLE:
            self._idle.setdefault(_origin(url), []).append(line)
            return
        closing = asyncio.create_task(line.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _multi(form: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The form as httpx wants it where names repeat."""
    names = dict.fromkeys(name for name, _ in form)
    return {name: [value for other, value in form if other == name] for name in names}


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Unclear("the provider answered more than can be read")
    return bytes(body)
