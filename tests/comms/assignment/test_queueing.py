"""In which queue a conversation waits: by the first rule that is true of it, by its handoff, or in none."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comms.assignment.following import keep_up
from comms.assignment.queueing import Seen, line_of
from models.communications import ConversationHandoff
from models.routing import RoutingRule
from tests.conftest import Client
from tests.make.agents import API, agent, made
from tests.make.routing import Desk

MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFFICE = {"schedule": {"mon": [{"from": "09:00", "to": "17:00"}]}}
NUMBER = uuid.uuid4()


def rule(**more: Any) -> RoutingRule:
    blank: dict[str, Any] = {name: [] for name in ("channels", "phone_number_ids", "tags", "conditions", "skills")}
    said = {"id": uuid.uuid4(), "team_id": uuid.uuid4(), "hours": None, "when_closed": "wait", **blank, **more}
    return RoutingRule(**said)


def seen(**more: Any) -> Seen:
    return Seen(**{"id": uuid.uuid4(), "channel": "sms", "phone_number_id": None, "tags": [], **more})


def index_of(rules: list[RoutingRule], what: Seen, at: datetime = MONDAY_NOON, zone: str = "UTC") -> int | None:
    """Which rule has it."""
    line = line_of(what, rules, zone, at)
    return None if line is None else [one.id for one in rules].index(line.rule_id)


@pytest.mark.parametrize(
    ("said", "true", "false"),
    [
        ({"channels": ["sms", "call"]}, seen(), seen(channel="email")),
        ({"phone_number_ids": [NUMBER]}, seen(phone_number_id=NUMBER), seen()),
        ({"tags": ["vip", "late"]}, seen(tags=["late", "x"]), seen(tags=["x"])),
    ],
)
def test_the_first_rule_that_is_true_has_it(said: dict[str, Any], true: Seen, false: Seen) -> None:
    rules = [rule(**said), rule(), rule()]
    assert (index_of(rules, true), index_of(rules, false)) == (0, 1)
    assert index_of(rules[:1], false) is None


def test_a_rule_about_contacts_is_asked_of_the_contact() -> None:
    choosy = rule(conditions=[{"field": "company"}])
    assert index_of([choosy], seen(true_of={choosy.id: True})) == 0
    assert index_of([choosy], seen(true_of={choosy.id: False})) is None


def test_when_its_hours_are_over_a_rule_waits_or_leaves_it_to_the_next_that_is_true() -> None:
    night = MONDAY_NOON + timedelta(hours=8)
    waits, skips = rule(hours=OFFICE), rule(hours=OFFICE, when_closed="skip")
    assert index_of([waits, rule()], seen(), night) == 0
    assert index_of([skips, rule()], seen(), MONDAY_NOON) == 0
    assert index_of([skips, rule()], seen(), night) == 1
    assert index_of([skips, rule(channels=["email"])], seen(), night) == 0  # sooner later than never
    assert index_of([skips, rule()], seen(), MONDAY_NOON, "Asia/Tokyo") == 1  # where it is nine in the evening


def test_who_is_asked_for_comes_before_all_rules() -> None:
    team, person = uuid.uuid4(), uuid.uuid4()
    handed = ConversationHandoff(target_team_id=team, needed_skills=["German", "billing"])
    line = line_of(seen(handoff=handed), [rule()], "UTC", MONDAY_NOON)
    assert line is not None
    assert (line.rule_id, line.team_id, line.skills) == (None, team, ("billing", "german"))
    asked = ConversationHandoff(target_user_id=person, needed_skills=[])
    assert line_of(seen(handoff=asked), [rule()], "UTC", MONDAY_NOON) is None


async def test_what_waits_is_queued_anew_when_the_rules_change(desk: Desk) -> None:
    talk = await desk.waiting(tags=["vip"])
    await desk.routed()
    [first] = await desk.listed("routing-places")
    other = (await made(desk.owner, "/teams", {"name": "Others"}))["id"]
    await made(desk.owner, "/team-members", {"teamId": other, "userId": str(desk.owner.user_id)})
    await desk.owner.patch(f"{API}/routing-rules/{(await desk.listed('routing-rules'))[0]['id']}", json={"position": 9})
    vip = await made(desk.owner, "/routing-rules", {"name": "Vip", "teamId": other, "tags": ["vip"]})
    await desk.routed()
    [place] = await desk.listed("routing-places")
    assert (place["id"], place["conversationId"]) == (first["id"], talk)
    queues = {queue["id"]: queue for queue in await desk.listed("routing-queues")}
    assert queues[place["queueId"]]["ruleId"] == vip["id"]
    assert (await desk.owner.delete(f"{API}/routing-rules/{vip['id']}")).status_code == 204
    await desk.routed()
    [place] = await desk.listed("routing-places")
    assert place["queueId"] == first["queueId"]
    await desk.owner.put(f"{API}/conversations/{talk}/tags", json={"tags": []})
    assert await desk.routed() == 0
    told = [one["event"] for one in await desk.listed("events", subjectId=place["id"])]
    assert told == ["routing_place.created", "routing_place.updated", "routing_place.updated"]


async def test_conditions_about_the_contact_are_asked_in_the_database(desk: Desk) -> None:
    [everything] = await desk.listed("routing-rules")
    says = [{"field": "company", "operator": "equals", "value": "Acme"}]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"conditions": says})
    ours, theirs = [(await made(desk.owner, "/contacts", {"company": company}))["id"] for company in ("Acme", "Rival")]
    talks = [await desk.waiting(contactId=contact) for contact in (ours, theirs)] + [await desk.waiting()]
    await desk.routed()
    assert [place["conversationId"] for place in await desk.listed("routing-places")] == talks[:1]


async def test_what_waited_before_there_was_a_rule_is_routed_when_somebody_says_so(
    service: Any, owner: Client, stranger: Client, viewer: Client
) -> None:
    desk = Desk(service, owner)
    before = await desk.waiting()
    await desk.open(channels=["sms"])
    ann = await desk.person("ann")
    assert await desk.routed() == 0
    path = f"{API}/conversations/{before}/routing"
    assert (await stranger.post(path)).status_code == 404
    assert (await viewer.post(path)).status_code == 403
    mail = await desk.waiting(channel="email")
    refused = await owner.post(f"{API}/conversations/{mail}/routing")
    assert refused.status_code == 409
    assert "no active routing rule" in refused.json()["detail"]
    answers = [await owner.post(path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert await desk.routed() == 1
    assert await desk.owner_of(before) == ann
    taken = await owner.post(path)
    assert taken.status_code == 409
    assert ann in taken.json()["detail"]


async def test_what_is_handed_over_to_a_team_or_a_skill_waits_for_them(desk: Desk, admin: Any) -> None:
    await desk.person("ben")
    other = (await made(desk.owner, "/teams", {"name": "Others"}))["id"]
    support, desk.team_id = desk.team_id, other
    ann = await desk.person("ann", skills=["German"])
    bot = await agent(desk.owner, status="active")
    await desk.busy(ann)  # though she is busier
    talks = [await desk.waiting(channel="email") for _ in range(2)]
    for talk, team, skills in ((talks[0], other, []), (talks[1], None, ["German"])):
        await admin.execute(_HANDOFF, desk.owner.workspace_id, talk, bot["id"], team, skills)
    assert await desk.routed() == 2
    assert [await desk.owner_of(talk) for talk in talks] == [ann, ann]
    decision = await desk.why(talks[0])
    assert (decision["ruleId"], decision["teamId"]) == (None, other)
    assert support != other


async def test_a_team_alone_is_enough_for_what_is_handed_over_to_it(service: Any, owner: Client, admin: Any) -> None:
    desk = Desk(service, owner)
    desk.team_id = (await made(owner, "/teams", {"name": "Others"}))["id"]
    ann = await desk.person("ann")
    talk = await desk.waiting()
    bot = await agent(owner, status="active")
    await admin.execute(_HANDOFF, owner.workspace_id, talk, bot["id"], desk.team_id, [])
    assert await keep_up(service.database) == 1  # of all workspaces, as the worker does
    assert await desk.owner_of(talk) == ann


_HANDOFF = """
INSERT INTO conversation_handoffs (workspace_id, id, conversation_id, from_agent_id, reason, target_team_id,
    needed_skills, deadline_at, created_at, updated_at)
VALUES ($1, gen_random_uuid(), $2, $3, 'asks for a person', $4, $5, now() + interval '1 hour', now(), now())
"""
