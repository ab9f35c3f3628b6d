"""Runs of workflows, step by step: what each does, once, and what becomes of a run when one fails."""

import asyncio
import uuid
from typing import Any

import pytest

from comms.agents import workflow_runs
from comms.directory import Connection
from comms.service import Service
from comms.workflows import engine
from tests.conftest import Client
from tests.make import agents as make
from tests.make import workflows as flow
from tests.make.agents import API, told

pytestmark = pytest.mark.usefixtures("line")
PHONE = "+14155550199"


def does(id: str, action: str, /, **more: Any) -> dict[str, Any]:
    inputs = more.pop("inputs", {})
    return {"id": id, "action": action, "inputs": inputs, **more}


async def test_each_step_sees_what_the_earlier_ones_gave_and_leaves_its_history(
    owner: Client, service: Service, line: Connection
) -> None:
    steps = [
        does("meet", "create_contact", inputs={"values": {"firstName": "{{trigger.name}}", "phone": PHONE}}),
        does("label", "tag_contact", inputs={"id": "{{steps.meet.id}}", "tag": "new"}),
        does(
            "sell",
            "create_deal",
            inputs={"values": {"name": "For {{steps.meet.firstName}}", "contactId": "{{steps.meet.id}}"}},
        ),
        does("change", "update_deal", inputs={"id": "{{steps.sell.id}}", "values": {"notes": "{{context.note|none}}"}}),
        does("greet", "message", inputs={"to": "{{steps.meet.phone}}", "content": "Hi {{steps.meet.firstName}}"}),
    ]
    run = await flow.run_of(owner, await flow.active(owner, steps), triggerData={"name": "Ada"})
    assert await flow.answer_bells(service) == 6
    over = await flow.read(owner, run)
    assert (over["status"], over["completedSteps"], over["error"]) == ("completed", 5, None)
    seen = await flow.history(owner, run)
    assert [row["status"] for row in seen.values()] == ["completed"] * 5
    assert seen["sell"]["inputs"]["values"]["name"] == "For Ada"
    contact = (await owner.get(f"{API}/contacts/{over['stepResults']['meet']['id']}")).json()
    assert (contact["phone"], contact["tags"]) == (PHONE, ["new"])
    assert (await owner.get(f"{API}/deals/{over['stepResults']['sell']['id']}")).json()["notes"] == "none"
    message = (await owner.get(f"{API}/conversation-messages/{seen['greet']['output']['messageId']}")).json()
    assert (message["content"], message["senderType"], message["status"]) == ("Hi Ada", "system", "queued")
    events = (await owner.get(f"{API}/events", params={"subjectId": contact["id"]})).json()["items"]
    assert {(event["actorType"], event["actorId"]) for event in events} == {("workflow", run["id"])}
    assert (await told(owner, seen["greet"]["id"])) == ["agent_workflow_step_run.completed"]


async def test_a_choice_leads_one_way_and_says_why(owner: Client, service: Service) -> None:
    steps = [
        does(
            "big",
            "condition",
            inputs={
                "all": [{"field": "trigger.value", "operator": "at_least", "value": 1000}],
                "then": "vip",
                "else": ["usual"],
            },
        ),
        does("vip", "create_contact", inputs={"values": {"firstName": "Vip"}}, next="end"),
        does("usual", "create_contact", inputs={"values": {"firstName": "Usual"}}, next="end"),
        does("end", "condition", inputs={"any": [{"field": "steps.vip.id", "operator": "is_set"}]}),
        does("after", "create_contact", inputs={"values": {"firstName": "After"}}, dependsOn=["end"]),
    ]
    workflow = await flow.active(owner, steps)
    rich, poor = [await flow.run_of(owner, workflow, triggerData={"value": value}) for value in ("1500.00", 5)]
    await flow.answer_bells(service)
    seen = await flow.history(owner, rich)
    assert {name: row["status"] for name, row in seen.items()} == {
        "big": "completed", "vip": "completed", "usual": "skipped", "end": "completed", "after": "completed",
    }  # fmt: skip
    assert seen["big"]["output"]["why"] == ['trigger.value is "1500.00": at_least 1000']
    assert "went another way" in seen["usual"]["error"]["message"]
    # Without a way to go where it does not hold, nothing more comes.
    seen = await flow.history(owner, poor)
    assert [name for name, row in seen.items() if row["status"] == "completed"] == ["big", "usual", "end"]
    assert (await flow.read(owner, poor))["status"] == "completed"


