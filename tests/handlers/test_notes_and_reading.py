"""What the team says among itself in a conversation, whom it calls on, and who has read what."""

import asyncio
import uuid
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from models.base import now
from models.communications import Conversation
from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.handlers.webhooks import post, rows, text
from tests.make import communications as make
from tests.make import notices

API = "/api/v1"


@pytest.fixture
async def talk(service: Service, workspace_id: uuid.UUID) -> Conversation:
    """A conversation nobody has said anything in."""
    return await make.conversation(service, workspace_id)


def at(talk: Conversation, noun: str = "") -> str:
    return f"{API}/conversations/{talk.id}" + (f"/{noun}" if noun else "")


async def _noted(client: Client, talk: Conversation, **body: Any) -> dict[str, Any]:
    answer = await client.post(at(talk, "notes"), json={"content": "Call her back"} | body)
    assert answer.status_code == 201, answer.text
    note: dict[str, Any] = answer.json()
    return note


async def _mentions(client: Client) -> list[str]:
    return [notice["data"]["messageId"] for notice in await notices.notices(client, type="mention")]


async def test_a_note_is_for_the_team_and_not_counted(owner: Client, member: Client, talk: Conversation) -> None:
    note = await _noted(owner, talk)
    assert (note["isInternal"], note["status"], note["sentAt"]) == (True, "received", None)
    assert (note["senderType"], note["senderId"]) == ("user", str(owner.user_id))
    assert (await owner.get(f"{API}/conversation-messages/{note['id']}")).json() == note
    for path in (at(talk, "messages"), at(talk, "notes"), f"{API}/conversation-messages?isInternal=true"):
        assert (await member.get(path)).json()["items"] == [note]
    after = (await owner.get(at(talk))).json()
    assert (after["messageCount"], after["lastMessageAt"]) == (0, None)
    (told,) = (await member.get(f"{API}/events")).json()["items"]
    assert (told["event"], told["data"], told["conversationId"]) == ("message.created", note, str(talk.id))


