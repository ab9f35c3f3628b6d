"""An agent acts within its reach, under the fence it writes under, and on what is still there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors
from tests.make.runtimes import AGENT, Runtime, approval, asked, proposed, runtime, stages
from tests.make.runtimes import said as messages


@pytest.fixture
async def ada(app: Any, owner: Client) -> AsyncIterator[Runtime]:
    async with runtime(app, owner) as client:
        yield client


@pytest.fixture
async def talk(anonymous: httpx.AsyncClient, line: Connection, owner: Client) -> str:
    """A conversation that a contact has begun, and that nobody has."""
    return await asked(anonymous, line, owner)


@pytest.mark.parametrize(
    ("kind", "details", "place"),
    [
        ("send_message", {"content": "Hello"}, "details.conversationId"),
        ("draft_message", {"content": "Hello"}, "details.conversationId"),
        ("assign_conversation", {"userId": "owner"}, "details.conversationId"),
        ("hand_off_conversation", {"reason": "x", "target": {"userId": "owner"}}, "details.conversationId"),
        ("update_record", {"resource": "contacts", "id": "contact", "values": {"firstName": "x"}}, "details.id"),
        ("update_record", {"resource": "deals", "id": "deal", "values": {"name": "x"}}, "details.id"),
        ("create_record", {"resource": "deals", "values": {"name": "x", "contactId": "contact"}}, "details.values"),
        ("place_call", {"to": "+1 415 555 0123"}, "details.to"),
    ],
)
async def test_what_is_out_of_an_agents_reach_it_may_not_propose_and_by_then_nobody_approves(
    ada: Runtime, owner: Client, member: Client, talk: str, kind: str, details: dict[str, Any], place: str
) -> None:
    policy = await make.made(owner, "/agent-policies", {"agentId": str(ada.agent_id), "reach": "waiting"})
    contact = (await owner.get(f"{API}/conversations/{talk}")).json()["contactId"]
    deal = await make.made(owner, "/deals", {"name": "A chair", "contactId": contact})
    meant = {"owner": str(owner.user_id), "contact": contact, "deal": deal["id"]}
    filled = json.loads(json.dumps(details), object_hook=lambda one: {k: _meant(v, meant) for k, v in one.items()})
    if place.endswith("conversationId"):
        filled["conversationId"] = talk
    action = await proposed(ada, kind, filled)
    await owner.patch(f"{API}/agent-policies/{policy['id']}", json={"reach": "handed"})
    refused = await member.post(approval(action))
    assert (refused.status_code, "reach" in refused.json()["detail"]) == (409, True), refused.text
    body = {"actionType": kind, "title": "x", "details": filled}
    assert set(errors(await ada.post(f"{AGENT}/actions", json=body))) == {place}
    by_member = body | {"agentId": str(ada.agent_id)}
    assert set(errors(await owner.post(f"{API}/agent-pending-actions", json=by_member))) == {place}
    await owner.patch(f"{API}/agent-policies/{policy['id']}", json={"reach": "workspace"})
    await proposed(ada, kind, filled)


def _meant(value: Any, meant: dict[str, str]) -> Any:
    return meant.get(value, value) if isinstance(value, str) else value


async def test_what_was_proposed_before_somebody_took_over_is_refused_with_whose_it_is(
    ada: Runtime, owner: Client, member: Client, admin_member: Client, talk: str
) -> None:
    """Whether the agent has said under which fence it writes, or the one that was current then is kept for it."""
    fence = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
    details = {"conversationId": talk, "content": "10 % off"}
    said, unsaid = [await proposed(ada, "send_message", details, **more) for more in ({"fence": fence}, {})]
    assert (said["fence"], unsaid["fence"]) == (fence, fence)
    await member.put(f"{API}/conversations/{talk}/ownership")
    for action in (said, unsaid):
        for body in ({}, {"details": details | {"content": "5 % off"}}):
            late = await admin_member.post(approval(action), json=body)
            whose = {"userId": str(member.user_id), "agentId": None, "leaseExpiresAt": None, "fence": fence + 1}
            assert (late.status_code, late.json().get("owner")) == (409, whose), late.text
    assert len(await messages(owner, talk)) == 1


@pytest.mark.parametrize("fence", [0, None])
async def test_an_agent_that_acts_alone_says_the_fence_it_writes_under(
    ada: Runtime, owner: Client, talk: str, fence: int | None
) -> None:
    """It has lost the conversation and claimed it again since it wrote: what it wrote is not said."""
    await make.made(owner, "/agent-policies", {"passAlone": ["*"]})
    for _ in range(2):
        now = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
        await ada.delete(f"{AGENT}/conversations/{talk}/claim", params={"fence": now})
    now = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
    for kind, more in (
        ("send_message", {"content": "Late"}),
        ("assign_conversation", {"userId": str(owner.user_id)}),
        ("hand_off_conversation", {"reason": "x", "target": {"userId": str(owner.user_id)}}),
    ):
        body = {"actionType": kind, "title": "x", "riskLevel": "low", "details": {"conversationId": talk} | more}
        late = await ada.post(f"{AGENT}/actions", json=body | {"fence": fence})
        assert (late.status_code, late.json()["owner"]["fence"]) == (409, now), late.text
    assert len(await messages(owner, talk)) == 1


@pytest.mark.parametrize("what", ["contact", "conversation"])
async def test_what_an_action_is_about_may_be_gone_by_then_and_the_answer_says_so(
    ada: Runtime, owner: Client, member: Client, talk: str, what: str
) -> None:
    if what == "contact":
        row = await make.made(owner, "/contacts", {"firstName": "Ada"})
        details = {"resource": "contacts", "id": row["id"], "values": {"firstName": "Bob"}}
        action = await proposed(ada, "update_record", details)
        gone = await owner.delete(f"{API}/contacts/{row['id']}")
    else:
        action = await proposed(ada, "send_message", {"conversationId": talk, "content": "Hello"})
        gone = await owner.delete(f"{API}/conversations/{talk}")
    assert gone.status_code == 204, gone.text
    for _ in range(2):
        answer = await member.post(approval(action))
        assert (answer.status_code, "is gone" in answer.json()["detail"]) == (409, True), answer.text
    assert await stages(owner, action) == ["asked"]
    assert (await member.post(approval(action).replace("approval", "rejection"))).status_code == 201


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("assign_conversation", {"userId": "{owner}"}),
        ("hand_off_conversation", {"reason": "x", "target": {"userId": "{owner}"}}),
    ],
)
async def test_what_takes_a_conversation_from_a_person_waits_for_one_whatever_the_policy_says(
    ada: Runtime, owner: Client, member: Client, talk: str, kind: str, details: dict[str, Any]
) -> None:
    await make.made(owner, "/agent-policies", {"passAlone": ["*"], "reach": "workspace"})
    filled = json.loads(json.dumps(details).replace("{owner}", str(owner.user_id))) | {"conversationId": talk}
    if kind == "assign_conversation":
        alone = await proposed(ada, kind, filled, riskLevel="low", fence=0)
        assert alone["passedAlone"], "what nobody has may be given to somebody"
    assert (await member.put(f"{API}/conversations/{talk}/ownership")).status_code < 300
    fence = (await owner.get(f"{API}/conversations/{talk}")).json()["fence"]
    action = await proposed(ada, kind, filled, riskLevel="low", fence=fence)
    assert (action["status"], action["passedAlone"]) == ("pending", False)
    there = (await owner.get(f"{API}/conversations/{talk}")).json()
    assert (there["assignedTo"], there["fence"]) == (str(member.user_id), fence)
    assert (await member.post(approval(action))).status_code == 201
    assert (await owner.get(f"{API}/conversations/{talk}")).json()["fence"] > fence
