"""A process that runs workflows is killed: in the middle of a run's steps, and while another waits for a person."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from comms.embedded import Embedded
from tests.journeys import processes
from tests.journeys.conftest import grounds
from tests.journeys.waiting import until

API = "/api/v1"
STEPS = 12


@pytest.fixture
async def ground(postgres: Embedded, place: Path) -> AsyncIterator[Any]:
    """A workspace, its database, and how to begin a process over it."""
    async with grounds(postgres, place / "office") as (desk, books, variables):
        begun = []

        async def begin() -> Any:
            begun.append(processes.begin("serve", folder=place, **variables))
            await asyncio.to_thread(begun[-1].await_start)
            return begun[-1]

        try:
            yield desk, books, begin
        finally:
            for process in begun:
                process.kill()


async def test_runs_go_on_over_a_kill_and_each_step_is_done_once(ground: Any) -> None:
    desk, books, begin = ground
    dying = await begin()
    async with desk.client(dying.url) as client:
        agent = await made(client, "/agents", {"name": "Ada"})
        many = [
            {"id": f"s{n}", "action": "create_contact", "inputs": {"values": {"firstName": f"{n}"}}}
            for n in range(STEPS)
        ]
        asks = {"id": "ask", "agentId": agent["id"], "action": "approval", "inputs": {"title": "May we?"}}
        ends = {
            "id": "end",
            "action": "create_contact",
            "inputs": {"values": {"firstName": "{{steps.ask.details.who}}"}},
        }
        waiting = await begun(client, [asks, ends])

        async def is_waiting() -> bool:
            return bool(await books.fetchval("SELECT waiting_for = 'approval' FROM agent_workflow_executions"))

        await until(is_waiting, within=10)
        working = await begun(client, many)

        async def is_at_it() -> bool:
            return bool(await books.fetchval("SELECT count(*) > 2 FROM contacts"))

        await until(is_at_it, within=10)
    dying.kill()
    assert await books.fetchval("SELECT count(*) FROM contacts") <= STEPS

    # The time after which a lost bell rings again has passed.
    await books.execute("UPDATE agent_workflow_executions SET due_at = now() WHERE due_at IS NOT NULL")
    heir = await begin()
    async with desk.client(heir.url) as client:

        async def is_over(run: dict[str, Any]) -> bool:
            status = "SELECT status FROM agent_workflow_executions WHERE id = $1"
            return bool(await books.fetchval(status, uuid.UUID(run["id"])) == "completed")

        await until(lambda: is_over(working), within=15)
        assert await books.fetchval("SELECT count(*) FROM contacts") == STEPS
        asked = (await client.get(f"{API}/agent-workflow-executions/{waiting['id']}")).json()
        assert (asked["status"], asked["waitingFor"]) == ("running", "approval")
        await made(client, f"/agent-pending-actions/{asked['waitingId']}/approval", {"details": {"who": "Grace"}})
        await until(lambda: is_over(waiting), within=10)
        over = (await client.get(f"{API}/agent-workflow-executions/{waiting['id']}")).json()
        assert over["stepResults"]["end"]["firstName"] == "Grace"
    assert await books.fetchval("SELECT count(*) FROM contacts") == STEPS + 1


async def begun(client: httpx.AsyncClient, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """A run of an active workflow of these steps."""
    row = await made(client, "/agent-workflows", {"name": "Follow up", "steps": steps})
    await client.put(f"{API}/agent-workflows/{row['id']}/status", json={"status": "active"})
    return await made(client, f"/agent-workflows/{row['id']}/executions", {})


async def made(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"{API}{path}", json=body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row