async def test_a_note_threads_nothing(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    (before,) = await rows(admin, "conversations", workspace_id)
    await owner.post(f"{API}/conversations/{before['id']}/closure")
    await admin.execute("UPDATE conversations SET last_message_at = now() - interval '8 days'")
    await owner.post(f"{API}/conversations/{before['id']}/notes", json={"content": "Paid"})
    await post(anonymous, text(line, sid="SM2"))
    assert len(await rows(admin, "conversations", workspace_id)) == 2


async def test_a_note_can_never_be_on_its_way_out(owner: Client, talk: Conversation, admin: Any) -> None:
    note = await _noted(owner, talk)
    for change in ("status = 'queued'", "provider_message_id = 'SM1'"):
        with pytest.raises(Exception, match="is_internal_stays_here"):
            await admin.execute(f"UPDATE conversation_messages SET {change} WHERE id = $1", uuid.UUID(note["id"]))


async def test_whom_a_note_mentions_is_told_once_and_its_author_never(
    service: Service, owner: Client, member: Client, viewer: Client, stranger: Client, talk: Conversation
) -> None:
    content = f"@[{member.user_id}] and @[{member.user_id}], with @[{owner.user_id}]: @[{stranger.user_id}] @[nobody]"
    note = await _noted(owner, talk, content=content, mentions=[str(member.user_id), str(viewer.user_id)])
    assert set(note["mentions"]) == {str(user.user_id) for user in (member, viewer, owner)}
    await notices.told(service)
    assert (await _mentions(member), await _mentions(viewer)) == ([note["id"]], [note["id"]])
    assert await _mentions(owner) == await _mentions(stranger) == []
    told = [item["event"] for item in (await member.get(f"{API}/events")).json()["items"]]
    assert told == ["message.created", "notification.created", "notification_read_state.updated"]
    for nobody in (stranger.user_id, uuid.uuid4()):
        answer = await owner.post(at(talk, "notes"), json={"content": "Hi", "mentions": [str(nobody)]})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "mentions"


async def test_a_note_is_edited_by_its_author_and_calls_only_whom_it_did_not_before(
    service: Service, owner: Client, member: Client, viewer: Client, talk: Conversation
) -> None:
    note = await _noted(owner, talk, content=f"@[{member.user_id}] look", mentions=[])
    address = at(talk, f"notes/{note['id']}")
    assert (await member.patch(address, json={"content": "No"})).status_code == 403
    for _ in range(2):
        edited = await owner.patch(address, json={"content": f"@[{member.user_id}] @[{viewer.user_id}] look"})
        assert edited.status_code == 200, edited.text
    assert edited.json()["editedAt"] is not None
    await notices.told(service)
    assert (await _mentions(member), await _mentions(viewer)) == ([note["id"]], [note["id"]])
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == ["message.created", "message.updated"]
    named = await owner.patch(address, json={"content": "Never mind", "mentions": [str(viewer.user_id)]})
    assert named.json()["mentions"] == [str(viewer.user_id)]
    kept = await owner.patch(address, json={"content": "At all"})
    assert kept.json()["mentions"] == [str(viewer.user_id)]
    for body in ({"content": ""}, {"content": None}, {"mentions": None}, {"isInternal": False}):
        assert (await owner.patch(address, json=body)).status_code == 400


async def test_a_note_is_deleted_by_its_author_or_an_administrator(
    owner: Client, member: Client, admin_member: Client, talk: Conversation, admin: Any
) -> None:
    by_member, by_owner = await _noted(member, talk), await _noted(owner, talk)
    other = at(talk, f"notes/{by_owner['id']}")
    assert (await member.delete(other)).status_code == 403
    assert (await admin_member.delete(other)).status_code == 204
    assert (await member.delete(at(talk, f"notes/{by_member['id']}"))).status_code == 204
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 0
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == ["message.created"] * 2 + ["message.deleted"] * 2


async def test_what_was_said_with_the_contact_is_no_note(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, service: Service
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    (message,) = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    address = f"{API}/conversations/{message['conversationId']}/notes/{message['id']}"
    assert (await owner.patch(address, json={"content": "Yes"})).status_code == 409
    assert (await owner.delete(address)).status_code == 409
    other = await make.conversation(service, owner.workspace_id)
    note = await _noted(owner, other)
    elsewhere = f"{API}/conversations/{message['conversationId']}/notes/{note['id']}"
    assert (await owner.patch(elsewhere, json={"content": "Yes"})).status_code == 404


async def test_notes_are_for_those_who_write_in_this_workspace(
    owner: Client, viewer: Client, stranger: Client, talk: Conversation
) -> None:
    note = await _noted(owner, talk)
    assert (await viewer.post(at(talk, "notes"), json={"content": "Hi"})).status_code == 403
    assert (await stranger.post(at(talk, "notes"), json={"content": "Hi"})).status_code == 404
    assert (await stranger.get(at(talk, "notes"))).status_code == 404
    assert (await stranger.delete(at(talk, f"notes/{note['id']}"))).status_code == 404


async def _spoken(service: Service, talk: Conversation, admin: Any, count: int) -> list[uuid.UUID]:
    """Messages of nobody here, a minute apart and all in the past."""
    ids = []
    for number in range(count):
        row = await make.sent(service, talk.workspace_id, f"{talk.id}-{number}", conversation_id=talk.id)
        at = now() - timedelta(minutes=count - number)
        await admin.execute("UPDATE conversation_messages SET created_at = $2 WHERE id = $1", row.id, at)
        await admin.execute("UPDATE conversations SET last_message_at = $2 WHERE id = $1", talk.id, at)
        ids.append(row.id)
    return ids


async def test_reading_only_moves_forward(owner: Client, talk: Conversation, service: Service, admin: Any) -> None:
    messages = await _spoken(service, talk, admin, 3)
    fresh = (await owner.get(at(talk, "read-state"))).json()
    assert (fresh["lastReadAt"], fresh["unreadCount"], fresh["userId"]) == (None, 3, str(owner.user_id))
    assert (await owner.get(at(talk, "participants"))).json()["items"] == []
    counts = []
    for message_id in (messages[1], messages[0], messages[2], messages[2]):
        answer = await owner.put(at(talk, "read-state"), json={"lastReadMessageId": str(message_id)})
        assert answer.status_code == 200, answer.text
        counts.append(answer.json()["unreadCount"])
    assert counts == [1, 1, 0, 0]
    (participant,) = (await owner.get(at(talk, "participants"))).json()["items"]
    assert (participant["role"], participant["lastReadAt"]) == ("observer", answer.json()["lastReadAt"])
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == ["conversation_participant.created", "conversation_participant.updated"]


async def test_the_future_is_not_read_yet(owner: Client, talk: Conversation) -> None:
    answer = await owner.put(at(talk, "read-state"), json={"at": "2999-01-01T00:00:00Z"})
    assert datetime.fromisoformat(answer.json()["lastReadAt"]) <= now()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "lastReadMessageId"),
        ({"at": "2026-01-01T00:00:00Z", "lastReadMessageId": str(uuid.uuid4())}, "lastReadMessageId"),
        ({"lastReadMessageId": str(uuid.uuid4())}, "lastReadMessageId"),
        ({"at": "2026-01-01T00:00:00"}, "at"),
    ],
)
async def test_a_read_state_that_says_nothing_is_refused(
    owner: Client, talk: Conversation, body: dict[str, Any], field: str
) -> None:
    answer = await owner.put(at(talk, "read-state"), json=body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_reading_on_several_screens_at_once_keeps_the_furthest(
    viewer: Client, talk: Conversation, service: Service, admin: Any
) -> None:
    messages = await _spoken(service, talk, admin, 5)
    bodies = [{"lastReadMessageId": str(message_id)} for message_id in (*reversed(messages), *messages)]
    answers = await asyncio.gather(*(viewer.put(at(talk, "read-state"), json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert (await viewer.get(at(talk, "read-state"))).json()["unreadCount"] == 0


async def test_what_one_said_oneself_and_notes_are_not_unread(
    owner: Client, member: Client, talk: Conversation
) -> None:
    body = {"conversationId": str(talk.id), "direction": "outbound", "content": "Hello"}
    assert (await owner.post(f"{API}/conversation-messages", json=body)).status_code == 201
    await _noted(owner, talk)
    for client, unread in ((owner, 0), (member, 1)):
        assert (await client.get(at(talk, "read-state"))).json()["unreadCount"] == unread
        page = (await client.get(f"{API}/conversations", params={"unread": True})).json()
        assert len(page["items"]) == unread


async def test_the_list_of_what_is_unread_is_ones_own_and_takes_one_query_whatever_its_length(
    owner: Client, member: Client, service: Service, admin: Any
) -> None:
    talks = [await make.conversation(service, owner.workspace_id) for _ in range(4)]
    for talk in talks[:3]:
        await _spoken(service, talk, admin, 2)

    async def unread(client: Client) -> set[str]:
        page = await client.get(f"{API}/conversations", params={"unread": True, "sort": "-lastMessageAt"})
        return {item["id"] for item in page.json()["items"]}

    assert await unread(owner) == await unread(member) == {str(talk.id) for talk in talks[:3]}
    with counted() as statements:
        await unread(owner)
        for_three = statements()
    for talk in talks[:2]:
        await owner.put(at(talk, "read-state"), json={"at": now().isoformat()})
    with counted() as statements:
        assert await unread(owner) == {str(talks[2].id)}
        assert statements() == for_three
    assert await unread(member) == {str(talk.id) for talk in talks[:3]}


async def test_what_is_long_past_is_not_listed_as_unread(
    owner: Client, talk: Conversation, service: Service, admin: Any
) -> None:
    await _spoken(service, talk, admin, 1)
    path = f"{API}/conversations"
    assert len((await owner.get(path, params={"unread": True})).json()["items"]) == 1
    for table, column in (("conversations", "last_message_at"), ("conversation_messages", "created_at")):
        await admin.execute(f"UPDATE {table} SET {column} = {column} - interval '31 days'")
    assert (await owner.get(path, params={"unread": True})).json()["items"] == []
    assert (await owner.get(at(talk, "read-state"))).json()["unreadCount"] == 1
    assert (await owner.get(path, params={"unread": False})).status_code == 400


async def test_participants_of_a_conversation(
    owner: Client, member: Client, viewer: Client, stranger: Client, talk: Conversation
) -> None:
    path = at(talk, "participants")
    made = await owner.post(path, json={"userId": str(member.user_id), "role": "observer"})
    assert made.status_code == 201, made.text
    assert (await owner.get(path)).json()["items"] == [made.json()]
    assert (await owner.post(path, json={"userId": str(member.user_id)})).status_code == 409
    assert (await owner.post(path, json={"userId": str(stranger.user_id)})).status_code == 400
    assert (await viewer.delete(f"{path}/{member.user_id}")).status_code == 403
    assert (await stranger.get(path)).status_code == 404
    assert (await owner.delete(f"{path}/{member.user_id}")).status_code == 204
    assert (await owner.delete(f"{path}/{member.user_id}")).status_code == 404
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == ["conversation_participant.created", "conversation_participant.deleted"]