async def test_a_choice_comes_after_what_it_asks_of_wherever_it_stands(owner: Client, service: Service) -> None:
    steps = [
        does(
            "chosen", "condition", inputs={"all": [{"field": "steps.vip.tags", "operator": "contains", "value": "v"}]}
        ),
        does("vip", "create_contact", inputs={"values": {"firstName": "Ada", "tags": ["v"]}}),
    ]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    await flow.answer_bells(service)
    seen = await flow.history(owner, run)
    assert seen["chosen"]["output"]["holds"] is True, seen["chosen"]


async def test_a_step_that_fails_leads_elsewhere_or_ends_the_run_and_says_why(owner: Client, service: Service) -> None:
    wrong = does("bad", "update_contact", inputs={"id": "{{trigger.id}}", "values": {"firstName": "Ada"}})
    nobody = {"triggerData": {"id": str(uuid.uuid4())}}
    after = does("after", "create_contact", inputs={"values": {"firstName": "After"}})
    caught = await flow.run_of(owner, await flow.active(owner, [{**wrong, "onFailure": "after"}, after]), **nobody)
    ended = await flow.run_of(owner, await flow.active(owner, [wrong, after]), **nobody)
    unsaid = await flow.run_of(owner, await flow.active(owner, [wrong]))
    await flow.answer_bells(service)
    assert (await flow.read(owner, caught))["status"] == "completed"
    over = await flow.read(owner, ended)
    assert (over["status"], over["error"]["stepId"], over["error"]["code"]) == ("failed", "bad", "missing")
    assert set(await flow.history(owner, ended)) == {"bad"}
    assert "trigger.id is nothing in this run" in (await flow.read(owner, unsaid))["error"]["message"]


async def test_a_step_gives_nothing_to_who_has_left_since_it_was_written(
    owner: Client, member: Client, service: Service, admin: Any
) -> None:
    values = {"name": "Boat", "ownerId": str(member.user_id), "contactId": "{{trigger.id}}"}
    step = does("new", "create_deal", inputs={"values": values})
    ada = await make.made(owner, "/contacts", {"firstName": "Ada"})
    workflow = await flow.active(owner, [step])
    there, gone = [
        await flow.run_of(owner, workflow, triggerData={"id": id_}) for id_ in (ada["id"], str(uuid.uuid4()))
    ]
    await flow.answer_bells(service)
    assert (await flow.read(owner, there))["status"] == "completed"
    over = (await flow.read(owner, gone))["error"]
    assert (over["code"], over["message"]) == (
        "invalid", "steps[0].inputs.values.contactId refers to nothing in this workspace"
    )  # fmt: skip
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", member.user_id)
    left = await flow.run_of(owner, workflow, triggerData={"id": ada["id"]})
    await flow.answer_bells(service)
    assert "ownerId is no active member" in (await flow.read(owner, left))["error"]["message"]


async def test_a_message_nobody_may_be_sent_fails_the_step_and_leaves_nothing(
    owner: Client, service: Service, admin: Any
) -> None:
    steps = [does("say", "message", inputs={"to": PHONE, "content": "Hello"})]
    workflow = await flow.active(owner, steps)
    stop = {"address": PHONE, "says": "stop", "reason": "She said so."}
    await make.made(owner, "/consent-entries", stop)
    run = await flow.run_of(owner, workflow)
    await flow.answer_bells(service)
    over = await flow.read(owner, run)
    assert (over["status"], over["error"]["stepId"]) == ("failed", "say")
    assert "nothing may be sent to" in over["error"]["message"]
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 0


async def test_a_conversation_that_is_somebodys_is_left_alone_where_the_step_says_so(
    owner: Client, service: Service
) -> None:
    steps = [
        does(name, "message", inputs={"conversationId": "{{trigger.id}}", "content": name, "ifOwned": name})
        for name in ("skip", "send")
    ]
    said = (await owner.post(f"{API}/messages", json={"to": PHONE, "content": "Hello"})).json()
    where = said["conversationId"]
    assert (await owner.put(f"{API}/conversations/{where}/assignment", json={"userId": str(owner.user_id)})).is_success
    run = await flow.run_of(owner, await flow.active(owner, steps), triggerData={"id": where})
    await flow.answer_bells(service)
    seen = await flow.history(owner, run)
    assert seen["skip"]["output"]["skipped"]
    assert seen["send"]["output"]["messageId"]


