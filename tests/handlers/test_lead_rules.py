"""Rules: what a lead is worth, whose it becomes, and what follows from what."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import update

from comms import scoring
from comms.service import Service
from models.core import WorkspaceMember
from models.marketing import LeadScoringRule
from tests.conftest import Client
from tests.make import rows

NOWHERE = "00000000-0000-7000-8000-000000000000"
API = "/api/v1"


async def made(client: Client, table: str, **values: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/{table}", json=values)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def worth(client: Client, field: str, operator: str, value: Any, points: int, **values: Any) -> dict[str, Any]:
    said = {"field": field, "operator": operator, "value": value, "points": points}
    return await made(client, "lead-scoring-rules", name="R", **said, **values)


async def score(client: Client, contact: str) -> Any:
    return (await client.get(f"{API}/contacts/{contact}")).json()["leadScore"]


async def told(client: Client, subject: str) -> list[str]:
    items = (await client.get(f"{API}/events", params={"subjectId": subject})).json()["items"]
    return [item["event"] for item in items]


def named(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {error["field"] for error in answer.json()["errors"]}


async def test_a_score_is_the_points_of_the_active_rules_from_0_to_100(owner: Client, stranger: Client) -> None:
    chief = (await made(owner, "contacts", jobTitle="Chief", tags=["vip"]))["id"]
    spam = (await made(owner, "contacts", source="spam", leadScore=50))["id"]
    other = (await made(owner, "contacts", jobTitle="Clerk"))["id"]
    theirs = (await made(stranger, "contacts", jobTitle="Chief"))["id"]
    await worth(owner, "jobTitle", "equals", "Chief", 60)
    await worth(owner, "tags", "contains", "vip", 70)
    await worth(owner, "source", "equals", "spam", -10)
    await worth(owner, "jobTitle", "is_set", None, 7)
    await worth(owner, "jobTitle", "is_set", None, 50, isActive=False)
    answer = await owner.post(f"{API}/lead-scoring-rules/calculation")
    assert (answer.status_code, answer.json()) == (201, {"changed": 3})
    assert [await score(owner, contact) for contact in (chief, spam, other)] == [100, 0, 7]
    assert await score(stranger, theirs) is None
    assert await told(owner, chief) == ["contact.created", "contact.updated"]
    assert (await owner.post(f"{API}/lead-scoring-rules/calculation")).json() == {"changed": 0}
    assert await told(owner, chief) == ["contact.created", "contact.updated"]


@pytest.mark.parametrize("stale", [{"field": "shoeSize"}, {"operator": "before"}, {"value": None}], ids=str)
async def test_a_rule_that_no_longer_makes_sense_is_true_of_nobody(
    owner: Client, service: Service, stale: dict[str, Any]
) -> None:
    contact = (await made(owner, "contacts", jobTitle="Chief"))["id"]
    await worth(owner, "jobTitle", "equals", "Chief", 5)
    kept = {"field": "jobTitle", "operator": "equals", "value": "Chief"} | stale
    of = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    await rows.row(service, LeadScoringRule, **of, **kept, points=50)
    assert (await owner.post(f"{API}/lead-scoring-rules/calculation")).json() == {"changed": 1}
    assert await score(owner, contact) == 5


async def test_all_are_scored_however_many_batches_and_twice_at_once(
    owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "AT_ONCE", 2)
    people = [(await made(owner, "contacts", jobTitle="x"))["id"] for _ in range(7)]
    await worth(owner, "jobTitle", "is_set", None, 5)
    answers = await asyncio.gather(*(owner.post(f"{API}/lead-scoring-rules/calculation") for _ in range(2)))
    assert {answer.status_code for answer in answers} == {201}
    assert {await score(owner, contact) for contact in people} == {5}
    for contact in people:
        assert await told(owner, contact) == ["contact.created", "contact.updated"]


async def test_one_contact_is_scored_by_itself(owner: Client, stranger: Client, viewer: Client) -> None:
    one, other = [(await made(owner, "contacts", jobTitle="x"))["id"] for _ in range(2)]
    address = f"{API}/contacts/{one}/lead-score"
    refused = await owner.post(address)
    assert refused.status_code == 409
    assert "no active lead scoring rule" in refused.json()["detail"]
    await worth(owner, "jobTitle", "is_set", None, 5)
    assert (await owner.post(address)).json()["leadScore"] == 5
    assert await score(owner, other) is None
    assert (await stranger.post(address)).status_code == 404
    assert (await viewer.post(address)).status_code == 403


async def test_a_scoring_rule_that_makes_no_sense_is_refused(owner: Client) -> None:
    right = {"name": "R", "field": "tags", "operator": "contains", "value": "x", "points": 5}
    for wrong, field in (
        ({"field": "salary"}, "field"),
        ({"operator": "equals"}, "operator"),
        ({"value": 7}, "value"),
        ({"points": 101}, "points"),
        ({"priority": -1}, "priority"),
        ({"type": "magic"}, "type"),
    ):
        assert named(await owner.post(f"{API}/lead-scoring-rules", json=right | wrong)) == {field}
    rule = await made(owner, "lead-scoring-rules", **right)
    address = f"{API}/lead-scoring-rules/{rule['id']}"
    assert named(await owner.patch(address, json={"operator": "is_set"})) == {"value"}
    assert (await owner.patch(address, json={"operator": "is_set", "value": None})).status_code == 200


async def routed(client: Client, **values: Any) -> Any:
    contact = await made(client, "contacts", **values)
    return await client.post(f"{API}/contacts/{contact['id']}/routing")


async def test_the_first_rule_that_is_true_says_whose_a_contact_is(owner: Client, member: Client) -> None:
    vip = [{"field": "tags", "operator": "contains", "value": "vip"}]
    mine, theirs = str(owner.user_id), str(member.user_id)
    everybody = await made(owner, "lead-routing-rules", name="rest", assignTo=mine, priority=9)
    first = await made(owner, "lead-routing-rules", name="vip", conditions=vip, assignTo=theirs, priority=1)
    await made(owner, "lead-routing-rules", name="off", assignTo=theirs, priority=0, isActive=False)
    answer = await routed(owner, tags=["vip"])
    assert answer.status_code == 201, answer.text
    assert (answer.json()["ruleId"], answer.json()["contact"]["ownerId"]) == (first["id"], theirs)
    other = (await routed(owner)).json()
    assert (other["ruleId"], other["contact"]["ownerId"]) == (everybody["id"], mine)
    assert await told(owner, other["contact"]["id"]) == ["contact.created", "contact.updated"]
    again = await owner.post(f"{API}/contacts/{other['contact']['id']}/routing")
    assert again.status_code == 409
    assert mine in again.json()["detail"]


async def test_nobody_is_assigned_who_has_left(service: Service, owner: Client, member: Client) -> None:
    theirs = str(member.user_id)
    await made(owner, "lead-routing-rules", name="gone", assignTo=theirs)
    await made(owner, "lead-routing-rules", name="turns", roundRobin=True, roundRobinUsers=[theirs], priority=1)
    async with service.database.everywhere() as db:
        gone = update(WorkspaceMember).where(WorkspaceMember.user_id == member.user_id).values(is_active=False)
        await db.execute(gone)
    assert (await routed(owner)).status_code == 409
    await made(owner, "lead-routing-rules", name="rest", assignTo=str(owner.user_id), priority=2)
    assert (await routed(owner)).json()["contact"]["ownerId"] == str(owner.user_id)


async def test_round_robin_is_fair_to_twelve_at_once(
    service: Service, owner: Client, admin_member: Client, member: Client, viewer: Client
) -> None:
    users = [str(client.user_id) for client in (owner, admin_member, member, viewer)]
    rule = await made(owner, "lead-routing-rules", name="turns", roundRobin=True, roundRobinUsers=users)
    async with service.database.everywhere() as db:
        gone = update(WorkspaceMember).where(WorkspaceMember.user_id == viewer.user_id).values(is_active=False)
        await db.execute(gone)
    people = [(await made(owner, "contacts"))["id"] for _ in range(12)]
    clients = (owner, admin_member)
    answers = await asyncio.gather(
        *(clients[place % 2].post(f"{API}/contacts/{contact}/routing") for place, contact in enumerate(people))
    )
    assert {answer.status_code for answer in answers} == {201}
    shares = Counter(answer.json()["contact"]["ownerId"] for answer in answers)
    assert shares == {users[0]: 4, users[1]: 4, users[2]: 4}
    assert (await told(owner, rule["id"])).count("lead_routing_rule.updated") == 12


async def test_whoever_takes_every_turn_has_it_once_in_the_log(owner: Client) -> None:
    turns = {"name": "turns", "roundRobin": True, "roundRobinUsers": [str(owner.user_id)]}
    rule = await made(owner, "lead-routing-rules", **turns)
    for _ in range(3):
        assert (await routed(owner)).json()["contact"]["ownerId"] == str(owner.user_id)
    assert await told(owner, rule["id"]) == ["lead_routing_rule.created", "lead_routing_rule.updated"]


async def test_a_contact_routed_many_times_at_once_takes_one_turn(owner: Client, member: Client) -> None:
    users = [str(owner.user_id), str(member.user_id)]
    await made(owner, "lead-routing-rules", name="turns", roundRobin=True, roundRobinUsers=users)
    for turn in range(4):
        contact = (await made(owner, "contacts"))["id"]
        answers = await asyncio.gather(*(owner.post(f"{API}/contacts/{contact}/routing") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        shown = (await owner.get(f"{API}/contacts/{contact}")).json()
        assert shown["ownerId"] == users[turn % 2]


async def test_a_routing_rule_has_somebody_to_assign_to(owner: Client, stranger: Client) -> None:
    mine, theirs = str(owner.user_id), str(stranger.user_id)
    for wrong, field in (
        ({}, "assignTo"),
        ({"assignTo": theirs}, "assignTo"),
        ({"roundRobin": True}, "roundRobinUsers"),
        ({"roundRobin": True, "roundRobinUsers": [mine, theirs]}, "roundRobinUsers[1]"),
        ({"roundRobin": True, "roundRobinUsers": [mine, mine]}, "roundRobinUsers[1]"),
        ({"roundRobin": True, "roundRobinUsers": ["me"]}, "roundRobinUsers[0]"),
        ({"assignTo": mine, "conditions": [{"field": "tags", "operator": "near"}]}, "conditions[0].operator"),
        ({"assignTo": mine, "lastAssignedTo": mine}, "lastAssignedTo"),
    ):
        assert named(await owner.post(f"{API}/lead-routing-rules", json={"name": "R", **wrong})) == {field}
    rule = await made(owner, "lead-routing-rules", name="R", assignTo=mine)
    address = f"{API}/lead-routing-rules/{rule['id']}"
    assert named(await owner.patch(address, json={"assignTo": None})) == {"assignTo"}
    assert (await owner.patch(address, json={"assignTo": None, "isActive": False})).status_code == 200


SMS = {"name": "A", "triggerType": "tag_added", "actionType": "send_sms"}


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"status": "active"}, {"triggerConfig.tag", "actionConfig.body"}),
        ({"triggerConfig": {"colour": "red"}}, {"triggerConfig.colour"}),
        ({"triggerConfig": {"tag": 7}, "actionConfig": {"body": ""}}, {"triggerConfig.tag", "actionConfig.body"}),
        ({"triggerType": "deal_stage_changed", "triggerConfig": {"toStage": "x"}}, {"triggerConfig.toStage"}),
        ({"triggerType": "segment_entered", "triggerConfig": {"segmentId": "x"}}, {"triggerConfig.segmentId"}),
        (
            {"triggerType": "segment_entered", "triggerConfig": {"segmentId": NOWHERE}},
            {"triggerConfig.segmentId"},
        ),
        ({"actionType": "call_webhook", "actionConfig": {"url": "file:///etc/passwd"}}, {"actionConfig.url"}),
        ({"actionType": "update_field", "actionConfig": {"field": "createdAt"}}, {"actionConfig.field"}),
        ({"actionType": "assign_owner", "actionConfig": {"ownerId": NOWHERE}}, {"actionConfig.ownerId"}),
        ({"actionType": "explode"}, {"actionType"}),
        ({"executionCount": 7}, {"executionCount"}),
    ],
    ids=range(11),
)
async def test_an_automation_that_makes_no_sense_is_refused_by_name(
    owner: Client, values: dict[str, Any], fields: set[str]
) -> None:
    assert named(await owner.post(f"{API}/automation-rules", json=SMS | values)) == fields


async def test_an_automation_is_complete_once_it_is_active(owner: Client) -> None:
    rule = await made(owner, "automation-rules", **SMS)
    address = f"{API}/automation-rules/{rule['id']}"
    assert named(await owner.patch(address, json={"status": "active"})) == {"triggerConfig.tag", "actionConfig.body"}
    whole = {"status": "active", "triggerConfig": {"tag": "vip"}, "actionConfig": {"body": "Hello"}}
    assert (await owner.patch(address, json=whole)).status_code == 200
    assert named(await owner.patch(address, json={"actionType": "add_tag"})) == {
        "actionConfig.body",
        "actionConfig.tag",
    }
    assert (await owner.patch(address, json={"status": "archived"})).status_code == 200
    refused = await owner.patch(address, json={"status": "active"})
    assert refused.status_code == 409
    assert "draft" in refused.json()["detail"]
    assert (await owner.patch(address, json={"status": "draft"})).status_code == 200


async def test_an_automation_may_speak_of_what_is_here(owner: Client, stranger: Client) -> None:
    ours, theirs = [(await made(client, "segments", name="S"))["id"] for client in (owner, stranger)]
    enters = SMS | {"triggerType": "segment_entered"}
    await made(owner, "automation-rules", **enters, triggerConfig={"segmentId": ours})
    answer = await owner.post(f"{API}/automation-rules", json=enters | {"triggerConfig": {"segmentId": theirs}})
    assert named(answer) == {"triggerConfig.segmentId"}
