"""Inbound messages where the common case and the rest meet, and what is said of them in the logs."""

import asyncio
import io
import logging
import re
import uuid
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest

from comms import logs
from comms.arrivals import Arrival, receive
from comms.arrivals.strangers import receive_from_strangers
from comms.directory import Connection
from comms.providers import DIALECTS
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, report, rows, text
from tests.make import communications as make


async def test_the_common_case_tells_exactly_what_get_shows(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    await post(anonymous, text(line, sid="SM2", body='"quotes", \\ and ☃'))
    told = (await rows(admin, "events", owner.workspace_id))[-1]
    assert (told["event"], told["actor_type"]) == ("message.received", "contact")
    message = msgspec.json.decode(told["data"])
    assert message["content"] == '"quotes", \\ and ☃'
    assert message == (await owner.get(f"/api/v1/conversation-messages/{message['id']}")).json()
    assert told["conversation_id"] == uuid.UUID(message["conversationId"])


def _arrival(line: Connection, **more: Any) -> Arrival:
    request = text(line, **more)
    dialect = DIALECTS[line.provider]
    return Arrival(line, request, dialect.message_of(dialect.open(request, line.credentials)), now())


async def test_every_shortcut_and_the_story_leave_the_same_behind_for_a_stranger(
    service: Service, owner: Client, line: Connection, admin: Any
) -> None:
    """The story is the rule; what the shortcut leaves may differ in ids and times only."""
    left = []
    for sender, take in (("+14155550001", receive_from_strangers), ("+14155550002", receive)):
        before = {table: len(await rows(admin, table, owner.workspace_id)) for table in _LEFT}
        async with service.database.alone() as db:
            outcomes, told = await take(db, [_arrival(line, sid=f"SM{sender}", sender=sender)])
        assert [outcome is not None and outcome.is_new for outcome in outcomes] == [True]
        assert told[0][0] == owner.workspace_id
        after = {table: (await rows(admin, table, owner.workspace_id))[before[table] :] for table in _LEFT}
        left.append({table: [_without_ids(row, sender) for row in after[table]] for table in _LEFT})
    assert left[0] == left[1]
    assert [len(left[0][table]) for table in _LEFT] == [1, 1, 1, 1, 1, 3]
    for told in await rows(admin, "events", owner.workspace_id):
        plural = {"contact": "contacts", "conversation": "conversations", "message": "conversation-messages"}
        shown = (await owner.get(f"/api/v1/{plural[told['subject_type']]}/{told['subject_id']}")).json()
        data = msgspec.json.decode(told["data"])
        if told["subject_type"] == "conversation":  # it is told as it began
            data |= {"messageCount": 1, "lastMessageAt": shown["lastMessageAt"], "updatedAt": shown["updatedAt"]}
        assert data == shown


_LEFT = ("contacts", "contact_points", "conversations", "conversation_messages", "webhook_receipts", "events")


def _without_ids(row: dict[str, Any], sender: str) -> dict[str, Any]:
    """What is the same of any stranger's first text."""
    known = re.compile(rf"[0-9a-f-]{{36}}|SM{re.escape(sender)}|{re.escape(sender)}|\d+-\d\d-\d\d[T ][^\"]+")
    texts = {name: known.sub("…", value) for name, value in row.items() if isinstance(value, str)}
    own = {"seq", "body", "url", "headers", "match_key"}
    return {
        name: texts.get(name, "…" if isinstance(value, uuid.UUID | datetime) else value)
        for name, value in row.items()
        if name not in own
    }


async def test_strangers_who_are_known_by_now_or_write_twice_are_left_to_the_story(
    service: Service, workspace_id: uuid.UUID, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="K1", sender="+14155550001"))
    coming = [
        _arrival(line, sid="K1", sender="+14155550009"),  # what we have, whoever it is said to be from
        _arrival(line, sid="K2", sender="+14155550001"),
        _arrival(line, sid="N1", sender="+14155550002"),
        _arrival(line, sid="N2", sender="+14155550002"),
        _arrival(line, sid="U1", sender="+14155550003", recipient="+14155550177"),
        _arrival(line, sid="W1", sender="anonymous"),
        _arrival(line, sid="M1", sender="+14155550004", media=["https://api.twilio.com/a"]),
    ]
    async with service.database.alone() as db:
        outcomes, _ = await receive_from_strangers(db, coming)
    assert [outcome is not None for outcome in outcomes] == [False, False, True, False, False, False, False]
    assert len(await rows(admin, "contacts", workspace_id)) == 2
    outcomes = await asyncio.gather(*(service.arrivals.add(arrival) for arrival in coming))
    assert [outcome.is_new for outcome in outcomes] == [False, True, False, True, False, True, True]


async def test_common_strange_repeated_and_unmapped_texts_in_one_group_all_find_their_place(
    anonymous: httpx.AsyncClient, workspace_id: uuid.UUID, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="KNOWN"))
    requests = [
        *(text(line, sid=f"C{number}") for number in range(8)),
        *(text(line, sid="KNOWN") for _ in range(3)),
        *(text(line, sid="TWIN") for _ in range(3)),
        *(text(line, sid=f"S{number}", sender=f"+1415555{number:04}") for number in range(8)),
        text(line, sid="W1", sender="anonymous"),
        text(line, sid="U1", recipient="+14155550177"),
        text(line, sid="M1", media=["https://api.twilio.com/a"]),
    ]
    answers = await asyncio.gather(*(post(anonymous, request) for request in requests))
    assert {answer.status_code for answer in answers} == {200}
    messages = await rows(admin, "conversation_messages", workspace_id)
    expected = ["KNOWN", "TWIN", "W1", "M1", *(f"C{n}" for n in range(8)), *(f"S{n}" for n in range(8))]
    assert sorted(row["provider_message_id"] for row in messages) == sorted(expected)
    conversations = await rows(admin, "conversations", workspace_id)
    assert sum(row["message_count"] for row in conversations) == len(expected)
    receipts = await rows(admin, "webhook_receipts", workspace_id)
    assert len(receipts) == len(expected) + 1
    assert {row["message_id"] for row in receipts if row["state"] == "processed"} == {row["id"] for row in messages}
    told = await rows(admin, "events", workspace_id)
    assert [row["seq"] for row in told] == list(range(1, len(told) + 1))
    assert sum(row["event"] == "message.received" for row in told) == len(expected)


