"""What bounds workflows: the database's faults and their own, circles and crowds, who stands behind them, and time."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from comms.agents import clock, workflow_runs
from comms.notifications import following as notices
from comms.service import Service
from comms.workflows import following, setting_off, sweeping, ticking
from tests.conftest import Client
from tests.make import agents as make
from tests.make import workflows as flow
from tests.make.agents import API, errors

MEET = [{"id": "meet", "action": "create_prospect", "inputs": {"values": {"notes": "Ada"}}}]


def on(event: str, **more: Any) -> dict[str, Any]:
    return {"triggerType": "event", "triggerConfig": {"eventType": event, **more}}


async def deal(client: Client, **values: Any) -> dict[str, Any]:
    return await make.made(client, "/deals", {"name": "Big one", **values})


async def status_of(client: Client, workflow: dict[str, Any]) -> tuple[str, str | None]:
    row = (await client.get(f"{API}/agent-workflows/{workflow['id']}")).json()
    return row["status"], row["stoppedReason"]


async def explained(client: Client, workflow: dict[str, Any], seq: int) -> dict[str, Any]:
    said: dict[str, Any] = (
        await client.get(f"{API}/agent-workflows/{workflow['id']}/explanation", params={"seq": seq})
    ).json()
    return said


async def events_of(client: Client, subject_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(f"{API}/events", params={"subjectId": subject_id})).json()["items"]
    return items


async def test_an_event_that_meets_a_lock_comes_again(owner: Client, service: Service) -> None:
    """Contention is the database's fault: neither the workflow in its way nor any beside it misses the event."""
    beside, held = [await flow.active(owner, MEET, **on("deal.created")) for _ in range(2)]
    await deal(owner)
    async with service.database.everywhere() as other:
        lock = text("SELECT 1 FROM agent_workflows WHERE id = :id FOR UPDATE")
        await other.execute(lock, {"id": uuid.UUID(held["id"])})
        async with service.database.everywhere() as db:
            await db.execute(text("SET LOCAL lock_timeout = '20ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                await following.catch_up(db, owner.workspace_id)
    assert [await flow.runs_of(owner, one) for one in (beside, held)] == [[], []]
    await flow.go_on(service)
    assert [len(await flow.runs_of(owner, one)) for one in (beside, held)] == [1, 1]


async def test_a_workflow_that_cannot_begin_says_so_in_its_history_and_holds_up_no_other(
    owner: Client, service: Service, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = [await flow.active(owner, MEET, **on("deal.created")) for _ in range(2)]
    steps = '[{"id": "a", "action": "wait", "inputs": {"days": 1}, "colour": 1}]'
    await admin.execute(f"UPDATE agent_workflows SET steps = '{steps}' WHERE id = $1", uuid.UUID(broken["id"]))
    row = await deal(owner)
    await flow.go_on(service)
    [run] = await flow.runs_of(owner, broken)
    assert (run["status"], run["error"]["code"], run["triggerData"]["subjectId"]) == ("failed", "not_begun", row["id"])
    assert "steps[0].colour" in run["error"]["message"]
    assert [one["status"] for one in await flow.runs_of(owner, sound)] == ["completed"]
    # What is too large to be kept is a fault of that kind, and of a request: 400.
    monkeypatch.setattr(workflow_runs, "MOST_GIVEN", 100)
    await deal(owner)
    await flow.go_on(service)
    assert "triggerData must be 100 bytes" in (await flow.runs_of(owner, sound))[0]["error"]["message"]
    plain = await flow.active(owner, MEET)
    refused = await owner.post(
        f"{API}/agent-workflows/{plain['id']}/executions", json={"context": {"words": "x" * 100}}
    )
    assert set(errors(refused)) == {"context"}


async def test_two_workflows_of_a_team_begin_and_end_at_once(owner: Client, service: Service) -> None:
    """Who begins one after the other, and who ends a run of the second: each would wait for what the other holds."""
    team = await make.team(owner)
    one, two = [await flow.active(owner, MEET, teamId=team["id"]) for _ in range(2)]
    run = await flow.run_of(owner, two)
    here = owner.workspace_id
    has_begun = asyncio.Event()

    async def begins() -> None:
        async with service.database.everywhere() as db:
            await workflow_runs.begin(db, here, uuid.UUID(one["id"]))
            has_begun.set()
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            async with service.database.everywhere() as eye:
                for _ in range(500):
                    if await eye.scalar(waiting):
                        break
                    await asyncio.sleep(0.005)
            await workflow_runs.begin(db, here, uuid.UUID(two["id"]))

    async def ends() -> None:
        await has_begun.wait()
        async with service.database.everywhere() as db:
            await workflow_runs.finish(db, here, uuid.UUID(run["id"]), "completed")

    async with asyncio.timeout(10):
        await asyncio.gather(begins(), ends())
    seen = (await owner.get(f"{API}/agent-teams/{team['id']}")).json()
    assert (seen["totalExecutions"], seen["successfulExecutions"]) == (3, 1)


async def test_what_happens_too_often_to_one_subject_is_passed_over_for_it_alone(
    owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting_off, "MOST_ABOUT_ONE", 3)
    workflow = await flow.active(owner, MEET, **on("deal.updated"))
    busy, quiet = await deal(owner), await deal(owner)
    for name in "abcde":
        await owner.patch(f"{API}/deals/{busy['id']}", json={"name": name})
    await owner.patch(f"{API}/deals/{quiet['id']}", json={"name": "f"})
    await flow.go_on(service)
    runs = await flow.runs_of(owner, workflow)
    assert [run["triggerData"]["subjectId"] for run in runs] == [quiet["id"], *[busy["id"]] * 3]
    assert await status_of(owner, workflow) == ("active", None)
    said = await explained(owner, workflow, (await events_of(owner, busy["id"]))[-1]["seq"])
    assert (said["fired"], "within 10 minutes, which is the limit" in said["why"][-1]) == (False, True)


async def test_a_crowd_is_what_happened_at_once_and_not_what_was_read_at_once(
    owner: Client, service: Service, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_ABOUT_ONE", "MOST_IN_ALL"):
        monkeypatch.setattr(setting_off, name, 2)
    workflow = await flow.active(owner, MEET, **on("deal.updated"))
    row = await deal(owner)
    for name in "abcd":
        await owner.patch(f"{API}/deals/{row['id']}", json={"name": name})
    # Nobody read the log for a day.
    await admin.execute("UPDATE events SET at = at - make_interval(hours => (100 - seq)::int)")
    await flow.go_on(service)
    assert (len(await flow.runs_of(owner, workflow)), (await status_of(owner, workflow))[0]) == (4, "active")


async def test_a_workflow_that_explodes_is_paused_and_administrators_are_told(
    owner: Client, member: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting_off, "MOST_IN_ALL", 2)
    workflow = await flow.active(owner, MEET, **on("deal.created"))
    for _ in range(4):
        await deal(owner)
    await flow.go_on(service)
    assert len(await flow.runs_of(owner, workflow)) == 2
    status, reason = await status_of(owner, workflow)
    assert (status, "2 times within a minute" in str(reason)) == ("paused", True)
    [event] = [one for one in await events_of(owner, workflow["id"]) if one["event"] == "agent_workflow.stopped"]
    assert event["data"]["stoppedReason"] == reason
    await notices.keep_up(service.database)
    for client, told in ((owner, [reason]), (member, [])):
        items = (await client.get(f"{API}/notifications")).json()["items"]
        assert [one["message"] for one in items if one["data"].get("workflowId") == workflow["id"]] == told
    # What it had begun is held, and goes on with it.
    run = (await flow.runs_of(owner, workflow))[0]
    await flow.due_now(service, run)
    await flow.go_on(service)
    waiting = await flow.read(owner, run)
    assert (waiting["status"], waiting["waitingFor"], await flow.history(owner, run)) == ("running", "workflow", {})
    again = await make.moved(owner, f"/agent-workflows/{workflow['id']}", "active")
    assert again["stoppedReason"] is None
    await flow.go_on(service)
    assert (await flow.read(owner, run))["status"] == "completed"


async def test_two_workflows_that_undo_each_other_stop(owner: Client, service: Service) -> None:
    """One changes the deal, the other changes it back, and so on: each hears of the other once."""

    def says(name: str, other: str) -> dict[str, Any]:
        steps = [
            {"id": "say", "action": "update_deal", "inputs": {"id": "{{trigger.subjectId}}", "values": {"name": name}}}
        ]
        asks = [{"field": "data.name", "operator": "equals", "value": other}]
        return {"steps": steps, **on("deal.updated", conditions=asks)}

    ping, pong = [await flow.active(owner, **says(*names)) for names in (("ping", "pong"), ("pong", "ping"))]
    row = await deal(owner)
    await owner.patch(f"{API}/deals/{row['id']}", json={"name": "ping"})
    for _ in range(6):
        await flow.go_on(service)
    assert [len(await flow.runs_of(owner, one)) for one in (ping, pong)] == [1, 1]
    said = await explained(owner, pong, (await events_of(owner, row["id"]))[-1]["seq"])
    assert "by way of others" in said["why"][-1]


async def test_what_happened_while_a_workflow_was_becoming_active_is_either_before_it_or_after(
    owner: Client, service: Service
) -> None:
    """Before its commit nothing is told that sets it off, and after it everything is."""
    await flow.active(owner, MEET, **on("deal.deleted"))
    draft = await make.made(owner, "/agent-workflows", {"name": "x", "steps": MEET, **on("deal.created")})
    before = await deal(owner)
    answers = await asyncio.gather(
        owner.put(f"{API}/agent-workflows/{draft['id']}/status", json={"status": "active"}),
        *(deal(owner) for _ in range(4)),
        *(following.keep_up(service.database, most=1) for _ in range(3)),
    )
    after = await deal(owner)
    await flow.go_on(service)
    begun = {run["triggerData"]["subjectId"] for run in await flow.runs_of(owner, draft)}
    [active] = [one for one in await events_of(owner, draft["id"]) if one["event"] == "agent_workflow.updated"][:1]
    made = [before, after, *answers[1:5]]
    later = {row["id"] for row in made if (await events_of(owner, row["id"]))[-1]["seq"] > active["seq"]}
    assert begun == later
    assert (before["id"] in begun, after["id"] in begun) == (False, True)


async def test_a_workflow_does_what_whoever_stands_behind_it_may_and_no_more(
    owner: Client, member: Client, viewer: Client, service: Service, admin: Any
) -> None:
    agents = '{"agents": "write"}'
    await admin.execute("UPDATE workspace_members SET permissions = $1 WHERE user_id = $2", agents, viewer.user_id)
    refused = await viewer.post(f"{API}/agent-workflows", json={"name": "x", "steps": MEET})
    assert set(errors(refused)) == {"steps[0].action"}
    waits = [{"id": "wait", "action": "wait", "inputs": {"days": 1}}]
    assert (await make.made(viewer, "/agent-workflows", {"name": "x", "steps": waits}))["onBehalfOf"] == str(
        viewer.user_id
    )
    workflow = await flow.active(member, MEET)
    activated = await viewer.put(f"{API}/agent-workflows/{workflow['id']}/status", json={"status": "paused"})
    assert activated.status_code == 200
    activated = await viewer.put(f"{API}/agent-workflows/{workflow['id']}/status", json={"status": "active"})
    assert set(errors(activated)) == {"steps[0].action"}
    await make.moved(member, f"/agent-workflows/{workflow['id']}", "active")
    for change, words in (
        ("role = 'viewer'", "and not a workspace's viewer"),
        ("is_active = false", "nobody stands behind"),
    ):
        await admin.execute(f"UPDATE workspace_members SET {change} WHERE user_id = $1", member.user_id)
        run = await flow.run_of(owner, workflow)
        await flow.answer_bells(service)
        over = await flow.read(owner, run)
        assert (over["status"], over["error"]["code"]) == ("failed", "forbidden")
        assert words in over["error"]["message"]
    await make.moved(owner, f"/agent-workflows/{workflow['id']}", "paused")
    await make.moved(owner, f"/agent-workflows/{workflow['id']}", "active")
    run = await flow.run_of(owner, workflow)
    await flow.answer_bells(service)
    assert ((await flow.read(owner, run))["status"], run["onBehalfOf"]) == ("completed", str(owner.user_id))


@pytest.mark.parametrize("end", ["workspace", "workflow"])
async def test_runs_of_what_is_switched_off_end_and_say_why(
    end: str, owner: Client, service: Service, admin: Any
) -> None:
    ada = await make.agent(owner)
    asks = {"id": "ask", "action": "approval", "agentId": ada["id"], "inputs": {"title": "May we?"}}
    workflow = await flow.active(owner, [asks, *MEET], **on("deal.created"))
    clocked = await flow.active(owner, MEET, triggerType="schedule", triggerConfig={"cron": "0 9 * * *"})
    await deal(owner)
    await flow.go_on(service)
    [run] = await flow.runs_of(owner, workflow)
    if end == "workflow":
        await make.moved(owner, f"/agent-workflows/{workflow['id']}", "archived")
    else:
        await deal(owner)
        await admin.execute("UPDATE workspaces SET is_active = false WHERE id = $1", owner.workspace_id)
        await flow.due_now(service, run)
    await flow.go_on(service)
    at = datetime.fromisoformat(clocked["nextRunAt"]) + timedelta(seconds=1)
    await ticking.begin_workflows(service.database, at)
    await admin.execute("UPDATE workspaces SET is_active = true WHERE id = $1", owner.workspace_id)
    over = await flow.read(owner, run)
    words = "its workflow is archived" if end == "workflow" else "the workspace is deactivated"
    assert (over["status"], over["error"]) == ("failed", {"code": "stopped", "message": words})
    action = (await owner.get(f"{API}/agent-pending-actions/{run['waitingId']}")).json()
    assert action["status"] == "expired"
    assert len(await flow.runs_of(owner, workflow)) == 1
    assert len(await flow.runs_of(owner, clocked)) == (1 if end == "workflow" else 0)


async def test_a_schedule_that_cannot_be_reckoned_is_put_off_and_holds_up_no_other(
    owner: Client, service: Service, admin: Any
) -> None:
    clocked = {"triggerType": "schedule", "triggerConfig": {"cron": "0 9 * * *"}}
    broken, sound = [await flow.active(owner, MEET, **clocked) for _ in range(2)]
    await admin.execute(
        'UPDATE agent_workflows SET trigger_config = \'{"cron": "never"}\' WHERE id = $1', uuid.UUID(broken["id"])
    )
    at = datetime.fromisoformat(sound["nextRunAt"]) + timedelta(seconds=1)
    assert await ticking.begin_workflows(service.database, at) == 1
    assert len(await flow.runs_of(owner, sound)) == 1
    [run] = await flow.runs_of(owner, broken)
    assert (run["status"], run["error"]["code"]) == ("failed", "not_begun")
    after = (await owner.get(f"{API}/agent-workflows/{broken['id']}")).json()
    assert datetime.fromisoformat(after["nextRunAt"]) == at + ticking.PUT_OFF


@pytest.mark.parametrize(
    ("cron", "most", "found"),
    [("* * * * *", 100, 100), ("*/7 3 * * *", 1, 1), ("0 0 1 1 *", 100, 1), ("0 */2 * * *", 100, 100)],
)
def test_a_year_that_was_missed_is_not_walked_through(
    cron: str, most: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    plain = clock.next_run
    monkeypatch.setattr(clock, "next_run", lambda *given: looked.append(given) or plain(*given))
    until = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    times = clock.runs_until(cron, "Europe/Berlin", until - timedelta(days=366), until, most)
    assert (len(times), len(looked) < 500) == (found, True)
    assert times == sorted(times)
    for earlier, later in pairwise(times):
        assert plain(cron, "Europe/Berlin", earlier) == later
    assert plain(cron, "Europe/Berlin", times[-1]) > until


async def test_runs_that_are_long_over_are_not_kept(
    owner: Client, service: Service, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AT_ONCE", 2)
    workflow = await flow.active(owner, MEET)
    old = [await flow.run_of(owner, workflow) for _ in range(3)]
    await flow.answer_bells(service)
    await admin.execute("UPDATE agent_workflow_executions SET completed_at = now() - interval '91 days'")
    fresh = await flow.run_of(owner, workflow)
    await flow.answer_bells(service)
    waiting = await flow.run_of(owner, workflow)
    assert await sweeping.sweep(service.database, 90) == len(old)
    assert {run["id"] for run in await flow.runs_of(owner, workflow)} == {fresh["id"], waiting["id"]}
    assert await admin.fetchval("SELECT count(*) FROM agent_workflow_step_runs") == 1


async def test_a_run_tells_of_its_steps_and_not_of_all_it_holds_with_each(owner: Client, service: Service) -> None:
    steps = [
        {"id": f"s{n}", "action": "create_prospect", "inputs": {"values": {"notes": "x" * 2_000}}} for n in range(8)
    ]
    run = await flow.run_of(owner, await flow.active(owner, steps))
    await flow.answer_bells(service)
    told = await events_of(owner, run["id"])
    assert [one["event"].partition(".")[2] for one in told][::-1] in (
        ["created", "completed"],
        ["completed", "created"],
    )
    assert "stepResults" not in (next(one for one in told if one["event"].endswith("completed"))["changes"] or {})
    assert (await flow.read(owner, run))["completedSteps"] == len(steps)
