"""What members hear of their agents: what waits for them, and what is handed over to them."""

from typing import Any

import pytest

from comms.service import Service
from models.communications import Conversation
from tests.conftest import Client
from tests.make import agents
from tests.make import communications as make
from tests.make.notices import API, has, kinds, notices, told, unread


@pytest.fixture
async def talk(service: Service, owner: Client) -> Conversation:
    return await make.conversation(service, owner.workspace_id)


async def test_what_an_agent_asks_is_told_to_who_may_approve_until_it_is_decided(
    service: Service, owner: Client, member: Client, viewer: Client, admin_member: Client, admin: Any
) -> None:
    await admin.execute(
        'UPDATE workspace_members SET permissions = \'{"agents": "none"}\' WHERE user_id = $1', admin_member.user_id
    )
    agent = await agents.agent(owner)
    action = await agents.made(
        owner,
        "/agent-pending-actions",
        {"agentId": agent["id"], "actionType": "email.send", "title": "Write to Jane"},
    )
    await told(service)
    [asked] = await notices(member)
    assert (asked["kind"], asked["message"], asked["subjectId"]) == ("approval", "Write to Jane", action["id"])
    for nobody in (owner, viewer, admin_member):  # whose agent it is, and who may not
        assert await notices(nobody) == []
    await member.post(f"{API}/agent-pending-actions/{action['id']}/approval")
    await told(service)
    assert [notice["isRead"] for notice in await notices(member)] == [True]
    assert await unread(member) == 0


async def test_who_may_not_see_agents_any_more_keeps_nothing_of_what_they_asked(
    service: Service, owner: Client, member: Client, admin_member: Client, talk: Conversation
) -> None:
    agent = await agents.agent(owner)
    body = {"agentId": agent["id"], "actionType": "email.send", "title": "Write to Jane"}
    await agents.made(owner, "/agent-pending-actions", body)
    await has(owner, talk, member)
    await told(service)
    members = (await owner.get(f"{API}/workspace-members")).json()["items"]
    [theirs] = [row["id"] for row in members if row["userId"] == str(member.user_id)]
    for level, left in (("read", 2), ("none", 1)):
        address = f"{API}/workspace-members/{theirs}"
        answer = await owner.patch(address, json={"permissions": {"agents": level}})
        assert answer.status_code == 200, answer.text
        await told(service)
        assert (len(await notices(member)), await unread(member)) == (left, left)
    assert await kinds(admin_member) == [("approval", 1)]


async def test_what_an_agent_hands_over_waits_for_who_has_the_conversation_or_for_who_may_write_agents(
    service: Service, owner: Client, member: Client, viewer: Client, talk: Conversation
) -> None:
    await has(owner, talk, member)
    await told(service)
    agent = await agents.agent(owner)
    about = {"subject": "I am stuck", "data": {"conversationId": str(talk.id)}}
    message = {"toAgentId": agent["id"], "messageType": "handoff"}
    await agents.made(owner, "/agent-messages", message | {"content": about})
    await told(service)
    assert (await kinds(member))[1:] == [("handoff", 1)]
    await agents.made(owner, "/agent-messages", message | {"content": {"subject": "Anybody?"}})
    await agents.made(owner, "/agent-messages", message | {"messageType": "task"})
    await told(service)
    assert (await kinds(member))[1:] == [("handoff", 1)] * 2
    assert await notices(viewer) == await notices(owner) == []
