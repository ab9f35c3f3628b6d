"""Workflows of agents: sound steps, a trigger that fits, and runs that go on, stop and end."""

from typing import Any

import pytest

from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, step, told


async def refused(client: Client, **body: Any) -> dict[str, str]:
    return errors(await client.post(f"{API}/agent-workflows", json={"name": "Follow up", **body}))


async def test_sound_steps_are_kept_as_they_were_sent(owner: Client) -> None:
    ada = await make.agent(owner)
    steps = [
        step(ada, "read", next="write", inputs={"about": "{{trigger.contact}}"}),
        step(ada, "write", dependsOn=["read"], inputs={"text": ["{{ steps.read.summary }}"]}, name="Write"),
        step(ada, "send", dependsOn=["read", "write"], onFailure="tell", retries=2),
        step(ada, "tell"),
    ]
    row = await make.made(owner, "/agent-workflows", {"name": "Follow up", "steps": steps})
    assert row["steps"] == steps


async def test_every_mistake_in_steps_is_named_by_its_place(owner: Client, stranger: Client) -> None:
    ada, theirs = await make.agent(owner), await make.agent(stranger)
    assert await refused(owner, steps=[{"id": "a"}, step(ada, "b b"), {**step(ada, "c"), "colour": 1}, 7]) == {
        "steps[0].agentId": "is required",
        "steps[0].action": "is required",
        "steps[1].id": "must match ^[A-Za-z0-9_-]{1,64}\\Z",
        "steps[2].colour": "is not a field here",
        "steps[3]": "must be a JSON object",
    }
    wrong = [
        step(ada, "a", dependsOn=["nobody"]),
        step(ada, "a", next=["b", "c"]),
        step(ada, "b", inputs={"deep": [{"text": "see {{steps.ghost.x}}"}]}, onFailure="z"),
        step(ada, "d", inputs={"{{steps.ghost.x}}": 1}, conditions=["{{steps.ghost.x}}"]),
    ]
    assert set(await refused(owner, steps=wrong)) == {
        "steps[0].dependsOn[0]",
        "steps[1].id",
        "steps[1].next[1]",
        "steps[2].inputs.deep[0].text",
        "steps[2].onFailure",
        "steps[3].inputs.{{steps.ghost.x}}",
        "steps[3].conditions[0]",
    }
    assert await refused(owner, steps=[step(ada, "a"), step(theirs, "b")]) == {
        "steps[1].agentId": "refers to nothing in this workspace"
    }


@pytest.mark.parametrize(
    ("second", "third", "place"),
    [
        ({}, {"dependsOn": ["c"]}, "steps[2].dependsOn[0]"),
        ({"dependsOn": ["c"]}, {"dependsOn": ["b"]}, "steps[1].dependsOn[0]"),
        ({"next": "c"}, {"next": "b"}, "steps[2].next"),
        ({"next": "c"}, {"next": ["a"]}, "steps[2].next[0]"),
        ({"inputs": {"x": "{{steps.c.y}}"}}, {"inputs": {"x": "{{steps.b.y}}"}}, "steps[1].inputs.x"),
    ],
)
async def test_steps_that_wait_for_each_other_are_refused(
    owner: Client, second: dict[str, Any], third: dict[str, Any], place: str
) -> None:
    ada = await make.agent(owner)
    wrong = await refused(owner, steps=[step(ada, "a", next="b"), step(ada, "b", **second), step(ada, "c", **third)])
    assert set(wrong) == {place}
    assert "circle" in wrong[place]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"triggerType": "schedule"}, {"triggerConfig.cron"}),
        ({"triggerType": "schedule", "triggerConfig": {"cron": "x", "timezone": "y"}},
         {"triggerConfig.cron", "triggerConfig.timezone"}),
        ({"triggerType": "event", "triggerConfig": {"eventType": "Deal Updated"}}, {"triggerConfig.eventType"}),
        ({"triggerType": "event", "triggerConfig": {"cron": "0 9 * * *"}},
         {"triggerConfig.cron", "triggerConfig.eventType"}),
        ({"triggerConfig": {"cron": "0 9 * * *"}}, {"triggerConfig.cron"}),
        ({"triggerType": "soon"}, {"triggerType"}),
    ],
)  # fmt: skip
async def test_a_trigger_has_what_its_type_needs_and_no_more(
    owner: Client, body: dict[str, Any], wrong: set[str]
) -> None:
    assert set(await refused(owner, **body)) == wrong


