"""A workspace seen from outside: what providers post to it, and what its members fetch."""

import random
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import msgspec

from comms.providers import read_credentials
from comms.providers.base import Request
from comms.simulators import twilio, wire

Fetched = dict[str, dict[str, dict[str, Any]]]


class Desk(msgspec.Struct, kw_only=True):
    """A workspace with a Twilio connection, its numbers, and somebody's token."""

    workspace_id: uuid.UUID
    token: str
    connection_id: uuid.UUID
    secret: dict[str, Any]
    numbers: list[str]
    public_url: str

    def text(self, sender: str, body: str = "Is the 3pm slot still open?", **more: Any) -> Request:
        """A signed text from ``sender``, to our first number unless told otherwise."""
        given = {"sender": sender, "recipient": self.numbers[0], "body": body} | more
        return twilio.message(self._url("messages"), self._credentials(), **given)

    def forged(self, sender: str) -> Request:
        """A text that somebody else has signed."""
        stolen = msgspec.structs.replace(self, secret={**self.secret, "authToken": "somebody-elses"})
        return stolen.text(sender)

    def misdirected(self, sender: str) -> Request:
        """A text to a connection that does not exist."""
        return msgspec.structs.replace(self, connection_id=uuid.uuid4()).text(sender)

    def report(self, sid: str, status: str) -> Request:
        """A signed delivery report."""
        return twilio.report(self._url("message-status"), self._credentials(), sid=sid, status=status)

    def texts(self, count: int, senders: int) -> dict[str, Request]:
        """Signed texts by their ids, to any of our numbers, from so many senders of whom some write much more."""
        chance = random.Random(count)
        texts = {}
        for index in range(count):
            sid, sender = wire.sid("SM"), phone(int(senders * chance.random() ** 3))
            texts[sid] = self.text(sender, f"text {index}", sid=sid, recipient=chance.choice(self.numbers))
        return texts

    def client(self, base_url: str) -> httpx.AsyncClient:
        """A member who asks a process."""
        return httpx.AsyncClient(base_url=base_url, headers={"Authorization": f"Bearer {self.token}"}, timeout=15)

    def _url(self, kind: str) -> str:
        return f"{self.public_url}/webhooks/twilio/{self.connection_id}/{kind}"

    def _credentials(self) -> Any:
        return read_credentials("twilio", msgspec.json.encode(self.secret))


def phone(number: int) -> str:
    """The phone of the so-many-eth customer."""
    return f"+1415556{number:04}"


async def listed(client: httpx.AsyncClient, resource: str, **query: str) -> list[dict[str, Any]]:
    """All rows of a resource."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(f"/api/v1/{resource}", params={"limit": "200", **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        if page["nextCursor"] is None:
            return items
        cursor = {"cursor": page["nextCursor"]}


async def fetched(client: httpx.AsyncClient) -> Fetched:
    """What an agent's screen shows when it is opened: messages, conversations and contacts by their ids."""
    resources = {"messages": "conversation-messages", "conversations": "conversations", "contacts": "contacts"}
    return {name: {row["id"]: row for row in await listed(client, resource)} for name, resource in resources.items()}


def replayed(before: Fetched, event: Mapping[str, Any]) -> None:
    """``before`` becomes what it is after the event: all that a client has to do."""
    data = event["data"]
    match event["event"]:
        case "contact.created":
            before["contacts"][data["id"]] = data
        case "conversation.created" | "conversation.reopened":
            before["conversations"][data["id"]] = data
        case "message.status_changed":
            before["messages"][data["id"]] = data
        case "message.received":
            before["messages"][data["id"]] = data
            conversation = before["conversations"][data["conversationId"]]
            conversation["messageCount"] += 1
            if _later(conversation["lastMessageAt"], data["createdAt"]) == data["createdAt"]:
                conversation["lastMessageAt"] = data["createdAt"]
                conversation["phoneNumberId"] = data["phoneNumberId"]
            conversation["updatedAt"] = _later(conversation["updatedAt"], data["createdAt"])
        case other:
            raise AssertionError(f"nobody has said what a client does on {other}")


def _later(one: str | None, other: str) -> str:
    return other if one is None else max(one, other, key=datetime.fromisoformat)
