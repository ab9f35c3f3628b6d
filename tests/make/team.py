"""Channels of a team, and what is said there, over the API."""

from typing import Any

from tests.conftest import Client

API = "/api/v1"
CHANNELS, MESSAGES = f"{API}/team-channels", f"{API}/team-messages"


async def ok(answer: Any) -> Any:
    """The JSON of an answer that is no refusal."""
    assert answer.status_code in (200, 201, 204), answer.text
    return answer.json() if answer.content else None


async def channel(client: Client, *others: Client, **body: Any) -> str:
    """The id of a new channel, to which its maker and the others belong."""
    made = await ok(await client.post(CHANNELS, json={"name": "sales"} | body))
    for other in others:
        await ok(await client.post(f"{CHANNELS}/{made['id']}/members", json={"userId": str(other.user_id)}))
    return str(made["id"])


async def direct(client: Client, other: Client) -> str:
    """The id of the channel of these two."""
    return str((await ok(await client.put(f"{CHANNELS}/direct/{other.user_id}")))["id"])


async def said(client: Client, channel_id: str, content: str = "Hi", **body: Any) -> dict[str, Any]:
    """A message of the client's."""
    message: dict[str, Any] = await ok(
        await client.post(MESSAGES, json={"channelId": channel_id, "content": content} | body)
    )
    return message


async def told(client: Client, *nouns: str) -> list[str]:
    """The events that the client finds, of these nouns."""
    items = (await ok(await client.get(f"{API}/events", params={"limit": 200})))["items"]
    return [item["event"] for item in items if item["subjectType"] in nouns]


def wrong(answer: Any) -> tuple[int, list[str]]:
    """How an answer refuses, and which fields it names."""
    return answer.status_code, [error["field"] for error in answer.json().get("errors") or []]
