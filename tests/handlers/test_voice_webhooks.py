"""Voice webhooks as the providers post them: what a caller hears, and what is kept."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from comms.calls import texts
from comms.directory import Connection
from comms.service import Service
from comms.simulators import twilio, wire
from tests.comms.calls.flows import document
from tests.conftest import Client
from tests.handlers.voice import spoken, verbs
from tests.handlers.webhooks import CUSTOMER, post, rows, url_of
from tests.make import calls
from tests.make.communications import OUR_NUMBER


async def test_a_caller_of_a_number_without_a_flow_leaves_a_message(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    sid = wire.sid("CA")
    answer = await post(anonymous, spoken(line, "voice", sid=sid))
    assert verbs(answer) == ["Say", "Record", "Hangup"]
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["status"], call["from_address"], call["to_address"]) == ("ringing", CUSTOMER, OUR_NUMBER)
    sound = "https://api.twilio.com/2010-04-01/Accounts/AC/Recordings/RE1"
    left = {"RecordingUrl": sound, "RecordingDuration": "12", "CallStatus": "in-progress"}
    answer = await post(anonymous, spoken(line, "voice-message", sid=sid, query={"turn": 1}, **left))
    assert verbs(answer) == ["Say", "Hangup"]
    ended = spoken(line, "voice-status", sid=sid, CallStatus="completed", CallDuration="20", SequenceNumber="3")
    assert (await post(anonymous, ended)).status_code == 204
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["status"], call["outcome"], call["duration_seconds"]) == ("completed", "voicemail", 20)
    said = [message["content"] for message in await rows(admin, "conversation_messages", line.workspace_id)]
    assert said == ["Incoming call", "Voicemail, 0:12 min", "Missed call, with a message"]
    [attachment] = await rows(admin, "message_attachments", line.workspace_id)
    assert attachment["source_url"] == f"{sound}.mp3"


async def test_a_repeated_turn_is_answered_as_before_and_decided_once(
    line: Connection, service: Service, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    menu = {"type": "menu", "text": "?", "choices": [{"digit": "1", "next": "bye"}], "tries": 3, "next": "bye"}
    await calls.flow(service, line, document(hello=menu))
    sid = wire.sid("CA")
    await post(anonymous, spoken(line, "voice", sid=sid))
    wrong = spoken(line, "voice-step", sid=sid, query={"turn": 1}, Digits="9", CallStatus="in-progress")
    first, again = await post(anonymous, wrong), await post(anonymous, wrong)
    assert (verbs(first), again.text) == (["Say", "Gather", "Redirect"], first.text)
    at_once = await asyncio.gather(*(post(anonymous, spoken(line, "voice", sid=wire.sid("CA"))) for _ in range(4)))
    assert {answer.status_code for answer in at_once} == {200}
    [call] = [row for row in await rows(admin, "calls", line.workspace_id) if json.loads(row["state"])["tries"] == 2]
    assert call["turn"] == 2


async def test_the_same_call_told_many_times_at_once_is_one(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    request = spoken(line, "voice", sid=wire.sid("CA"))
    answers = await asyncio.gather(*(post(anonymous, request) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(await rows(admin, "calls", line.workspace_id)) == 1
    assert len(await rows(admin, "conversation_messages", line.workspace_id)) == 1


async def test_two_who_press_the_key_at_once_are_not_both_put_through(
    line: Connection, service: Service, owner: Client, member: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    for client, number in ((owner, "+14155550111"), (member, "+14155550112")):
        await calls.phone(service, line.workspace_id, client.user_id, number)
    ring = {"type": "ring", "users": [str(owner.user_id), str(member.user_id)], "next": "message"}
    await calls.flow(service, line, document(hello=ring))
    await post(anonymous, spoken(line, "voice", sid=wire.sid("CA")))
    [offer] = await rows(admin, "call_offers", line.workspace_id)
    legs = [leg for leg in await rows(admin, "call_legs", line.workspace_id) if leg["offer_id"]]
    pressed = [
        spoken(
            line,
            "voice-accepted",
            sid=wire.sid("CA"),
            query={"leg": leg["id"], "token": offer["token"]},
            Digits="1",
            CallStatus="in-progress",
            Direction="outbound-dial",
        )
        for leg in legs
    ]
    answers = await asyncio.gather(*(post(anonymous, request) for request in pressed))
    assert sorted(verbs(answer) for answer in answers) == [[], ["Say", "Hangup"]]
    wrong = spoken(line, "voice-accepted", sid=wire.sid("CA"), query={"leg": legs[0]["id"], "token": "x"}, Digits="1")
    assert verbs(await post(anonymous, wrong)) == ["Hangup"]
    [offer] = await rows(admin, "call_offers", line.workspace_id)
    assert offer["state"] == "accepted"


async def test_an_error_of_ours_leaves_the_caller_with_a_voicemail_and_the_webhook_kept(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    await admin.execute("ALTER TABLE calls ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        answer = await post(anonymous, spoken(line, "voice", sid=wire.sid("CA")))
    finally:
        await admin.execute("ALTER TABLE calls DROP CONSTRAINT broken")
    assert verbs(answer) == ["Say", "Record", "Hangup"]
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    assert (receipt["kind"], receipt["state"]) == ("voice", "failed")
    assert await rows(admin, "calls", line.workspace_id) == []


async def test_a_call_that_only_its_end_was_told_of_is_a_missed_one(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    ended = spoken(line, "voice-status", sid=wire.sid("CA"), CallStatus="completed", SequenceNumber="0")
    assert [(await post(anonymous, ended)).status_code for _ in range(2)] == [204, 204]
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["ended_at"] is not None) == ("missed", True)


async def test_a_flow_is_refused_with_the_path_of_its_fault_and_previewed_in_words(
    line: Connection, owner: Client, viewer: Client
) -> None:
    [number] = (await owner.get("/api/v1/workspace-phone-numbers")).json()["items"]
    path = f"/api/v1/workspace-phone-numbers/{number['id']}"
    refused = await owner.patch(path, json={"voiceFlow": document(hello={"type": "say", "text": "Hi", "next": "x"})})
    assert refused.status_code == 400
    assert [error["field"] for error in refused.json()["errors"]] == ["voiceFlow.steps.hello.next"]
    stranger = {"type": "ring", "users": ["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"], "next": "bye"}
    refused = await owner.patch(path, json={"voiceFlow": document(hello=stranger)})
    assert [error["field"] for error in refused.json()["errors"]] == ["voiceFlow.steps.hello.users[0]"]
    kept = await owner.patch(path, json={"voiceFlow": document(hello={"type": "say", "text": "Hi", "next": "bye"})})
    assert kept.status_code == 200, kept.text
    heard = await viewer.post(f"{path}/voice-flow-preview", json={})
    assert heard.json()["lines"] == ["“Hi”", "“Goodbye.”", "the call ends"]


async def test_who_wants_to_hear_from_us_by_no_way_is_not_called(line: Connection, owner: Client) -> None:
    await owner.put("/api/v1/me/phone", json={"phone": "+14155550111"})
    told = {"address": CUSTOMER, "reason": "She said so on the phone."}
    assert (await owner.post("/api/v1/consent-entries", json=told | {"says": "stop"})).status_code == 201
    refused = await owner.post("/api/v1/calls", json={"to": CUSTOMER})
    assert refused.status_code == 422
    assert "do not want to hear from us at all" in refused.json()["detail"]
    assert (await owner.get("/api/v1/calls")).json()["items"] == []
    assert (await owner.get("/api/v1/contacts")).json()["items"] == []
    # Of texts by one number nobody speaks who calls.
    assert (await owner.post("/api/v1/consent-entries", json=told | {"says": "start"})).status_code == 201
    texts = told | {"says": "stop", "sender": OUR_NUMBER}
    assert (await owner.post("/api/v1/consent-entries", json=texts)).status_code == 201
    assert (await owner.post("/api/v1/calls", json={"to": CUSTOMER})).status_code == 202


async def test_whoever_has_no_phone_cannot_call_and_says_which_is_theirs(line: Connection, owner: Client) -> None:
    refused = await owner.post("/api/v1/calls", json={"to": CUSTOMER})
    assert refused.status_code == 409
    assert "/me/phone" in refused.json()["detail"]
    assert (await owner.put("/api/v1/me/phone", json={"phone": "415"})).status_code == 400
    kept = await owner.put("/api/v1/me/phone", json={"phone": "+1 415 555 0111"})
    assert kept.json()["phone"] == "+14155550111"
    placed = await owner.post("/api/v1/calls", json={"to": CUSTOMER}, headers={"Idempotency-Key": "one"})
    again = await owner.post("/api/v1/calls", json={"to": CUSTOMER}, headers={"Idempotency-Key": "one"})
    assert (placed.status_code, again.json()["id"]) == (202, placed.json()["id"])
    assert (await owner.post(f"/api/v1/calls/{placed.json()['id']}/transfer-completion")).status_code == 409
    assert (await owner.post(f"/api/v1/calls/{placed.json()['id']}/recording-pause")).status_code == 409
    assert (await owner.post(f"/api/v1/calls/{placed.json()['id']}/hang-up")).status_code == 204
    assert (await owner.get(f"/api/v1/calls/{placed.json()['id']}")).json()["status"] == "canceled"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("voice", ["Say", "Record", "Hangup"]),
        ("voice-step", ["Say", "Record", "Hangup"]),
        ("voice-message", ["Say", "Hangup"]),  # who has left a message is not asked for it again
        ("voice-accept", ["Say", "Hangup"]),  # an empty document would put a mailbox through
        ("voice-hold", ["Pause"]),
        ("voice-status", None),
        ("voice-recording", None),
    ],
)
async def test_what_cannot_be_kept_is_answered_kindly_or_asked_for_again(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str, expected: list[str] | None
) -> None:
    sound = {"RecordingSid": "RE1", "RecordingUrl": "https://api.twilio.com/RE1"}
    request = spoken(line, kind, sid=wire.sid("CA"), query={"leg": line.id}, **sound)
    broken = ("webhook_receipts", "call_legs", "call_reports")
    for table in broken:
        await admin.execute(f"ALTER TABLE {table} RENAME TO away_{table}")
    try:
        answer = await post(anonymous, request)
    finally:
        for table in broken:
            await admin.execute(f"ALTER TABLE away_{table} RENAME TO {table}")
    if expected is None:
        assert answer.status_code == 503
        assert (await post(anonymous, request)).status_code == 204
    else:
        assert verbs(answer) == expected


async def test_a_caller_hears_no_error_of_a_connection_whose_secret_does_not_open(
    line: Connection, service: Service, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    await admin.execute("UPDATE workspace_api_keys SET auth_tag = 'AAAAAAAAAAAAAAAAAAAAAA==' WHERE id = $1", line.id)
    await service.directory.load()
    assert verbs(await post(anonymous, spoken(line, "voice", sid=wire.sid("CA")))) == ["Say", "Record", "Hangup"]
    assert (await post(anonymous, spoken(line, "voice-status", sid=wire.sid("CA")))).status_code == 503


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_call_that_is_remembered_later_rings_nobody(
    line: Connection, service: Service, owner: Client, anonymous: httpx.AsyncClient, admin: Any, *, is_late: bool
) -> None:
    await calls.phone(service, line.workspace_id, owner.user_id, "+14155550111")
    queue = {"type": "queue", "users": [str(owner.user_id)], "next": "message"}
    await calls.flow(service, line, {**document(hello=queue), "missedCallText": "Sorry."})
    await admin.execute("ALTER TABLE calls ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        await post(anonymous, spoken(line, "voice", sid=wire.sid("CA")))
    finally:
        await admin.execute("ALTER TABLE calls DROP CONSTRAINT broken")
    came = "now() - interval '3 hours'" if is_late else "created_at"
    await admin.execute(f"UPDATE webhook_receipts SET next_attempt_at = now(), created_at = {came}")
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    await service.replays.retry(line.workspace_id, receipt["id"])
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["queue"], call["outcome"]) == (None, "missed" if is_late else None)
    assert await rows(admin, "call_offers", line.workspace_id) == []
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    assert receipt["state"] == "processed"
    if is_late:
        assert call["created_at"] == receipt["created_at"]
        await texts.text_back(service.database, line.workspace_id, call["id"])
        assert {row["channel"] for row in await rows(admin, "conversations", line.workspace_id)} == {"call"}


async def test_whoever_wants_no_texts_has_no_empty_conversation_after_a_missed_call(
    line: Connection, service: Service, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    await calls.flow(service, line, {**document(hello={"type": "hangup"}), "missedCallText": "Sorry."})
    stop = twilio.message(url_of(line), line.credentials, sender=CUSTOMER, recipient=OUR_NUMBER, body="STOP")
    await post(anonymous, stop)
    await admin.execute("UPDATE conversations SET status = 'closed', last_message_at = now() - interval '1 year'")
    sid = wire.sid("CA")
    await post(anonymous, spoken(line, "voice", sid=sid))
    await post(anonymous, spoken(line, "voice-status", sid=sid, CallStatus="completed", SequenceNumber="1"))
    [call] = await rows(admin, "calls", line.workspace_id)
    assert call["outcome"] == "missed"
    await texts.text_back(service.database, line.workspace_id, call["id"])
    assert [row["channel"] for row in await rows(admin, "conversations", line.workspace_id)] == ["sms", "call"]
    assert len(await rows(admin, "outgoing_messages", line.workspace_id)) == 0
