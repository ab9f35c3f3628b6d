"""What sets workflows off: events once and not in circles, times as missed, agents who ask; and why not."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comms.agents import runs
from comms.service import Service
from comms.workflows import following, requesting, setting_off, ticking
from tests.conftest import Client
from tests.make import agents as make
from tests.make import workflows as flow
from tests.make.agents import API
from tests.make.runtimes import runtime

WON = [{"field": "stage", "operator": "equals", "value": "negotiation"}]


def greets(name: str = "Ada") -> list[dict[str, Any]]:
    return [{"id": "meet", "action": "create_prospect", "inputs": {"values": {"notes": name}}}]


def on(event: str, **more: Any) -> dict[str, Any]:
    return {"triggerType": "event", "triggerConfig": {"eventType": event, **more}}


async def deal(client: Client, stage: str = "negotiation") -> dict[str, Any]:
    return await make.made(client, "/deals", {"name": "Big one", "stage": stage})


async def seq_of(client: Client, subject_id: str) -> int:
    items = (await client.get(f"{API}/events", params={"subjectId": subject_id})).json()["items"]
    seq: int = items[-1]["seq"]
    return seq


async def explained(client: Client, workflow: dict[str, Any], seq: int) -> dict[str, Any]:
    answer = await client.get(f"{API}/agent-workflows/{workflow['id']}/explanation", params={"seq": seq})
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def test_an_event_sets_a_workflow_off_once_whoever_reads_the_log(
    owner: Client, stranger: Client, service: Service
) -> None:
    await flow.active(owner, greets(), **on("deal.deleted"))  # from here on the log is read
    early = await deal(owner)
    workflow = await flow.active(owner, greets(), **on("deal.created", conditions=WON))
    theirs = await flow.active(stranger, greets(), **on("deal.created"))
    fits, other = await deal(owner), await deal(owner, "discovery")
    await asyncio.gather(*(following.keep_up(service.database, most=1) for _ in range(3)))
    await flow.go_on(service)
    [run] = await flow.runs_of(owner, workflow)
    assert (run["triggerType"], run["triggerData"]["subjectId"], run["status"]) == ("event", fits["id"], "completed")
    assert run["triggerSeq"] == await seq_of(owner, fits["id"])
    assert run["triggerData"]["data"]["name"] == "Big one"
    assert await flow.runs_of(stranger, theirs) == []
    did = await explained(owner, workflow, run["triggerSeq"])
    assert did == {
        "fired": True,
        "executionId": run["id"],
        "why": ["it was deal.created", 'stage is "negotiation": equals "negotiation"'],
    }
    did_not = await explained(owner, workflow, await seq_of(owner, other["id"]))
    assert (did_not["fired"], did_not["why"][-1]) == (False, 'stage is "discovery": not equals "negotiation"')
    assert "became so later" in (await explained(owner, workflow, await seq_of(owner, early["id"])))["why"][-1]
    assert (
        await owner.get(f"{API}/agent-workflows/{workflow['id']}/explanation", params={"seq": 9999})
    ).status_code == 404


async def test_the_past_is_judged_without_doing_anything(owner: Client, viewer: Client, service: Service) -> None:
    fits, other = await deal(owner), await deal(owner, "discovery")
    row = await make.made(
        owner, "/agent-workflows", {"name": "x", "steps": greets(), **on("deal.created", conditions=WON)}
    )
    path = f"{API}/agent-workflows/{row['id']}/dry-run"
    seen = (await viewer.get(path, params={"days": 7})).json()
    assert (seen["considered"], seen["fires"], seen["isWhole"]) == (2, 1, True)
    assert [(one["subjectId"], one["fires"]) for one in seen["items"]] == [(other["id"], False), (fits["id"], True)]
    assert "not equals" in seen["items"][0]["why"][-1]
    await flow.go_on(service)
    assert await flow.runs_of(owner, row) == []
    clock = {"triggerType": "schedule", "triggerConfig": {"cron": "0 9 * * *"}}
    row = await make.made(owner, "/agent-workflows", {"name": "x", "steps": greets(), **clock})
    assert (await owner.get(f"{API}/agent-workflows/{row['id']}/dry-run", params={"days": 3})).json()["fires"] == 3
    row = await make.made(owner, "/agent-workflows", {"name": "x", "steps": greets()})
    assert (await owner.get(f"{API}/agent-workflows/{row['id']}/dry-run")).status_code == 409


async def test_what_a_workflow_does_sets_neither_it_nor_a_circle_of_them_off(owner: Client, service: Service) -> None:
    """One makes a prospect for each deal, another a deal for each prospect; a third answers itself."""
    sells = [{"id": "sell", "action": "create_deal", "inputs": {"values": {"name": "Another"}}}]
    one = await flow.active(owner, greets(), **on("deal.created"))
    other = await flow.active(owner, sells, **on("prospect.created"))
    itself = await flow.active(owner, sells, **on("deal.created"))
    await deal(owner)
    for _ in range(8):
        await flow.go_on(service)
    # The deal sets two off; the prospect of one sets the other off; what that sells, and what the third one sold ...
    counts = [len(await flow.runs_of(owner, workflow)) for workflow in (one, other, itself)]
    for _ in range(3):
        await flow.go_on(service)
    assert [len(await flow.runs_of(owner, workflow)) for workflow in (one, other, itself)] == counts
    run = next(run for run in await flow.runs_of(owner, itself) if run["lineage"] == [])
    sold = (await flow.history(owner, run))["sell"]["output"]["id"]
    said = await explained(owner, itself, await seq_of(owner, sold))
    assert (said["fired"], "own doing" in said["why"][-1]) == (False, True)
    assert all(itself["id"] not in run["lineage"] for run in await flow.runs_of(owner, itself))


async def test_a_run_knows_which_invoice_it_was_and_no_more(owner: Client, service: Service) -> None:
    """Runs are for everybody who may see agents, invoices are not."""
    paid = [{"field": "currency", "operator": "equals", "value": "EUR"}]
    workflow = await flow.active(owner, greets(), **on("invoice.created", conditions=paid))
    acme = await make.made(owner, "/customers", {"name": "ACME"})
    row, _ = [
        await make.made(owner, "/invoices", {"customerId": acme["id"], "currency": currency, "lineItems": []})
        for currency in ("EUR", "USD")
    ]
    await flow.go_on(service)
    [run] = await flow.runs_of(owner, workflow)
    assert (run["triggerData"]["data"], run["triggerData"]["changes"]) == ({"id": row["id"]}, {})


@pytest.mark.usefixtures("line")
async def test_what_becomes_of_its_message_is_a_workflows_own_doing_too(owner: Client, service: Service) -> None:
    say = [{"id": "say", "action": "message", "inputs": {"content": "Sent!"}}]
    workflow = await flow.active(owner, say, **on("message.queued"))
    await make.made(owner, "/messages", {"to": "+14155550199", "content": "Hello"})
    for _ in range(3):
        await flow.go_on(service)
    assert len(await flow.runs_of(owner, workflow)) == 1
    items = (await owner.get(f"{API}/events", params={"event": "message.queued"})).json()["items"]
    assert [item["data"]["content"] for item in items] == ["Hello", "Sent!"]
    # The same of a message whose event nobody but the sender told.
    said = {"actorType": "system", "actorId": None, "data": items[1]["data"]}
    async with service.database.everywhere() as db:
        assert await setting_off.lineage_of(db, owner.workspace_id, said) == [workflow["id"]]


MORNINGS = "0 9 * * *"


@pytest.mark.parametrize(
    ("missed", "first", "at", "times"),
    [
        ("once", "2026-03-07T09:00-05:00", "2026-03-07T09:00:01-05:00", ["2026-03-07T14:00"]),
        ("once", "2026-03-07T09:00-05:00", "2026-03-09T12:00-04:00", ["2026-03-09T13:00"]),
        # Clocks went forward on the 8th: nine is an hour earlier from then on.
        ("all", "2026-03-07T09:00-05:00", "2026-03-09T12:00-04:00",
         ["2026-03-07T14:00", "2026-03-08T13:00", "2026-03-09T13:00"]),
        ("skip", "2026-03-07T09:00-05:00", "2026-03-09T12:00-04:00", []),
        ("skip", "2026-03-07T09:00-05:00", "2026-03-09T09:03-04:00", ["2026-03-09T13:00"]),
    ],
)  # fmt: skip
def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    missed: str, first: str, at: str, times: list[str]
) -> None:
    begin, until = (datetime.fromisoformat(one).astimezone(UTC) for one in (first, at))
    due = ticking.times_due(MORNINGS, "America/New_York", begin, until, missed)
    assert [one.strftime("%Y-%m-%dT%H:%M") for one in due] == times


async def test_a_workflow_comes_due_once_and_knows_its_next_time(owner: Client, service: Service, admin: Any) -> None:
    clock = {"triggerType": "schedule", "triggerConfig": {"cron": MORNINGS, "timezone": "Europe/Berlin"}}
    workflow = await flow.active(owner, greets(), **clock)
    due = datetime.fromisoformat(workflow["nextRunAt"])
    at = due + timedelta(seconds=2)

    ticks = [ticking.begin_workflows(service.database, at) for _ in range(3)]
    assert sorted(await asyncio.gather(*ticks)) == [0, 0, 1]
    [run] = await flow.runs_of(owner, workflow)
    assert (run["triggerType"], datetime.fromisoformat(run["triggerData"]["scheduledFor"])) == ("schedule", due)
    after = (await owner.get(f"{API}/agent-workflows/{workflow['id']}")).json()
    assert datetime.fromisoformat(after["nextRunAt"]) - due in [timedelta(hours=hours) for hours in (23, 24, 25)]


async def test_an_agents_schedule_asks_for_a_run_and_says_how_it_fared(owner: Client, service: Service) -> None:
    ada, idle = await make.agent(owner, status="active"), await make.agent(owner)
    body = {"triggerType": "scheduled", "cron": MORNINGS, "missedRuns": "all"}
    row = await make.made(owner, "/agent-schedules", {"agentId": ada["id"], **body})
    of_idle = await make.made(owner, "/agent-schedules", {"agentId": idle["id"], **body})
    await make.moved(owner, f"/agents/{idle['id']}", "archived")
    due = datetime.fromisoformat(row["nextRunAt"])
    assert await ticking.begin_schedules(service.database, due + timedelta(days=1, hours=1)) == 2
    asked = (await owner.get(f"{API}/agent-executions", params={"agentId": ada["id"]})).json()["items"]
    assert [one["status"] for one in asked] == ["pending", "pending"]
    assert asked[0]["scheduleId"] == row["id"]
    path = f"{API}/agent-schedules"
    assert (await owner.get(f"{path}/{row['id']}")).json()["lastRunStatus"] == "pending"
    assert (await owner.get(f"{path}/{of_idle['id']}")).json()["lastRunStatus"] == "cancelled"
    async with service.database.everywhere() as db:
        await runs.begin(db, owner.workspace_id, uuid.UUID(asked[0]["id"]))
    await following.keep_up(service.database)
    after = (await owner.get(f"{path}/{row['id']}")).json()
    assert after["lastRunStatus"] == "running"
    assert datetime.fromisoformat(after["nextRunAt"]) > due + timedelta(days=1, hours=1)


async def test_an_agent_asks_for_the_workflows_that_are_for_asking(
    owner: Client,
    viewer: Client,
    stranger: Client,
    service: Service,
    app: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = await make.agent(owner)
    asks = {"triggerType": "agent_request", "triggerConfig": {"conditions": [{"field": "kind", "operator": "is_set"}]}}
    workflow = await flow.active(owner, greets("{{trigger.data.kind}}"), **asks)
    path, body = f"{API}/agent-workflows/{workflow['id']}/requests", {"agentId": ada["id"], "data": {"kind": "lead"}}
    run = (await owner.post(path, json=body)).json()
    await flow.answer_bells(service)
    assert (await flow.read(owner, run))["stepResults"]["meet"]["notes"] == "lead"
    refused = await owner.post(path, json={**body, "data": {}})
    assert (refused.status_code, "kind is not there: not is_set" in refused.json()["detail"]) == (409, True)
    other = await flow.active(owner, greets())
    assert (await owner.post(f"{API}/agent-workflows/{other['id']}/requests", json=body)).status_code == 409
    assert (await viewer.post(path, json=body)).status_code == 403
    assert (await stranger.post(path, json=body)).status_code == 404
    async with runtime(app, owner) as agent:
        own = f"{API}/agent/workflows/{workflow['id']}/requests"
        asked = await agent.post(own, json={"data": {"kind": "lead"}})
        assert (asked.status_code, asked.json()["triggerData"]["agentId"]) == (201, str(agent.agent_id)), asked.text
        monkeypatch.setattr(requesting, "MOST_OF_ONE", 1)
        assert "which is the limit" in (await agent.post(own, json={"data": {"kind": "lead"}})).json()["detail"]
