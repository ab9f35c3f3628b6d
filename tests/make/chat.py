"""A website with a widget, and who visits it: over real HTTP and a real websocket."""

import hmac
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from comms.authorities import trusted
from tests.conftest import Client
from tests.screens import Screen

API = "/api/v1"
SITE = "https://shop.example.com"
SECRET = "the-website-and-we-know-this"


async def widget(owner: Client, **more: Any) -> dict[str, Any]:
    """A widget that pages of ``SITE`` may show."""
    answer = await owner.post(f"{API}/chat-widgets", json={"name": "Shop", "allowedOrigins": [SITE], **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def proof(secret: str = SECRET, **said: str) -> dict[str, str]:
    """What a website's server says of somebody it knows."""
    [value] = said.values()
    return {**said, "hmac": hmac.digest(secret.encode(), value.encode(), "sha256").hex()}


class Visitor:
    """A browser on a page with the widget, that remembers what it has seen."""

    def __init__(self, url: str, key: str, client: httpx.AsyncClient) -> None:
        self.key = key
        self.client = client
        self.url = url
        self.token = ""
        self.seen: dict[str, dict[str, Any]] = {}
        self.after = 0
        self.begun: dict[str, Any] = {}

    async def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """Asked of the widget, with the visitor's token."""
        proved = token or self.token
        headers = ({"Authorization": f"Bearer {proved}"} if proved else {}) | {"Origin": SITE} | more.pop("headers", {})
        return await self.client.request(method, f"/chat/{self.key}{path}", headers=headers, **more)

    async def begin(self, **body: Any) -> dict[str, Any]:
        """A session, of which the page keeps the token."""
        answer = await self.ask("POST", "/sessions", json=body)
        assert answer.status_code == 201, answer.text
        self.begun = answer.json()
        self.token = self.begun["token"]
        return self.begun

    @asynccontextmanager
    async def connected(self, after: int | None = None, *, origin: str = SITE) -> AsyncIterator[Screen]:
        """The page's websocket, let in."""
        async with self.socket(after, origin=origin) as seen:
            seen.ready = await seen.next("ready")
            yield seen

    @asynccontextmanager
    async def socket(
        self, after: int | None = None, *, token: str | None = None, origin: str | None = SITE
    ) -> AsyncIterator[Screen]:
        """The page's websocket, which has said who it is."""
        headers = {"Origin": origin} if origin else {}
        async with connect(f"{self.url}/chat/ws", compression=None, additional_headers=headers) as connection:
            seen = Screen(connection)
            auth = {"type": "auth", "token": self.token if token is None else token}
            with suppress(ConnectionClosed):  # it may have been turned away at the door
                await seen.say(**auth, **({} if after is None else {"after": after}))
            yield seen

    async def hears(self, screen: Screen, *, within: float = 5) -> dict[str, Any]:
        """The next message on the screen, which is where the page has it now."""
        frame = await screen.next("message", within=within)
        assert frame["seq"] > self.after
        self.after = frame["seq"]
        message: dict[str, Any] = frame["message"]
        self.seen[message["id"]] = message
        return message

    async def fetched(self) -> dict[str, dict[str, Any]]:
        """What a page that is loaded anew shows."""
        answer = await self.ask("GET", "/messages")
        assert answer.status_code == 200, answer.text
        return {item["id"]: item for item in answer.json()["items"]}

    async def says(self, content: str, client_id: str | None = None, **more: Any) -> dict[str, Any]:
        """Something is said over HTTP."""
        body = {"clientId": client_id or uuid.uuid4().hex, "content": content, **more}
        answer = await self.ask("POST", "/messages", json=body)
        assert answer.status_code == 201, answer.text
        kept: dict[str, Any] = answer.json()
        return kept


@asynccontextmanager
async def visiting(ws_url: str, key: str) -> AsyncIterator[Visitor]:
    """A visitor of a site whose widget has this key; ``ws_url`` is the address of a server's ``/ws``."""
    url = ws_url.removesuffix("/ws")
    async with httpx.AsyncClient(base_url=url.replace("ws://", "http://"), timeout=10, verify=trusted()) as client:
        yield Visitor(url, key, client)


async def conversation_of(owner: Client) -> dict[str, Any]:
    """The one conversation there is."""
    items = (await owner.get(f"{API}/conversations")).json()["items"]
    assert len(items) == 1, items
    one: dict[str, Any] = items[0]
    return one


async def answered(owner: Client, conversation_id: str, content: str, **more: Any) -> dict[str, Any]:
    """A member's answer."""
    path = f"{API}/conversations/{conversation_id}/messages"
    answer = await owner.post(path, json={"content": content, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def heard(screen: Screen, event: str) -> dict[str, Any]:
    """The next event of that name on an agent's screen."""
    while True:
        frame = await screen.next("event")
        if frame["event"] == event:
            return frame


async def refused(owner: Client, reason: str) -> float:
    """How often visitors were refused something for that reason."""
    lines = (await owner.get("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith(f'comms_chat_refused_total{{reason="{reason}"}}')]
    return float(found[0].rpartition(" ")[2]) if found else 0.0
