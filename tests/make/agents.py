"""Agents, teams and workflows, made the way a client makes them."""

from typing import Any

from tests.conftest import Client

API = "/api/v1"


async def made(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The row as the API answers it."""
    answer = await client.post(f"{API}{path}", json=body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def agent(client: Client, name: str = "Ada", *, status: str = "draft", **body: Any) -> dict[str, Any]:
    """An agent of the client's."""
    row = await made(client, "/agents", {"name": name, **body})
    return row if status == "draft" else await moved(client, f"/agents/{row['id']}", status)


async def moved(client: Client, path: str, status: str) -> dict[str, Any]:
    """The row with another status."""
    answer = await client.put(f"{API}{path}/status", json={"status": status})
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def team(client: Client, name: str = "Sales", **body: Any) -> dict[str, Any]:
    """A team without members, unless it has a coordinator."""
    return await made(client, "/agent-teams", {"name": name, **body})


async def member(client: Client, team: dict[str, Any], agent: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The agent's place in the team."""
    return await made(client, "/agent-team-members", {"teamId": team["id"], "agentId": agent["id"], **body})


def step(agent: dict[str, Any], id: str, /, **more: Any) -> dict[str, Any]:
    """A step of that agent."""
    return {"id": id, "agentId": agent["id"], "action": "write", **more}


async def workflow(client: Client, agent: dict[str, Any], *, status: str = "draft", **body: Any) -> dict[str, Any]:
    """A workflow of two steps."""
    steps = [step(agent, "first"), step(agent, "second", dependsOn=["first"])]
    row = await made(client, "/agent-workflows", {"name": "Follow up", "steps": steps, **body})
    return row if status == "draft" else await moved(client, f"/agent-workflows/{row['id']}", status)


async def told(client: Client, subject_id: str) -> list[str]:
    """The events about one row, in order."""
    answer = await client.get(f"{API}/events", params={"subjectId": subject_id})
    return [item["event"] for item in answer.json()["items"]]


def errors(answer: Any) -> dict[str, str]:
    """What is wrong with which field."""
    assert answer.status_code == 400, answer.text
    return {error["field"]: error["reason"] for error in answer.json()["errors"]}
