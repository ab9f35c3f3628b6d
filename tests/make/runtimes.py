"""Agents' runtimes: clients with a token of an agent's, and conversations they work in."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from comms.directory import Connection
from tests.conftest import PUBLIC_URL, Client
from tests.handlers.webhooks import post, text
from tests.make import agents as make

API = "/api/v1"
AGENT = f"{API}/agent"


class Runtime(Client):
    """Whoever runs an agent, and asks by its token."""

    agent_id: uuid.UUID
    token_id: str


async def token_of(client: Client, agent: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A token of the agent's, made by the client."""
    return await make.made(client, "/access-tokens", {"name": "runtime", "agentId": agent["id"], **more})


@asynccontextmanager
async def runtime(
    app: Any, maker: Client, name: str = "Ada", *, agent: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Runtime]:
    """An active agent's runtime."""
    agent = agent or await make.agent(maker, name, status="active")
    token = await token_of(maker, agent, **more)
    headers = {"Authorization": f"Bearer {token['token']}"}
    async with Runtime(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL, headers=headers) as client:
        client.workspace_id, client.user_id, client.token = maker.workspace_id, maker.user_id, token["token"]
        client.agent_id, client.token_id = uuid.UUID(agent["id"]), token["id"]
        yield client


async def asked(anonymous: httpx.AsyncClient, line: Connection, client: Client, **more: Any) -> str:
    """A contact has texted: the id of the conversation, which is nobody's."""
    answer = await post(anonymous, text(line, **{"body": "Is 3pm free?"} | more))
    assert answer.status_code == 200, answer.text
    page = (await client.get(f"{API}/conversations", params={"limit": 1})).json()
    identity: str = page["items"][0]["id"]
    return identity


async def said(client: Client, conversation_id: str) -> list[dict[str, Any]]:
    """The messages of a conversation, the oldest first."""
    page = await client.get(f"{API}/conversations/{conversation_id}/messages", params={"sort": "createdAt"})
    items: list[dict[str, Any]] = page.json()["items"]
    return items


async def proposed(client: Runtime, kind: str, details: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the agent has asked to do."""
    body = {"actionType": kind, "title": "May I?", "details": details} | more
    answer = await client.post(f"{AGENT}/actions", json=body)
    assert answer.status_code == 201, answer.text
    action: dict[str, Any] = answer.json()
    return action


def approval(action: dict[str, Any]) -> str:
    """Where an action is approved."""
    return f"{API}/agent-pending-actions/{action['id']}/approval"


async def stages(client: Client, action: dict[str, Any]) -> list[str]:
    """What the audit log says has become of an action, in order."""
    page = await client.get(f"{API}/agent-action-audit-log", params={"sort": "createdAt", "limit": 200})
    found = [item["actionDetails"] for item in page.json()["items"]]
    return [details["stage"] for details in found if details["actionId"] == action["id"]]
