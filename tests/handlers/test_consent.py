"""From what people write to what may still be sent to them."""

import asyncio
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from comms import consent
from comms.consent import Question, answers
from comms.consent.hearing import ANSWER
from comms.directory import Connection
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import CUSTOMER, post, report, rows, text
from tests.make import communications as make
from tests.make.communications import OUR_NUMBER

API = "/api/v1"


@pytest.fixture
async def wire(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A SignalWire connection and a number on it."""
    await make.number(service, workspace_id, provider="signalwire")
    return await make.connection(service, workspace_id, "signalwire")


async def items(client: Client, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def asked(service: Service, workspace_id: uuid.UUID, **more: Any) -> str:
    """What is decided of an answer to the customer."""
    given: dict[str, Any] = {"channel": "sms", "address": CUSTOMER, "sender": OUR_NUMBER, "is_reply": True} | more
    async with service.database.everywhere() as db:
        (decision,) = await consent.decide(db, [Question(workspace_id=workspace_id, at=now(), **given)])
    return decision.code


async def answers_due(admin: Any) -> int:
    due: int = await admin.fetchval("SELECT count(*) FROM jobs.pgqueuer WHERE entrypoint = $1", ANSWER)
    return due


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("word", ["STOP", " unsubscribe "])
async def test_stop_is_in_the_ledger_in_the_commit_of_its_message(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any, known: bool, word: str
) -> None:
    if known:
        await post(anonymous, text(line, body="Hello"))
    await post(anonymous, text(line, body=word, sid="SM9"))
    (entry,) = await items(owner, "consent-entries")
    (stands,) = await items(owner, "consents", state="opted_out", address=CUSTOMER)
    (message,) = await items(owner, "conversation-messages", providerMessageId="SM9")
    assert (entry["address"], entry["sender"], entry["says"]) == (CUSTOMER, OUR_NUMBER, "stop")
    assert (entry["source"], entry["words"], entry["messageId"]) == ("keyword", word.strip().upper(), message["id"])
    assert stands["entryId"] == entry["id"]
    assert message["metadata"]["consent"] == {"says": "stop", "words": word.strip().upper(), "plainWords": False}
    told = [row for row in await rows(admin, "events", owner.workspace_id) if row["event"].startswith("consent.")]
    assert [(row["event"], row["actor_type"], row["subject_id"]) for row in told] == [
        ("consent.withdrawn", "contact", uuid.UUID(stands["id"]))
    ]
    assert await asked(service, owner.workspace_id) == "opted_out"
    contact = (await items(owner, "contacts"))[0]
    assert await items(owner, f"contacts/{contact['id']}/consents") == [stands]


async def test_start_lifts_what_stop_has_said(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, body="STOP"))
    assert await asked(service, owner.workspace_id) == "opted_out"
    await post(anonymous, text(line, body="Start"))
    assert await asked(service, owner.workspace_id) == "allowed"
    (stands,) = await items(owner, "consents")
    assert stands["state"] == "opted_in"


async def test_fifty_copies_at_once_are_one_entry_and_one_answer(
    anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    stop = text(wire, body="STOP", sid="00000000-0000-4000-8000-000000000001")
    answers = await asyncio.gather(*(post(anonymous, stop) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    await post(anonymous, stop)
    assert len(await items(owner, "consent-entries")) == 1
    assert await answers_due(admin) == 1
    told = [row["event"] for row in await rows(admin, "events", owner.workspace_id)]
    assert told.count("consent.withdrawn") == told.count("message.received") == 1


async def test_stop_said_again_is_another_entry_and_no_other_answer(
    anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    await asyncio.gather(*(post(anonymous, text(wire, body="STOP")) for _ in range(5)))
    assert len(await items(owner, "consent-entries")) == 5
    assert await answers_due(admin) == 1


@pytest.mark.parametrize(
    ("body", "more", "answered"),
    [
        ("STOP", {}, True),  # Twilio answers its own keywords on a long code
        ("help", {}, True),
        ("basta", {"OptOutType": "STOP"}, True),  # and says so with Advanced Opt-Out
        ("Stop.", {}, False),  # which it has not understood
        ("STOP", {"channel": "whatsapp"}, False),
    ],
)
async def test_nothing_is_answered_that_twilio_has_answered(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any, body: str, more: Any, answered: bool
) -> None:
    await post(anonymous, text(line, body=body, **more))
    (entry,) = await items(owner, "consent-entries")
    assert entry["providerAnswered"] is answered
    assert entry["source"] == ("provider" if "OptOutType" in more else "keyword")
    assert await answers_due(admin) == (0 if answered else 1)


async def test_help_is_answered_each_time_and_changes_nothing(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    for _ in range(2):
        await post(anonymous, text(wire, body="HELP"))
    assert await answers_due(admin) == 2
    assert await items(owner, "consents") == []
    assert await asked(service, owner.workspace_id) == "allowed"


async def answer_all(service: Service, admin: Any) -> None:
    """What the worker does, by several at once, and twice."""
    jobs = await admin.fetch("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = $1", ANSWER)
    due = [msgspec.json.decode(row["payload"]) for row in jobs]
    await asyncio.gather(
        *(
            answers.answer(service.database, uuid.UUID(job["workspaceId"]), uuid.UUID(job["entryId"]))
            for job in due
            for _ in range(4)
        )
    )


async def test_what_we_answer_is_said_once_and_let_through(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    own = {"keywordAnswers": {"help": "Acme Plumbing. Reply STOP to end."}}
    assert (await owner.patch(f"{API}/workspaces/{owner.workspace_id}", json={"settings": own})).status_code == 200
    for body in ("help", "STOP", "STOP"):
        await post(anonymous, text(wire, body=body))
    await answer_all(service, admin)
    help_, stop = sorted(await items(owner, "conversation-messages", direction="outbound"), key=lambda m: m["content"])
    assert help_["content"] == "Acme Plumbing. Reply STOP to end."
    assert stop["content"] == "Acme: You are unsubscribed and will get no more messages. Reply START to resubscribe."
    assert (stop["fromAddress"], stop["toAddress"], stop["status"]) == (OUR_NUMBER, CUSTOMER, "queued")
    assert (stop["senderType"], stop["senderId"]) == ("system", None)
    entries = {entry["answerMessageId"]: entry["says"] for entry in await items(owner, "consent-entries")}
    assert entries == {help_["id"]: "help", stop["id"]: "stop", None: "stop"}
    assert await asked(service, owner.workspace_id, message_id=uuid.UUID(stop["id"])) == "answer"
    assert await asked(service, owner.workspace_id) == "opted_out"


async def test_a_program_that_asks_for_help_without_end_is_answered_for_a_while(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    await asyncio.gather(*(post(anonymous, text(wire, body="HELP")) for _ in range(answers.AN_HOUR + 3)))
    for job in await admin.fetch("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = $1", ANSWER):
        due = msgspec.json.decode(job["payload"])
        await answers.answer(service.database, uuid.UUID(due["workspaceId"]), uuid.UUID(due["entryId"]))
    assert len(await items(owner, "conversation-messages", direction="outbound")) == answers.AN_HOUR


async def test_who_has_said_start_since_is_not_told_that_they_are_unsubscribed(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, wire: Connection, admin: Any
) -> None:
    await post(anonymous, text(wire, body="STOP"))
    await post(anonymous, text(wire, body="START"))
    await answer_all(service, admin)
    (only,) = await items(owner, "conversation-messages", direction="outbound")
    assert only["content"] == "Acme: You are subscribed again. Reply HELP for help, STOP to unsubscribe."


async def test_a_messaging_service_is_stopped_as_a_whole(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    service_sid = "MG" + "a" * 32
    await make.number(service, owner.workspace_id, "+14155550101", messaging_service_sid=service_sid)
    await post(anonymous, text(line, body="STOP", MessagingServiceSid=service_sid))
    (stands,) = await items(owner, "consents")
    assert stands["sender"] == service_sid
    (number,) = await items(owner, "workspace-phone-numbers", phoneNumber=OUR_NUMBER)
    assert number["messagingServiceSid"] == service_sid
    assert await asked(service, owner.workspace_id) == "opted_out"
    assert await asked(service, owner.workspace_id, sender="+14155550101") == "opted_out"
    assert await asked(service, owner.workspace_id, sender="+14155550102") == "allowed"


async def test_an_opt_out_that_a_carrier_reports_is_heard_once(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    to = {"sender": OUR_NUMBER, "recipient": CUSTOMER, "error_code": 21610}
    for status in ("failed", "undelivered", "failed"):
        await post(anonymous, report(line, "SM1", status, **to))
    (entry,) = await items(owner, "consent-entries")
    assert (entry["source"], entry["words"], entry["address"]) == ("carrier", "21610", CUSTOMER)
    assert await asked(service, owner.workspace_id) == "opted_out"


async def test_plain_words_wait_for_a_person_and_hold_what_is_automatic(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, body="Could you please stop texting me? Thanks"))
    (review,) = await items(owner, "opt-out-reviews", state="open")
    assert (review["words"], review["address"], review["sender"]) == ("stop texting me", CUSTOMER, OUR_NUMBER)
    assert await items(owner, "consents") == []
    assert await asked(service, owner.workspace_id) == "allowed"
    assert await asked(service, owner.workspace_id, is_automatic=True) == "in_review"

    decided = await owner.post(f"{API}/opt-out-reviews/{review['id']}/confirmation")
    assert (decided.status_code, decided.json()["state"]) == (201, "confirmed")
    assert decided.json()["decidedBy"] == str(owner.user_id)
    assert (await owner.post(f"{API}/opt-out-reviews/{review['id']}/confirmation")).json() == decided.json()
    (entry,) = await items(owner, "consent-entries")
    assert (entry["source"], entry["recordedBy"]) == ("review", str(owner.user_id))
    assert await asked(service, owner.workspace_id) == "opted_out"
    assert (await owner.post(f"{API}/opt-out-reviews/{review['id']}/dismissal")).status_code == 409


async def test_plain_words_wait_for_a_person_where_a_start_has_come_after_an_opt_out_of_everything(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    body = {"address": CUSTOMER, "reason": "She said so on the phone."}
    for word in ({"says": "stop", "sender": "*"}, {"says": "start", "sender": OUR_NUMBER}):
        assert (await owner.post(f"{API}/consent-entries", json=body | word)).status_code == 201
    await post(anonymous, text(line, body="please stop texting me"))
    assert len(await items(owner, "opt-out-reviews", state="open")) == 1
    # Who is opted out has been heard already.
    assert (await owner.post(f"{API}/consent-entries", json=body | {"says": "stop"})).status_code == 201
    await post(anonymous, text(line, body="please stop texting me, at last", sid="SM9"))
    assert len(await items(owner, "opt-out-reviews", state="open")) == 1


async def test_what_was_not_meant_so_is_dismissed(
    service: Service, anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, body="please stop texting me"))
    (review,) = await items(owner, "opt-out-reviews")
    decided = await asyncio.gather(
        *(owner.post(f"{API}/opt-out-reviews/{review['id']}/dismissal") for _ in range(3)),
    )
    assert {answer.json()["state"] for answer in decided} == {"dismissed"}
    told = await items(owner, "events", subjectId=review["id"])
    assert [fact["event"] for fact in told] == ["opt_out_review.created", "opt_out_review.dismissed"]
    assert await asked(service, owner.workspace_id, is_automatic=True) == "allowed"


async def test_a_member_enters_by_hand_with_a_reason_and_only_an_administrator_gives_consent(
    service: Service, owner: Client, member: Client, viewer: Client, stranger: Client, line: Connection
) -> None:
    body = {"address": CUSTOMER, "says": "stop", "reason": "She asked for it on the phone."}
    assert (await viewer.post(f"{API}/consent-entries", json=body)).status_code == 403
    made = await member.post(f"{API}/consent-entries", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["sender"] == "*"
    assert made.json()["recordedBy"] == str(member.user_id)
    assert await asked(service, owner.workspace_id) == "opted_out"
    assert await asked(service, stranger.workspace_id) == "allowed"
    start = body | {"says": "start", "sender": OUR_NUMBER}
    assert (await member.post(f"{API}/consent-entries", json=start)).status_code == 403
    assert (await owner.post(f"{API}/consent-entries", json=start)).status_code == 201
    assert await asked(service, owner.workspace_id) == "allowed"
    assert (await stranger.get(f"{API}/consent-entries/{made.json()['id']}")).status_code == 404


async def test_an_entry_that_makes_no_sense_is_refused_by_name(owner: Client) -> None:
    body = {"address": "nobody", "says": "stop", "reason": " ", "sender": "+14155550177"}
    answer = await owner.post(f"{API}/consent-entries", json=body)
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {"address", "reason", "sender"}
    for sender in ("MG" + "0" * 32, "sales@elsewhere.example"):
        answer = await owner.post(
            f"{API}/consent-entries", json={"address": CUSTOMER, "says": "stop", "reason": "said so", "sender": sender}
        )
        assert [error["field"] for error in answer.json()["errors"]] == ["sender"]


async def test_the_ledger_is_only_added_to(service: Service, owner: Client) -> None:
    body = {"address": CUSTOMER, "says": "stop", "reason": "She asked for it on the phone."}
    entry = (await owner.post(f"{API}/consent-entries", json=body)).json()
    for method in ("PATCH", "DELETE"):
        answer = await owner.request(method, f"{API}/consent-entries/{entry['id']}", json={"says": "start"})
        assert answer.status_code == 405
    with pytest.raises(Exception, match="permission denied"):
        async with service.database.workspace(owner.workspace_id) as db:
            await (await db.connection()).exec_driver_sql("DELETE FROM consent_entries")


async def test_what_was_read_in_a_message_is_not_for_clients_to_change(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    await post(anonymous, text(line, body="STOP", sid="SM1"))
    (message,) = await items(owner, "conversation-messages", providerMessageId="SM1")
    address = f"{API}/conversation-messages/{message['id']}"
    refused = await owner.patch(address, json={"metadata": {"consent": {"says": "start"}}})
    assert [error["field"] for error in refused.json()["errors"]] == ["metadata.consent"]
    changed = await owner.patch(address, json={"metadata": {"colour": "red"}})
    assert changed.json()["metadata"] == {"colour": "red", "consent": message["metadata"]["consent"]}


async def test_settings_of_consent_are_checked(owner: Client) -> None:
    path = f"{API}/workspaces/{owner.workspace_id}"
    wrong = {"quietHours": {"start": "9pm", "end": "08:00"}, "keywordAnswers": {"stop": ""}}
    answer = await owner.patch(path, json={"settings": wrong})
    assert {error["field"] for error in answer.json()["errors"]} == {"settings.quietHours", "settings.keywordAnswers"}
    right = {"quietHours": {"start": "21:00", "end": "08:00"}, "keywordAnswers": {"help": "Acme. Reply STOP to end."}}
    assert (await owner.patch(path, json={"settings": right})).status_code == 200
    assert (await owner.patch(path, json={"settings": {"quietHours": False}})).status_code == 200
