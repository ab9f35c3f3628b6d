"""The log is followed for what members are told: nothing is lost or doubled, wherever whoever reads it dies."""

import asyncio
from typing import Any

import pytest

from comms.events import WRITE, Fact, arguments, encode
from comms.notifications.following import AT_ONCE, catch_up, keep_up
from comms.service import Service
from models.base import new_id, now
from models.communications import Conversation
from tests.conftest import Client
from tests.make import communications as make
from tests.make.killing import killed_at
from tests.make.notices import API, notices, told, unread


@pytest.fixture
async def talk(service: Service, owner: Client, member: Client) -> Conversation:
    """A conversation that the member has and the owner has given them."""
    talk = await make.conversation(service, owner.workspace_id)
    answer = await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    assert answer.status_code == 200
    return talk


async def noted(owner: Client, talk: Conversation, times: int) -> None:
    for number in range(times):
        answer = await owner.post(f"{API}/conversations/{talk.id}/notes", json={"content": f"note {number}"})
        assert answer.status_code == 201


async def test_killed_between_any_two_steps_it_loses_nothing_and_doubles_nothing(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    await noted(owner, talk, 10)
    step = 1
    while await killed_at(step, keep_up(service.database, [owner.workspace_id])):
        assert await notices(member) == []
        step += 1
    assert step > 10, "there were steps to die at"
    assert [(item["kind"], item["count"]) for item in await notices(member)] == [("message", 10), ("assignment", 1)]
    log = (await member.get(f"{API}/events", params={"event": "notification.created"})).json()["items"]
    assert len(log) == 2


async def test_several_who_read_at_once_tell_everything_once(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    async def more() -> None:
        await noted(owner, talk, 5)

    await asyncio.gather(more(), more(), *(told(service) for _ in range(6)))
    await told(service)
    assert sum(item["count"] for item in await notices(member) if item["kind"] == "message") == 10
    assert await unread(member) == 2


async def test_a_log_that_is_read_from_its_beginning_again_tells_nothing_again(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await noted(owner, talk, 3)
    await told(service)
    before = await notices(member)
    await member.patch(f"{API}/notifications/{before[0]['id']}", json={"isRead": True})
    before = await notices(member)
    for seq in (0, 2, 4):
        await admin.execute("UPDATE notification_progress SET seq = $1", seq)
        await told(service)
        assert await notices(member) == before


async def test_what_is_told_in_many_pages_is_one_notice(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    await noted(owner, talk, 7)
    async with service.database.everywhere() as db:
        assert await catch_up(db, owner.workspace_id, 2) is True
    await keep_up(service.database, most=3)
    async with service.database.everywhere() as db:
        assert await catch_up(db, owner.workspace_id, AT_ONCE) is False
    assert [item["count"] for item in await notices(member)] == [7, 1]


async def test_an_event_that_nobody_understands_stops_nobody(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    names = ("message.received", "conversation.assigned", "agent_message.created", "team_message.updated")
    facts = [
        Fact(
            workspace_id=owner.workspace_id,
            event=name,
            subject_type=name.partition(".")[0],
            subject_id=new_id(),
            data=data,
            at=now(),
        )
        for name in names
        for data in (b"{}", b'{"assignedTo": "nobody", "messageType": "handoff", "content": 5, "channelId": "?"}')
    ]
    await admin.fetch(WRITE, *arguments(facts))
    await noted(owner, talk, 1)
    await told(service)
    assert [item["kind"] for item in await notices(member)] == ["message", "assignment"]


async def test_everybody_in_a_channel_is_called_at_once_and_what_is_read_there_is_read(
    service: Service, owner: Client, member: Client, viewer: Client, admin: Any
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "all"})).json()["id"]
    await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(member.user_id)})

    async def happens(event: str, **data: Any) -> None:
        fact = Fact(
            workspace_id=owner.workspace_id,
            event=event,
            subject_type=event.partition(".")[0],
            subject_id=new_id(),
            data=encode({"channelId": channel, **data}),
            at=now(),
            actor_type="user",
            actor_id=owner.user_id,
            changes=encode({"readPosition": {"before": 0, "after": data.get("readPosition")}}),
        )
        await admin.fetch(WRITE, *arguments([fact]))
        await told(service)

    said = {"content": "@channel lunch", "mentions": [], "contentType": "text"}
    await happens("team_message.created", **said, mentionsChannel=True, position=7)
    await happens("team_message.created", **said | {"contentType": "system"}, mentionsChannel=True, position=8)
    assert [(item["kind"], item["count"]) for item in await notices(member)] == [("mention", 1)]
    assert await notices(owner) == await notices(viewer) == []
    for position, count in ((6, 1), (7, 0)):
        await happens("team_channel_reading.updated", userId=str(member.user_id), readPosition=position)
        assert await unread(member) == count


async def test_another_workspace_hears_nothing(
    service: Service, owner: Client, member: Client, stranger: Client, talk: Conversation, admin: Any
) -> None:
    # The same person is a member of both.
    await admin.execute(
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, created_at, updated_at)"
        " VALUES ($1, $2, $3, 'member', now(), now())",
        stranger.workspace_id,
        new_id(),
        member.user_id,
    )
    await noted(owner, talk, 1)
    await told(service)
    rows = await admin.fetch("SELECT DISTINCT workspace_id FROM notifications")
    assert [row["workspace_id"] for row in rows] == [owner.workspace_id]
    assert await notices(stranger) == []
