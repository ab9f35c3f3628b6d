"""What is done with a conversation as a whole: whose it is, where it stands, when it comes back."""

import asyncio
import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from comms import conversations as stories
from comms.directory import Connection
from comms.providers.base import MediaItem
from comms.service import Service
from models.base import now
from models.communications import Conversation
from models.crm import Contact
from tests.conftest import Client
from tests.handlers.webhooks import post, rows, text
from tests.make import communications as make
from tests.make import notices
from tests.make import rows as any_row

API = "/api/v1"


@pytest.fixture
async def talk(service: Service, workspace_id: uuid.UUID, owner: Client) -> Conversation:
    """An active conversation with a contact."""
    return await make.conversation(service, workspace_id, await _contact(service, owner))


async def _contact(service: Service, owner: Client) -> uuid.UUID:
    row = await any_row.row(service, Contact, workspace_id=owner.workspace_id, user_id=owner.user_id)
    contact_id: uuid.UUID = row.id
    return contact_id


def at(talk: Conversation, noun: str = "") -> str:
    return f"{API}/conversations/{talk.id}" + (f"/{noun}" if noun else "")


async def told(client: Client, **query: Any) -> list[str]:
    """The events there are, but those of what tests begin with."""
    page = (await client.get(f"{API}/events", params={"limit": 200, **query})).json()
    return [item["event"] for item in page["items"]]


async def test_an_assigned_conversation_is_its_members_and_they_are_told(
    service: Service, owner: Client, member: Client, talk: Conversation
) -> None:
    answer = await owner.put(at(talk, "assignment"), json={"userId": str(member.user_id)})
    assert (answer.status_code, answer.json()["assignedTo"]) == (200, str(member.user_id))
    (participant,) = (await owner.get(at(talk, "participants"))).json()["items"]
    assert (participant["userId"], participant["role"]) == (str(member.user_id), "owner")
    await notices.told(service)
    (notice,) = await notices.notices(member)
    assert (notice["type"], notice["data"]["conversationId"]) == ("assignment", str(talk.id))
    assert await told(member) == [
        "conversation.assigned",
        "conversation_participant.created",
        "notification.created",
        "notification_read_state.updated",
    ]
    assert await told(owner) == ["conversation.assigned", "conversation_participant.created"]
    again = await owner.put(at(talk, "assignment"), json={"userId": str(member.user_id)})
    assert again.json() == answer.json()
    await notices.told(service)
    assert len(await told(member)) == 4


async def test_who_takes_a_conversation_needs_no_telling(service: Service, member: Client, talk: Conversation) -> None:
    await member.put(at(talk, "assignment"), json={"userId": str(member.user_id)})
    await notices.told(service)
    assert await notices.notices(member) == []


async def test_a_conversation_has_one_owner_and_those_before_still_take_part(
    owner: Client, member: Client, talk: Conversation
) -> None:
    for user in (member, owner):
        await owner.put(at(talk, "assignment"), json={"userId": str(user.user_id)})
    roles = {item["userId"]: item["role"] for item in (await owner.get(at(talk, "participants"))).json()["items"]}
    assert roles == {str(member.user_id): "participant", str(owner.user_id): "owner"}
    freed = await owner.delete(at(talk, "assignment"))
    assert (freed.status_code, freed.json()["assignedTo"]) == (200, None)
    assert (await owner.delete(at(talk, "assignment"))).status_code == 200
    assert [event for event in await told(owner) if event == "conversation.unassigned"] == ["conversation.unassigned"]
    roles = {item["userId"]: item["role"] for item in (await owner.get(at(talk, "participants"))).json()["items"]}
    assert set(roles.values()) == {"participant"}


async def test_nobody_but_an_active_member_is_assigned(
    owner: Client, member: Client, stranger: Client, talk: Conversation, admin: Any
) -> None:
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", member.user_id)
    for user_id in (member.user_id, stranger.user_id, uuid.uuid4()):
        answer = await owner.put(at(talk, "assignment"), json={"userId": str(user_id)})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "userId"
    assert (await stranger.put(at(talk, "assignment"), json={"userId": str(stranger.user_id)})).status_code == 404
    assert await told(owner) == []


