"""What members are told, in tests: things happen, the log is read, and they look."""

import uuid
from typing import Any

import msgspec

from comms import events
from comms.events import Actor
from comms.notifications.following import keep_up
from comms.service import Service
from models.base import Base, View
from models.communications import Conversation
from tests.conftest import Client

API = "/api/v1"


async def told(service: Service) -> None:
    """Everybody has been told everything, as the worker does it."""
    await keep_up(service.database)


async def notices(client: Client, **query: Any) -> list[dict[str, Any]]:
    """What a member is told, the newest first."""
    answer = await client.get(f"{API}/notifications", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def unread(client: Client) -> int:
    """How many of it the member has not read."""
    answer = await client.get(f"{API}/notifications/read-state")
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["unreadCount"]
    return count


async def happened(
    service: Service,
    workspace_id: uuid.UUID,
    event: str,
    row: Base,
    view: type[View],
    *,
    by: Actor | None = None,
    conversation_id: uuid.UUID | None = None,
) -> None:
    """The log says so about a row, as whoever does it would have it say."""
    async with service.database.workspace(workspace_id, by) as db:
        shown = msgspec.convert(row, view, from_attributes=True)
        events.record(db, event, row, shown, conversation_id=conversation_id)


async def wanted(client: Client, **preferences: Any) -> dict[str, Any]:
    """The member wants to be told like this."""
    answer = await client.put(f"{API}/notification-preferences", json=preferences)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def at(talk: Conversation, noun: str) -> str:
    return f"{API}/conversations/{talk.id}/{noun}"


async def has(client: Client, talk: Conversation, user: Client) -> None:
    answer = await client.put(at(talk, "assignment"), json={"userId": str(user.user_id)})
    assert answer.status_code == 200, answer.text


async def kinds(client: Client) -> list[tuple[str, int]]:
    return [(notice["kind"], notice["count"]) for notice in reversed(await notices(client))]
