"""Somebody who is told what happens: an endpoint on loopback, and workers in a hurry that tell it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from comms.events import Fact
from comms.hooks import endpoints, signing
from comms.hooks.following import keep_up
from comms.hooks.posting import Pace, Posting
from comms.identity import Identity
from comms.service import Service
from comms.settings import WebhookSettings
from models.base import now
from models.hooks import WebhookEndpoint
from tests.conftest import Client
from tests.screens import serving

HURRY = Pace(poll=0.05, total=5.0)


class Heard(msgspec.Struct):
    """One request to the sink."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


class Sink:
    """Keeps what it is told. ``answers`` come first, by the path if there are some for it, then 200.

    ``meanwhile`` happens once, before an answer, and ``afterwards`` once, in the instant after one.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.host = ""
        self.status = 200
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.refused: set[str] = set()
        self.silent: set[str] = set()
        self.delay = 0.0
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.afterwards: Callable[[], None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        heard = Heard(scope["path"], headers, body)
        self.heard.append(heard)
        if heard.path in self.silent:
            await receive()  # until whoever asked is gone
            return
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        if self.delay:
            await asyncio.sleep(self.delay)
        status, more, said = self.status, {}, b"thanks"
        if heard.told["subjectId"] in self.refused:
            status = 500
        if self.answers.get(heard.path):
            status, more, said = self.answers[heard.path].pop(0)
        answered = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": answered})
        await send({"type": "http.response.body", "body": said})
        if self.afterwards is not None:
            afterwards, self.afterwards = self.afterwards, None
            afterwards()

    def url(self, path: str = "/events") -> str:
        return f"http://{self.host}{path}"

    def settings(self) -> WebhookSettings:
        return WebhookSettings(hosts=(self.host,))

    def said(self, path: str = "/events") -> list[int]:
        """The places in the log of what was told there, as it came."""
        return [heard.told["seq"] for heard in self.heard if heard.path == path]

    def lines(self, path: str = "/events") -> dict[str, list[int]]:
        """The same by the thing it was about."""
        found: dict[str, list[int]] = {}
        for heard in self.heard:
            if heard.path == path:
                found.setdefault(heard.told["subjectId"], []).append(heard.told["seq"])
        return found


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """A sink on loopback."""
    made = Sink()
    async with serving(made) as url:
        made.host = url.removeprefix("ws://").removesuffix("/ws")
        yield made


class Endpoint(msgspec.Struct):
    """An endpoint that was made, and its secret."""

    id: uuid.UUID
    secret: str


async def endpoint(service: Service, client: Client, sink: Sink, path: str = "/events", **values: Any) -> Endpoint:
    """An endpoint of the client's workspace at the sink, as the owner makes it."""
    identity = Identity(client.workspace_id, client.user_id, values.pop("role", "owner"))
    async with service.database.workspace(client.workspace_id) as db:
        values = {"name": "mine", "url": sink.url(path), **values}
        row, _, secret = await endpoints.make(db, service.vault, sink.settings(), identity, values)
    return Endpoint(row.id, secret)


async def move(service: Service, client: Client, sink: Sink, endpoint_id: uuid.UUID, path: str) -> None:
    """The endpoint is elsewhere at the sink, as the owner says."""
    identity = Identity(client.workspace_id, client.user_id, "owner")
    async with service.database.workspace(client.workspace_id) as db:
        row = await db.get_one(WebhookEndpoint, (client.workspace_id, endpoint_id), with_for_update=True)
        await endpoints.change(db, sink.settings(), identity, row, {"url": sink.url(path)})


async def happens(service: Service, workspace_id: uuid.UUID, subjects: Sequence[uuid.UUID], **more: Any) -> None:
    """Something becomes true of each of these, in this order."""
    said = {"event": "contact.updated", "subject_type": "contact", **more}
    async with service.database.everywhere() as db:
        facts = [
            Fact(workspace_id=workspace_id, subject_id=one, data=b'{"note":"%d"}' % place, at=now(), **said)
            for place, one in enumerate(subjects)
        ]
        db.info.setdefault("facts", []).extend(facts)


async def in_line(service: Service) -> None:
    """Everything that has happened waits for whoever listens."""
    await keep_up(service.database)


@asynccontextmanager
async def posting(service: Service, sink: Sink, *, workers: int = 1, **more: Any) -> AsyncIterator[list[Posting]]:
    """So many workers deliver, in a hurry."""
    options = {"settings": sink.settings(), "pace": HURRY, **more}
    made = [Posting(service.database, service.vault, **options) for _ in range(workers)]
    for one in made:
        await one.start()
    try:
        yield made
    finally:
        for one in made:
            await one.stop(0.1)


NOTHING_WAITS = "NOT EXISTS (SELECT FROM webhook_lines)"


def is_signed(heard: Heard, secret: str) -> bool:
    """Whether it is genuine, for whoever has this secret."""
    return signing.is_genuine(heard.headers, heard.body, secret)