async def test_what_an_agent_has_answered_is_not_said_over_whoever_took_the_conversation_meanwhile(
    owner: Client, service: Service
) -> None:
    ada = await make.agent(owner)
    there = {"conversationId": "{{trigger.id}}", "content": "{{steps.look.text}}"}
    steps = [
        make.step(ada, "look"),
        does("first", "message", inputs=there),
        does("asked", "message", inputs={**there, "ifOwned": "send"}),
    ]
    where = (await owner.post(f"{API}/messages", json={"to": PHONE, "content": "Hello"})).json()["conversationId"]
    run = await flow.run_of(owner, await flow.active(owner, steps), triggerData={"id": where})
    await flow.answer_bells(service)
    task = (await flow.read(owner, run))["waitingId"]
    await owner.put(f"{API}/conversations/{where}/ownership")
    result = {"fromAgentId": ada["id"], "messageType": "result", "content": {"data": {"text": "I think so."}}}
    await make.made(owner, "/agent-messages", {**result, "parentMessageId": task})
    await flow.go_on(service)
    seen = await flow.history(owner, run)
    assert seen["first"]["output"]["skipped"]
    assert seen["asked"]["output"]["messageId"]


async def test_however_often_and_at_once_it_is_rung_a_step_is_done_once(
    owner: Client, service: Service, admin: Any
) -> None:
    steps = [does(name, "create_contact", inputs={"values": {"firstName": name}}) for name in ("a", "b", "c")]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    run_id = uuid.UUID(run["id"])
    for _ in range(6):
        rung = [engine.advance(service.database, flow.NOWHERE, owner.workspace_id, run_id) for _ in range(3)]
        await asyncio.gather(*rung)
    await flow.answer_bells(service)
    assert (await flow.read(owner, run))["status"] == "completed"
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 3


async def test_what_a_step_did_and_that_it_did_are_there_together_or_not_at_all(
    owner: Client, service: Service, admin: Any
) -> None:
    steps = [does("a", "create_contact", inputs={"values": {"firstName": "Ada"}})]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    await flow.bells(service)  # the bell is lost with whoever took it
    with pytest.raises(ConnectionError):
        async with service.database.workspace(owner.workspace_id) as db:
            await _die_before_the_commit(db, owner, run)
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 0
    assert await flow.history(owner, run) == {}
    await flow.due_now(service, run)
    await flow.go_on(service)
    assert (await flow.read(owner, run))["status"] == "completed"
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 1


async def _die_before_the_commit(db: Any, client: Client, run: dict[str, Any]) -> None:
    await engine._move(db, client.workspace_id, uuid.UUID(run["id"]))
    raise ConnectionError("killed")


async def test_a_run_that_waits_is_rung_for_when_its_time_has_come(owner: Client, service: Service, admin: Any) -> None:
    steps = [
        does("pause", "wait", inputs={"hours": 1}),
        does("b", "create_contact", inputs={"values": {"firstName": "B"}}),
    ]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    await flow.answer_bells(service)
    waiting = await flow.read(owner, run)
    assert (waiting["status"], waiting["waitingFor"], waiting["currentStepId"]) == ("running", "time", "pause")
    await flow.go_on(service)
    assert (await flow.history(owner, run))["pause"]["status"] == "waiting"
    plan = await admin.fetch(
        "EXPLAIN SELECT 1 FROM agent_workflow_executions WHERE due_at <= now() AND status = 'running' ORDER BY due_at"
    )
    assert plan
    await flow.due_now(service, run)
    await flow.go_on(service)
    assert (await flow.read(owner, run))["status"] == "completed"


async def test_a_paused_run_goes_on_where_it_was(owner: Client, service: Service) -> None:
    steps = [does(name, "create_contact", inputs={"values": {"firstName": name}}) for name in ("a", "b")]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    path = f"{API}/agent-workflow-executions/{run['id']}"
    await owner.post(f"{path}/pause")
    await flow.go_on(service)
    assert await flow.history(owner, run) == {}
    await owner.post(f"{path}/resumption")
    await flow.go_on(service)
    assert (await flow.read(owner, run))["status"] == "completed"


