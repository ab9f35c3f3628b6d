"""What the runner reports: executions of agents and of workflows from begun to over, and what they count for."""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import pytest

from comms.agents import runs, workflow_runs
from comms.errors import Conflict, Invalid, Missing
from comms.service import Service
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, told


async def pending(client: Client) -> tuple[dict[str, Any], uuid.UUID]:
    agent = await make.agent(client)
    run = await make.made(client, f"/agents/{agent['id']}/executions", {})
    return agent, uuid.UUID(run["id"])


async def reported(service: Service, client: Client, story: Any, *given: Any, **named: Any) -> Any:
    """What the worker does: one story in a unit of work across workspaces."""
    async with service.database.everywhere() as db:
        return await story(db, client.workspace_id, *given, **named)


async def read(client: Client, path: str) -> dict[str, Any]:
    row: dict[str, Any] = (await client.get(f"{API}{path}")).json()
    return row


async def test_a_run_begins_and_completes_and_counts(owner: Client, service: Service) -> None:
    agent, run = await pending(owner)
    await reported(service, owner, runs.begin, run)
    working = await read(owner, f"/agents/{agent['id']}")
    begun = await read(owner, f"/agent-executions/{run}")
    assert (working["executionCount"], working["lastExecutedAt"]) == (1, begun["startedAt"])
    await reported(service, owner, runs.complete, run, {"text": "Done"}, tokens_used=812, cost=Decimal("0.003125"))
    over = await read(owner, f"/agent-executions/{run}")
    assert (over["status"], over["output"], over["error"]) == ("completed", {"text": "Done"}, None)
    assert (over["tokensUsed"], over["cost"], over["currency"]) == (812, "0.003125", "USD")
    assert over["durationMs"] >= 0
    assert over["completedAt"] >= over["startedAt"]
    assert await told(owner, str(run)) == [f"agent_execution.{what}" for what in ("created", "started", "completed")]
    assert (await told(owner, agent["id"])) == ["agent.created", "agent.updated"]
    events = (await owner.get(f"{API}/events", params={"subjectId": str(run)})).json()["items"]
    assert events[-1]["data"] == over


async def test_a_run_that_fails_says_why(owner: Client, service: Service) -> None:
    _, run = await pending(owner)
    await reported(service, owner, runs.begin, run)
    await reported(service, owner, runs.fail, run, {"message": "no answer"}, tokens_used=10)
    over = await read(owner, f"/agent-executions/{run}")
    assert (over["status"], over["error"], over["output"]) == ("failed", {"message": "no answer"}, None)


