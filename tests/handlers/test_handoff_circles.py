"""No agent hands a conversation in circles; and whoever is asked may refuse, agents too."""

import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.errors import Conflict
from comms.ownership import deadlines, release
from comms.service import Service
from models.communications import Conversation
from models.communications.handoffs import Step, Target
from tests.conftest import Client
from tests.make import agents
from tests.make import ownership as make
from tests.make.agents import errors
from tests.make.handoffs import API, agent_hands, can, hand, overdue, seen, told
from tests.make.runtimes import AGENT, asked, runtime

NEW = "without something new"


@pytest.fixture
async def billing(owner: Client, member: Client) -> uuid.UUID:
    """A team of one: the member, who knows about billing."""
    await can(owner, member, "billing")
    team: str = (await owner.post(f"{API}/teams", json={"name": "Billing"})).json()["id"]
    await owner.post(f"{API}/team-members", json={"teamId": team, "userId": str(member.user_id)})
    return uuid.UUID(team)


@pytest.fixture
def targets(member: Client, bob: uuid.UUID, billing: uuid.UUID) -> Mapping[str, Target]:
    """The same people, asked for in one way or another; and an agent."""
    return {
        "member": Target(user_id=member.user_id),
        "agent": Target(agent_id=bob),
        "team": Target(team_id=billing),
        "skill": Target(needed_skills=["Billing "]),
    }


@pytest.mark.parametrize("whom", ["member", "agent", "team", "skill"])
async def test_who_did_not_take_it_in_time_is_asked_again_only_with_something_new(
    service: Service,
    member: Client,
    talk: Conversation,
    ada: uuid.UUID,
    bob: uuid.UUID,
    targets: Mapping[str, Target],
    admin: Any,
    whom: str,
) -> None:
    target = targets[whom]
    steps = (Step(tell_contact="One moment."), Step(target=Target(agent_id=bob)))
    fence = await make.claim(service, talk, ada)
    await agent_hands(service, talk, ada, fence, target, steps=steps, facts={"order": "A-17"})
    for _ in range(3):
        await overdue(admin)
        await deadlines.pass_deadlines(service.database)
    fence = await make.claim(service, talk, ada)
    with pytest.raises(Conflict, match=NEW):
        await agent_hands(service, talk, ada, fence, target, facts={"order": "A-17"})
    with pytest.raises(Conflict, match=NEW):  # whom a step has asked was asked as well
        await agent_hands(service, talk, ada, fence, Target(agent_id=bob), facts={"order": "A-17"})
    await agent_hands(service, talk, ada, fence, target, facts={"order": "A-18"})


@pytest.mark.parametrize("whom", ["member", "team", "skill", "step"])
@pytest.mark.parametrize("way", ["handed", "given"])
async def test_what_a_person_has_given_to_an_agent_comes_back_only_with_something_new(
    service: Service,
    owner: Client,
    member: Client,
    talk: Conversation,
    ada: uuid.UUID,
    targets: Mapping[str, Target],
    way: str,
    whom: str,
) -> None:
    address = f"{API}/conversations/{talk.id}/ownership"
    await member.put(address)
    if way == "given":
        assert (await member.delete(address, params={"agentId": str(ada)})).json()["agentId"] == str(ada)
        fence = (await make.now_of(service, talk)).fence
    else:
        await hand(member, talk, {"agentId": str(ada)}, packet={})
        fence = await make.claim(service, talk, ada)
    target, steps = targets.get(whom), ()
    if target is None:
        target, steps = Target(user_id=owner.user_id), (Step(target=targets["member"]),)
    with pytest.raises(Conflict, match=NEW):
        await agent_hands(service, talk, ada, fence, target, steps=steps)
    assert (await make.now_of(service, talk)).agent_id == ada
    await agent_hands(service, talk, ada, fence, target, steps=steps, tried=["Asked for the card"])


async def test_what_is_given_to_an_agent_by_hand_is_a_handoff_that_it_has_accepted(
    owner: Client, talk: Conversation, ada: uuid.UUID, admin: Any
) -> None:
    address = f"{API}/conversations/{talk.id}/ownership"
    for _ in range(2):  # the second time it has it already
        given = (await owner.delete(address, params={"agentId": str(ada)})).json()
    [row] = (await owner.get(f"{API}/conversations/{talk.id}/handoffs")).json()["items"]
    assert (row["status"], row["fromUserId"], row["takenByAgentId"]) == ("accepted", str(owner.user_id), str(ada))
    assert (row["fence"], given["fence"]) == (1, 1)
    assert await told(admin, row["id"]) == ["conversation_handoff.created", "conversation_handoff.accepted"]


@pytest.mark.parametrize("whom", ["member", "team", "skill", "agent"])
async def test_who_had_it_without_a_handoff_gets_it_back_only_with_something_new(
    service: Service,
    member: Client,
    talk: Conversation,
    ada: uuid.UUID,
    bob: uuid.UUID,
    targets: Mapping[str, Target],
    admin: Any,
    whom: str,
) -> None:
    target = targets[whom]
    if whom == "agent":
        await make.claim(service, talk, bob)
        async with make.held(service, talk) as (db, row):
            await release(db, row, why="let go")
    else:
        for ask in (member.put, member.delete):
            assert (await ask(f"{API}/conversations/{talk.id}/ownership")).status_code == 200
    cy = Target(agent_id=await make.agent(service, talk.workspace_id, "Cy"))
    fence = await make.claim(service, talk, ada)
    with pytest.raises(Conflict, match=NEW):
        await agent_hands(service, talk, ada, fence, target, summary="Something")
    with pytest.raises(Conflict, match=NEW):
        await agent_hands(service, talk, ada, fence, cy, steps=(Step(target=target),))
    await agent_hands(service, talk, ada, fence, target, facts={"order": "A-17"})


