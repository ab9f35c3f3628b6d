"""Whoever can be given to somebody does not wait behind who cannot, and nobody decides beside another."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest

from comms.assignment.following import keep_up, reader
from comms.assignment.giving import MOST_PASSED
from comms.ownership import leaving
from tests.conftest import Client
from tests.make.agents import API, agent, made
from tests.make.racing import done_or_waiting, the_first_held_before
from tests.make.routing import Desk


async def given_back(admin: Any, by: str, talks: list[str]) -> None:
    """These have just been let go by somebody."""
    await admin.execute("UPDATE routing_places SET let_go_by = $1 WHERE conversation_id = ANY($2)", by, talks)


async def refused(admin: Any, by: str, talks: list[str]) -> None:
    """These were handed on, and refused by somebody."""
    await admin.execute(
        "INSERT INTO conversation_handoffs (workspace_id, id, conversation_id, fence, from_user_id, reason, status,"
        " target_user_id, refused, deadline_at, settled_at, created_at, updated_at)"
        " SELECT workspace_id, gen_random_uuid(), id, fence, $1::uuid, 'x', 'rejected', $1,"
        " jsonb_build_array(jsonb_build_object('userId', $1::uuid)), now(), now(), now(), now()"
        " FROM conversations WHERE id = ANY($2)",
        by,
        talks,
    )


REFUSED_BY_ALL = "who is free gave back or refused everything that waits here"


async def said_of_queues(desk: Desk) -> list[str | None]:
    """Why nobody in a queue was given to anybody, as it was told each time that changed."""
    told = await desk.listed("events", event="routing_queue.updated")
    return [one["data"]["heldUp"] for one in told]


async def test_who_gave_the_oldest_back_is_given_those_behind_them(desk: Desk, admin: Any) -> None:
    ann = await desk.person("ann", capacity=0)
    talks = [await desk.waiting() for _ in range(24)]
    await desk.routed()
    await given_back(admin, ann, talks[:22])
    await admin.execute("UPDATE routing_profiles SET capacity = 1 WHERE user_id = $1", ann)
    assert await desk.routed() == 1
    assert await desk.owner_of(talks[22]) == ann
    await admin.execute("UPDATE routing_profiles SET capacity = 2 WHERE user_id = $1", ann)
    await given_back(admin, ann, talks)
    assert await desk.routed() == 0
    [queue] = await desk.listed("routing-queues")
    assert queue["heldUp"] == REFUSED_BY_ALL
    ben = await desk.person("ben", capacity=2)
    assert await desk.routed() == 2
    assert [await desk.owner_of(talk) for talk in talks[:3]] == [ben, ben, None]


async def test_when_the_only_other_one_is_full_who_gave_the_oldest_back_goes_on_behind_them(
    desk: Desk, admin: Any
) -> None:
    ann, ben = await desk.person("ann", capacity=0), await desk.person("ben", capacity=0)
    talks = [await desk.waiting() for _ in range(30)]
    await desk.routed()
    await given_back(admin, ann, talks[:27])
    await admin.execute("UPDATE routing_profiles SET capacity = 1 WHERE user_id = ANY($1)", [ann, ben])
    await admin.execute("UPDATE routing_profiles SET capacity = 2 WHERE user_id = $1", ann)
    assert await desk.routed() == 3
    assert [await desk.owner_of(talk) for talk in (talks[0], *talks[26:])] == [ben, None, ann, ann, None]


async def test_what_all_who_are_free_gave_back_or_refused_holds_up_nobody_behind_it(desk: Desk, admin: Any) -> None:
    ann, ben = [await desk.person(name, capacity=0) for name in ("ann", "ben")]
    talks = [await desk.waiting() for _ in range(31)]
    await desk.routed()
    for by, some in ((ann, talks[:15]), (ben, talks[15:30])):
        await given_back(admin, by, some)
    for by, some in ((ben, talks[:15]), (ann, talks[15:30])):
        await refused(admin, by, some)
    await admin.execute("UPDATE routing_profiles SET capacity = 1 WHERE user_id = ANY($1)", [ann, ben])
    assert await desk.routed() == 1
    assert await desk.owner_of(talks[30]) in (ann, ben)
    cat = await desk.person("cat", capacity=2)
    assert await desk.routed() == 2
    assert [await desk.owner_of(talk) for talk in talks[:3]] == [cat, cat, None]


async def test_however_many_nobody_free_can_be_given_whoever_is_behind_them_comes_within_a_few_looks(
    desk: Desk, admin: Any
) -> None:
    ann = await desk.person("ann", capacity=0)
    last = await desk.waiting()
    await desk.routed()
    await admin.execute(_GIVEN_BACK, desk.owner.workspace_id, ann, 2 * MOST_PASSED + 100)
    await admin.execute("UPDATE routing_profiles SET capacity = 1 WHERE user_id = $1", ann)
    given: Counter[uuid.UUID] = Counter()
    worker = reader(desk.service.database, given)  # one that remembers its last look
    looks = []
    for _ in range(3):
        await worker.keep_up([desk.owner.workspace_id])
        looks.append(given.total())
    assert (looks, await desk.owner_of(last)) == ([0, 0, 1], ann)
    assert REFUSED_BY_ALL not in await said_of_queues(desk), "nobody had looked at all of them"
    await admin.execute("UPDATE routing_profiles SET capacity = 2 WHERE user_id = $1", ann)
    await worker.keep_up([desk.owner.workspace_id])
    ben = await desk.person("ben", capacity=1)
    first = await admin.fetchval("SELECT conversation_id FROM routing_places ORDER BY waiting_since, id LIMIT 1")
    await worker.keep_up([desk.owner.workspace_id])
    assert await desk.owner_of(str(first)) == ben, "who was not free is given what was passed over"
    for _ in range(5):
        await worker.keep_up([desk.owner.workspace_id])
    assert (await said_of_queues(desk)).count(REFUSED_BY_ALL) == 1, "all were looked at"


_GIVEN_BACK = """
WITH talks AS (
    INSERT INTO conversations (workspace_id, id, channel, waiting_since, created_at, updated_at)
    SELECT $1, gen_random_uuid(), 'sms', now() - interval '1 hour', now(), now() FROM generate_series(1, $3::int)
    RETURNING id, waiting_since
)
INSERT INTO routing_places
    (workspace_id, id, conversation_id, queue_id, waiting_since, let_go_by, created_at, updated_at)
