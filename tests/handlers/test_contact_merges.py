"""Two contacts turn out to be one person, and may be parted again."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from comms.contacts import references
from comms.directory import Connection
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make import rows

API = "/api/v1"
JANE = {"firstName": "Jane", "phone": "+14155550123", "tags": ["vip"], "customFields": {"size": "L"}}
JANET = {
    "firstName": "Janet",
    "lastName": "Doe",
    "phone": "+14155550999",
    "email": "jane@example.com",
    "tags": ["vip", "news"],
    "customFields": {"size": "M", "colour": "red"},
}


async def two(client: Client) -> tuple[str, str]:
    jane = (await client.post(f"{API}/contacts", json=JANE)).json()["id"]
    janet = (await client.post(f"{API}/contacts", json=JANET)).json()["id"]
    return jane, janet


async def merged(client: Client, kept: str, other: str) -> dict[str, Any]:
    answer = await client.post(f"{API}/contacts/{kept}/merge", json={"contactId": other})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def undone(client: Client, kept: str, merge: dict[str, Any]) -> Any:
    return await client.delete(f"{API}/contacts/{kept}/merges/{merge['id']}")


async def contact(client: Client, row_id: str) -> dict[str, Any]:
    answer = await client.get(f"{API}/contacts/{row_id}")
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def points(client: Client, row_id: str) -> set[tuple[str, bool]]:
    answer = await client.get(f"{API}/contact-points", params={"contactId": row_id})
    return {(item["value"], item["isPrimary"]) for item in answer.json()["items"]}


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "updatedAt"}


async def test_the_one_that_stays_fills_what_it_did_not_say_and_has_all_addresses(owner: Client) -> None:
    jane, janet = await two(owner)
    merge = await merged(owner, jane, janet)
    assert merge["mergedContactId"] == janet
    one = await contact(owner, jane)
    assert (one["firstName"], one["lastName"]) == ("Jane", "Doe")
    assert (one["phone"], one["email"]) == ("+14155550123", "jane@example.com")
    assert one["tags"] == ["vip", "news"]
    assert one["customFields"] == {"size": "L", "colour": "red"}
    assert await points(owner, jane) == {
        ("+14155550123", True),
        ("+14155550999", False),
        ("jane@example.com", True),
    }
    assert (await owner.get(f"{API}/contacts/{janet}")).status_code == 404


async def test_a_merge_is_told_once_for_each_that_changed(owner: Client) -> None:
    jane, janet = await two(owner)
    theirs = (await owner.get(f"{API}/contact-points", params={"contactId": janet})).json()["items"]
    moved = [("contact_point.updated", point["id"]) for point in sorted(theirs, key=lambda point: str(point["id"]))]
    before = len((await owner.get(f"{API}/events")).json()["items"])
    merge = await merged(owner, jane, janet)
    told = (await owner.get(f"{API}/events")).json()["items"][before:]
    assert [(item["event"], item["subjectId"]) for item in told] == [
        *moved,
        ("contact.deleted", janet),
        ("contact.updated", jane),
        ("contact_merge.created", merge["id"]),
    ]
    before += len(told)
    await undone(owner, jane, merge)
    told = (await owner.get(f"{API}/events")).json()["items"][before:]
    assert [(item["event"], item["subjectId"]) for item in told] == [
        *moved,
        ("contact.restored", janet),
        ("contact.updated", jane),
        ("contact_merge.undone", merge["id"]),
    ]


async def test_whatever_refers_to_a_contact_follows_and_comes_back(owner: Client, service: Service, admin: Any) -> None:
    jane, janet = await two(owner)
    made: list[tuple[references.Reference, uuid.UUID]] = []
    for reference in references.all_of():
        if reference.table == "contact_points":
            continue
        values = {reference.column: uuid.UUID(janet)}
        row = await rows.row(
            service, rows.class_of(reference.table), workspace_id=owner.workspace_id, user_id=owner.user_id, **values
        )
        made.append((reference, row.id))
    tables = {reference.table for reference, _ in made}
    assert {"conversations", "conversation_messages", "deals", "prospects", "crm_interactions", "customers"} <= tables

    async def whose() -> set[str]:
        return {
            str(await admin.fetchval(f"SELECT {reference.column} FROM {reference.table} WHERE id = $1", row_id))
            for reference, row_id in made
        }

    merge = await merged(owner, jane, janet)
    assert await whose() == {jane}
    assert (await undone(owner, jane, merge)).status_code == 200
    assert await whose() == {janet}


async def test_undoing_gives_back_exactly_what_was(owner: Client, service: Service) -> None:
    jane, janet = await two(owner)
    for row_id, count in ((jane, 2), (janet, 3)):
        talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": row_id})).json()
        for _ in range(count):
            said = {"conversationId": talk["id"], "direction": "outbound", "content": "hello"}
            await owner.post(f"{API}/conversation-messages", json=said)
    conversations = (await owner.get(f"{API}/conversations")).json()["items"]
    messages = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    before = [await contact(owner, row_id) for row_id in (jane, janet)]
    addresses = [await points(owner, row_id) for row_id in (jane, janet)]
    merge = await merged(owner, jane, janet)
    assert (await undone(owner, jane, merge)).status_code == 200
    assert [without_time(await contact(owner, row_id)) for row_id in (jane, janet)] == [
        without_time(row) for row in before
    ]
    assert [await points(owner, row_id) for row_id in (jane, janet)] == addresses
    again = (await owner.get(f"{API}/conversations")).json()["items"]
    assert [without_time(row) for row in again] == [without_time(row) for row in conversations]
    again = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    assert [without_time(row) for row in again] == [without_time(row) for row in messages]


async def test_two_active_conversations_of_a_channel_become_one_that_counts_right(owner: Client) -> None:
    jane, janet = await two(owner)
    talks = {}
    for row_id, channels in ((jane, ("sms",)), (janet, ("sms", "email"))):
        for channel in channels:
            talk = (await owner.post(f"{API}/conversations", json={"channel": channel, "contactId": row_id})).json()
            talks[row_id, channel] = talk["id"]
            said = {"conversationId": talk["id"], "direction": "outbound", "content": row_id}
            await owner.post(f"{API}/conversation-messages", json=said)
    await merged(owner, jane, janet)
    items = (await owner.get(f"{API}/conversations", params={"contactId": jane})).json()["items"]
    found = {item["id"]: item for item in items}
    assert len(found) == 3
    one = found[talks[jane, "sms"]]
    assert (one["status"], one["messageCount"]) == ("active", 2)
    listed = (await owner.get(f"{API}/conversations/{one['id']}/messages")).json()["items"]
    assert {item["content"] for item in listed} == {jane, janet}
    assert one["lastMessageAt"] == max(item["createdAt"] for item in listed)
    empty = found[talks[janet, "sms"]]
    assert (empty["status"], empty["messageCount"], empty["lastMessageAt"]) == ("archived", 0, None)
    assert found[talks[janet, "email"]]["status"] == "active"


async def test_what_moved_is_found_by_its_words_after_the_conversation_it_was_in_is_deleted(owner: Client) -> None:
    jane, janet = await two(owner)
    talks = []
    for row_id in (jane, janet):
        talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": row_id})).json()["id"]
        talks.append(talk)
        said = {"conversationId": talk, "direction": "outbound", "content": "needle"}
        assert (await owner.post(f"{API}/conversation-messages", json=said)).status_code == 201
    await merged(owner, jane, janet)
    assert (await owner.delete(f"{API}/conversations/{talks[1]}")).status_code == 204
    for path in ("/search", "/conversation-messages", f"/conversations/{talks[0]}/messages"):
        found = (await owner.get(f"{API}{path}", params={"q": "needle"})).json()["items"]
        assert len(found) == 2, path


async def test_what_was_said_since_the_merge_stays_where_it_was_said(owner: Client) -> None:
    jane, janet = await two(owner)
    talks = []
    for row_id in (jane, janet):
        talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": row_id})).json()
        talks.append(talk["id"])
        said = {"conversationId": talk["id"], "direction": "outbound", "content": "before"}
        await owner.post(f"{API}/conversation-messages", json=said)
    merge = await merged(owner, jane, janet)
    said = {"conversationId": talks[0], "direction": "outbound", "content": "since"}
    last = (await owner.post(f"{API}/conversation-messages", json=said)).json()
    await owner.patch(f"{API}/contacts/{jane}", json={"lastName": "Smith", "tags": ["vip", "news", "late"]})
    assert (await undone(owner, jane, merge)).status_code == 200
    stayed = (await owner.get(f"{API}/conversations/{talks[0]}")).json()
    assert (stayed["messageCount"], stayed["lastMessageAt"]) == (2, last["createdAt"])
    assert (await owner.get(f"{API}/conversations/{talks[1]}")).json()["messageCount"] == 1
    one = await contact(owner, jane)
    assert (one["lastName"], one["tags"], one["email"]) == ("Smith", ["vip", "late"], None)


async def test_of_two_recipients_of_a_campaign_one_stays_and_the_other_comes_back(
    owner: Client, service: Service, admin: Any
) -> None:
    jane, janet = await two(owner)
    table = rows.class_of("campaign_recipients")
    who = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    first = await rows.row(service, table, **who, contact_id=uuid.UUID(jane))
    second = await rows.row(service, table, **who, contact_id=uuid.UUID(janet), campaign_id=first.campaign_id)
    merge = await merged(owner, jane, janet)
    asked = "SELECT id FROM campaign_recipients WHERE contact_id = $1"
    assert await admin.fetchval(asked, uuid.UUID(jane)) == first.id
    assert await admin.fetchval("SELECT count(*) FROM campaign_recipients") == 1
    assert (await undone(owner, jane, merge)).status_code == 200
    assert await admin.fetchval(asked, uuid.UUID(janet)) == second.id
    assert await admin.fetchval(asked, uuid.UUID(jane)) == first.id


async def test_itself_strangers_and_nobody_are_refused(owner: Client, stranger: Client, viewer: Client) -> None:
    jane, janet = await two(owner)
    theirs = (await stranger.post(f"{API}/contacts", json={"firstName": "X"})).json()["id"]
    for other in (jane, theirs, str(uuid.uuid4())):
        answer = await owner.post(f"{API}/contacts/{jane}/merge", json={"contactId": other})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["contactId"]
    assert (await stranger.post(f"{API}/contacts/{jane}/merge", json={"contactId": theirs})).status_code == 404
    assert (await viewer.post(f"{API}/contacts/{jane}/merge", json={"contactId": janet})).status_code == 403
    merge = await merged(owner, jane, janet)
    assert (await undone(stranger, jane, merge)).status_code == 404
    assert (await undone(owner, janet, merge)).status_code == 404


async def test_of_merges_at_once_one_wins(owner: Client) -> None:
    jane, janet = await two(owner)
    answers = await asyncio.gather(
        *(owner.post(f"{API}/contacts/{jane}/merge", json={"contactId": janet}) for _ in range(3)),
        *(owner.post(f"{API}/contacts/{janet}/merge", json={"contactId": jane}) for _ in range(3)),
    )
    assert sorted(answer.status_code for answer in answers)[0] == 201
    assert [answer.status_code for answer in answers].count(201) == 1
    assert {answer.status_code for answer in answers} <= {201, 400, 404}
    assert len((await owner.get(f"{API}/contacts")).json()["items"]) == 1


async def test_a_merge_is_undone_once_and_not_after_thirty_days(owner: Client, admin: Any) -> None:
    jane, janet = await two(owner)
    merge = await merged(owner, jane, janet)
    answers = await asyncio.gather(*(undone(owner, jane, merge) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    merge = await merged(owner, jane, janet)
    await admin.execute(
        "UPDATE contact_merges SET expires_at = $1 WHERE id = $2", now() - timedelta(days=1), uuid.UUID(merge["id"])
    )
    late = await undone(owner, jane, merge)
    assert late.status_code == 409
    assert "30 days" in late.json()["detail"]
    assert (await owner.get(f"{API}/contacts/{janet}")).status_code == 404


async def test_merges_in_a_row_are_undone_from_the_last(owner: Client) -> None:
    jane, janet = await two(owner)
    june = (await owner.post(f"{API}/contacts", json={"firstName": "June", "phone": "+14155550777"})).json()["id"]
    before = [(await contact(owner, row_id), await points(owner, row_id)) for row_id in (jane, janet, june)]
    first = await merged(owner, jane, janet)
    second = await merged(owner, june, jane)
    assert len(await points(owner, june)) == 4
    assert (await undone(owner, jane, first)).status_code == 404
    early = await undone(owner, june, first)  # what the second knows of Jane is Janet's too
    assert (early.status_code, early.json()["conflictingId"]) == (409, second["id"])
    assert (await undone(owner, june, second)).status_code == 200
    assert (await undone(owner, jane, first)).status_code == 200
    after = [(await contact(owner, row_id), await points(owner, row_id)) for row_id in (jane, janet, june)]
    for (was, had), (came, has) in zip(before, after, strict=True):
        assert came | {"updatedAt": None} == was | {"updatedAt": None}
        assert has == had


async def test_all_that_followed_is_told(owner: Client) -> None:
    jane, janet = await two(owner)
    deal = (await owner.post(f"{API}/deals", json={"name": "Roof", "contactId": janet})).json()
    call = {"type": "call", "contactId": janet, "subject": "Roof"}
    interaction = (await owner.post(f"{API}/crm-interactions", json=call)).json()
    merge = await merged(owner, jane, janet)
    for whose in (jane, janet):
        for row in (deal, interaction):
            (told,) = (await owner.get(f"{API}/events", params={"subjectId": row["id"]})).json()["items"][-1:]
            assert told["event"].endswith(".updated")
            assert told["data"]["contactId"] == whose
        if whose == jane:
            assert (await undone(owner, jane, merge)).status_code == 200


async def test_no_message_that_comes_during_a_merge_is_lost(
    owner: Client, service: Service, line: Connection, admin: Any
) -> None:
    for turn in range(3):
        numbers = [f"+1415555{turn}10{person}" for person in range(2)]
        for number in numbers:
            assert (await post(owner, text(line, sender=number, body="first"))).status_code == 200
        found = {
            row["value"]: str(row["contact_id"])
            for row in await admin.fetch("SELECT value, contact_id FROM contact_points WHERE value = ANY($1)", numbers)
        }
        kept, other = (found[number] for number in numbers)

        async def texts(number: str) -> list[int]:
            answers = [await post(owner, text(line, sender=number, body="more")) for _ in range(8)]
            return [answer.status_code for answer in answers]

        async def merge_soon(kept: str, other: str) -> dict[str, Any]:
            await asyncio.sleep(0.02)
            return await merged(owner, kept, other)

        *statuses, merge = await asyncio.gather(*(texts(number) for number in numbers), merge_soon(kept, other))
        assert statuses == [[200] * 8] * 2
        conversations = await admin.fetch(
            "SELECT id, status, message_count FROM conversations WHERE contact_id = $1", uuid.UUID(kept)
        )
        active = [row for row in conversations if row["status"] == "active"]
        assert len(active) == 1
        assert active[0]["message_count"] == 18
        counted = await admin.fetchval(
            "SELECT count(*) FROM conversation_messages WHERE conversation_id = $1 AND sender_contact_id = $2",
            active[0]["id"],
            uuid.UUID(kept),
        )
        assert counted == 18
        assert (await undone(owner, kept, merge)).status_code == 200
    assert await admin.fetchval("SELECT count(*) FROM webhook_receipts WHERE state <> 'processed'") == 0
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 54


async def test_a_merge_waits_for_the_message_that_is_being_kept(owner: Client, admin: Any) -> None:
    jane, janet = await two(owner)
    talks = []
    for row_id in (jane, janet):
        talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": row_id})).json()
        talks.append(uuid.UUID(talk["id"]))
    async with admin.transaction():  # as arrivals do: the conversation first, then the message of its contact
        await admin.execute(
            "UPDATE conversations SET message_count = 1, last_message_at = now() WHERE id = $1", talks[1]
        )
        await admin.execute(
            "INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type,"
            " sender_contact_id, status, created_at, updated_at)"
            " VALUES ($1, $2, $3, 'inbound', 'hello', 'contact', $4, 'received', now(), now())",
            owner.workspace_id,
            uuid.uuid4(),
            talks[1],
            uuid.UUID(janet),
        )
        waiting = asyncio.create_task(merged(owner, jane, janet))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await waiting
    kept = await admin.fetchrow("SELECT conversation_id, sender_contact_id FROM conversation_messages")
    assert tuple(kept) == (talks[0], uuid.UUID(jane))
    assert [row[0] for row in await admin.fetch("SELECT message_count FROM conversations ORDER BY created_at")] == [
        1,
        0,
    ]


async def test_a_contact_that_may_be_the_same_is_suggested_with_the_reason(owner: Client, stranger: Client) -> None:
    async def add(client: Client = owner, **values: Any) -> str:
        answer = await client.post(f"{API}/contacts", json=values)
        assert answer.status_code == 201, answer.text
        row_id: str = answer.json()["id"]
        return row_id

    jane = await add(firstName="Jane", lastName="Doe", phone="+14155550123", email="jane.doe@gmail.com")
    named = await add(firstName=" jane", lastName="DOE ")
    mailbox = await add(firstName="Jane", lastName="Doe", email="JaneDoe+shop@googlemail.com")
    local = await add(email="jane.doe@acme.example")
    national = await add(phone="+444155550123")
    await add(firstName="Jane", lastName="Dough", phone="+14155550124", email="doe@gmail.com")
    await add(stranger, firstName="Jane", lastName="Doe")
    answer = await owner.get(f"{API}/contacts/{jane}/duplicates")
    assert answer.status_code == 200, answer.text
    found = [(item["contact"]["id"], item["reasons"]) for item in answer.json()["items"]]
    assert found == [
        (mailbox, ["sameMailbox", "sameName"]),
        (national, ["sameNationalNumber"]),
        (named, ["sameName"]),
        (local, ["sameLocalPart"]),
    ]
    assert (await stranger.get(f"{API}/contacts/{jane}/duplicates")).status_code == 404
