"""Providers as the wire shows them: kept-alive connections that post signed requests and say how each was answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from comms.providers.base import Request


class Refused(Exception):
    """There is nobody to connect to."""


class NoAnswer(Exception):
    """The connection ended before the answer was complete; ``partial`` is what had come of it."""

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__(partial)
        self.partial = partial


class Line:
    """One connection to a port of this machine, made when it is first needed and again after it was lost."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> Self:
        try:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            raise Refused from None
        return self

    async def post(self, request: Request) -> int:
        """The status the request is answered with."""
        await self.begin(request, len(request.body))
        return await self.answer()

    async def begin(self, request: Request, upto: int) -> None:
        """The request's head and the first bytes of its body are on their way."""
        if self._writer is None:
            await self.open()
        await self.go_on(_head(request) + request.body[:upto])

    async def go_on(self, more: bytes) -> None:
        assert self._writer is not None
        with suppress(ConnectionError):  # the answer tells
            self._writer.write(more)
            await self._writer.drain()

    async def answer(self) -> int:
        assert self._reader is not None
        seen = b""
        try:
            seen = head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            seen += await self._reader.readexactly(length)
            if b"\r\nconnection: close\r\n" in head.lower():
                self.close()
        except asyncio.IncompleteReadError as cut:
            self.close()
            raise NoAnswer(seen + cut.partial) from None
        except ConnectionError:
            self.close()
            raise NoAnswer(seen) from None
        return int(head[9:12])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


def _head(request: Request) -> bytes:
    parts = urlsplit(request.url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{request.method} {path} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"content-length: {len(request.body)}", "", ""]
    return "\r\n".join(lines).encode()


async def at_once(ports: Sequence[int], requests: Sequence[Request]) -> list[int]:
    """The answers to requests that leave in the same instant, each on a connection of its own, over all ports."""
    lines = [await Line(ports[index % len(ports)]).open() for index in range(len(requests))]
    try:
        return await asyncio.gather(*(line.post(request) for line, request in zip(lines, requests, strict=True)))
    finally:
        for line in lines:
            line.close()


class Load:
    """Requests that leave over several lines as fast as they are answered, until they run out or it is stopped.

    ``answers`` has the status of each request answered so far, ``acknowledged`` those answered 2xx; ``unanswered`` are
    those that were sent and not answered, with what had come of an answer; ``refused`` those that never were sent.
    """

    def __init__(self, ports: Sequence[int], requests: Mapping[str, Request], *, lines: int = 16) -> None:
        self.answers: dict[str, int] = {}
        self.acknowledged: set[str] = set()
        self.unanswered: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self.slowest = 0.0
        self._requests = iter(requests.items())
        self._stopping = False
        self._news = asyncio.Event()
        self._tasks = [asyncio.create_task(self._post(Line(ports[index % len(ports)]))) for index in range(lines)]

    async def _post(self, line: Line) -> None:
        try:
            while not self._stopping and (due := next(self._requests, None)) is not None:
                key, request = due
                began = time.monotonic()
                try:
                    self.answers[key] = status = await line.post(request)
                    if 200 <= status < 300:
                        self.acknowledged.add(key)
                except NoAnswer as lost:
                    self.unanswered[key] = lost.partial
                except Refused:
                    self.refused.add(key)
                    await asyncio.sleep(0.02)
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._news.set()
        finally:
            line.close()

    @property
    def is_over(self) -> bool:
        """Whether all that left is answered, or never will be, and nothing more leaves."""
        return all(task.done() for task in self._tasks)

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return Counter(self.answers.values())

    async def until_acknowledged(self, count: int, *, within: float = 30) -> None:
        """So many are acknowledged, and more are on their way."""
        async with asyncio.timeout(within):
            while len(self.acknowledged) < count:
                assert not self.is_over, f"ran out: {self.statuses}"
                self._news.clear()
                await self._news.wait()

    def stop(self) -> None:
        """Nothing new leaves."""
        self._stopping = True

    async def over(self, *, within: float = 30) -> None:
        """All that left is answered, or never will be."""
        async with asyncio.timeout(within):
            await asyncio.gather(*self._tasks)
