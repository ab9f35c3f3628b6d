"""Agents: their states, their runs, and when they run by themselves."""

import asyncio
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from comms.agents.schedules import secret_of
from comms.service import Service
from models.agents import AgentSchedule
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told


async def test_an_agent_goes_from_draft_to_active_to_paused_to_archived(owner: Client) -> None:
    agent = await make.agent(owner)
    assert agent["status"] == "draft"
    assert agent["createdBy"] == str(owner.user_id)
    for status in ("active", "paused", "active", "archived", "draft"):
        assert (await make.moved(owner, f"/agents/{agent['id']}", status))["status"] == status
    assert await told(owner, agent["id"]) == ["agent.created", *["agent.updated"] * 5]


async def test_a_transition_that_is_not_allowed_names_those_that_are(owner: Client) -> None:
    agent = await make.agent(owner)
    answer = await owner.put(f"{API}/agents/{agent['id']}/status", json={"status": "paused"})
    assert answer.status_code == 409
    assert "active or archived" in answer.json()["detail"]
    assert (await owner.get(f"{API}/agents/{agent['id']}")).json() == agent


async def test_the_same_status_again_changes_nothing(owner: Client) -> None:
    agent = await make.agent(owner, status="active")
    again = await owner.put(f"{API}/agents/{agent['id']}/status", json={"status": "active"})
    assert again.json() == agent
    assert await told(owner, agent["id"]) == ["agent.created", "agent.updated"]


async def test_status_and_counters_are_not_a_clients_to_set(owner: Client) -> None:
    body = {"name": "Ada", "status": "active", "executionCount": 7, "lastExecutedAt": None, "createdBy": None}
    assert set(errors(await owner.post(f"{API}/agents", json=body))) == set(body) - {"name"}


async def test_permissions_for_agents_are_asked_not_the_role_alone(
    owner: Client, member: Client, viewer: Client, admin: Any
) -> None:
    agent = await make.agent(member)
    assert (await viewer.get(f"{API}/agents/{agent['id']}")).status_code == 200
    assert (await viewer.put(f"{API}/agents/{agent['id']}/status", json={"status": "active"})).status_code == 403
    grant = "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2"
    await admin.execute(grant, '{"agents": "write"}', viewer.user_id)
    await admin.execute(grant, '{"agents": "none"}', member.user_id)
    assert (await viewer.put(f"{API}/agents/{agent['id']}/status", json={"status": "active"})).status_code == 200
    assert (await member.get(f"{API}/agents/{agent['id']}")).status_code == 403
    assert (await owner.get(f"{API}/agents")).status_code == 200


async def test_an_execution_is_requested_by_a_member_and_cancelled_once(owner: Client) -> None:
    agent = await make.agent(owner)
    run = await make.made(owner, f"/agents/{agent['id']}/executions", {"input": {"contact": "Jane"}})
    assert (run["status"], run["input"]) == ("pending", {"contact": "Jane"})
    assert run["triggeredBy"] == str(owner.user_id)
    listed = (await owner.get(f"{API}/agents/{agent['id']}/executions")).json()["items"]
    assert listed == [run]
    path = f"{API}/agent-executions/{run['id']}/cancellation"
    cancelled = (await owner.post(path)).json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["completedAt"] is not None
    assert (await owner.post(path)).json() == cancelled
    assert await told(owner, run["id"]) == ["agent_execution.created", "agent_execution.cancelled"]


async def test_a_body_may_be_left_out_where_nothing_is_required(owner: Client) -> None:
    agent = await make.agent(owner)
    answer = await owner.post(f"{API}/agents/{agent['id']}/executions")
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("status", ["paused", "archived"])
async def test_who_does_not_work_is_not_asked_to(owner: Client, status: str) -> None:
    agent = await make.agent(owner, status="active")
    await make.moved(owner, f"/agents/{agent['id']}", status)
    answer = await owner.post(f"{API}/agents/{agent['id']}/executions", json={})
    assert answer.status_code == 409
    assert status in answer.json()["detail"]


async def test_only_the_agents_of_the_workspace_can_be_asked(owner: Client, stranger: Client) -> None:
    agent = await make.agent(owner)
    path = f"{API}/agents/{agent['id']}/executions"
    assert (await stranger.post(path, json={})).status_code == 404
    assert (await stranger.get(path)).status_code == 404
    assert (await owner.post(path, json={})).status_code == 201


async def test_an_agent_that_has_run_is_kept(owner: Client) -> None:
    agent = await make.agent(owner)
    await make.made(owner, f"/agents/{agent['id']}/executions", {})
    assert (await owner.delete(f"{API}/agents/{agent['id']}")).status_code == 409
    assert (await owner.get(f"{API}/agents/{agent['id']}")).status_code == 200


async def test_an_agent_that_a_workflow_needs_is_kept(owner: Client) -> None:
    agent = await make.agent(owner)
    workflow = await make.workflow(owner, agent)
    answer = await owner.delete(f"{API}/agents/{agent['id']}")
    assert answer.status_code == 409
    assert answer.json()["conflictingId"] == workflow["id"]
    assert (await owner.delete(f"{API}/agent-workflows/{workflow['id']}")).status_code == 204
    assert (await owner.delete(f"{API}/agents/{agent['id']}")).status_code == 204


