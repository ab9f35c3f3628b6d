"""What runs an agent, elsewhere: a script with a token of its own, over the agent API and the websocket."""

from typing import Any

import httpx

from tests.journeys.processes import Process

API = "/api/v1"
AGENT = f"{API}/agent"


async def made(client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The row that has been made so."""
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def hired(person: httpx.AsyncClient) -> tuple[str, str]:
    """An active agent and its token."""
    agent = await made(person, f"{API}/agents", {"name": "Ada"})
    await person.put(f"{API}/agents/{agent['id']}/status", json={"status": "active"})
    token = await made(person, f"{API}/access-tokens", {"name": "runtime", "agentId": agent["id"]})
    return agent["id"], token["token"]


def runtime(process: Process, token: str) -> httpx.AsyncClient:
    """The agent API as that agent."""
    return httpx.AsyncClient(base_url=process.url, headers={"Authorization": f"Bearer {token}"}, timeout=15)


async def answered(seen: Any, ada: httpx.AsyncClient) -> tuple[str, int]:
    """The script: whatever is said in a conversation that waits is claimed and answered; its id, and the fence."""
    while (event := await seen.next("event"))["event"] != "message.received":
        pass
    here = f"{AGENT}/conversations/{event['conversationId']}"
    context = (await ada.get(f"{here}/context")).json()
    assert context["channel"]["canSend"]
    fence = (await made(ada, f"{here}/claim", {"seconds": 60}))["fence"]
    body = {"fence": fence, "content": f"You said: {context['messages'][-1]['content']}", "answers": event["subjectId"]}
    for _ in range(2):  # it has not heard the answer, and asks again
        await made(ada, f"{here}/replies", body, **{"Idempotency-Key": event["subjectId"]})
    return str(event["conversationId"]), fence