SELECT $1, gen_random_uuid(), t.id, q.id, t.waiting_since, $2, now(), now() FROM talks t, routing_queues q
"""


async def test_queues_of_the_same_few_people_do_not_hide_a_queue_of_others(desk: Desk, admin: Any) -> None:
    """Of all that can be given only so many are looked at, the oldest; those behind them come at once too."""
    busy = [await desk.person(name, capacity=0) for name in ("ann", "ben")]
    for tag in ("a", "b", "c", "d", "e", "f"):
        await desk.rule(name=tag, tags=[tag])
        for _ in range(3):
            await desk.waiting(tags=[tag])
    first, desk.team_id = desk.team_id, (await made(desk.owner, "/teams", {"name": "Others"}))["id"]
    cat = await desk.person("cat", capacity=1)
    await desk.rule(name="others", tags=["others"])
    [everything] = [rule for rule in await desk.listed("routing-rules") if rule["name"] == "All"]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"position": 99})
    last = await desk.waiting(tags=["others"])
    await admin.execute("UPDATE routing_profiles SET capacity = 1 WHERE user_id = ANY($1)", busy)
    assert await keep_up(desk.service.database, [desk.owner.workspace_id], at_once=4) == 3
    assert await desk.owner_of(last) == cat
    assert first != desk.team_id


@pytest.mark.parametrize("older", [3, 30])
async def test_a_queue_that_has_not_had_its_turn_yet_is_not_said_to_have_been_refused(desk: Desk, older: int) -> None:
    await desk.rule(name="others", tags=["others"])
    [everything] = [rule for rule in await desk.listed("routing-rules") if rule["name"] == "All"]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"position": 99})
    talks = [await desk.waiting() for _ in range(older)]
    last = await desk.waiting(tags=["others"])
    ann = await desk.person("ann", capacity=50)
    assert await keep_up(desk.service.database, [desk.owner.workspace_id], at_once=2) == len(talks) + 1
    assert await desk.owner_of(last) == ann
    assert REFUSED_BY_ALL not in await said_of_queues(desk)


_HANDOFF = """
INSERT INTO conversation_handoffs (workspace_id, id, conversation_id, from_agent_id, reason, target_team_id,
    needed_skills, deadline_at, created_at, updated_at)
