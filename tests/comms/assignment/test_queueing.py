"""In which queue a conversation waits: by the first rule that is true of it, by its handoff, or in none."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comms.assignment.following import catch_up, keep_up, reader
from comms.assignment.queueing import Seen, line_of
from models.communications import ConversationHandoff
from models.routing import RoutingRule
from tests.conftest import Client
from tests.make.agents import API, agent, made
from tests.make.routing import Desk

MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFFICE = {"schedule": {"mon": [{"from": "09:00", "to": "17:00"}]}}
OPEN = {
    "schedule": {day: [{"from": "00:00", "to": "24:00"}] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
}
CLOSED = {"schedule": {}, "holidays": [{"on": "2001-01-01", "open": [{"from": "09:00", "to": "10:00"}]}]}
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


@pytest.mark.parametrize(
    ("narrowed", "widened"),
    [
        ({"isActive": False}, {"isActive": True}),
        ({"channels": ["email"]}, {"channels": []}),
        ({"tags": ["vip"]}, {"tags": ["late"]}),
    ],
)
async def test_a_rule_that_was_off_or_narrower_for_a_while_has_all_again_who_waited_and_who_came_meanwhile(
    desk: Desk, narrowed: dict[str, Any], widened: dict[str, Any]
) -> None:
    [everything] = await desk.listed("routing-rules")
    path = f"{API}/routing-rules/{everything['id']}"
    talks = [await desk.waiting(tags=["late"])]
    await desk.routed()
    assert (await desk.owner.patch(path, json=narrowed)).status_code == 200
    await desk.routed()
    assert await desk.listed("routing-places") == []
    talks += [await desk.waiting(tags=["late"]) for _ in range(3)]
    await desk.routed()
    assert (await desk.owner.patch(path, json=widened)).status_code == 200
    while await _a_little(desk, 2):
        pass
    assert [row["conversationId"] for row in await desk.listed("routing-places", sort="waitingSince")] == talks
    ann = await desk.person("ann", capacity=2)
    assert await desk.routed() == 2
    assert [await desk.owner_of(talk) for talk in talks] == [ann, ann, None, None], "the oldest first"


async def test_what_waits_moves_on_when_a_rule_that_skips_opens_or_closes(desk: Desk, admin: Any) -> None:
    [everything] = await desk.listed("routing-rules")
    await desk.owner.delete(f"{API}/routing-rules/{everything['id']}")
    day_team, night_team = desk.team_id, (await made(desk.owner, "/teams", {"name": "Night"}))["id"]
    await desk.rule(name="Day", position=1, hours=OPEN, whenClosed="skip")
    desk.team_id = night_team
    ann = await desk.person("ann", capacity=1)
    await desk.rule(name="Night", position=2)
    given: Counter[uuid.UUID] = Counter()
    worker = reader(desk.service.database, given)  # one that remembers its last look

    async def look() -> int:
        before = given.total()
        await worker.keep_up([desk.owner.workspace_id])
        return given.total() - before

    talks = [await desk.waiting() for _ in range(2)]
    assert await look() == 0
    await admin.execute(_HOURS, json.dumps(CLOSED))  # as time goes by: nobody is told
    assert await look() == 1
    assert [await desk.owner_of(talk) for talk in talks] == [ann, None]
    assert await look() == 0
    assert [queue["heldUp"] for queue in await _where_somebody_waits(desk)] == ["nobody is free: 1 full"]
    desk.team_id = day_team
    ben = await desk.person("ben")
    assert await look() == 0
    await admin.execute(_HOURS, json.dumps(OPEN))
    assert await look() == 1
    assert await desk.owner_of(talks[1]) == ben


async def _where_somebody_waits(desk: Desk) -> list[dict[str, Any]]:
    ids = {place["queueId"] for place in await desk.listed("routing-places")}
    return [queue for queue in await desk.listed("routing-queues") if queue["id"] in ids]


async def _a_little(desk: Desk, most: int) -> bool:
    """The log is read on in pieces of so many; whether there may be more."""
    async with desk.service.database.everywhere() as db:
        return await catch_up(db, desk.owner.workspace_id, most)


async def test_conditions_about_the_contact_are_asked_in_the_database(desk: Desk) -> None:
    [everything] = await desk.listed("routing-rules")
    says = [{"field": "company", "operator": "equals", "value": "Acme"}]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"conditions": says})
    ours, theirs = [(await made(desk.owner, "/contacts", {"company": company}))["id"] for company in ("Acme", "Rival")]
    talks = [await desk.waiting(contactId=contact) for contact in (ours, theirs)] + [await desk.waiting()]
    await desk.routed()
    assert [place["conversationId"] for place in await desk.listed("routing-places")] == talks[:1]
    path = f"{API}/routing-rules/{everything['id']}"
    for conditions, count in (([], 3), ([{**says[0], "value": "Nobody"}], 0), (says, 1)):
        assert (await desk.owner.patch(path, json={"conditions": conditions})).status_code == 200
        await desk.routed()
        assert len(await desk.listed("routing-places")) == count


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


@pytest.mark.parametrize("was_deleted", [False, True])
async def test_what_waited_before_a_rule_was_written_is_its_own_once_something_about_it_changes(
    desk: Desk, was_deleted: bool
) -> None:
    if was_deleted:
        talk = await desk.waiting()
        await desk.routed()
    [everything] = await desk.listed("routing-rules")
    assert (await desk.owner.delete(f"{API}/routing-rules/{everything['id']}")).status_code == 204
    if not was_deleted:
        talk = await desk.waiting()
    await desk.routed()
    again = await desk.rule(name="again")
    await desk.routed()
    assert await desk.listed("routing-places") == []
    assert (await desk.owner.put(f"{API}/conversations/{talk}/tags", json={"tags": ["late"]})).status_code == 200
    await desk.routed()
    [place] = await desk.listed("routing-places")
    [queue] = await desk.listed("routing-queues", ruleId=again["id"])
    assert (place["conversationId"], place["queueId"]) == (talk, queue["id"])


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


@pytest.mark.parametrize("in_a_team", [False, True])
async def test_a_skill_alone_is_enough_for_what_is_handed_over_to_whoever_has_it(
    service: Any, owner: Client, member: Client, viewer: Client, in_a_team: bool
) -> None:
    """In a workspace without a rule, and in one whose teams have nobody with it."""
    desk = Desk(service, owner)
    if in_a_team:
        desk.team_id = (await made(owner, "/teams", {"name": "Others"}))["id"]
        await desk.person("ann")
    for who, skills in ((member, ["German"]), (viewer, ["german"]), (owner, ["french"])):
        await made(owner, "/routing-profiles", {"userId": str(who.user_id), "skills": skills})
    talk = await desk.waiting()
    await made(owner, f"/conversations/{talk}/handoffs", {"reason": "x", "target": {"neededSkills": ["german"]}})
    assert await keep_up(service.database) == 1
    assert await desk.owner_of(talk) == str(member.user_id)


_HANDOFF = """
INSERT INTO conversation_handoffs (workspace_id, id, conversation_id, from_agent_id, reason, target_team_id,
    needed_skills, deadline_at, created_at, updated_at)
VALUES ($1, gen_random_uuid(), $2, $3, 'asks for a person', $4, $5, now() + interval '1 hour', now(), now())
"""
_HOURS = "UPDATE routing_rules SET hours = $1::jsonb WHERE when_closed = 'skip'"
