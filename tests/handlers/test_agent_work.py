"""An agent at work over its API: it sees what waits, claims, answers under its fence, and reports what it did."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.handlers.webhooks import CUSTOMER, post, text
from tests.make import agents as make
from tests.make.agents import API, errors
from tests.make.runtimes import AGENT, Runtime, asked, runtime, said


@pytest.fixture
async def ada(app: Any, owner: Client) -> AsyncIterator[Runtime]:
    async with runtime(app, owner) as client:
        yield client


@pytest.fixture
async def talk(anonymous: httpx.AsyncClient, line: Connection, owner: Client) -> str:
    """A conversation that a contact has begun, and that nobody has."""
    return await asked(anonymous, line, owner)


def at(talk: str, noun: str) -> str:
    return f"{AGENT}/conversations/{talk}/{noun}"


async def claimed(client: Runtime, talk: str, **body: Any) -> int:
    answer = await client.post(at(talk, "claim"), json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["agentId"] == str(client.agent_id)
    fence: int = answer.json()["fence"]
    return fence


async def test_a_claim_and_a_fenced_reply_take_few_statements(ada: Runtime, talk: str) -> None:
    """Whose token it is, the conversation, what is done with it, the index of words, and the log."""
    await ada.get(f"{AGENT}/")  # that the token is used is noted once a minute
    with counted() as statements:
        fence = await claimed(ada, talk)
        assert statements() == 8  # one of them holds the status of the agent
        body = {"fence": fence, "content": "Yes, 3pm is free."}
        assert (await ada.post(at(talk, "replies"), json=body)).status_code == 201
        assert statements() == 8 + 8
        keyed = {"Idempotency-Key": "answer-1"}
        assert (await ada.post(at(talk, "replies"), json=body, headers=keyed)).status_code == 201
        assert statements() == 8 + 8 + 10


async def test_what_waits_is_claimed_answered_once_and_let_go(ada: Runtime, owner: Client, talk: str) -> None:
    waiting = (await ada.get(f"{AGENT}/conversations/waiting")).json()["items"]
    assert [item["id"] for item in waiting] == [talk]
    fence = await claimed(ada, talk)
    assert (await ada.get(f"{AGENT}/conversations/waiting")).json()["items"] == []
    assert [item["id"] for item in (await ada.get(f"{AGENT}/conversations")).json()["items"]] == [talk]
    keyed = {"Idempotency-Key": "answer-1"}
    body = {"fence": fence, "content": "Yes, 3pm is free."}
    first = await ada.post(at(talk, "replies"), json=body, headers=keyed)
    again = await ada.post(at(talk, "replies"), json=body, headers=keyed)
    assert (first.status_code, again.json()) == (201, first.json()), first.text
    assert [message["content"] for message in await said(owner, talk)] == ["Is 3pm free?", "Yes, 3pm is free."]
    message = first.json()
    assert (message["senderType"], message["senderId"]) == ("agent", str(ada.agent_id))
    released = await ada.delete(at(talk, "claim"), params={"fence": fence})
    assert released.status_code == 204, released.text
    late = await ada.post(at(talk, "replies"), json=body)
    assert late.status_code == 409
    assert late.json()["owner"]["fence"] == fence + 1


async def test_a_message_is_answered_once_whatever_the_agent_has_forgotten(
    ada: Runtime, owner: Client, talk: str
) -> None:
    fence = await claimed(ada, talk)
    (question,) = await said(owner, talk)
    body = {"fence": fence, "content": "Yes", "answers": question["id"]}
    answers = await asyncio.gather(*[ada.post(at(talk, "replies"), json=body) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["conflictingId"] == (await said(owner, talk))[1]["id"]
    assert refused.json()["owner"]["agentId"] == str(ada.agent_id)
    assert set(errors(await ada.post(at(talk, "replies"), json=body | {"answers": str(uuid.uuid4())}))) == {"answers"}


async def test_a_person_takes_over_and_the_late_reply_names_them(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    fence = await claimed(ada, talk)
    assigned = await member.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(member.user_id)})
    assert assigned.status_code == 200, assigned.text
    for noun, body in (("replies", {"fence": fence, "content": "late"}), ("heartbeat", {"fence": fence})):
        answer = await ada.post(at(talk, noun), json=body)
        assert (answer.status_code, answer.json()["owner"]["userId"]) == (409, str(member.user_id)), answer.text
    assert (await ada.post(at(talk, "claim"), json={})).status_code == 409
    assert (await ada.get(at(talk, "context"))).status_code == 404
    assert [message["content"] for message in await said(owner, talk)] == ["Is 3pm free?"]


async def test_a_lease_that_is_over_answers_nobody_and_a_heartbeat_keeps_it(
    ada: Runtime, owner: Client, talk: str, admin: Any
) -> None:
    fence = await claimed(ada, talk, seconds=5)
    kept = await ada.post(at(talk, "heartbeat"), json={"fence": fence, "seconds": 600})
    assert (kept.status_code, kept.json()["fence"]) == (201, fence), kept.text
    assert (await ada.post(at(talk, "replies"), json={"fence": fence, "content": "Yes"})).status_code == 201
    await admin.execute("UPDATE conversations SET lease_expires_at = now() - interval '1 second'")
    assert (await ada.post(at(talk, "replies"), json={"fence": fence, "content": "No"})).status_code == 409
    late = await ada.post(at(talk, "heartbeat"), json={"fence": fence, "seconds": 600})
    assert (late.status_code, late.json()["owner"]["agentId"]) == (409, str(ada.agent_id)), "it is not revived"
    assert len(await said(owner, talk)) == 2


async def test_of_two_agents_that_claim_at_once_one_has_it(app: Any, ada: Runtime, owner: Client, talk: str) -> None:
    async with runtime(app, owner, "Bob") as bob:
        answers = await asyncio.gather(*[client.post(at(talk, "claim"), json={}) for client in (ada, bob)])
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert (won.status_code, lost.status_code) == (201, 409)
        assert lost.json()["owner"]["agentId"] == won.json()["agentId"]


async def test_the_context_is_all_an_agent_needs_to_answer(
    ada: Runtime, owner: Client, talk: str, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    contact = (await owner.get(f"{API}/contacts")).json()["items"][0]
    deal = await make.made(owner, "/deals", {"name": "A chair", "contactId": contact["id"]})
    await make.made(owner, "/agent-shared-memory", {"key": "hours", "value": "9 to 5", "importance": 90})
    await make.made(owner, "/agent-shared-memory", {"key": "x", "value": 1, "agentId": (await make.agent(owner))["id"]})
    await ada.put(f"{AGENT}/memory", json={"key": "mine", "value": 1})
    known = [{"name": "Handbook"}]
    await owner.patch(f"{API}/agents/{ada.agent_id}", json={"config": {"knowledge": known}})
    answer = await ada.get(at(talk, "context"), params={"messages": 1})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["conversation"]["id"], found["mayClaim"], found["handoff"]) == (talk, True, None)
    assert [message["content"] for message in found["messages"]] == ["Is 3pm free?"]
    assert (found["contact"]["id"], [row["value"] for row in found["addresses"]]) == (contact["id"], [CUSTOMER])
    assert [row["id"] for row in found["crm"]["deals"]] == [deal["id"]]
    assert [row["key"] for row in found["memory"]] == ["hours", "mine"]
    assert found["knowledge"] == known
    assert (found["channel"]["canSend"], found["channel"]["longest"], found["channel"]["channel"]) == (
        True,
        1600,
        "sms",
    )
    assert (found["channel"]["consent"]["decision"], found["channel"]["isReply"]) == ("allowed", True)
    await post(anonymous, text(line, body="STOP"))
    channel = (await ada.get(at(talk, "context"))).json()["channel"]
    assert (channel["canSend"], channel["code"]) == (False, "opted_out")


@pytest.mark.parametrize(("reach", "sees", "waits"), [("handed", 404, 0), ("waiting", 404, 0), ("workspace", 200, 0)])
async def test_what_an_agent_sees_is_its_policys_to_say(
    ada: Runtime, owner: Client, talk: str, reach: str, sees: int, waits: int
) -> None:
    await owner.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(owner.user_id)})
    await make.made(owner, "/agent-policies", {"reach": reach})
    assert (await ada.get(at(talk, "context"))).status_code == sees
    assert len((await ada.get(f"{AGENT}/conversations/waiting")).json()["items"]) == waits
    await owner.delete(f"{API}/conversations/{talk}/assignment")
    assert len((await ada.get(f"{AGENT}/conversations/waiting")).json()["items"]) == (reach != "handed")
    assert (await ada.post(at(talk, "claim"), json={})).status_code == (404 if reach == "handed" else 201)


async def test_another_workspaces_agent_finds_nothing(app: Any, stranger: Client, talk: str) -> None:
    async with runtime(app, stranger) as theirs:
        assert (await theirs.get(f"{AGENT}/conversations/waiting")).json()["items"] == []
        for noun, body in (("claim", {}), ("replies", {"fence": 0, "content": "x"}), ("notes", {"content": "x"})):
            assert (await theirs.post(at(talk, noun), json=body)).status_code == 404, noun
        assert (await theirs.get(at(talk, "context"))).status_code == 404


async def test_a_note_is_the_agents_and_the_contact_never_hears_it(ada: Runtime, owner: Client, talk: str) -> None:
    answer = await ada.post(at(talk, "notes"), json={"content": "Seems to be in a hurry"})
    assert answer.status_code == 201, answer.text
    note = (await said(owner, talk))[1]
    assert (note["isInternal"], note["senderType"], note["senderId"]) == (True, "agent", str(ada.agent_id))
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []


async def test_a_draft_is_sent_by_a_person_in_their_own_name_once(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    answer = await ada.post(at(talk, "drafts"), json={"content": "Yes, 3pm."})
    assert answer.status_code == 201, answer.text
    draft = answer.json()
    assert (draft["status"], draft["actionType"], draft["conversationId"]) == ("pending", "draft_message", talk)
    assert len(await said(owner, talk)) == 1
    details = draft["details"] | {"content": "Yes, come at 3pm."}
    # Whose agent it is may send it too: they are their own words then.
    sent = await owner.post(f"{API}/agent-pending-actions/{draft['id']}/approval", json={"details": details})
    assert sent.status_code == 201, sent.text
    assert (sent.json()["performedBy"], sent.json()["succeeded"]) == ("comms", True)
    message = (await said(owner, talk))[1]
    assert (message["content"], message["senderId"]) == ("Yes, come at 3pm.", str(owner.user_id))
    again = await member.post(f"{API}/agent-pending-actions/{draft['id']}/approval", json={})
    assert again.status_code == 409


async def test_what_was_drafted_under_an_old_fence_never_leaves(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    draft = (await ada.post(at(talk, "drafts"), json={"content": "Yes"})).json()
    await member.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(member.user_id)})
    answer = await owner.post(f"{API}/agent-pending-actions/{draft['id']}/approval", json={})
    assert (answer.status_code, answer.json()["owner"]["userId"]) == (409, str(member.user_id)), answer.text
    assert len(await said(owner, talk)) == 1
    assert (await owner.get(f"{API}/agent-pending-actions/{draft['id']}")).json()["status"] == "pending"


async def test_a_run_is_reported_with_its_steps_and_what_they_cost(ada: Runtime, owner: Client) -> None:
    run = (await ada.post(f"{AGENT}/executions", json={"input": {"question": "?"}})).json()
    assert run["status"] == "running"
    here = f"{AGENT}/executions/{run['id']}"
    for cost in ("0.0021", "0.0004"):
        step = {"model": "small", "provider": "openai", "tokensUsed": 100, "cost": cost, "duration": 80}
        answer = await ada.post(f"{here}/steps", json=step)
        assert (answer.status_code, answer.json()["executionId"]) == (201, run["id"]), answer.text
    done = (await ada.post(f"{here}/result", json={"output": {"answer": "yes"}})).json()
    assert (done["status"], done["tokensUsed"], done["cost"]) == ("completed", 200, "0.002500")
    assert (await ada.post(f"{here}/result", json={})).status_code == 409
    assert (await ada.post(f"{here}/steps", json={})).status_code == 409
    logs = (await owner.get(f"{API}/agent-logs", params={"agentId": str(ada.agent_id)})).json()["items"]
    assert {log["executionId"] for log in logs} == {run["id"]}
    wrong = {"status": "failed", "output": {}}
    assert set(errors(await ada.post(f"{here}/result", json=wrong))) == {"output"}


async def test_an_agent_begins_what_it_was_asked_for_and_sees_only_its_own(
    app: Any, ada: Runtime, owner: Client
) -> None:
    run = await make.made(owner, f"/agents/{ada.agent_id}/executions", {"input": {}})
    pending = (await ada.get(f"{AGENT}/executions", params={"status": "pending"})).json()["items"]
    assert [item["id"] for item in pending] == [run["id"]]
    async with runtime(app, owner, "Bob") as bob:
        assert (await bob.get(f"{AGENT}/executions")).json()["items"] == []
        assert (await bob.post(f"{AGENT}/executions/{run['id']}/beginning")).status_code == 404
    answers = await asyncio.gather(*[ada.post(f"{AGENT}/executions/{run['id']}/beginning") for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


async def test_memory_is_the_agents_its_teams_and_the_workspaces(app: Any, ada: Runtime, owner: Client) -> None:
    team = await make.team(owner)
    await make.member(owner, team, {"id": str(ada.agent_id)})
    body = {"key": "hours", "value": "9 to 5"}
    shared = {"scope": "team", "teamId": team["id"]}
    for scope in ({}, {"scope": "workspace"}, shared):
        assert (await ada.put(f"{AGENT}/memory", json=body | scope)).status_code == 201
        assert (await ada.put(f"{AGENT}/memory", json=body | scope)).status_code == 200
    assert len((await ada.get(f"{AGENT}/memory", params={"q": "hours"})).json()["items"]) == 3
    async with runtime(app, owner, "Bob") as bob:
        (row,) = (await bob.get(f"{AGENT}/memory")).json()["items"]
        assert (row["agentId"], row["teamId"]) == (None, None)
        assert (await bob.put(f"{AGENT}/memory", json=body | shared)).status_code == 403
    assert set(errors(await ada.put(f"{AGENT}/memory", json=body | {"scope": "team"}))) == {"teamId"}
    for item in (await ada.get(f"{AGENT}/memory")).json()["items"]:
        assert (await ada.delete(f"{AGENT}/memory/{item['id']}")).status_code == 204


async def test_a_handoff_carries_what_the_agent_knows_and_it_says_no_more(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    fence = await claimed(ada, talk)
    body = {
        "fence": fence,
        "reason": "They ask for a person",
        "target": {"userId": str(member.user_id)},
        "packet": {"summary": "Was charged twice", "facts": {"order": "A-17"}, "tried": ["Looked it up"]},
    }
    wrong = body | {"target": {"userId": str(uuid.uuid4())}}
    assert set(errors(await ada.post(at(talk, "handoffs"), json=wrong))) == {"target.userId"}
    answer = await ada.post(at(talk, "handoffs"), json=body)
    assert answer.status_code == 201, answer.text
    handoff = answer.json()
    assert (handoff["fromAgentId"], handoff["packet"]["summary"]) == (str(ada.agent_id), "Was charged twice")
    late = await ada.post(at(talk, "replies"), json={"fence": fence, "content": "One more thing"})
    assert (late.status_code, late.json()["owner"]["agentId"]) == (409, None)
    assert (await ada.get(f"{AGENT}/conversations/waiting")).json()["items"] == []
    refused = await ada.post(at(talk, "claim"), json={})
    assert refused.status_code in (404, 409), refused.text


async def test_what_is_handed_to_an_agent_waits_for_it_alone(app: Any, ada: Runtime, owner: Client, talk: str) -> None:
    async with runtime(app, owner, "Bob") as bob:
        body = {"reason": "Bob knows", "target": {"agentId": str(bob.agent_id)}, "packet": {"summary": "A chair"}}
        handed = await owner.post(f"{API}/conversations/{talk}/handoffs", json=body)
        assert handed.status_code == 201, handed.text
        assert (await ada.get(f"{AGENT}/conversations/waiting")).json()["items"] == []
        assert (await ada.post(at(talk, "claim"), json={})).status_code == 404
        (waiting,) = (await bob.get(f"{AGENT}/conversations/waiting")).json()["items"]
        assert waiting["id"] == talk
        context = (await bob.get(at(talk, "context"))).json()
        assert (context["handoff"]["packet"]["summary"], context["mayClaim"]) == ("A chair", True)
        await claimed(bob, talk)
