"""Who waits is given to who is free: once, to nobody beyond what they can take, and with a reason."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from comms.assignment.following import catch_up
from models.base import now
from models.communications import Conversation
from tests.conftest import Client
from tests.make.agents import API, made
from tests.make.killing import killed_at
from tests.make.routing import Desk


async def test_what_comes_in_is_given_to_who_is_least_busy_and_everybody_can_read_why(desk: Desk) -> None:
    ann, ben, cat = [await desk.person(name, capacity=2) for name in ("ann", "ben", "cat")]
    await desk.busy(ann)
    await desk.busy(cat, 2)
    talk = await desk.waiting()
    assert await desk.routed() == 1
    assert await desk.owner_of(talk) == ben
    decision = await desk.why(talk)
    assert decision["userId"] == ben
    assert decision["reason"] == "the fewest open conversations of 2 who were free: 0 of 2 places taken"
    verdicts = {one["userId"]: one["verdict"] for one in decision["considered"]}
    assert verdicts == {ben: "chosen", ann: "busier", cat: "full", str(desk.owner.user_id): "full"}
    told = await desk.listed("events", conversationId=talk)
    facts = [one["event"] for one in told]
    assert facts == [
        "conversation.created",
        "routing_place.created",
        "conversation.assigned",
        "conversation_participant.created",
        "routing_decision.created",
        "routing_place.deleted",
    ]
    assert told[2]["data"]["ownershipReason"] == f"routed: {decision['reason']}"
    assert told[4]["data"] == decision
    assert await desk.routed() == 0  # and looked at again it stays as it is
    assert await desk.listed("routing-places") == []


async def test_who_frees_up_first_is_given_who_has_waited_longest(desk: Desk) -> None:
    ann, ben = [await desk.person(name, capacity=1) for name in ("ann", "ben")]
    [anns], [bens] = await desk.busy(ann), await desk.busy(ben)
    first, second = await desk.waiting(), await desk.waiting()
    assert await desk.routed() == 0
    waiting = await desk.listed("routing-places", sort="waitingSince")
    assert [place["conversationId"] for place in waiting] == [first, second]
    [queue] = await desk.listed("routing-queues")
    assert queue["heldUp"] == "nobody is free: 3 full"
    await desk.close(bens)
    assert await desk.routed() == 1
    assert (await desk.owner_of(first), await desk.owner_of(second)) == (ben, None)
    assert (await desk.why(first))["reason"] == "the only one who was free: 0 of 1 places taken"
    await desk.close(anns)
    assert await desk.routed() == 1
    assert await desk.owner_of(second) == ann


async def test_what_somebody_is_just_taking_is_not_taken_from_them(desk: Desk) -> None:
    ann = await desk.person("ann")
    talk, other = await desk.waiting(), await desk.waiting()
    async with desk.service.database.workspace(desk.owner.workspace_id) as db:
        held = select(Conversation).where(Conversation.id == talk).with_for_update(key_share=True)
        row = (await db.scalars(held)).one()
        async with asyncio.timeout(5):  # nobody waits for them
            assert await desk.routed() == 1
        row.assigned_to, row.waiting_since = desk.owner.user_id, None
    assert await desk.routed() == 0
    assert await desk.owner_of(talk) == str(desk.owner.user_id)
    assert await desk.owner_of(other) == ann


async def test_killed_at_any_step_it_loses_nothing_and_decides_nothing_twice(desk: Desk) -> None:
    people = [await desk.person(name, capacity=1) for name in ("ann", "ben")]
    talks = [await desk.waiting() for _ in range(3)]
    step = 1
    while await killed_at(step, desk.routed()):
        step += 1
    assert step > 10
    owners = [await desk.owner_of(talk) for talk in talks]
    assert (set(owners[:2]), owners[2]) == (set(people), None)
    decided = Counter(one["conversationId"] for one in await desk.listed("routing-decisions"))
    assert decided == dict.fromkeys(talks[:2], 1)
    assert [place["conversationId"] for place in await desk.listed("routing-places")] == talks[2:]
    told = Counter(one["event"] for one in await desk.listed("events", conversationId=talks[2]))
    assert told == {"conversation.created": 1, "routing_place.created": 1}


async def test_round_robin_goes_round_and_remembers_whose_turn_it_is(desk: Desk) -> None:
    [rule] = await desk.listed("routing-rules")
    await desk.owner.patch(f"{API}/routing-rules/{rule['id']}", json={"mode": "round_robin"})
    people = [await desk.person(name, capacity=9) for name in ("ann", "ben", "cat")]
    talks = []
    for at_once in (2, 1, 3):
        talks += [await desk.waiting() for _ in range(at_once)]
        assert await desk.routed() == at_once
    owners = [await desk.owner_of(talk) for talk in talks]
    assert owners == [*owners[:3], *owners[:3]]
    assert set(owners) == set(people)


async def test_who_had_the_contact_last_has_them_again_on_another_channel_too(desk: Desk) -> None:
    [rule] = await desk.listed("routing-rules")
    await desk.owner.patch(f"{API}/routing-rules/{rule['id']}", json={"stickyDays": 30})
    ann, ben = await desk.person("ann"), await desk.person("ben")
    contact = (await desk.owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()["id"]
    [before] = await desk.busy(ann, contactId=contact)
    await desk.close(before)
    await desk.busy(ann, 2)
    talk, anyone = await desk.waiting(contactId=contact, channel="live_chat"), await desk.waiting()
    assert await desk.routed() == 2
    assert await desk.owner_of(talk) == ann
    assert (await desk.why(talk))["reason"] == "had this contact last, and is free: 2 of 5 places taken"
    assert await desk.owner_of(anyone) == ben


async def test_a_contact_that_is_deleted_meanwhile_is_remembered_for_nobody(desk: Desk, admin: Any) -> None:
    ann = await desk.person("ann")
    contact = (await desk.owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()["id"]
    await desk.busy(ann, contactId=contact)
    await admin.execute("UPDATE conversations SET contact_id = NULL")  # else the look waits for those first

    async def look() -> None:
        async with desk.service.database.everywhere() as db:
            await catch_up(db, desk.owner.workspace_id)

    async with admin.transaction(), asyncio.timeout(20):
        await admin.execute("DELETE FROM contacts WHERE id = $1::uuid", contact)
        looking = asyncio.create_task(look())
        while not looking.done() and not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass
    await looking
    assert await admin.fetchval("SELECT count(*) FROM routing_bonds") == 0


async def test_the_skills_of_a_rule_and_places_for_a_channel_decide_who_can(desk: Desk) -> None:
    ann = await desk.person("ann", skills=["German ", "billing"], channelCapacity={"live_chat": 1})
    await desk.person("ben")
    await desk.rule(name="chats", channels=["live_chat"], skills=["GERMAN"], position=0)
    [everything] = [rule for rule in await desk.listed("routing-rules") if rule["name"] == "All"]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"position": 1})
    first, second = await desk.waiting(channel="live_chat"), await desk.waiting(channel="live_chat")
    assert await desk.routed() == 1
    assert (await desk.owner_of(first), await desk.owner_of(second)) == (ann, None)
    assert await desk.routed() == 0
    [held] = [queue for queue in await desk.listed("routing-queues") if queue["channel"] == "live_chat"]
    assert held["heldUp"] == "nobody is free: 1 full, 2 without the skills"
    assert held["skills"] == ["german"]


async def test_who_is_away_offline_or_on_a_call_is_given_nothing_until_they_are_back(desk: Desk, admin: Any) -> None:
    ann = await desk.person("ann", needsPresence=True)
    talk = await desk.waiting()
    assert await desk.routed() == 0
    [queue] = await desk.listed("routing-queues")
    assert queue["heldUp"] == "nobody is free: 1 full, 1 offline"
    await admin.execute(
        "INSERT INTO routing_turns (workspace_id, user_id, online_until) VALUES ($1, $2, now() + interval '1 minute')",
        desk.owner.workspace_id,
        ann,
    )
    assert await desk.routed() == 1
    assert await desk.owner_of(talk) == ann
    [queue] = await desk.listed("routing-queues")
    assert queue["heldUp"] is None


async def test_who_says_to_be_away_keeps_what_they_have_and_is_given_no_more(desk: Desk, member: Any) -> None:
    me = await desk.join(member.user_id)
    first = await desk.waiting()
    assert await desk.routed() == 1
    for said, status in (("away", "away"), ("away", "away")):
        answer = await member.put(f"{API}/me/availability", json={"availability": said})
        assert (answer.status_code, answer.json()["availability"]) == (200, status)
    second = await desk.waiting()
    assert await desk.routed() == 0
    assert (await desk.owner_of(first), await desk.owner_of(second)) == (me, None)
    await member.put(f"{API}/me/availability", json={"availability": "available"})
    assert await desk.routed() == 1
    assert await desk.owner_of(second) == me
    told = [one["event"] for one in await desk.listed("events") if one["event"].startswith("routing_profile.")]
    assert told[1:] == ["routing_profile.created", "routing_profile.updated"]  # the first is the owner's


async def test_who_gave_it_back_is_not_given_it_again(desk: Desk) -> None:
    ann = await desk.person("ann")
    talk = await desk.waiting()
    assert await desk.routed() == 1
    assert (await desk.owner.delete(f"{API}/conversations/{talk}/assignment")).status_code == 200
    assert await desk.routed() == 0
    [place] = await desk.listed("routing-places")
    assert (place["conversationId"], place["letGoBy"]) == (talk, ann)
    ben = await desk.person("ben", capacity=1)
    assert await desk.routed() == 1
    assert await desk.owner_of(talk) == ben


@pytest.mark.parametrize("meanwhile", ["it was snoozed", "its rule was off"])
async def test_who_gave_it_back_is_not_given_it_again_though_it_had_no_place_for_a_while(
    desk: Desk, meanwhile: str
) -> None:
    await desk.person("ann")
    talk = await desk.waiting()
    assert await desk.routed() == 1
    assert (await desk.owner.delete(f"{API}/conversations/{talk}/assignment")).status_code == 200
    [rule] = await desk.listed("routing-rules")
    snooze = f"{API}/conversations/{talk}/snooze"
    tomorrow = (now() + timedelta(days=1)).isoformat()
    for is_away in (True, False):
        if meanwhile == "its rule was off":
            await desk.owner.patch(f"{API}/routing-rules/{rule['id']}", json={"isActive": not is_away})
        elif is_away:
            await desk.owner.put(snooze, json={"until": tomorrow})
        else:
            await desk.owner.delete(snooze)
        assert await desk.routed() == 0
        assert len(await desk.listed("routing-places")) == (not is_away)
    ben = await desk.person("ben")
    assert (await desk.routed(), await desk.owner_of(talk)) == (1, ben)


@pytest.mark.parametrize("asked", ["by name", "by name, and then by a skill", "with their team", "by an administrator"])
async def test_who_refused_it_is_not_given_it_until_there_is_something_new(
    desk: Desk, member: Client, admin: Any, asked: str
) -> None:
    me = await desk.join(member.user_id, skills=["billing"])
    talk = await desk.waiting()
    await desk.assign(talk, str(desk.owner.user_id))
    target = {"teamId": desk.team_id} if asked == "with their team" else {"userId": me}
    steps = [{"target": {"neededSkills": ["billing"]}}] if "skill" in asked else []
    body = {"reason": "x", "target": target, "steps": steps}
    handoff = await made(desk.owner, f"/conversations/{talk}/handoffs", body)
    who = desk.owner if asked == "by an administrator" else member
    refused = await made(who, f"/conversations/{talk}/handoffs/{handoff['id']}/rejection", {})
    assert refused["status"] == ("open" if steps else "rejected")
    assert [one["userId"] for one in refused["refused"]].count(me) == 1
    assert await desk.routed() == 0
    [queue] = await desk.listed("routing-queues")
    assert queue["heldUp"] == "who is free gave back or refused everything that waits here"
    behind = await desk.waiting()
    assert (await desk.routed(), await desk.owner_of(behind)) == (1, me)
    if steps:
        await desk.person("ann", skills=["billing"], capacity=1)
        assert await desk.routed() == 1
        verdicts = {one["userId"]: (one["verdict"], one["because"]) for one in (await desk.why(talk))["considered"]}
        assert verdicts[me] == ("refused", "has refused it")
        return
    await admin.execute(
        "INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, sender_type, status, content,"
        " created_at, updated_at) VALUES"
        " ($1, gen_random_uuid(), $2, 'inbound', 'contact', 'received', 'It is something else', now(), now())",
        desk.owner.workspace_id,
        talk,
    )
    assert (await desk.routed(), await desk.owner_of(talk)) == (1, me)


async def test_who_leaves_the_workspace_or_is_a_viewer_is_given_nothing(desk: Desk) -> None:
    ann = await desk.person("ann")
    await desk.person("eve", role="viewer", capacity=5)
    [row] = await desk.listed("workspace-members", userId=ann)
    assert (await desk.owner.delete(f"{API}/workspace-members/{row['id']}")).is_success
    talk = await desk.waiting()
    assert await desk.routed() == 0
    assert await desk.owner_of(talk) is None


async def test_a_snoozed_a_closed_and_a_taken_conversation_have_no_place(desk: Desk) -> None:
    snoozed, closed, taken, stays = [await desk.waiting() for _ in range(4)]
    await desk.routed()
    assert len(await desk.listed("routing-places")) == 4
    until = now().replace(year=now().year + 1).isoformat()
    assert (await desk.owner.put(f"{API}/conversations/{snoozed}/snooze", json={"until": until})).status_code == 200
    await desk.close(closed)
    await desk.assign(taken, str(desk.owner.user_id))
    await desk.person("ann")
    assert await desk.routed() == 1
    assert await desk.listed("routing-places") == []
    assert await desk.owner_of(snoozed) is None
    assert await desk.owner_of(stays) is not None
    assert (await desk.owner.delete(f"{API}/conversations/{snoozed}/snooze")).status_code == 200
    assert await desk.routed() == 1