async def test_an_active_workflow_knows_when_it_comes_due(owner: Client) -> None:
    trigger = {"triggerType": "schedule", "triggerConfig": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}}
    row = await make.workflow(owner, await make.agent(owner), **trigger)
    assert row["nextRunAt"] is None
    path = f"/agent-workflows/{row['id']}"
    assert (await make.moved(owner, path, "active"))["nextRunAt"] is not None
    assert (await make.moved(owner, path, "paused"))["nextRunAt"] is None


async def test_what_is_active_keeps_its_steps_and_its_trigger(owner: Client) -> None:
    ada = await make.agent(owner)
    row = await make.workflow(owner, ada, status="active")
    path = f"{API}/agent-workflows/{row['id']}"
    for body in ({"steps": [step(ada, "only")]}, {"triggerType": "agent_request"}):
        answer = await owner.patch(path, json=body)
        assert answer.status_code == 409
        assert "pause it first" in answer.json()["detail"]
    assert (await owner.patch(path, json={"name": "Renamed", "steps": row["steps"]})).status_code == 200
    await make.moved(owner, f"/agent-workflows/{row['id']}", "paused")
    assert (await owner.patch(path, json={"steps": [step(ada, "only")]})).status_code == 200


async def test_a_workflow_without_steps_does_not_become_active(owner: Client) -> None:
    row = await make.made(owner, "/agent-workflows", {"name": "Empty"})
    answer = await owner.put(f"{API}/agent-workflows/{row['id']}/status", json={"status": "active"})
    assert answer.status_code == 409
    assert "steps" in answer.json()["detail"]


async def test_only_an_active_workflow_runs(owner: Client) -> None:
    row = await make.workflow(owner, await make.agent(owner))
    path = f"{API}/agent-workflows/{row['id']}/executions"
    assert (await owner.post(path)).status_code == 409
    await make.moved(owner, f"/agent-workflows/{row['id']}", "active")
    run = (await owner.post(path, json={"triggerData": {"dealId": "1"}})).json()
    assert (run["status"], run["triggerType"], run["triggerData"]) == ("running", "manual", {"dealId": "1"})
    assert (run["currentStepId"], run["currentStepIndex"], run["totalSteps"]) == ("first", 0, 2)
    assert run["steps"] == row["steps"]
    assert (await owner.get(path)).json()["items"] == [run]
    assert (await owner.get(f"{API}/agent-workflows/{row['id']}")).json()["totalExecutions"] == 1


async def test_a_run_is_paused_resumed_and_cancelled(owner: Client, viewer: Client, stranger: Client) -> None:
    row = await make.workflow(owner, await make.agent(owner), status="active")
    run = await make.made(owner, f"/agent-workflows/{row['id']}/executions", {})
    path = f"{API}/agent-workflow-executions/{run['id']}"
    for noun, status in (
        ("pause", "paused"),
        ("pause", "paused"),
        ("resumption", "running"),
        ("pause", "paused"),
        ("cancellation", "cancelled"),
        ("cancellation", "cancelled"),
    ):
        answer = await owner.post(f"{path}/{noun}")
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == status
    for noun in ("pause", "resumption"):
        answer = await owner.post(f"{path}/{noun}")
        assert answer.status_code == 409
        assert "final" in answer.json()["detail"]
    assert (await viewer.post(f"{path}/cancellation")).status_code == 403
    assert (await stranger.post(f"{path}/cancellation")).status_code == 404
    assert await told(owner, run["id"]) == [
        f"agent_workflow_execution.{what}" for what in ("created", "paused", "resumed", "paused", "cancelled")
    ]
    assert (await owner.get(path)).json()["durationMs"] >= 0