async def test_a_workflow_and_the_end_of_its_agent_at_once_leave_no_step_without_one(owner: Client) -> None:
    for _ in range(5):
        agent = await make.agent(owner)
        body = {"name": "Race", "steps": [make.step(agent, "only")]}
        workflow, end = await asyncio.gather(
            owner.post(f"{API}/agent-workflows", json=body), owner.delete(f"{API}/agents/{agent['id']}")
        )
        assert (workflow.status_code, end.status_code) in ((201, 409), (400, 204))


def local(instant: str, zone: str = "Europe/Berlin") -> str:
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(zone)).strftime("%H:%M")


async def schedule(owner: Client, **body: Any) -> dict[str, Any]:
    agent = await make.agent(owner)
    return await make.made(owner, "/agent-schedules", {"agentId": agent["id"], **body})


async def test_a_schedule_knows_when_it_comes_due_and_keeps_knowing(owner: Client) -> None:
    row = await schedule(owner, triggerType="scheduled", cron=" 30  9 * * * ", timezone="Europe/Berlin")
    path = f"{API}/agent-schedules/{row['id']}"
    assert row["cron"] == "30 9 * * *"
    assert local(row["nextRunAt"]) == "09:30"
    assert local((await owner.patch(path, json={"cron": "0 17 * * *"})).json()["nextRunAt"]) == "17:00"
    moved = (await owner.patch(path, json={"timezone": "Asia/Tokyo"})).json()
    assert local(moved["nextRunAt"], "Asia/Tokyo") == "17:00"
    assert (await owner.patch(path, json={"enabled": False})).json()["nextRunAt"] is None
    assert (await owner.patch(path, json={"enabled": True})).json()["nextRunAt"] == moved["nextRunAt"]
    assert (await owner.patch(path, json={"triggerType": "manual"})).json()["nextRunAt"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"triggerType": "scheduled"}, "cron"),
        ({"triggerType": "scheduled", "cron": "* * * * * *"}, "cron"),
        ({"triggerType": "scheduled", "cron": "0 0 31 2 *"}, "cron"),
        ({"triggerType": "scheduled", "cron": "R * * * *"}, "cron"),
        ({"cron": "0 9 * * *", "timezone": "Berlin"}, "timezone"),
        ({"cron": "0 9 * * *", "timezone": "../../etc/passwd"}, "timezone"),
        ({"nextRunAt": "2026-01-01T00:00:00Z"}, "nextRunAt"),
        ({"webhookSecret": "mine"}, "webhookSecret"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused_by_name(
    owner: Client, body: dict[str, Any], field: str
) -> None:
    agent = await make.agent(owner)
    answer = await owner.post(f"{API}/agent-schedules", json={"agentId": agent["id"], **body})
    assert set(errors(answer)) == {field}


async def test_an_archived_agent_has_no_schedule_that_is_on(owner: Client) -> None:
    row = await schedule(owner, triggerType="scheduled", cron="0 9 * * *")
    path = f"{API}/agent-schedules/{row['id']}"
    assert (await owner.patch(path, json={"enabled": False})).status_code == 200
    await make.moved(owner, f"/agents/{row['agentId']}", "archived")
    body = {"agentId": row["agentId"], "triggerType": "scheduled", "cron": "0 9 * * *"}
    assert set(errors(await owner.post(f"{API}/agent-schedules", json=body))) == {"agentId"}
    assert set(errors(await owner.patch(path, json={"enabled": True}))) == {"agentId"}
    other = await schedule(owner)
    answer = await owner.patch(f"{API}/agent-schedules/{other['id']}", json={"agentId": row["agentId"]})
    assert set(errors(answer)) == {"agentId"}
    assert (await owner.patch(path, json={"cron": "0 8 * * *"})).status_code == 200


async def test_a_schedule_cannot_lose_the_cron_it_runs_by(owner: Client) -> None:
    row = await schedule(owner, triggerType="scheduled", cron="0 9 * * *")
    path = f"{API}/agent-schedules/{row['id']}"
    assert set(errors(await owner.patch(path, json={"cron": None}))) == {"cron"}
    assert (await owner.patch(path, json={"cron": None, "triggerType": "manual"})).status_code == 200


async def test_a_webhooks_secret_is_told_once_and_kept_sealed(owner: Client, service: Service) -> None:
    row = await schedule(owner, triggerType="webhook")
    path = f"{API}/agent-schedules/{row['id']}"
    first = (await owner.post(f"{path}/webhook-secret")).json()
    second = (await owner.post(f"{path}/webhook-secret")).json()
    assert first["webhookSecret"] != second["webhookSecret"]
    shown = (await owner.get(path)).json()
    assert shown["webhookUrl"] == second["webhookUrl"]
    assert shown["webhookSecretLastFour"] == second["webhookSecret"][-4:]
    assert "webhookSecret" not in shown
    log = (await owner.get(f"{API}/events")).text
    assert second["webhookSecret"] not in log
    async with service.database.everywhere() as db:
        kept = await db.get_one(AgentSchedule, (owner.workspace_id, row["id"]))
        assert second["webhookSecret"].encode() not in bytes(kept.webhook_secret or b"")
        assert secret_of(kept, service.vault) == second["webhookSecret"].encode()


async def test_only_a_webhook_has_a_secret(owner: Client) -> None:
    row = await schedule(owner)
    assert (await owner.post(f"{API}/agent-schedules/{row['id']}/webhook-secret")).status_code == 409