LAWFUL = {
    "pending": {"begin"},
    "running": {"complete", "fail"},
    "completed": set(),
    "failed": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize("status", LAWFUL)
async def test_from_every_state_only_the_lawful_ones_follow(
    owner: Client, service: Service, admin: Any, status: str
) -> None:
    steps = {
        "begin": (runs.begin,),
        "complete": (runs.complete, {}),
        "fail": (runs.fail, {}),
    }
    for name, (story, *given) in steps.items():
        _, run = await pending(owner)
        if status in ("running", "completed", "failed"):
            await reported(service, owner, runs.begin, run)
        if status in ("completed", "failed"):
            await reported(service, owner, runs.complete if status == "completed" else runs.fail, run, {})
        if status == "cancelled":
            await owner.post(f"{API}/agent-executions/{run}/cancellation")
        before = await read(owner, f"/agent-executions/{run}")
        assert before["status"] == status
        if name in LAWFUL[status]:
            await reported(service, owner, story, run, *given)
        else:
            with pytest.raises(Conflict):
                await reported(service, owner, story, run, *given)
            assert await read(owner, f"/agent-executions/{run}") == before


async def test_of_several_who_begin_a_run_at_once_one_does(owner: Client, service: Service) -> None:
    agent, run = await pending(owner)
    ends = await asyncio.gather(
        *(reported(service, owner, runs.begin, run) for _ in range(3)),
        owner.post(f"{API}/agent-executions/{run}/cancellation"),
        return_exceptions=True,
    )
    begun = [end for end in ends[:3] if not isinstance(end, BaseException)]
    assert len(begun) <= 1
    assert all(isinstance(end, Conflict) for end in ends[:3] if isinstance(end, BaseException))
    assert (await read(owner, f"/agents/{agent['id']}"))["executionCount"] == len(begun)
    assert (await read(owner, f"/agent-executions/{run}"))["status"] == "cancelled"


async def test_a_run_of_another_workspace_is_not_there(owner: Client, stranger: Client, service: Service) -> None:
    _, run = await pending(owner)
    with pytest.raises(Missing):
        await reported(service, stranger, runs.begin, run)
    await reported(service, owner, runs.begin, run)


async def workflow(client: Client) -> tuple[dict[str, Any], dict[str, Any], uuid.UUID]:
    """A running execution, with its workflow and team."""
    team = await make.team(client)
    row = await make.workflow(client, await make.agent(client), status="active", teamId=team["id"])
    run = await make.made(client, f"/agent-workflows/{row['id']}/executions", {})
    return team, row, uuid.UUID(run["id"])


async def test_a_workflow_run_keeps_what_each_step_gave(owner: Client, service: Service) -> None:
    team, row, run = await workflow(owner)
    path = f"/agent-workflow-executions/{run}"
    await reported(service, owner, workflow_runs.keep_result, run, "first", {"n": 1}, next_step_id="second")
    midway = await read(owner, path)
    assert (midway["currentStepId"], midway["currentStepIndex"], midway["completedSteps"]) == ("second", 1, 1)
    await owner.post(f"{API}{path}/pause")
    await reported(service, owner, workflow_runs.keep_result, run, "second", {"n": 2})
    with pytest.raises(Conflict):
        await reported(service, owner, workflow_runs.finish, run, "completed")
    await owner.post(f"{API}{path}/resumption")
    await reported(service, owner, workflow_runs.finish, run, "completed")
    over = await read(owner, path)
    assert (over["status"], over["completedSteps"]) == ("completed", 2)
    assert over["stepResults"] == {"first": {"n": 1}, "second": {"n": 2}}
    for counted in (
        await read(owner, f"/agent-workflows/{row['id']}"),
        await read(owner, f"/agent-teams/{team['id']}"),
    ):
        assert (counted["totalExecutions"], counted["successfulExecutions"]) == (1, 1)
    assert (await read(owner, f"/agent-workflows/{row['id']}"))["avgDurationMs"] == over["durationMs"]
    with pytest.raises(Conflict):
        await reported(service, owner, workflow_runs.keep_result, run, "second", {})


async def test_a_workflow_run_that_failed_is_no_success(owner: Client, service: Service) -> None:
    _, row, run = await workflow(owner)
    await reported(service, owner, workflow_runs.finish, run, "failed", error={"message": "no"})
    assert (await read(owner, f"/agent-workflow-executions/{run}"))["error"] == {"message": "no"}
    counted = await read(owner, f"/agent-workflows/{row['id']}")
    assert (counted["totalExecutions"], counted["successfulExecutions"], counted["avgDurationMs"]) == (1, 0, None)
    with pytest.raises(Conflict, match="already"):
        await reported(service, owner, workflow_runs.finish, run, "failed")


async def test_a_result_of_no_step_is_refused(owner: Client, service: Service) -> None:
    _, _, run = await workflow(owner)
    with pytest.raises(Invalid, match="ghost"):
        await reported(service, owner, workflow_runs.keep_result, run, "ghost", {})


async def test_a_run_goes_by_the_steps_it_began_with(owner: Client, service: Service) -> None:
    _, row, run = await workflow(owner)
    await make.moved(owner, f"/agent-workflows/{row['id']}", "paused")
    await owner.patch(f"{API}/agent-workflows/{row['id']}", json={"steps": []})
    await reported(service, owner, workflow_runs.keep_result, run, "first", {}, next_step_id="second")
    assert (await read(owner, f"/agent-workflow-executions/{run}"))["currentStepId"] == "second"