async def test_of_two_who_assign_at_once_the_later_wins_and_the_log_says_so(
    owner: Client, member: Client, admin_member: Client, talk: Conversation
) -> None:
    users = [owner, member, admin_member] * 3
    answers = await asyncio.gather(
        *(user.put(at(talk, "assignment"), json={"userId": str(user.user_id)}) for user in users)
    )
    assert {answer.status_code for answer in answers} == {200}
    log = (await owner.get(f"{API}/events", params={"event": "conversation.assigned"})).json()["items"]
    assignees = [item["data"]["assignedTo"] for item in log]
    assert (await owner.get(at(talk))).json()["assignedTo"] == assignees[-1]
    assert all(before != after for before, after in itertools.pairwise(assignees))
    participants = (await owner.get(at(talk, "participants"))).json()["items"]
    assert [item["userId"] for item in participants if item["role"] == "owner"] == [assignees[-1]]


@pytest.mark.parametrize(
    ("noun", "status", "entered", "left"),
    [
        ("closure", "closed", "conversation.closed", "conversation.reopened"),
        ("archiving", "archived", "conversation.archived", "conversation.reopened"),
        ("spam", "spam", "conversation.marked_spam", "conversation.unmarked_spam"),
    ],
)
async def test_a_state_is_entered_and_left_once(
    owner: Client, viewer: Client, talk: Conversation, noun: str, status: str, entered: str, left: str
) -> None:
    assert (await viewer.post(at(talk, noun))).status_code == 403
    for _ in range(2):
        answer = await owner.post(at(talk, noun))
        assert (answer.status_code, answer.json()["status"]) == (201, status)
    for _ in range(2):
        answer = await owner.delete(at(talk, noun))
        assert (answer.status_code, answer.json()["status"]) == (200, "active")
    assert await told(owner) == [entered, left]


async def test_a_status_is_not_set_like_a_field(owner: Client, talk: Conversation, member: Client) -> None:
    for change in ({"status": "closed"}, {"assignedTo": str(member.user_id)}, {"snoozedUntil": "2030-01-01T00:00:00Z"}):
        answer = await owner.patch(at(talk), json=change)
        assert answer.status_code == 400
        assert answer.json()["errors"] == [{"field": next(iter(change)), "reason": "is read-only"}]


@pytest.mark.parametrize(
    ("status", "method", "noun", "allowed"),
    [
        ("archived", "POST", "closure", {"POST …/spam", "DELETE …/archiving"}),
        ("spam", "POST", "archiving", {"DELETE …/spam"}),
        ("spam", "DELETE", "closure", {"DELETE …/spam"}),
        ("closed", "DELETE", "spam", {"POST …/archiving", "POST …/spam", "DELETE …/closure"}),
    ],
)
async def test_what_cannot_follow_names_what_can(
    owner: Client, service: Service, status: str, method: str, noun: str, allowed: set[str]
) -> None:
    talk = await make.conversation(service, owner.workspace_id, status=status)
    answer = await owner.request(method, at(talk, noun))
    assert answer.status_code == 409
    assert set(answer.json()["detail"].partition("what can be done: ")[2].split(", ")) == allowed
    assert (await owner.get(at(talk))).json()["status"] == status


async def test_a_second_active_conversation_is_refused_by_the_name_of_the_first(
    owner: Client, service: Service, talk: Conversation
) -> None:
    closed = await make.conversation(service, owner.workspace_id, talk.contact_id, status="closed")
    elsewhere = await make.conversation(service, owner.workspace_id, talk.contact_id, channel="whatsapp")
    answers = [
        await owner.delete(at(closed, "closure")),
        await owner.post(f"{API}/conversations", json={"contactId": str(talk.contact_id), "channel": "sms"}),
        await owner.patch(at(elsewhere), json={"channel": "sms"}),
    ]
    for answer in answers:
        assert answer.status_code == 409
        assert answer.json()["conflictingId"] == str(talk.id)
    assert (await owner.get(at(closed))).json()["status"] == "closed"
    await owner.post(at(talk, "closure"))
    assert (await owner.delete(at(closed, "closure"))).json()["status"] == "active"