async def test_copies_of_a_withheld_senders_text_leave_one_conversation(
    anonymous: httpx.AsyncClient, workspace_id: uuid.UUID, line: Connection, admin: Any
) -> None:
    for number in range(10):
        request = text(line, sid=f"W{number}", sender="anonymous")
        await asyncio.gather(*(post(anonymous, request) for _ in range(6)))
    conversations = await rows(admin, "conversations", workspace_id)
    assert [row["message_count"] for row in conversations] == [1] * 10
    told = await rows(admin, "events", workspace_id)
    assert sum(row["event"] == "conversation.created" for row in told) == 10


async def test_a_row_held_by_somebody_delays_only_its_own_text(
    anonymous: httpx.AsyncClient, workspace_id: uuid.UUID, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="A1", sender="+14155550001"))
    await post(anonymous, text(line, sid="B1", sender="+14155550002"))
    async with admin.transaction():
        await admin.execute(
            "SELECT FROM conversations c JOIN contacts p ON p.id = c.contact_id"
            " WHERE p.phone = '+14155550001' FOR UPDATE OF c"
        )
        answers = await asyncio.gather(
            post(anonymous, text(line, sid="A2", sender="+14155550001")),
            *(post(anonymous, text(line, sid=f"B{n}", sender="+14155550002")) for n in range(2, 6)),
        )
    assert {answer.status_code for answer in answers} == {200}
    receipts = {row["identity"]: row for row in await rows(admin, "webhook_receipts", workspace_id)}
    assert {receipts[f"B{n}"]["state"] for n in range(1, 6)} == {"processed"}
    assert receipts["A2"]["state"] == "failed"
    assert receipts["A2"]["reason"].startswith("LockNotAvailable")
    assert receipts["A2"]["next_attempt_at"] > now()


async def test_a_workspace_that_is_held_up_refuses_no_text_of_another(
    anonymous: httpx.AsyncClient, service: Service, stranger: Client, line: Connection, admin: Any
) -> None:
    await make.number(service, stranger.workspace_id, "+14155550188")
    other = await make.connection(service, stranger.workspace_id)
    async with admin.transaction():
        await admin.execute("SELECT FROM event_counters WHERE workspace_id = $1 FOR UPDATE", line.workspace_id)
        answers = await asyncio.gather(
            *(post(anonymous, text(line, sid=f"H{n}", sender=f"+1415555{n:04}")) for n in range(40)),
            *(
                post(anonymous, text(other, sid=f"F{n}", sender=f"+1415555{n:04}", recipient="+14155550188"))
                for n in range(40)
            ),
        )
    assert {answer.status_code for answer in answers} == {200}
    free = await rows(admin, "webhook_receipts", stranger.workspace_id)
    assert {row["state"] for row in free} == {"processed"}
    held = await rows(admin, "webhook_receipts", line.workspace_id)
    assert len(held) == 40
    assert {row["state"] for row in held} == {"failed"}, "they are done again by the worker"


async def test_an_old_text_done_again_does_not_take_the_reply_number_back(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, sid="OLD", recipient="+14155550177"))
    await post(anonymous, text(line, sid="NEW"))
    (before,) = (await owner.get("/api/v1/conversations")).json()["items"]
    await make.number(service, owner.workspace_id, "+14155550177")
    (receipt,) = (await owner.get("/api/v1/webhook-receipts?state=unmapped")).json()["items"]
    await owner.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    (after,) = (await owner.get("/api/v1/conversations")).json()["items"]
    assert after == before | {"messageCount": 2}


async def test_a_connection_that_has_received_something_cannot_be_deleted(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, recipient="+14155550177"))
    assert (await owner.delete(f"/api/v1/workspace-api-keys/{line.id}")).status_code == 409
    assert len((await owner.get("/api/v1/webhook-receipts")).json()["items"]) == 1


@pytest.mark.alters_the_schema
async def test_no_log_line_holds_what_people_wrote_or_a_secret(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any
) -> None:
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    try:
        logs.configure("debug")
        for handler in root.handlers:
            handler.setStream(written)
        await admin.execute(
            "ALTER TABLE conversation_messages ADD CONSTRAINT poison CHECK (content NOT LIKE '%poison%') NOT VALID"
        )
        await post(anonymous, text(line, body="my secret poison"))
        await post(anonymous, text(line, body="my secret plan"))
        await post(anonymous, report(line, "SM9", "delivered"))
        await owner.get("/api/v1/conversation-messages")
        await owner.post("/api/v1/contacts", json={"phone": "my secret number"})
    finally:
        root.handlers, root.level = handlers, level
    assert "groups.item_failed" in written.getvalue()
    for secret in ("my secret", make.TWILIO["authToken"], owner.token, line.credentials.auth_token):
        assert secret not in written.getvalue()