async def test_a_ring_of_agents_ends_unless_each_adds_something(
    service: Service, workspace_id: uuid.UUID, talk: Conversation, ada: uuid.UUID, bob: uuid.UUID
) -> None:
    ring = [ada, bob, await make.agent(service, workspace_id, "Cy")]
    for turn in range(2):
        fence = await make.claim(service, talk, ring[turn])
        await agent_hands(service, talk, ring[turn], fence, Target(agent_id=ring[turn + 1]), facts={"order": turn})
    fence = await make.claim(service, talk, ring[2])
    # What Ada has said herself is nothing new to her; what Bob has added since is.
    with pytest.raises(Conflict, match=NEW):
        await agent_hands(service, talk, ring[2], fence, Target(agent_id=ada), facts={"order": 0})
    await agent_hands(service, talk, ring[2], fence, Target(agent_id=ada), facts={"order": 1})
    fence = await make.claim(service, talk, ada)
    for packet in ({"order": 0}, {"order": 1}):  # and to him it is not
        with pytest.raises(Conflict, match=NEW):
            await agent_hands(service, talk, ada, fence, Target(agent_id=bob), facts=packet)


@pytest.mark.parametrize("place", ["target", "steps[0].target"])
async def test_who_could_never_take_it_is_named_with_the_path(
    owner: Client,
    member: Client,
    talk: Conversation,
    ada: uuid.UUID,
    billing: uuid.UUID,
    admin: Any,
    place: str,
) -> None:
    empty = (await owner.post(f"{API}/teams", json={"name": "Nobody"})).json()["id"]
    resting = (await agents.agent(owner, "Cy"))["id"]
    for target, field in (
        ({"teamId": empty}, "teamId"),
        ({"neededSkills": ["juggling"]}, "neededSkills"),
        ({"teamId": str(billing), "neededSkills": ["billing", "law"]}, "neededSkills"),
        ({"agentId": resting}, "agentId"),
        ({"userId": str(member.user_id), "neededSkills": ["billing", "juggling"]}, "neededSkills"),
    ):
        known = {"target": {"agentId": str(ada)}, "steps": [{"target": target}]}
        body = {"reason": "x"} | (known if place.startswith("steps") else {"target": target})
        answer = await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
        assert set(errors(answer)) == {f"{place}.{field}"}
    body = {"reason": "x", "target": {"userId": str(member.user_id), "neededSkills": ["Billing "]}}
    assert (await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)).status_code == 201
    body = {"reason": "x", "target": {"teamId": str(billing), "neededSkills": [" Billing"]}}
    assert (await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)).status_code == 201
    await admin.execute("UPDATE workspace_members SET role = 'viewer' WHERE role = 'member'")
    answer = await owner.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
    assert set(errors(answer)) == {"target.teamId"}


async def test_an_agent_refuses_what_was_handed_to_it_and_the_next_is_asked_at_once(
    app: Any, owner: Client, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    talk = await asked(anonymous, line, owner)
    async with runtime(app, owner) as ada, runtime(app, owner, "Bob") as bob:
        steps = [
            {"tellContact": "One moment."},
            {"target": {"agentId": str(ada.agent_id)}},
            {"target": {"agentId": str(bob.agent_id)}},
        ]
        body = {"reason": "x", "target": {"agentId": str(ada.agent_id)}, "steps": steps}
        handoff = (await owner.post(f"{API}/conversations/{talk}/handoffs", json=body)).json()
        address = f"{AGENT}/conversations/{talk}/handoffs/{handoff['id']}/refusal"
        assert (await bob.post(address)).status_code == 404  # it was not asked yet
        refused = await ada.post(address, json={"reason": "I know nothing of refunds"})
        assert refused.status_code == 201, refused.text
        # Whoever has refused is not asked again by the next step.
        assert (refused.json()["status"], refused.json()["targetAgentId"]) == ("open", str(bob.agent_id))
        assert [one["agentId"] for one in refused.json()["asked"]] == [str(ada.agent_id), str(bob.agent_id)]
        assert (await ada.post(address)).status_code == 403
        assert (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).status_code == 404
        last = (await bob.post(address, json={"reason": "Nor do I"})).json()
        assert (last["status"], last["settledBecause"]) == ("rejected", "Nor do I")
        late = await ada.post(address)
        assert (late.status_code, late.json()["owner"]["agentId"]) == (409, None)
        assert (await agents.told(owner, handoff["id"]))[1:] == [
            "conversation_handoff.escalated",
            "conversation_handoff.rejected",
        ]
        # Nor does it wait for who has refused it: for others it does, and for them once somebody has had it.
        async with runtime(app, owner, "Cy") as cy:
            for one, sees, status in ((ada, [], 404), (bob, [], 404), (cy, [talk], 201)):
                waiting = (await one.get(f"{AGENT}/conversations/waiting")).json()["items"]
                assert [each["id"] for each in waiting] == sees
                claimed = await one.post(f"{AGENT}/conversations/{talk}/claim", json={})
                assert claimed.status_code == status, claimed.text
            fence = claimed.json()["fence"]
            await cy.delete(f"{AGENT}/conversations/{talk}/claim", params={"fence": fence})
            assert (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).status_code == 201
        assert (await seen(owner, handoff["id"]))["steps"][1]["target"]["agentId"] == str(ada.agent_id)
