"""What workflows ask: of what is there, as the values it has; and of people, by the policy that agents have."""

from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.workflows import asking, engine
from tests.conftest import Client
from tests.make import agents as make
from tests.make import ownership
from tests.make import workflows as flow
from tests.make.agents import API


@pytest.mark.parametrize(
    ("operator", "wanted", "holds"),
    [
        ("less_than", "2026-03-01T12:30:00Z", True),
        ("equals", "2026-03-01T12:00:00Z", True),
        ("at_least", "2026-03-01", True),
        ("greater_than", "{{trigger.then}}", True),
        ("equals", "{{trigger.nothing}}", False),
        ("not_equals", "{{trigger.then}}", True),
    ],
)
def test_times_are_instants_and_values_may_speak_of_what_is_there(operator: Any, wanted: Any, holds: bool) -> None:
    scope = {"trigger": {"at": "2026-03-01T13:00:00+01:00", "then": "2026-03-01T12:59:00+01:00"}}
    assert asking.answer(asking.Asked("trigger.at", operator, wanted), "trigger.at", scope).holds is holds


async def test_an_approval_goes_by_the_agents_policy_and_is_in_the_audit_log(owner: Client, service: Service) -> None:
    ada = await make.agent(owner, status="active")
    asks = {"id": "ask", "action": "approval", "agentId": ada["id"], "inputs": {"title": "May we?", "riskLevel": "low"}}
    workflow = await flow.active(owner, [asks])
    waits = await flow.run_of(owner, workflow)
    await flow.answer_bells(service)
    waiting = await flow.read(owner, waits)
    assert (await owner.get(f"{API}/agent-pending-actions/{waiting['waitingId']}")).json()["expiresAt"] is not None
    await make.made(owner, "/agent-policies", {"agentId": ada["id"], "passAlone": ["workflow_approval"]})
    passes = await flow.run_of(owner, workflow)
    await flow.answer_bells(service)
    assert (await flow.read(owner, passes))["status"] == "completed"
    items = (await owner.get(f"{API}/agent-action-audit-log")).json()["items"]
    assert sorted(item["actionDetails"]["stage"] for item in items) == ["asked", "asked", "performed"]


async def test_an_approval_does_nothing_but_let_the_run_go_on_and_an_agent_at_rest_passes_none_alone(
    owner: Client, admin_member: Client, service: Service, line: Connection, admin: Any
) -> None:
    ada, talk = await make.agent(owner, status="active"), await ownership.talk(service, owner.workspace_id)
    await make.made(owner, "/agent-policies", {"agentId": ada["id"], "passAlone": ["*"], "reach": "handed"})
    await make.moved(owner, f"/agents/{ada['id']}", "paused")
    details = {
        "conversationId": str(talk.id),
        "userId": str(owner.user_id),
        "content": "x",
    }
    inputs = {"title": "May we?", "riskLevel": "low", "details": details}
    asks = {"id": "ask", "action": "approval", "agentId": ada["id"], "inputs": inputs}
    run = await flow.run_of(owner, await flow.active(owner, [asks]))
    await flow.answer_bells(service)
    waiting = await flow.read(owner, run)
    assert (waiting["status"], waiting["waitingFor"]) == ("running", "approval")
    address = f"{API}/agent-pending-actions/{waiting['waitingId']}"
    shown = (await owner.get(address)).json()
    assert (shown["actionType"], shown["conversationId"], shown["fence"]) == ("workflow_approval", None, None)
    before = (await owner.get(f"{API}/conversations/{talk.id}")).json()
    approved = await admin_member.post(f"{address}/approval", json={"details": details | {"content": "y"}})
    assert approved.status_code == 201, approved.text
    await flow.go_on(service)
    assert (await flow.read(owner, run))["status"] == "completed"
    assert (await owner.get(f"{API}/conversations/{talk.id}")).json() == before
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE direction = 'outbound'") == 0


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("kind", ["message", "create_contact", "agent_task", "approval", "wait"])
async def test_whoever_dies_between_an_effect_and_its_commit_leaves_neither(
    kind: str, owner: Client, service: Service, admin: Any
) -> None:
    ada = await make.agent(owner)
    table, inputs = {
        "message": ("conversation_messages", {"to": "+14155550199", "content": "Hi"}),
        "create_contact": ("contacts", {"values": {"firstName": "Ada"}}),
        "agent_task": ("agent_messages", {}),
        "approval": ("agent_pending_actions", {"title": "May we?"}),
        "wait": ("agent_workflow_step_runs", {"days": 1}),
    }[kind]
    who = {"agentId": ada["id"]} if kind in ("agent_task", "approval") else {}
    run = await flow.run_of(owner, await flow.active(owner, [{"id": "a", "action": kind, "inputs": inputs, **who}]))
    [rung] = await flow.bells(service)

    async def dies() -> None:
        async with service.database.workspace(owner.workspace_id) as db:
            await engine._move(db, *rung)
            await db.flush()
            raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        await dies()
    count = f"SELECT count(*) FROM {table}"
    assert await admin.fetchval(count) == 0
    for _ in range(2):  # the bell that was lost, and one too many
        if not await flow.history(owner, run):
            await flow.due_now(service, run)
        await flow.go_on(service)
    assert await admin.fetchval(count) == 1
