"""Who can have a conversation, and who no more: who leaves or only reads, agents out of work; and what is closed."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms import ownership
from comms.agents import roster
from comms.directory import Connection
from comms.mentions import ONLY_READS
from comms.ownership import leaving
from comms.service import Service
from models.agents import Agent
from models.base import now
from models.communications import Conversation
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.agents import errors
from tests.make.racing import done_or_waiting
from tests.make.runtimes import AGENT, Runtime, asked, runtime

API = "/api/v1"


@pytest.fixture
async def ada(app: Any, owner: Client) -> AsyncIterator[Runtime]:
    async with runtime(app, owner) as client:
        yield client


async def told(admin: Any, subject_id: Any) -> list[str]:
    rows = await admin.fetch("SELECT event FROM events WHERE subject_id = $1 ORDER BY seq", subject_id)
    return [row["event"] for row in rows]


async def status_of(admin: Any, message_id: uuid.UUID) -> Any:
    return await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", message_id)


async def gone(owner: Client, member: Client, way: str) -> None:
    row = (await owner.get(f"{API}/workspace-members", params={"userId": str(member.user_id)})).json()["items"][0]
    address = f"{API}/workspace-members/{row['id']}"
    match way:
        case "deactivated":
            answer = await owner.post(f"{address}/deactivation")
        case "removed":
            answer = await owner.delete(address)
        case "left":
            answer = await member.delete(f"{API}/me/membership")
        case _:
            answer = await owner.patch(address, json={"role": "viewer"})
    assert answer.status_code in (200, 201, 204), answer.text


async def paused(owner: Client, agent_id: uuid.UUID) -> None:
    answer = await owner.put(f"{API}/agents/{agent_id}/status", json={"status": "paused"})
    assert answer.status_code == 200, answer.text


# Who leaves


@pytest.mark.parametrize("way", ["deactivated", "removed", "left", "only reads"])
async def test_the_conversations_of_who_leaves_wait_for_somebody_else(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any, way: str
) -> None:
    closed = await make.talk(service, talk.workspace_id, "+14155550111", status="closed")
    others = await make.talk(service, talk.workspace_id, "+14155550112")
    for one, user_id in ((talk, member.user_id), (closed, member.user_id), (others, owner.user_id)):
        answer = await owner.put(f"{API}/conversations/{one.id}/assignment", json={"userId": str(user_id)})
        assert answer.status_code == 200, answer.text
    await gone(owner, member, way)
    for one in (talk, closed):
        row = await make.now_of(service, one)
        assert (row.assigned_to, row.waiting_since is None, row.fence) == (None, False, 2)
        assert row.ownership_reason == f"member {member.user_id} does not answer here any more"
        assert (await told(admin, one.id))[-1] == "conversation.unassigned"
    assert (await make.now_of(service, others)).assigned_to == owner.user_id
    roles = await admin.fetch("SELECT role FROM conversation_participants WHERE user_id = $1", member.user_id)
    assert {row["role"] for row in roles} == {"participant"}


async def test_what_somebody_is_at_when_a_member_leaves_waits_for_somebody_else_a_moment_later(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    async with make.held(service, talk):
        async with asyncio.timeout(5):  # nobody waits for anybody
            await gone(owner, member, "deactivated")
    assert (await make.now_of(service, talk)).assigned_to == member.user_id
    payload = await admin.fetchval("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = $1", leaving.LET_GO)
    job = httpx.Response(200, content=payload).json()
    for _ in range(2):  # a job may be done twice
        await leaving.let_go(service.database, job)
    assert (await make.now_of(service, talk)).assigned_to is None
    assert (await told(admin, talk.id)).count("conversation.unassigned") == 1


async def test_of_giving_somebody_a_conversation_and_their_leaving_at_once_either_comes_first_and_both_hold(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    giving = owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    given, _ = await asyncio.gather(giving, gone(owner, member, "deactivated"))
    assert given.status_code in (200, 400)
    await leaving.let_go(service.database, {"workspaceId": str(talk.workspace_id), "userId": str(member.user_id)})
    assert (await make.now_of(service, talk)).assigned_to is None


async def test_who_is_back_by_then_keeps_what_they_were_given(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    await leaving.let_go(service.database, {"workspaceId": str(talk.workspace_id), "userId": str(member.user_id)})
    assert (await make.now_of(service, talk)).assigned_to == member.user_id


@pytest.mark.parametrize("way", ["paused", "archived", "deleted"])
async def test_an_agent_that_is_out_of_work_has_no_conversation_and_says_nothing_more(
    service: Service, owner: Client, talk: Conversation, admin: Any, way: str
) -> None:
    ada = await make.agent(service, talk.workspace_id)
    fence = await make.claim(service, talk, ada)
    said = []
    if way != "deleted":  # who has spoken stays for the record
        said = [
            await make.reply(service, talk, ada, fence),
            await make.reply(service, talk, ada, fence, scheduled_at=now() + timedelta(hours=1)),
        ]
        answer = await owner.put(f"{API}/agents/{ada}/status", json={"status": way})
    else:
        answer = await owner.delete(f"{API}/agents/{ada}")
    assert answer.status_code in (200, 204), answer.text
    row = await make.now_of(service, talk)
    assert (row.agent_id, row.waiting_since is None, row.fence) == (None, False, fence + 1)
    assert row.ownership_reason == f"agent {ada} is out of work"
    assert [await status_of(admin, one.id) for one in said] == ["canceled"] * len(said)
    assert (await told(admin, talk.id))[-1] == "conversation.released"


@pytest.mark.parametrize("who", ["an agent", "a member"])
async def test_who_takes_a_conversation_just_before_they_are_out_of_work_has_none_then(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any, who: str
) -> None:
    ada = await make.agent(service, talk.workspace_id)
    async with make.held(service, talk) as (db, row):
        if who == "an agent":
            await ownership.claim(db, row, ada, 60)
            ending = asyncio.create_task(paused(owner, ada))
        else:
            await ownership.take_over(db, row, member.user_id)
            ending = asyncio.create_task(gone(owner, member, "deactivated"))
        await done_or_waiting(admin, ending)
        # What that has left for later may be looked at before the conversation is theirs.
        theirs = {"agentId": str(ada)} if who == "an agent" else {"userId": str(member.user_id)}
        await leaving.let_go(service.database, {"workspaceId": str(talk.workspace_id), **theirs})
    await ending
    row = await make.now_of(service, talk)
    assert (row.agent_id, row.assigned_to, row.waiting_since is None, row.fence) == (None, None, False, 2)


@pytest.mark.parametrize("way", ["claims", "is given it"])
async def test_an_agent_that_is_just_being_paused_claims_nothing_and_is_given_nothing(
    service: Service, talk: Conversation, admin: Any, way: str
) -> None:
    ada = await make.agent(service, talk.workspace_id)

    async def take() -> None:
        async with make.held(service, talk) as (db, row):
            if way == "claims":
                await ownership.claim(db, row, ada, 60)
            else:
                await ownership.give(db, row, ownership.ByAgent(ada), why="test")

    async with service.database.workspace(talk.workspace_id) as db:
        agent = await db.get_one(Agent, (talk.workspace_id, ada), with_for_update={"key_share": True})
        await roster.enter(db, agent, "paused")
        taking = asyncio.create_task(take())
        await done_or_waiting(admin, taking)
    with pytest.raises(ownership.NotYours, match="is paused"):
        await taking
    assert (await make.now_of(service, talk)).agent_id is None


# Who only reads


async def test_who_may_only_read_is_given_no_conversation(
    owner: Client, viewer: Client, ada: Runtime, talk: Conversation, admin: Any
) -> None:
    here, body = f"{API}/conversations/{talk.id}", {"userId": str(viewer.user_id)}
    given = await owner.put(f"{here}/assignment", json=body)
    assert (given.status_code, errors(given)) == (400, {"userId": ONLY_READS})
    step = {"reason": "Help", "target": {"userId": str(owner.user_id)}, "steps": [{"target": body}]}
    for handoff, path in (({"reason": "Help", "target": body}, "target"), (step, "steps[0].target")):
        handed = await owner.post(f"{here}/handoffs", json=handoff)
        assert (handed.status_code, errors(handed)) == (400, {f"{path}.userId": ONLY_READS})
    details = {"conversationId": str(talk.id), **body}
    action = {"actionType": "assign_conversation", "riskLevel": "low", "title": "Yours", "details": details}
    asked_for = await ada.post(f"{AGENT}/actions", json=action)
    assert (asked_for.status_code, errors(asked_for)) == (400, {"details.userId": ONLY_READS})
    assert await admin.fetchval("SELECT count(*) FROM conversations WHERE assigned_to IS NOT NULL") == 0


# What is closed or put off


@pytest.mark.parametrize("noun", ["closure", "archiving", "spam"])
async def test_what_an_agent_writes_that_has_not_seen_the_closing_is_refused(
    service: Service, owner: Client, talk: Conversation, admin: Any, noun: str
) -> None:
    ada = await make.agent(service, talk.workspace_id)
    fence = await make.claim(service, talk, ada)
    later = await make.reply(service, talk, ada, fence, scheduled_at=now() + timedelta(hours=1))
    closed = await owner.post(f"{API}/conversations/{talk.id}/{noun}")
    assert (closed.status_code, closed.json()["agentId"], closed.json()["fence"]) == (201, None, fence + 1), closed.text
    with pytest.raises(ownership.Stale):
        await make.reply(service, talk, ada, fence)
    with pytest.raises(ownership.NotYours, match=closed.json()["status"]):
        await make.claim(service, talk, ada)
    assert await status_of(admin, later.id) == "canceled"
    reopened = await owner.delete(f"{API}/conversations/{talk.id}/{noun}")
    assert (reopened.json()["status"], reopened.json()["agentId"]) == ("active", None)
    with pytest.raises(ownership.Stale):
        await make.reply(service, talk, ada, fence)
    assert await make.claim(service, talk, ada) == fence + 2


async def test_what_is_put_off_is_claimed_by_no_agent_until_its_time_comes(
    anonymous: httpx.AsyncClient, line: Connection, owner: Client, ada: Runtime
) -> None:
    talk = await asked(anonymous, line, owner)
    until = {"until": (now() + timedelta(hours=1)).isoformat()}
    assert (await owner.put(f"{API}/conversations/{talk}/snooze", json=until)).status_code == 200
    assert (await ada.get(f"{AGENT}/conversations/waiting")).json()["items"] == []
    refused = await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})
    assert refused.status_code in (404, 409), refused.text
    await owner.delete(f"{API}/conversations/{talk}/snooze")
    assert (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).status_code == 201


# Given to an agent


async def test_what_a_member_gives_to_an_agent_does_not_come_back_without_something_new(
    owner: Client, talk: Conversation, ada: Runtime, admin: Any
) -> None:
    here = f"{API}/conversations/{talk.id}"
    assert (await owner.put(f"{here}/ownership")).status_code == 200
    for _ in range(2):  # twice is once
        given = await owner.delete(f"{here}/ownership", params={"agentId": str(ada.agent_id)})
        assert (given.status_code, given.json()["agentId"]) == (200, str(ada.agent_id)), given.text
    [handoff] = (await owner.get(f"{API}/conversation-handoffs")).json()["items"]
    assert (handoff["status"], handoff["fence"]) == ("accepted", given.json()["fence"])
    assert (handoff["fromUserId"], handoff["targetAgentId"]) == (str(owner.user_id), str(ada.agent_id))
    assert handoff["takenByAgentId"] == str(ada.agent_id)
    back = {"fence": handoff["fence"], "reason": "Cannot help", "target": {"userId": str(owner.user_id)}}
    circle = await ada.post(f"{AGENT}/conversations/{talk.id}/handoffs", json=back)
    assert (circle.status_code, "something new" in circle.text) == (409, True), circle.text
    news = back | {"packet": {"tried": ["Looked the order up"]}}
    assert (await ada.post(f"{AGENT}/conversations/{talk.id}/handoffs", json=news)).status_code == 201
    await owner.post(f"{here}/closure")
    late = await owner.delete(f"{here}/ownership", params={"agentId": str(ada.agent_id)})
    assert (late.status_code, "reopen" in late.text) == (409, True), late.text