async def test_of_two_reopened_at_once_one_is(owner: Client, service: Service) -> None:
    contact_id = await _contact(service, owner)
    closed = [await make.conversation(service, owner.workspace_id, contact_id, status="closed") for _ in range(4)]
    answers = await asyncio.gather(*(owner.delete(at(one, "closure")) for one in closed))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    (reopened,) = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert {answer.json()["conflictingId"] for answer in answers if answer.status_code == 409} == {reopened}


async def test_what_arrives_while_somebody_closes_is_in_one_thread_and_none_is_lost(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    await post(anonymous, text(line, sid="FIRST"))
    (talk,) = await rows(admin, "conversations", workspace_id)
    address = f"{API}/conversations/{talk['id']}"
    for turn in range(10):
        texts = [post(anonymous, text(line, sid=f"SM{turn}-{each}")) for each in range(4)]
        answers = await asyncio.gather(
            texts[0], owner.post(f"{address}/closure"), texts[1], owner.delete(f"{address}/closure"), *texts[2:]
        )
        assert [answer.status_code for answer in answers] == [200, 201, 200, 200, 200, 200]
    await owner.post(f"{address}/closure")
    await post(anonymous, text(line, sid="LAST"))
    (after,) = await rows(admin, "conversations", workspace_id)
    assert (after["id"], after["status"], after["message_count"]) == (talk["id"], "active", 42)
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert {message["conversation_id"] for message in messages} == {talk["id"]}
    assert len(messages) == 42
    events = [row["event"] for row in await rows(admin, "events", workspace_id)]
    assert events.count("message.received") == 42
    # It was closed as often as it was reopened, by whoever did, and each in turn.
    turns = [event for event in events if event in ("conversation.closed", "conversation.reopened")]
    assert turns == ["conversation.closed", "conversation.reopened"] * (len(turns) // 2)


def _in(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_snoozed_conversation_is_put_off_until_its_time(
    owner: Client, service: Service, talk: Conversation, admin: Any
) -> None:
    until = _in(hours=3)
    for _ in range(2):
        answer = await owner.put(at(talk, "snooze"), json={"until": until})
        assert answer.status_code == 200, answer.text
    assert datetime.fromisoformat(answer.json()["snoozedUntil"]) == datetime.fromisoformat(until)
    assert await told(owner) == ["conversation.snoozed"]
    assert await stories.wake(service.database) == 0
    await admin.execute("UPDATE conversations SET snoozed_until = now() - interval '1 second'")
    assert await stories.wake(service.database) == 1
    assert await stories.wake(service.database) == 0
    assert (await owner.get(at(talk))).json()["snoozedUntil"] is None
    assert await told(owner) == ["conversation.snoozed", "conversation.woken"]


async def test_many_wake_in_turn_and_once_however_many_wake_them(
    owner: Client, service: Service, workspace_id: uuid.UUID
) -> None:
    past = now() - timedelta(minutes=1)
    for _ in range(7):
        await make.conversation(service, workspace_id, snoozed_until=past)
    woken = await asyncio.gather(*(stories.wake(service.database, most=2) for _ in range(3)))
    assert sum(woken) == 7
    assert await told(owner) == ["conversation.woken"] * 7


async def test_a_snooze_ends_by_hand_by_closing_and_by_the_contact(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    (row,) = await rows(admin, "conversations", workspace_id)
    address = f"{API}/conversations/{row['id']}"

    async def snoozed() -> bool:
        return bool((await owner.get(address)).json()["snoozedUntil"])

    await owner.put(f"{address}/snooze", json={"until": _in(days=1)})
    assert await snoozed()
    await owner.delete(f"{address}/snooze")
    assert not await snoozed()
    await owner.put(f"{address}/snooze", json={"until": _in(days=1)})
    await owner.post(f"{address}/closure")
    assert not await snoozed()
    assert (await owner.put(f"{address}/snooze", json={"until": _in(days=1)})).status_code == 409
    await owner.delete(f"{address}/closure")
    await owner.put(f"{address}/snooze", json={"until": _in(days=1)})
    await post(anonymous, text(line, sid="SM2"))  # one statement
    assert not await snoozed()
    await owner.put(f"{address}/snooze", json={"until": _in(days=1)})
    await post(
        anonymous, text(line, sid="SM3", media=[MediaItem("https://api.twilio.com/x", "image/png")])
    )  # the story
    assert not await snoozed()


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "tomorrow", None])
async def test_a_snooze_is_until_an_instant_to_come(owner: Client, talk: Conversation, until: Any) -> None:
    answer = await owner.put(at(talk, "snooze"), json={"until": until})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "until"


async def test_the_list_knows_what_is_snoozed(owner: Client, talk: Conversation, service: Service) -> None:
    other = await make.conversation(service, owner.workspace_id)
    await owner.put(at(talk, "snooze"), json={"until": _in(hours=1)})
    for asked, found in ((True, [talk]), (False, [other])):
        page = (await owner.get(f"{API}/conversations", params={"snoozed": asked})).json()
        assert [item["id"] for item in page["items"]] == [str(one.id) for one in found]
    assert (await owner.get(f"{API}/conversations", params={"snoozed": "perhaps"})).status_code == 400


async def test_tags_are_kept_tidy_by_every_door(owner: Client, talk: Conversation) -> None:
    untidy = [" vip ", "", "vip", "späti", "  "]
    for method, path in (("PUT", at(talk, "tags")), ("PATCH", at(talk))):
        await owner.put(at(talk, "tags"), json={"tags": []})
        answer = await owner.request(method, path, json={"tags": untidy})
        assert answer.json()["tags"] == ["vip", "späti"]
    made = await owner.post(f"{API}/conversations", json={"channel": "sms", "tags": untidy})
    assert made.json()["tags"] == ["vip", "späti"]
    for wrong in ([str(number) for number in range(51)], ["x" * 101]):
        answer = await owner.put(at(talk, "tags"), json={"tags": wrong})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "tags"
    found = (await owner.get(f"{API}/conversations", params={"tags": "späti"})).json()["items"]
    assert {item["id"] for item in found} == {str(talk.id), made.json()["id"]}


async def test_tags_added_and_removed_at_once_all_count(owner: Client, talk: Conversation) -> None:
    await owner.put(at(talk, "tags"), json={"tags": ["old"]})
    names = [f"tag {number}" for number in range(8)]
    answers = await asyncio.gather(
        *(owner.post(at(talk, f"tags/{name}")) for name in names), owner.delete(at(talk, "tags/old"))
    )
    assert [answer.status_code for answer in answers] == [201] * 8 + [200]
    assert set((await owner.get(at(talk))).json()["tags"]) == set(names)
    before = await told(owner)
    assert (await owner.post(at(talk, "tags/tag 1"))).status_code == 201
    assert await told(owner) == before
    assert (await owner.post(at(talk, "tags/%00"))).status_code == 400
    assert (await owner.post(at(talk, "tags/%20"))).status_code == 400
    assert (await owner.post(at(talk, f"tags/{'x' * 101}"))).status_code == 400


async def test_the_conversations_of_a_contact(
    owner: Client, stranger: Client, talk: Conversation, service: Service
) -> None:
    await make.conversation(service, owner.workspace_id)
    address = f"{API}/contacts/{talk.contact_id}/conversations"
    assert [item["id"] for item in (await owner.get(address)).json()["items"]] == [str(talk.id)]
    assert (await owner.get(address, params={"status": "closed"})).json()["items"] == []
    assert (await stranger.get(address)).status_code == 404


@pytest.mark.parametrize("wrong", ["vip/gold", "/", "..", ".", "late \ufffd"])
async def test_a_tag_that_could_not_be_taken_off_is_not_put_on(owner: Client, talk: Conversation, wrong: str) -> None:
    for method, path in (("PUT", at(talk, "tags")), ("PATCH", at(talk))):
        answer = await owner.request(method, path, json={"tags": ["vip", wrong]})
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["field"] == "tags"
    made = await owner.post(f"{API}/conversations", json={"channel": "sms", "tags": [wrong]})
    assert made.status_code == 400
