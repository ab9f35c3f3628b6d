"""Conversations are handed on with what is known, accepted, refused and withdrawn; and no agent hands in circles."""

import asyncio
import uuid
from typing import Any

import pytest

from comms.errors import Conflict
from comms.ownership import Owned, Stale, claim, deadlines
from comms.service import Service
from models.communications import Conversation
from models.communications.handoffs import Target
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.handoffs import agent_hands, can, hand, overdue, seen, told

API = "/api/v1"


@pytest.fixture
async def talk(talk: Conversation, owner: Client) -> Conversation:
    """In a workspace whose owner knows about billing and law."""
    await can(owner, owner, "billing", "law")
    return talk


@pytest.fixture
async def billing(owner: Client, member: Client) -> str:
    """A team of one: the member, who knows about billing."""
    await can(owner, member, "billing")
    team: str = (await owner.post(f"{API}/teams", json={"name": "Billing"})).json()["id"]
    body = {"teamId": team, "userId": str(member.user_id)}
    assert (await owner.post(f"{API}/team-members", json=body)).status_code == 201
    return team


async def test_what_is_handed_on_waits_for_the_team_with_its_packet_until_one_of_it_accepts(
    service: Service, owner: Client, member: Client, talk: Conversation, billing: str, ada: uuid.UUID, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    handoff_id = await agent_hands(
        service,
        talk,
        ada,
        fence,
        Target(team_id=uuid.UUID(billing), needed_skills=["billing"]),
        summary="Charged twice",
    )
    row = await seen(member, handoff_id)
    assert (row["status"], row["fromAgentId"], row["targetTeamId"]) == ("open", str(ada), billing)
    assert (row["packet"]["summary"], row["neededSkills"], row["fence"]) == ("Charged twice", ["billing"], fence + 1)
    now = (await member.get(f"{API}/conversations/{talk.id}")).json()
    assert (now["agentId"], now["assignedTo"], now["ownershipReason"]) == (None, None, "handed on: Cannot help")
    assert now["waitingSince"] is not None
    with pytest.raises(Stale):
        await make.reply(service, talk, ada, fence)
    with pytest.raises(Owned, match="handed on"):
        await make.claim(service, talk, ada)
    address = f"{API}/conversations/{talk.id}/handoffs/{handoff_id}/acceptance"
    assert (await owner.post(address)).status_code == 403
    taken = await member.post(address)
    assert (taken.status_code, taken.json()["status"]) == (201, "accepted"), taken.text
    late = await member.post(address)
    assert late.status_code == 409
    assert late.json()["owner"] == {
        "userId": str(member.user_id),
        "agentId": None,
        "leaseExpiresAt": None,
        "fence": fence + 2,
    }
    assert await told(admin, handoff_id) == ["conversation_handoff.created", "conversation_handoff.accepted"]
    assert (await told(admin, talk.id))[-2:] == ["conversation.handed_on", "conversation.assigned"]


async def test_of_two_who_accept_at_once_one_has_it(
    owner: Client, member: Client, talk: Conversation, service: Service
) -> None:
    await can(owner, member, "billing")
    row = await hand(owner, talk, {"neededSkills": ["billing"]})
    address = f"{API}/conversations/{talk.id}/handoffs/{row['id']}/acceptance"
    first, second = await asyncio.gather(owner.post(address), member.post(address))
    assert sorted([first.status_code, second.status_code]) == [201, 409]
    winner = owner if first.status_code == 201 else member
    assert (await make.now_of(service, talk)).assigned_to == winner.user_id


async def test_whoever_takes_over_before_ends_the_handoff_as_taken(
    owner: Client, member: Client, talk: Conversation
) -> None:
    row = await hand(owner, talk, {"userId": str(member.user_id)})
    assert (await owner.put(f"{API}/conversations/{talk.id}/ownership")).json()["assignedTo"] == str(owner.user_id)
    row = await seen(owner, row["id"])
    assert (row["status"], row["takenByUserId"]) == ("taken", str(owner.user_id))


async def test_the_deadline_asks_the_next_tells_the_contact_owes_a_call_and_then_it_waits_for_anybody(
    service: Service, owner: Client, member: Client, talk: Conversation, billing: str, admin: Any
) -> None:
    words = {"handedOn": "One moment.", "expired": "We will write to you."}
    settled = await owner.patch(
        f"{API}/workspaces/{talk.workspace_id}", json={"settings": {"handoffs": {"words": words}}}
    )
    assert settled.status_code == 200, settled.text
    steps = [
        {"tellContact": "Still looking.", "callback": {"inSeconds": 60}, "withinSeconds": 90},
        {"target": {"teamId": billing}},
    ]
    row = await hand(owner, talk, {"userId": str(member.user_id)}, steps=steps, withinSeconds=30)
    assert await deadlines.pass_deadlines(service.database) == 0
    for taken, team in ((1, None), (2, billing)):
        await overdue(admin)
        both = await asyncio.gather(*(deadlines.pass_deadlines(service.database) for _ in range(2)))
        assert sum(both) == 1
        row = await seen(owner, row["id"])
        assert (row["status"], row["stepsTaken"], row["targetTeamId"], row["withinSeconds"]) == (
            "open",
            taken,
            team,
            90,
        )
    await overdue(admin)
    assert await deadlines.pass_deadlines(service.database) == 1
    row = await seen(owner, row["id"])
    assert row["status"] == "expired"
    said = [
        one["content"] for one in await admin.fetch("SELECT content FROM conversation_messages ORDER BY created_at")
    ]
    assert said == ["One moment.", "Still looking.", "We will write to you."]
    call = await admin.fetchrow("SELECT type, subject, user_id FROM crm_interactions")
    assert tuple(call) == ("call", "Charged twice", member.user_id)
    assert await told(admin, row["id"]) == [
        f"conversation_handoff.{what}" for what in ("created", "escalated", "escalated", "expired")
    ]
    assert (await make.now_of(service, talk)).waiting_since is not None


async def test_who_is_gone_by_the_time_they_are_to_be_asked_is_passed_over_and_holds_up_no_other(
    service: Service, owner: Client, member: Client, talk: Conversation, billing: str, admin: Any
) -> None:
    gone = (await owner.post(f"{API}/teams", json={"name": "For a day"})).json()["id"]
    body = {"teamId": gone, "userId": str(owner.user_id)}
    belongs = (await owner.post(f"{API}/team-members", json=body)).json()["id"]
    steps = [{"target": {"teamId": gone}}, {"target": {"teamId": billing}}]
    row = await hand(owner, talk, {"userId": str(member.user_id)}, steps=steps)
    assert (await owner.delete(f"{API}/team-members/{belongs}")).status_code == 204
    await overdue(admin)
    assert await deadlines.pass_deadlines(service.database) == 1
    row = await seen(owner, row["id"])
    assert (row["status"], row["targetTeamId"]) == ("open", billing)


async def test_a_step_that_would_fail_each_time_is_left_out_and_the_handoff_goes_on(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    steps = [
        {"callback": {"subject": "Fails"}},
        {"target": {"userId": str(owner.user_id)}},
        {"callback": {"subject": "Fails"}},
    ]
    row = await hand(owner, talk, {"userId": str(member.user_id)}, steps=steps)
    await admin.execute("ALTER TABLE crm_interactions ADD CONSTRAINT broken CHECK (subject <> 'Fails') NOT VALID")
    stands = []
    try:
        for _ in range(5):
            await overdue(admin)
            await deadlines.pass_deadlines(service.database)
            row = await seen(owner, row["id"])
            stands.append((row["status"], row["stepsTaken"], row["targetUserId"] == str(owner.user_id)))
    finally:
        await admin.execute("ALTER TABLE crm_interactions DROP CONSTRAINT broken")
    left_out, asked, last = ("open", 1, False), ("open", 2, True), ("open", 3, True)
    assert stands == [left_out, asked, last, ("expired", 3, True), ("expired", 3, True)]


async def test_a_blank_skill_that_a_step_was_given_once_asks_nobody_and_keeps_no_handoff_open(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    steps = [{"target": {"userId": str(owner.user_id)}}, {"tellContact": "Sorry."}]
    row = await hand(owner, talk, {"userId": str(member.user_id)}, steps=steps)
    await admin.execute(
        """UPDATE conversation_handoffs SET steps = jsonb_set(steps, '{0,target}', '{"neededSkills": [" "]}')"""
    )
    for status in ("open", "expired"):
        await overdue(admin)
        assert await deadlines.pass_deadlines(service.database) == 1
        assert (await seen(owner, row["id"]))["status"] == status


async def test_whoever_answers_what_is_handed_on_has_it(
    service: Service, owner: Client, member: Client, talk: Conversation, billing: str, ada: uuid.UUID
) -> None:
    fence = await make.claim(service, talk, ada)
    handoff_id = await agent_hands(service, talk, ada, fence, Target(team_id=uuid.UUID(billing)))
    said = await member.post(f"{API}/conversations/{talk.id}/messages", json={"content": "I am here"})
    assert said.status_code == 201, said.text
    shown = (await owner.get(f"{API}/conversations/{talk.id}")).json()
    assert shown["assignedTo"] == str(member.user_id)
    assert (await seen(owner, handoff_id))["status"] == "accepted"
    async with make.held(service, talk) as (db, row):
        with pytest.raises(Owned):
            await claim(db, row, ada, 60)


async def test_who_refuses_is_not_asked_again_and_the_next_is_asked_at_once(
    owner: Client, member: Client, viewer: Client, talk: Conversation, billing: str
) -> None:
    steps = [{"tellContact": "Still looking."}, {"target": {"userId": str(owner.user_id)}}]
    row = await hand(owner, talk, {"teamId": billing}, steps=steps)
    address = f"{API}/conversations/{talk.id}/handoffs/{row['id']}/rejection"
    assert (await viewer.post(address, json={})).status_code == 403
    refused = (await member.post(address, json={"reason": "Not in today"})).json()
    assert (refused["status"], refused["targetUserId"], refused["stepsTaken"]) == ("open", str(owner.user_id), 2)
    assert (await member.post(address, json={})).status_code == 403
    last = (await owner.post(address, json={"reason": "Nor am I"})).json()
    assert (last["status"], last["settledBecause"]) == ("rejected", "Nor am I")


def whole(target: dict[str, str]) -> dict[str, Any]:
    """The target as an answer has it."""
    return {"userId": None, "agentId": None, "teamId": None, "neededSkills": []} | target


async def test_two_who_have_refused_are_not_asked_in_turn(
    owner: Client, member: Client, talk: Conversation, billing: str
) -> None:
    team, mine, theirs = {"teamId": billing}, {"userId": str(owner.user_id)}, {"userId": str(member.user_id)}
    steps = [{"target": one} for one in (mine, team, theirs, mine, team)]
    row = await hand(owner, talk, team, steps=steps)
    address = f"{API}/conversations/{talk.id}/handoffs/{row['id']}/rejection"
    first = (await member.post(address, json={})).json()
    assert (first["targetUserId"], first["refused"]) == (str(owner.user_id), [whole(team), whole(theirs)])
    last = (await owner.post(address, json={"reason": "Nor am I"})).json()
    assert (last["status"], last["stepsTaken"], last["asked"]) == ("rejected", 5, [whole(team), whole(mine)])
    again = await hand(owner, talk, team)
    assert (again["status"], again["refused"]) == ("open", []), "what is handed on anew is new"


@pytest.mark.parametrize("of_team", [False, True])
async def test_whoever_has_not_the_skills_that_are_asked_for_neither_accepts_nor_refuses(
    owner: Client, member: Client, talk: Conversation, billing: str, of_team: bool
) -> None:
    await owner.post(f"{API}/team-members", json={"teamId": billing, "userId": str(owner.user_id)})
    row = await hand(owner, talk, {"neededSkills": ["Law"], **({"teamId": billing} if of_team else {})})
    address = f"{API}/conversations/{talk.id}/handoffs/{row['id']}"
    for noun in ("acceptance", "rejection"):
        assert (await member.post(f"{address}/{noun}", json={})).status_code == 403
    assert (await owner.post(f"{address}/acceptance")).json()["status"] == "accepted"


async def test_an_agent_does_not_hand_back_to_where_it_came_from_without_something_new(
    service: Service, talk: Conversation, ada: uuid.UUID, workspace_id: uuid.UUID, admin: Any
) -> None:
    bob = await make.agent(service, workspace_id, "Bob")
    fence = await make.claim(service, talk, ada)
    await agent_hands(service, talk, ada, fence, Target(agent_id=bob), summary="?", facts={"order": "A-17"})
    fence = await make.claim(service, talk, bob)
    with pytest.raises(Conflict, match="without something new"):
        await agent_hands(service, talk, bob, fence, Target(agent_id=ada), summary="!", facts={"order": "A-17"})
    assert (await make.now_of(service, talk)).agent_id == bob
    await agent_hands(service, talk, bob, fence, Target(agent_id=ada), facts={"order": "A-18"})
    for number, (agent, other) in enumerate([(ada, bob), (bob, ada)] * 4):
        fence = await make.claim(service, talk, agent)
        await agent_hands(service, talk, agent, fence, Target(agent_id=other), facts={"try": number})
    fence = await make.claim(service, talk, ada)
    with pytest.raises(Conflict, match="ask a person"):
        await agent_hands(service, talk, ada, fence, Target(agent_id=bob), facts={"try": "last"})
    await agent_hands(service, talk, ada, fence, Target(needed_skills=["billing"]))


async def test_who_cannot_be_asked_is_named_with_the_path(
    owner: Client, stranger: Client, talk: Conversation, ada: uuid.UUID
) -> None:
    nobody = str(uuid.uuid4())
    for target, steps, path in (
        ({}, [], "target"),
        ({"userId": str(owner.user_id), "agentId": str(ada)}, [], "target"),
        ({"userId": str(stranger.user_id)}, [], "target.userId"),
        ({"agentId": nobody}, [], "target.agentId"),
        ({"agentId": str(ada)}, [{"target": {"teamId": nobody}}], "steps[0].target.teamId"),
        ({"agentId": str(ada)}, [{"withinSeconds": 5}], "steps[0]"),
        ({"neededSkills": [" "]}, [], "target"),
        ({"agentId": str(ada)}, [{"target": {"neededSkills": [" ", "\t"]}}], "steps[0].target"),
        ({"agentId": str(ada)}, [{"tellContact": "  "}], "steps[0].tellContact"),
    ):
        body = {"reason": "x", "target": target, "steps": steps}
        answer = await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
        assert [error["field"] for error in answer.json()["errors"]] == [path], answer.text
        assert answer.status_code == 400
    links = [{"resource": "contacts", "id": str(talk.contact_id)}, {"resource": "deals", "id": nobody}]
    body = {"reason": "x", "target": {"agentId": str(ada)}, "packet": {"links": links}}
    answer = await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
    assert [error["field"] for error in answer.json()["errors"]] == ["packet.links[1].id"], answer.text
    words = {"taken": 7, "handedOf": "x", "handedOn": " ", "expired": "\n\t"}
    settings = {"handoffs": {"words": words}, "watchdog": {"silentSeconds": 0}}
    answer = await owner.patch(f"{API}/workspaces/{talk.workspace_id}", json={"settings": settings})
    assert {error["field"] for error in answer.json()["errors"]} == {
        "settings.handoffs.words.taken",
        "settings.handoffs.words.handedOf",
        "settings.handoffs.words.handedOn",
        "settings.handoffs.words.expired",
        "settings.watchdog.silentSeconds",
    }, answer.text
    assert (await stranger.put(f"{API}/conversations/{talk.id}/ownership")).status_code == 404
    elsewhere = {"reason": "x", "target": {"neededSkills": ["x"]}}
    assert (await stranger.post(f"{API}/conversations/{talk.id}/handoffs", json=elsewhere)).status_code == 404


async def test_the_contact_who_has_opted_out_is_told_nothing_and_the_handoff_says_so(
    owner: Client, talk: Conversation, admin: Any
) -> None:
    words = {"settings": {"handoffs": {"words": {"handedOn": "One moment."}}}}
    await owner.patch(f"{API}/workspaces/{talk.workspace_id}", json=words)
    opted = await owner.post(
        f"{API}/consent-entries", json={"address": make.CUSTOMER, "says": "stop", "reason": "Asked us to"}
    )
    row = await hand(owner, talk, {"neededSkills": ["billing"]})
    assert opted.status_code in (200, 201), opted.text
    assert (row["status"], row["contactToldAt"]) == ("open", None)
    assert "nothing may be sent" in row["untoldBecause"]
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 0


async def test_the_contact_is_told_that_a_person_has_it_only_when_one_has(
    service: Service, owner: Client, talk: Conversation, ada: uuid.UUID, workspace_id: uuid.UUID, admin: Any
) -> None:
    words = {"settings": {"handoffs": {"words": {"taken": "You are now talking with a person."}}}}
    assert (await owner.patch(f"{API}/workspaces/{workspace_id}", json=words)).status_code == 200
    bob = await make.agent(service, workspace_id, "Bob")
    fence = await make.claim(service, talk, ada)
    await agent_hands(service, talk, ada, fence, Target(agent_id=bob))
    fence = await make.claim(service, talk, bob)
    said = "SELECT content FROM conversation_messages"
    assert await admin.fetch(said) == []
    await agent_hands(service, talk, bob, fence, Target(user_id=owner.user_id))
    await owner.put(f"{API}/conversations/{talk.id}/ownership")
    assert [row["content"] for row in await admin.fetch(said)] == ["You are now talking with a person."]


async def test_giving_back_is_one_call_to_the_queue_or_to_an_agent(
    owner: Client, viewer: Client, talk: Conversation, ada: uuid.UUID, service: Service
) -> None:
    address = f"{API}/conversations/{talk.id}/ownership"
    assert (await viewer.put(address)).status_code == 403
    await owner.put(address)
    given = (await owner.delete(address, params={"agentId": str(ada)})).json()
    assert (given["agentId"], given["fence"]) == (str(ada), 2)
    assert (await owner.delete(address, params={"agentId": str(uuid.uuid4())})).status_code == 400
    back = (await owner.delete(address)).json()
    assert (back["agentId"], back["fence"]) == (None, 3)
    assert (await owner.delete(address)).json()["fence"] == 3


async def test_a_conversation_that_is_closed_asks_nobody_any_more(owner: Client, talk: Conversation) -> None:
    row = await hand(owner, talk, {"neededSkills": ["billing"]})
    again = await hand(owner, talk, {"neededSkills": ["law"]})
    assert (await seen(owner, row["id"]))["status"] == "withdrawn"
    await owner.post(f"{API}/conversations/{talk.id}/closure")
    assert (await seen(owner, again["id"]))["status"] == "withdrawn"
    body = {"reason": "x", "target": {"neededSkills": ["x"]}}
    assert (await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)).status_code == 409
    assert len((await owner.get(f"{API}/conversations/{talk.id}/handoffs")).json()["items"]) == 2


async def test_what_a_member_writes_under_an_old_fence_is_refused_with_whose_it_is(
    service: Service, owner: Client, member: Client, talk: Conversation, ada: uuid.UUID, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    address = f"{API}/conversations/{talk.id}/messages"
    for _ in range(2):  # late, and then once more
        late = await member.post(address, json={"content": "Hello", "fence": fence - 1})
        assert (late.status_code, late.json()["owner"]["agentId"]) == (409, str(ada)), late.text
        assert late.json()["owner"]["fence"] == fence
    said = await member.post(address, json={"content": "Hello", "fence": fence})
    assert said.status_code == 201, said.text
    assert (await make.now_of(service, talk)).assigned_to == member.user_id
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 1


async def test_a_conversation_whose_contact_was_merged_away_asks_nobody_any_more(
    service: Service, owner: Client, talk: Conversation, admin: Any
) -> None:
    row = await hand(owner, talk, {"neededSkills": ["billing"]}, steps=[{"tellContact": "Still looking."}])
    await admin.execute("UPDATE conversations SET status = 'archived'")
    await overdue(admin)
    await deadlines.pass_deadlines(service.database)
    assert (await seen(owner, row["id"]))["status"] == "withdrawn"
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 0