async def test_an_agent_is_asked_and_its_result_is_what_the_step_gives(owner: Client, service: Service) -> None:
    ada = await make.agent(owner)
    steps = [
        make.step(ada, "look", inputs={"about": "{{trigger.company}}"}, timeoutSeconds=60),
        does("keep", "create_contact", inputs={"values": {"company": "{{steps.look.found}}"}}),
    ]
    workflow = await flow.active(owner, steps)
    run, late = [await flow.run_of(owner, workflow, triggerData={"company": "ACME"}) for _ in range(2)]
    await flow.answer_bells(service)
    waiting = await flow.read(owner, run)
    assert waiting["waitingFor"] == "agent_task"
    task = (await owner.get(f"{API}/agent-messages/{waiting['waitingId']}")).json()
    assert (task["messageType"], task["toAgentId"], task["content"]["data"]["inputs"]) == (
        "task", ada["id"], {"about": "ACME"},
    )  # fmt: skip
    result = {
        "fromAgentId": ada["id"],
        "messageType": "result",
        "parentMessageId": task["id"],
        "content": {"data": {"found": "ACME Inc."}},
    }
    bob = await make.agent(owner, "Bob")
    await make.made(owner, "/agent-messages", {**result, "fromAgentId": bob["id"], "content": {"data": {"found": "?"}}})
    await flow.go_on(service)
    assert (await flow.read(owner, run))["waitingFor"] == "agent_task"
    for _ in range(2):  # told twice, it counts once
        await make.made(owner, "/agent-messages", result)
    await flow.go_on(service)
    over = await flow.read(owner, run)
    assert (over["status"], over["stepResults"]["keep"]["company"]) == ("completed", "ACME Inc.")
    await flow.due_now(service, late)
    await flow.go_on(service)
    assert "nobody answered within 60 s" in (await flow.read(owner, late))["error"]["message"]


async def test_an_approval_resumes_the_run_as_it_was_decided(
    owner: Client, admin_member: Client, service: Service
) -> None:
    ada = await make.agent(owner)
    steps = [
        does("ask", "approval", agentId=ada["id"], inputs={"title": "10 % off?", "details": {"percent": 10}}),
        does("keep", "create_contact", inputs={"values": {"company": "{{steps.ask.details.percent}} %"}}),
    ]
    workflow = await flow.active(owner, steps)
    runs = [await flow.run_of(owner, workflow) for _ in range(3)]
    await flow.answer_bells(service)
    actions = [(await flow.read(owner, run))["waitingId"] for run in runs]
    path = f"{API}/agent-pending-actions"
    assert (await owner.get(f"{path}/{actions[0]}")).json()["actionType"] == "workflow_approval"
    edited = await admin_member.post(f"{path}/{actions[0]}/approval", json={"details": {"percent": 5}})
    assert edited.status_code == 201, edited.text
    await owner.post(f"{path}/{actions[1]}/rejection", json={"reason": "Never"})
    await flow.go_on(service)
    over, rejected, waiting = [await flow.read(owner, run) for run in runs]
    done = (await owner.get(f"{path}/{actions[0]}")).json()
    assert (done["performedBy"], done["succeeded"], done["result"]) == ("comms", True, {"executionId": runs[0]["id"]})
    assert over["stepResults"]["keep"]["company"] == "5 %"
    assert over["stepResults"]["ask"]["isEdited"]
    assert (rejected["status"], rejected["error"]["message"]) == ("failed", "it was rejected: Never")
    assert (waiting["status"], waiting["waitingFor"]) == ("running", "approval")

    await make.made(owner, f"/agent-workflow-executions/{runs[2]['id']}/cancellation", {})
    assert (await flow.history(owner, runs[2]))["ask"]["error"]["code"] == "cancelled"
    assert (await owner.get(f"{path}/{actions[2]}")).json()["status"] == "expired"
    late = await admin_member.post(f"{path}/{actions[2]}/approval")
    assert late.status_code == 409


async def test_a_run_that_would_fill_the_database_fails_at_a_limit(
    owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"triggerData": {"words": "x" * 70_000}}
    steps = [does("say", "create_contact", inputs={"values": {"company": "Inc. {{trigger.words}}"}})]
    run = await flow.run_of(owner, await flow.active(owner, steps), **long)
    await flow.answer_bells(service)
    assert "is longer than 65536 characters" in (await flow.read(owner, run))["error"]["message"]
    monkeypatch.setattr(workflow_runs, "MOST_IN_ALL", 3_000)
    steps = [does(f"s{n}", "create_contact", inputs={"values": {"firstName": "x" * 500}}) for n in range(9)]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    await flow.answer_bells(service)
    over = await flow.read(owner, run)
    assert (over["status"], over["error"]["code"]) == ("failed", "large")
    assert "holds more than 3000 bytes" in over["error"]["message"]
