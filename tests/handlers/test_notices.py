"""Of what members are told, and of what they are not."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms.conversations import wake
from comms.directory import Connection
from comms.interactions import come_due
from comms.service import Service
from models.base import now
from models.communications import Call, CallOffer, CallTransfer, CallTransferView, CallView, Conversation
from models.crm import Contact
from tests.conftest import Client
from tests.handlers.webhooks import post, report, text
from tests.make import communications as make
from tests.make import rows as any_row
from tests.make.notices import API, at, happened, has, kinds, notices, told, unread


@pytest.fixture
async def contact(service: Service, owner: Client) -> Contact:
    body = {"firstName": "Ada", "lastName": "Lovelace", "phone": "+14155550123"}
    answer = await owner.post(f"{API}/contacts", json=body)
    assert answer.status_code == 201, answer.text
    async with service.database.everywhere() as db:
        return await db.get_one(Contact, (owner.workspace_id, uuid.UUID(answer.json()["id"])))


@pytest.fixture
async def talk(service: Service, owner: Client, contact: Contact) -> Conversation:
    return await make.conversation(service, owner.workspace_id, contact.id)


async def writes(anonymous: httpx.AsyncClient, line: Connection, *bodies: str) -> None:
    """The contact writes to us."""
    for body in bodies:
        answer = await post(anonymous, text(line, sender="+14155550123", body=body, sid=f"SM{uuid.uuid4().hex}"))
        assert answer.status_code == 200


async def test_ten_messages_are_one_notice_until_it_is_read_and_then_another(
    service: Service, owner: Client, member: Client, talk: Conversation, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    await has(owner, talk, member)
    await told(service)
    [assigned] = await notices(member)
    assert (assigned["kind"], assigned["type"], assigned["subjectId"]) == ("assignment", "assignment", str(talk.id))
    assert assigned["data"]["assignedBy"] == str(owner.user_id)
    await writes(anonymous, line, *(f"text {number}" for number in range(4)))
    await told(service)
    await writes(anonymous, line, *(f"text {number}" for number in range(4, 10)))
    await told(service)
    notice, _ = await notices(member)
    assert (notice["kind"], notice["count"], notice["message"]) == ("message", 10, "text 9")
    assert notice["title"] == "New message from Ada Lovelace"
    assert await unread(member) == 2
    assert (await member.patch(f"{API}/notifications/{notice['id']}", json={"isRead": True})).status_code == 200
    await writes(anonymous, line, "once more")
    await told(service)
    again, before, _ = await notices(member)
    assert (again["count"], before["count"], again["id"] != before["id"]) == (1, 10, True)
    assert await notices(owner) == []


async def test_who_follows_is_told_and_who_does_not_want_to_is_not(
    service: Service,
    owner: Client,
    member: Client,
    viewer: Client,
    talk: Conversation,
    anonymous: httpx.AsyncClient,
    line: Connection,
) -> None:
    await viewer.put(at(talk, "read-state"), json={"at": now().isoformat()})  # an observer, who has asked for nothing
    assert (await viewer.put(at(talk, "following"))).json()["role"] == "participant"
    assert (await member.put(at(talk, "following"))).json()["notificationsEnabled"] is True
    await has(owner, talk, owner)
    await writes(anonymous, line, "one")
    await told(service)
    assert [await kinds(user) for user in (owner, member, viewer)] == [[("message", 1)]] * 3
    for user in (owner, member):
        assert (await user.delete(at(talk, "following"))).json()["notificationsEnabled"] is False
    await writes(anonymous, line, "two")
    await told(service)
    assert [await kinds(user) for user in (owner, member, viewer)] == [
        [("message", 1)],
        [("message", 1)],
        [("message", 2)],
    ]
    assert (await member.put(f"{API}/conversations/{uuid.uuid4()}/following")).status_code == 404


async def test_who_only_looks_into_a_conversation_does_not_follow_it(
    service: Service, owner: Client, talk: Conversation, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    await owner.put(at(talk, "read-state"), json={"at": now().isoformat()})
    await writes(anonymous, line, "hello")
    await told(service)
    assert await notices(owner) == []
    await owner.put(at(talk, "following"))
    await writes(anonymous, line, "hello again")
    await told(service)
    assert await kinds(owner) == [("message", 1)]


async def test_a_note_is_news_to_who_follows_and_calls_whom_it_mentions_and_its_author_hears_nothing(
    service: Service, owner: Client, member: Client, viewer: Client, stranger: Client, talk: Conversation
) -> None:
    for user in (owner, member, viewer):
        await user.put(at(talk, "following"))
    body = {"content": f"@[{member.user_id}] and @[{owner.user_id}]: she owes us money"}
    note = (await owner.post(at(talk, "notes"), json=body)).json()
    await told(service)
    assert [await kinds(user) for user in (owner, member, viewer, stranger)] == [
        [],
        [("mention", 1)],
        [("message", 1)],
        [],
    ]
    edited = {"content": f"@[{member.user_id}] @[{viewer.user_id}] never mind"}
    await owner.patch(at(talk, f"notes/{note['id']}"), json=edited)
    await told(service)
    assert await kinds(viewer) == [("message", 1), ("mention", 1)]
    assert all("money" not in notice["message"] for notice in await notices(member) + await notices(viewer))
    assert (await owner.delete(f"{API}/conversation-messages/{note['id']}")).status_code == 204
    await told(service)
    assert await notices(member) == await notices(viewer) == []


@pytest.mark.parametrize("is_private", [True, False])
async def test_in_a_channel_those_are_called_who_may_read_it_and_who_leaves_it_keeps_nothing(
    service: Service, owner: Client, member: Client, is_private: bool
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": is_private})).json()["id"]
    await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(member.user_id)})
    for _ in range(2):
        said = {"channelId": channel, "content": f"@[{member.user_id}] psst"}
        assert (await owner.post(f"{API}/team-messages", json=said)).status_code == 201
    await told(service)
    assert await kinds(member) == [("mention", 2)]
    assert (await owner.post(f"{API}/team-messages", json=said)).status_code == 201
    await member.delete(f"{API}/team-channels/{channel}/members/{member.user_id}")
    await told(service)
    assert await kinds(member) == ([] if is_private else [("mention", 3)])
    assert await unread(member) == (0 if is_private else 1)


async def test_when_a_channel_is_closed_those_keep_nothing_who_do_not_belong_to_it(
    service: Service, owner: Client, member: Client, viewer: Client
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "all"})).json()["id"]
    await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(member.user_id)})
    said = {"channelId": channel, "content": f"@[{member.user_id}] @[{viewer.user_id}] hi"}
    await owner.post(f"{API}/team-messages", json=said)
    await told(service)
    assert await kinds(member) == await kinds(viewer) == [("mention", 1)]
    assert (await owner.patch(f"{API}/team-channels/{channel}", json={"isPrivate": True})).status_code == 200
    await told(service)
    assert (await kinds(member), await kinds(viewer)) == ([("mention", 1)], [])


async def test_an_answer_is_told_to_who_follows_the_thread_until_they_have_read_the_channel(
    service: Service, owner: Client, member: Client, viewer: Client, admin_member: Client
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "all"})).json()["id"]
    for user in (member, admin_member, viewer):
        await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(user.user_id)})
    first = (await owner.post(f"{API}/team-messages", json={"channelId": channel, "content": "Lunch?"})).json()
    answer = {"channelId": channel, "content": "Yes", "parentMessageId": first["id"]}
    for user in (member, admin_member):
        assert (await user.post(f"{API}/team-messages", json=answer)).status_code == 201
    await told(service)
    assert [await kinds(user) for user in (owner, member, admin_member, viewer)] == [
        [("message", 2)],
        [("message", 1)],
        [],
        [],
    ]
    assert (await owner.put(f"{API}/team-channels/{channel}/reading")).status_code == 200
    await told(service)
    assert (await unread(owner), await unread(member)) == (0, 1)
    await admin_member.post(f"{API}/team-messages", json=answer)
    await owner.put(f"{API}/team-channels/{channel}/reading")
    await told(service)
    assert (await unread(owner), await kinds(member)) == (0, [("message", 2)])


async def test_what_is_said_to_somebody_directly_is_told_to_them(
    service: Service, owner: Client, member: Client, viewer: Client
) -> None:
    direct = await owner.put(f"{API}/team-channels/direct/{member.user_id}")
    assert direct.status_code in (200, 201), direct.text
    for words in ("psst", "psst again"):
        await owner.post(f"{API}/team-messages", json={"channelId": direct.json()["id"], "content": words})
    await told(service)
    assert [await kinds(user) for user in (owner, member, viewer)] == [[], [("message", 2)], []]


async def test_whoever_becomes_the_owner_of_something_is_told_unless_they_took_it(
    service: Service, owner: Client, member: Client, contact: Contact
) -> None:
    deal = {"name": "Engine", "contactId": str(contact.id)}
    mine = (await owner.post(f"{API}/deals", json=deal | {"ownerId": str(member.user_id)})).json()
    await owner.post(f"{API}/deals", json=deal | {"ownerId": str(owner.user_id)})
    for name in ("Charles", "Grace"):
        await owner.post(f"{API}/contacts", json={"firstName": name, "ownerId": str(member.user_id)})
    await owner.patch(f"{API}/contacts/{contact.id}", json={"ownerId": str(member.user_id)})
    await owner.patch(f"{API}/contacts/{contact.id}", json={"firstName": "Augusta"})
    await told(service)
    first, contacts = reversed(await notices(member))
    assert (first["subjectId"], first["message"], first["kind"]) == (mine["id"], "Engine", "assignment")
    assert (contacts["subjectType"], contacts["count"]) == ("contact", 3)
    assert await notices(owner) == []
    assert (await owner.delete(f"{API}/deals/{mine['id']}")).status_code == 204
    await told(service)
    assert [notice["subjectType"] for notice in await notices(member)] == ["contact"]


async def test_a_missed_call_is_told_to_whom_it_concerns_and_to_administrators_if_it_is_nobody(
    service: Service, owner: Client, member: Client, viewer: Client, admin_member: Client, talk: Conversation
) -> None:
    here = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    more = {"direction": "inbound", "status": "no_answer", "answered_at": None, "contact_id": None}

    async def missed(outcome: str, *rung: Client, conversation_id: uuid.UUID | None = None) -> Call:
        call: Call = await any_row.row(
            service, Call, **here, **more, outcome=outcome, conversation_id=conversation_id, from_address="+14155550123"
        )
        if rung:
            users = [user.user_id for user in rung]
            await any_row.row(service, CallOffer, **here, call_id=call.id, user_ids=users, state="expired")
        await happened(service, owner.workspace_id, "call.ended", call, CallView)
        await told(service)
        return call

    await missed("answered", member)
    await missed("missed", member, conversation_id=talk.id)
    await missed("voicemail", member, viewer, conversation_id=talk.id)
    assert (await kinds(member), await kinds(viewer)) == ([("missed_call", 2)], [("missed_call", 1)])
    assert (await notices(member))[0]["title"] == "Missed call from Ada Lovelace"
    assert await notices(owner) == await notices(admin_member) == []
    call = await missed("after_hours")
    assert await kinds(owner) == await kinds(admin_member) == [("missed_call", 1)]
    transfer = await any_row.row(
        service, CallTransfer, **here, call_id=call.id, to_user_id=member.user_id, state="ringing"
    )
    await happened(service, owner.workspace_id, "call_transfer.created", transfer, CallTransferView)
    await told(service)
    assert (await kinds(member))[1:] == [("handoff", 1)]


async def test_a_message_that_fails_is_told_to_who_sent_it_and_who_has_the_conversation(
    service: Service,
    owner: Client,
    member: Client,
    viewer: Client,
    talk: Conversation,
    anonymous: httpx.AsyncClient,
    line: Connection,
) -> None:
    await has(owner, talk, owner)
    more: dict[str, Any] = {"sender_type": "user", "sender_user_id": member.user_id, "connection_id": line.id}
    sent = await make.sent(service, owner.workspace_id, "SMfails", conversation_id=talk.id, status="sent", **more)
    for status in ("delivered", "failed"):
        await make.sent(service, owner.workspace_id, f"SM{status}", conversation_id=talk.id, status="sent", **more)
    await post(anonymous, report(line, "SMdelivered", "delivered"))
    await post(anonymous, report(line, "SMfails", "undelivered", error_code="30003"))
    await told(service)
    for user in (owner, member):
        [failed] = await notices(user)
        assert (failed["kind"], failed["type"], failed["count"]) == ("failed_send", "error", 1)
        assert failed["data"]["messageId"] == str(sent.id)
    assert await notices(viewer) == []


async def test_what_was_put_off_is_brought_back_to_who_has_it_and_who_put_it_off(
    service: Service, owner: Client, member: Client, viewer: Client, talk: Conversation, admin: Any
) -> None:
    await has(owner, talk, member)
    await owner.put(at(talk, "snooze"), json={"until": (now() + timedelta(hours=1)).isoformat()})
    await admin.execute("UPDATE conversations SET snoozed_until = now()")
    await wake(service.database)
    await told(service)
    assert (await kinds(owner), await kinds(viewer)) == ([("reminder", 1)], [])
    assert (await kinds(member))[1:] == [("reminder", 1)]


async def test_what_is_scheduled_is_remembered_when_it_is_due_once_and_again_when_it_is_put_off(
    service: Service, owner: Client, member: Client, contact: Contact, admin: Any
) -> None:
    made = []
    for completed in (None, now().isoformat(), None, None):
        body = {"contactId": str(contact.id), "type": "task", "subject": "Call back", "completedAt": completed}
        made.append((await member.post(f"{API}/crm-interactions", json=body)).json()["id"])
    due, done, later, noted_late = map(uuid.UUID, made)
    await admin.execute("UPDATE crm_interactions SET scheduled_at = now(), created_at = now() - interval '1 day'")
    at_id = "UPDATE crm_interactions SET scheduled_at = now() + $2::interval WHERE id = $1"
    await admin.execute(at_id, later, timedelta(days=1))
    await admin.execute(at_id, noted_late, timedelta(days=-2))
    assert done
    assert [await come_due(service.database) for _ in range(2)] == [1, 0]
    await told(service)
    [reminder] = await notices(member)
    assert (reminder["kind"], reminder["message"], reminder["subjectId"]) == ("reminder", "Call back", str(due))
    await admin.execute("UPDATE crm_interactions SET scheduled_at = now() WHERE id = $1", due)
    assert await come_due(service.database) == 1
    await told(service)
    assert await kinds(member) == [("reminder", 2)]


async def test_what_was_read_before_it_could_be_told_is_not_told(
    service: Service, owner: Client, talk: Conversation, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    await owner.put(at(talk, "following"))
    await writes(anonymous, line, "hello")
    await owner.put(at(talk, "read-state"), json={"at": now().isoformat()})
    await writes(anonymous, line, "again")
    await told(service)
    assert await kinds(owner) == [("message", 1)]


async def test_of_a_conversation_that_is_gone_or_spam_nothing_is_told(
    service: Service, owner: Client, member: Client, talk: Conversation, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    await has(owner, talk, member)
    await told(service)
    await writes(anonymous, line, "buy pills")
    await owner.post(at(talk, "spam"))
    await told(service)
    assert await kinds(member) == [("assignment", 1)]
    assert (await owner.delete(f"{API}/conversations/{talk.id}")).status_code == 204
    await told(service)
    assert (await notices(member), await unread(member)) == ([], 0)


async def test_who_has_left_the_workspace_is_told_nothing(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await has(owner, talk, member)
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", member.user_id)
    await told(service)
    assert await admin.fetchval("SELECT count(*) FROM notifications") == 0
