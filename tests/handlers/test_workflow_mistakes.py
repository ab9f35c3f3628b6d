"""Workflows that cannot work are refused when they are written, and every mistake is named by its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from comms.happenings import HAPPENINGS
from comms.workflows.checking import IN_CONVERSATION
from models.base import Base, noun_of
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors


async def refused(client: Client, steps: list[dict[str, Any]], **body: Any) -> dict[str, str]:
    return errors(await client.post(f"{API}/agent-workflows", json={"name": "x", "steps": steps, **body}))


def does(action: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "a", "action": action, "inputs": inputs, **more}


HOST = "api.example.com"
NOBODY = "0198c0de-5000-7b44-96c0-086bed0401d7"


@pytest.mark.parametrize(
    ("step", "wrong"),
    [
        (does("dance", {}), {"agentId"}),
        (does("approval", {"title": "Really?"}), {"agentId"}),
        (does("message", {"to": "+14155550199"}), {"inputs.content"}),
        (does("message", {"content": "Hi", "to": "nobody"}), {"inputs.to"}),
        (does("message", {"content": "Hi"}), {"inputs.to"}),
        (does("message", {"content": "Hi", "to": "{{trigger.phone}}", "colour": 1}), {"inputs.colour"}),
        (does("message", {"content": "Hi {{nobody.name}}", "to": "+14155550199"}), {"inputs.content"}),
        (does("message", {"content": "Hi {{run.name}}", "to": "+14155550199"}), {"inputs.content"}),
        (does("message", {"content": "Hi {{now.hour}}", "to": "+14155550199"}), {"inputs.content"}),
        (does("message", {"content": "Hi", "conversationId": NOBODY}),
         {"inputs.conversationId"}),
        (does("message", {"content": "{{now}}" * 101, "to": "+14155550199"}), {"inputs"}),
        (does("message", {"content": "{{" + " " * 60_000, "to": "x"}), {"inputs.to"}),
        (does("message", {"content": "  ", "to": "+14155550199"}), {"inputs.content"}),
        (does("wait", {}), {"inputs"}),
        (does("wait", {"days": 366, "hours": 24}), {"inputs"}),
        (does("wait", {"days": 366, "seconds": 1, "hours": "{{trigger.hours}}"}), {"inputs"}),
        (does("wait", {"until": "2099-01-01T00:00:00Z"}), {"inputs.until"}),
        (does("wait", {"hours": -1}), {"inputs.hours"}),
        (does("wait", {"until": "tomorrow"}), {"inputs.until"}),
        (does("wait", {"until": "2036-03-01T12:00:00Z", "days": 1}), {"inputs.until"}),
        (does("condition", {}), {"inputs"}),
        (does("condition", {"all": [{"field": "stage", "operator": "likes"}]}), {"inputs.all[0].operator"}),
        (does("condition", {"any": [{"field": "stage", "operator": "is_set"}]}), {"inputs.any[0].field"}),
        (does("condition", {"all": [{"field": "trigger.x", "operator": "is_set"}], "then": "z"}), {"inputs.then"}),
        (does("condition", {"all": [{"field": "trigger.x", "operator": "at_least", "value": []}]}),
         {"inputs.all[0].value"}),
        (does("condition", {"all": [{"field": "steps.zzz.x", "operator": "is_set"}]}), {"inputs.all[0].field"}),
        (does("condition", {"any": [{"field": "{{steps.zzz.x}}", "operator": "is_set"}]}), {"inputs.any[0].field"}),
        (does("condition", {"any": [{"field": "steps.a.x", "operator": "is_set"}]}), {"inputs.any[0].field"}),
        (does("wait", {"days": 1}, conditions=[{"field": "steps.zzz", "operator": "is_set"}]), {"conditions[0].field"}),
        (does("assign_conversation", {"id": "{{trigger.id}}", "userId": NOBODY}),
         {"inputs.userId"}),
        (does("tag_contact", {"id": "{{trigger.id}}", "tag": " "}), {"inputs.tag"}),
        (does("create_contact", {"values": {"email": "x", "firstName": "{{trigger.name}}", "age": 1}}),
         {"inputs.values.email", "inputs.values.age"}),
        (does("update_deal", {"values": {"stage": "proposal"}}), {"inputs.id"}),
        (does("update_deal", {"id": "{{trigger.id}}", "values": {"stage": "proposal"}}), {"inputs.values.stage"}),
        (does("update_contact", {"id": NOBODY, "values": {"firstName": "Jo"}}), {"inputs.id"}),
        (does("update_deal", {"id": NOBODY, "values": {"contactId": NOBODY, "ownerId": NOBODY, "name": "{{now}}"}}),
         {"inputs.id", "inputs.values.contactId", "inputs.values.ownerId"}),
        (does("update_prospect", {"id": NOBODY, "values": {}}), {"inputs.id"}),
        (does("create_contact", {"values": {"ownerId": NOBODY}}), {"inputs.values.ownerId"}),
        (does("create_deal", {"values": {"name": "x", "contactId": NOBODY}}), {"inputs.values.contactId"}),
        (does("create_deal", {"values": {"name": "{{now}}", "stage": "closed_won"}}), {"inputs.values.stage"}),
        (does("create_prospect", {"values": {"contactId": NOBODY}}), {"inputs.values.contactId"}),
        (does("create_prospect", {"values": {"stage": "won", "probability": 5}}), {"inputs.values.probability"}),
        (does("tag_contact", {"id": NOBODY, "tag": "vip"}), {"inputs.id"}),
        (does("untag_contact", {"id": NOBODY, "tag": "{{now}}"}), {"inputs.id"}),
        (does("tag_conversation", {"id": NOBODY, "tag": "vip"}), {"inputs.id"}),
        (does("tag_conversation", {"id": "{{trigger.id}}", "tag": "a/b"}), {"inputs.tag"}),
        (does("untag_conversation", {"id": NOBODY, "tag": " "}), {"inputs.id", "inputs.tag"}),
        (does("assign_conversation", {"id": NOBODY, "userId": NOBODY}), {"inputs.id", "inputs.userId"}),
        (does("close_conversation", {"id": NOBODY}), {"inputs.id"}),
        (does("message", {"content": "Hi", "conversationId": "{{trigger.id}}", "channel": "call"}),
         {"inputs.channel"}),
        (does("http", {"url": "https://elsewhere.example.com/x"}), {"inputs.url"}),
        (does("http", {"url": "https://{{trigger.host}}/x"}), {"inputs.url"}),
        (does("http", {"url": "https://127.0.0.1/x"}), {"inputs.url"}),
        (does("http", {"url": "https://0x7f000001/x"}), {"inputs.url"}),
        (does("http", {"url": f"https://me:pw@{HOST}/x"}), {"inputs.url"}),
        (does("http", {"url": f"https://{HOST}:8443/x"}), {"inputs.url"}),
        (does("http", {"url": f"https://{HOST}/x", "headers": {"Idempotency-Key": "1", "a b": "c"}}),
         {"inputs.headers.Idempotency-Key", "inputs.headers.a b"}),
        (does("http", {"url": f"https://{HOST}/x", "method": "TRACE"}), {"inputs.method"}),
    ],
)  # fmt: skip
async def test_a_step_that_cannot_work_is_refused(owner: Client, step: dict[str, Any], wrong: set[str]) -> None:
    if step["action"] == "http":
        await make.made(owner, "/agent-workflow-hosts", {"host": HOST})
    found = await refused(owner, [{"id": "before", "action": "wait", "inputs": {"days": 1}}, step])
    assert set(found) == {f"steps[1].{part}" for part in wrong}, found


async def test_what_depends_on_the_run_is_not_refused_before_it(owner: Client) -> None:
    await make.made(owner, "/agent-workflow-hosts", {"host": ".Example.com", "description": "Ours"})
    steps = [
        does("http", {"url": f"https://{HOST}/deals/{{{{trigger.id}}}}?a=1", "body": ["{{now}}"]}),
        {**does("wait", {"hours": "{{context.hours|2}}", "days": 365}), "id": "b"},
        {**does("condition", {"all": [{"field": "steps.b.x", "operator": "is_set"}]}), "id": "d"},
        {**does("message", {"content": "Hi", "to": "{{trigger.phone}}"}), "id": "c"},
    ]
    await make.made(owner, "/agent-workflows", {"name": "x", "steps": steps})


async def test_what_a_step_names_is_there_when_it_is_written_and_when_it_is_made_active(
    owner: Client, stranger: Client
) -> None:
    ours = await make.made(owner, "/contacts", {"firstName": "Ada"})
    deal = await make.made(owner, "/deals", {"name": "x", "contactId": ours["id"]})
    theirs = await make.made(stranger, "/contacts", {"firstName": "Eve"})
    given = {"contactId": ours["id"], "ownerId": str(owner.user_id), "name": "y"}
    steps = [
        does("update_deal", {"id": deal["id"], "values": given}),
        {**does("tag_contact", {"id": ours["id"], "tag": "vip"}), "id": "b"},
    ]
    row = await make.made(owner, "/agent-workflows", {"name": "x", "steps": steps})
    assert set(await refused(owner, [does("tag_contact", {"id": theirs["id"], "tag": "vip"})])) == {
        "steps[0].inputs.id"
    }
    for path in (f"/deals/{deal['id']}", f"/contacts/{ours['id']}"):
        assert (await owner.delete(f"{API}{path}")).status_code == 204
    answer = await owner.put(f"{API}/agent-workflows/{row['id']}/status", json={"status": "active"})
    assert errors(answer) == dict.fromkeys(
        ["steps[0].inputs.id", "steps[0].inputs.values.contactId", "steps[1].inputs.id"],
        "refers to nothing in this workspace",
    )


async def test_a_trigger_that_can_never_fire_is_refused(owner: Client) -> None:
    def on(event: str, *conditions: Any) -> dict[str, Any]:
        return {"triggerType": "event", "triggerConfig": {"eventType": event, "conditions": list(conditions)}}

    for event in (
        "unicorn.created",
        "deal.exploded",
        "deal.",
        "agent_workflow_execution.completed",
        "access_token.created",
    ):
        assert set(await refused(owner, [], **on(event))) == {"triggerConfig.eventType"}
    greets, on_text = [does("message", {"content": "Hi"})], on("message.received")
    for event in ("contact.created", "campaign.started", "interaction.came_due", "agent_execution.completed"):
        assert set(await refused(owner, greets, **on(event))) == {"steps[0].inputs.to"}
    await make.made(owner, "/agent-workflows", {"name": "x", "steps": greets, **on_text})
    asked = {"field": "data.stagge", "operator": "equals", "value": "won"}
    assert set(await refused(owner, [], **on("deal.updated", asked))) == {"triggerConfig.conditions[0].field"}
    asked = {"field": "stage", "operator": "in", "value": "won"}
    assert set(await refused(owner, [], **on("deal.updated", asked))) == {"triggerConfig.conditions[0].value"}
    clock = {"triggerType": "schedule", "triggerConfig": {"cron": "0 9 * * *", "missedRuns": "some"}}
    assert set(await refused(owner, [], **clock)) == {"triggerConfig.missedRuns"}


ON_CONTACT = {"triggerType": "event", "triggerConfig": {"eventType": "contact.updated"}}
ON_INVOICE = {"triggerType": "event", "triggerConfig": {"eventType": "invoice.paid"}}
ON_REQUEST = {"triggerType": "agent_request"}
DAILY = {"triggerType": "schedule", "triggerConfig": {"cron": "0 9 * * *"}}


@pytest.mark.parametrize(
    ("trigger", "spoken", "is_wrong"),
    [
        (ON_CONTACT, "trigger.data.firstNmae", True),
        (ON_CONTACT, "trigger.firstName", True),
        (ON_CONTACT, "trigger.data.firstNmae|x", False),
        (ON_CONTACT, "trigger.data.firstName", False),
        (ON_CONTACT, "trigger.data", False),
        (ON_CONTACT, "trigger.data.tags.0", False),
        (ON_CONTACT, "trigger.changes.tags.after", False),
        (ON_CONTACT, "trigger.changes.tgas", True),
        (ON_CONTACT, "trigger.subjectId", False),
        (ON_INVOICE, "trigger.data.total", True),
        (ON_INVOICE, "trigger.data.id", False),
        (ON_INVOICE, "trigger.changes.status.after", True),
        (ON_INVOICE, "trigger.changes.id", True),
        (DAILY, "trigger.data.name", True),
        (DAILY, "trigger.scheduledFor", False),
        (ON_REQUEST, "trigger.phone", True),
        (ON_REQUEST, "trigger.data.phone", False),
        (ON_REQUEST, "trigger.agentId", False),
        ({}, "trigger.phone", False),
    ],
)  # fmt: skip
async def test_a_step_speaks_of_what_sets_it_off_as_that_will_be(
    owner: Client, trigger: dict[str, Any], spoken: str, is_wrong: bool
) -> None:
    steps = [does("create_contact", {"values": {"firstName": f"{{{{{spoken}}}}}"}})]
    if is_wrong:
        assert set(await refused(owner, steps, **trigger)) == {"steps[0].inputs.values.firstName"}
    else:
        await make.made(owner, "/agent-workflows", {"name": "x", "steps": steps, **trigger})


def test_whatever_has_a_conversation_may_tell_a_workflow_of_it() -> None:
    tables = [mapper.class_ for mapper in Base.registry.mappers]
    having = {noun_of(table) for table in tables if "conversation_id" in table.__table__.c}
    assert having & HAPPENINGS.keys() <= IN_CONVERSATION <= HAPPENINGS.keys()


async def test_nobody_has_a_workflow_hear_what_they_may_not(owner: Client, member: Client) -> None:
    answer = await owner.patch(
        f"{API}/workspace-members/{await _member_id(owner, member)}", json={"permissions": {"billing": "none"}}
    )
    assert answer.status_code == 200, answer.text
    hears = {"triggerType": "event", "triggerConfig": {"eventType": "invoice.created"}}
    assert set(await refused(member, [], **hears)) == {"triggerConfig.eventType"}
    row = await make.made(owner, "/agent-workflows", {"name": "x", **hears})
    assert (await member.get(f"{API}/agent-workflows/{row['id']}/dry-run")).status_code == 403


async def _member_id(owner: Client, member: Client) -> str:
    items = (await owner.get(f"{API}/workspace-members")).json()["items"]
    return next(item["id"] for item in items if item["userId"] == str(member.user_id))


async def test_a_host_is_a_name_and_administrators_list_it(owner: Client, member: Client) -> None:
    path = f"{API}/agent-workflow-hosts"
    for host in (
        "10.0.0.1",
        "https://x.example",
        "x y",
        "[::1]",
        "",
        "a" * 300,
        "example.com:65536",
        "example.com:99999",
    ):
        assert set(errors(await owner.post(path, json={"host": host}))) == {"host"}, host
    assert (await owner.post(path, json={"host": "API.example.com:443"})).json()["host"] == HOST
    assert (await owner.post(path, json={"host": HOST})).status_code == 409
    assert (await member.post(path, json={"host": "b.example"})).status_code == 403


async def test_a_workflow_whose_host_is_gone_does_not_become_active(owner: Client) -> None:
    host = await make.made(owner, "/agent-workflow-hosts", {"host": HOST})
    steps = [does("http", {"url": f"https://{HOST}/x"})]
    row = await make.made(owner, "/agent-workflows", {"name": "x", "steps": steps})
    await owner.delete(f"{API}/agent-workflow-hosts/{host['id']}")
    answer = await owner.put(f"{API}/agent-workflows/{row['id']}/status", json={"status": "active"})
    assert set(errors(answer)) == {"steps[0].inputs.url"}


async def test_a_conversation_is_assigned_to_nobody_who_may_not_answer(owner: Client, viewer: Client) -> None:
    for user, wrong in ((viewer.user_id, {"steps[0].inputs.userId"}), (owner.user_id, set())):
        steps = [does("assign_conversation", {"id": "{{trigger.id}}", "userId": str(user)})]
        answer = await owner.post(f"{API}/agent-workflows", json={"name": "x", "steps": steps})
        assert (set(errors(answer)) if answer.status_code == 400 else set()) == wrong


async def test_a_workflow_whose_agent_is_archived_is_neither_written_nor_made_active(owner: Client) -> None:
    ada = await make.agent(owner)
    steps = [make.step(ada, "a"), does("agent_task", {}, agentId=ada["id"]) | {"id": "b"}]
    row = await make.made(owner, "/agent-workflows", {"name": "x", "steps": steps})
    await make.moved(owner, f"/agents/{ada['id']}", "archived")
    wrong = {"steps[0].agentId", "steps[1].agentId"}
    assert set(await refused(owner, steps)) == wrong
    answer = await owner.put(f"{API}/agent-workflows/{row['id']}/status", json={"status": "active"})
    assert set(errors(answer)) == wrong
    await make.moved(owner, f"/agents/{ada['id']}", "draft")
    await make.moved(owner, f"/agent-workflows/{row['id']}", "active")


async def test_the_workflow_that_the_docs_show_is_taken_and_activated(owner: Client) -> None:
    page = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text()
    ada = await make.agent(owner)
    shown = page.split("-d '", 1)[1].split("'\n", 1)[0].replace("'$AGENT_ID'", ada["id"])
    row = await make.made(owner, "/agent-workflows", json.loads(shown))
    assert (await make.moved(owner, f"/agent-workflows/{row['id']}", "active"))["status"] == "active"
