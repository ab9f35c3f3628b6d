"""Workflows that run in a test: bells are answered one after the other, and nothing else happens meanwhile."""

import uuid
from typing import Any

import msgspec
from sqlalchemy import text

from comms.agents import workflow_runs
from comms.outside import Outside
from comms.service import Service
from comms.workflows import engine, following, ticking
from comms.workflows.calling import Calling
from tests.conftest import Client
from tests.make import agents as make

API = make.API
NOWHERE = Calling(Outside())
_BELLS = text("DELETE FROM jobs.pgqueuer WHERE entrypoint = :name RETURNING payload")


async def bells(service: Service) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """The runs that were rung for, each once, taken out of the queue."""
    async with service.database.everywhere() as db:
        rows = (await db.scalars(_BELLS, {"name": workflow_runs.STEP})).all()
    found = [msgspec.json.decode(row) for row in rows]
    return list(dict.fromkeys((uuid.UUID(one["workspaceId"]), uuid.UUID(one["executionId"])) for one in found))


async def answer_bells(service: Service, caller: Calling = NOWHERE, most: int = 200) -> int:
    """All that was rung for has been done, and what that rang for; how many steps those were."""
    steps = 0
    while rung := await bells(service):
        for workspace_id, execution_id in rung:
            await engine.advance(service.database, caller, workspace_id, execution_id)
            steps += 1
            assert steps < most, "it goes on for ever"
    return steps


async def go_on(service: Service, caller: Calling = NOWHERE) -> None:
    """The log is read, what is due has begun, and every bell is answered."""
    await following.keep_up(service.database)
    await ticking.tick(service.database)
    await answer_bells(service, caller)


async def active(client: Client, steps: list[dict[str, Any]], **body: Any) -> dict[str, Any]:
    """A workflow of these steps that runs."""
    row = await make.made(client, "/agent-workflows", {"name": "Follow up", "steps": steps, **body})
    return await make.moved(client, f"/agent-workflows/{row['id']}", "active")


async def run_of(client: Client, workflow: dict[str, Any], **body: Any) -> dict[str, Any]:
    """A run that has just begun."""
    return await make.made(client, f"/agent-workflows/{workflow['id']}/executions", body)


async def read(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The run as it stands."""
    row: dict[str, Any] = (await client.get(f"{API}/agent-workflow-executions/{run['id']}")).json()
    return row


async def history(client: Client, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each step of the run saw and did, by its id."""
    answer = await client.get(f"{API}/agent-workflow-executions/{run['id']}/steps", params={"sort": "createdAt"})
    assert answer.status_code == 200, answer.text
    return {row["stepId"]: row for row in answer.json()["items"]}


async def runs_of(client: Client, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """All runs of a workflow, the latest first."""
    rows: list[dict[str, Any]] = (await client.get(f"{API}/agent-workflows/{workflow['id']}/executions")).json()[
        "items"
    ]
    return rows


async def due_now(service: Service, run: dict[str, Any]) -> None:
    """What the run waits for has come due."""
    async with service.database.everywhere() as db:
        for statement in (
            "UPDATE agent_workflow_executions SET due_at = now() - interval '1 second'"
            " WHERE id = :id AND status = 'running'",
            "UPDATE agent_workflow_step_runs SET due_at = now() - interval '1 second'"
            " WHERE execution_id = :id AND due_at IS NOT NULL",
        ):
            await db.execute(text(statement), {"id": uuid.UUID(run["id"])})