VALUES ($1, gen_random_uuid(), $2, $3, 'asks for a person', $4, $5, now() + interval '1 hour', now(), now())
"""


@pytest.mark.parametrize(
    "change",
    [
        "target_team_id = NULL, target_user_id = $2",
        "target_team_id = $3",
        "target_team_id = NULL, needed_skills = ARRAY['french']",
        "needed_skills = ARRAY['french']",
        "status = 'expired', settled_at = now()",
    ],
)
async def test_what_has_been_handed_to_others_since_it_was_queued_is_not_given_to_who_was_asked_before(
    desk: Desk, admin: Any, change: str
) -> None:
    bot = await agent(desk.owner, status="active")
    other = (await made(desk.owner, "/teams", {"name": "Others"}))["id"]
    talk = await desk.waiting()
    await admin.execute(_HANDOFF, desk.owner.workspace_id, talk, bot["id"], desk.team_id, [])
    assert await desk.routed() == 0
    assert len(await desk.listed("routing-places")) == 1
    ann = await desk.person("ann")
    # The log, which would queue it anew, has not been told yet.
    numbered = [one for one in ("$2", "$3") if one in change]
    values = [value for one, value in (("$2", desk.owner.user_id), ("$3", other)) if one in change]
    said = change.replace(numbered[0], "$2") if numbered else change
    await admin.execute(f"UPDATE conversation_handoffs SET {said} WHERE conversation_id = $1", talk, *values)
    assert await desk.routed() == 0
    assert await desk.owner_of(talk) is None
    assert ann


async def test_two_who_decide_at_once_exceed_nobodys_capacity_and_give_nothing_twice(desk: Desk, admin: Any) -> None:
    """Two rules for the same people: the first knows who has room and takes nothing yet when the second looks."""
    people = [await desk.person(name, capacity=0) for name in ("ann", "ben")]
    await desk.rule(name="chats", channels=["live_chat"], mode="round_robin", position=0)
    [everything] = [rule for rule in await desk.listed("routing-rules") if rule["name"] == "All"]
    await desk.owner.patch(f"{API}/routing-rules/{everything['id']}", json={"position": 1})
    talks = [await desk.waiting(channel=channel) for channel in ("sms", "live_chat") * 5]
    for _ in range(2):  # what is told of the queues is read too, so that all that is left is to give
        assert await desk.routed() == 0
    await admin.execute("UPDATE routing_profiles SET capacity = 2 WHERE user_id = ANY($1)", people)
    with the_first_held_before("CROSS JOIN LATERAL") as (has_looked, may_claim):
        first = asyncio.create_task(desk.routed())
        async with asyncio.timeout(20):
            await has_looked.wait()
            second = await desk.routed()
            may_claim.set()
            assert (await first, second) == (4, 0), "the second leaves it to the first"
    owners = [await desk.owner_of(talk) for talk in talks]
    assert Counter(owners) == {None: 6, **dict.fromkeys(people, 2)}
    assert owners[4:] == [None] * 6
    decided = [one["conversationId"] for one in await desk.listed("routing-decisions")]
    assert sorted(decided) == sorted(talks[:4])


async def test_who_is_deactivated_while_they_are_being_given_a_conversation_has_none_then(
    desk: Desk, admin: Any
) -> None:
    ann = await desk.person("ann")
    talk = await desk.waiting()
    [row] = await desk.listed("workspace-members", userId=ann)
    with the_first_held_before("INSERT INTO routing_turns") as (is_given, may_commit):
        routing = asyncio.create_task(desk.routed())
        async with asyncio.timeout(20):
            await is_given.wait()
            ending = asyncio.create_task(desk.owner.post(f"{API}/workspace-members/{row['id']}/deactivation"))
            await done_or_waiting(admin, ending)
            await leaving.let_go(desk.service.database, {"workspaceId": str(desk.owner.workspace_id), "userId": ann})
            may_commit.set()
            assert await routing == 1
            assert (await ending).is_success
    assert await desk.owner_of(talk) is None


async def test_one_workspace_in_which_nothing_can_be_given_stops_no_other(
    desk: Desk, stranger: Client, admin: Any
) -> None:
    theirs = Desk(desk.service, stranger)
    await theirs.open()
    for one in (desk, theirs):
        await one.person(f"ann{one.owner.workspace_id}")
    talks = [(one, await one.waiting()) for one in (desk, theirs)]
    no = f"ADD CONSTRAINT poison CHECK (workspace_id <> '{desk.owner.workspace_id}') NOT VALID"
    await admin.execute(f"ALTER TABLE routing_decisions {no}")
    try:
        assert await keep_up(desk.service.database) == 1
    finally:
        await admin.execute("ALTER TABLE routing_decisions DROP CONSTRAINT poison")
    assert [await one.owner_of(talk) is None for one, talk in talks] == [True, False]
    assert await keep_up(desk.service.database) == 1
