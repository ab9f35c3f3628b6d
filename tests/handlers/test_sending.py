"""Sending over the API: what is answered, what is refused before anything is kept, what can still be changed."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.outbox import lines
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make import communications as make
from tests.make.agents import told
from tests.make.mail import mail

API = "/api/v1"
CUSTOMER = "+14155550199"


async def error_fields(answer: httpx.Response) -> tuple[int, list[str]]:
    return answer.status_code, [error["field"] for error in answer.json().get("errors", [])]


@pytest.fixture
async def talk(owner: Client, line: Connection, anonymous: httpx.AsyncClient) -> dict[str, Any]:
    """A conversation somebody has begun by texting us."""
    assert (await post(anonymous, text(line, sender=CUSTOMER))).status_code == 200
    (found,) = (await owner.get(f"{API}/conversations")).json()["items"]
    return dict(found)


async def send(client: Client, talk: dict[str, Any], **body: Any) -> httpx.Response:
    return await client.post(f"{API}/conversations/{talk['id']}/messages", json={"content": "See you at 7pm"} | body)


async def test_a_reply_is_queued_for_whoever_wrote(owner: Client, talk: dict[str, Any]) -> None:
    answer = await send(owner, talk)
    assert answer.status_code == 201, answer.text
    message = answer.json()
    assert (message["status"], message["toAddress"], message["fromAddress"]) == ("queued", CUSTOMER, make.OUR_NUMBER)
    assert (message["senderId"], message["segments"]) == (str(owner.user_id), 1)
    assert message["metadata"]["consent"]["decision"] == "allowed"
    assert (await owner.get(f"{API}/conversation-messages/{message['id']}")).json() == message
    assert await told(owner, message["id"]) == ["message.queued"]
    (waiting,) = (await owner.get(f"{API}/outgoing-messages")).json()["items"]
    assert (waiting["id"], waiting["state"]) == (message["id"], "queued")


async def test_a_key_makes_it_one_message_however_often_it_is_asked(owner: Client, talk: dict[str, Any]) -> None:
    path, key = f"{API}/conversations/{talk['id']}/messages", {"Idempotency-Key": "once"}
    first = await owner.post(path, json={"content": "Hello"}, headers=key)
    again = await owner.post(path, json={"content": "Hello"}, headers=key)
    assert first.json() == again.json()
    assert len((await owner.get(f"{API}/outgoing-messages")).json()["items"]) == 1


async def test_an_opted_out_recipient_is_refused_before_anything_is_kept(
    owner: Client, talk: dict[str, Any], anonymous: httpx.AsyncClient, line: Connection
) -> None:
    assert (await post(anonymous, text(line, sender=CUSTOMER, body="STOP"))).status_code == 200
    answer = await send(owner, talk)
    assert await error_fields(answer) == (422, ["to"])
    assert "do not want to hear" in answer.json()["detail"]
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []
    assert (await post(anonymous, text(line, sender=CUSTOMER, body="START"))).status_code == 200
    assert (await send(owner, talk)).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"content": ""}, 400, "content"),
        ({"content": "x" * 1601}, 400, "content"),
        ({"scheduledAt": "2020-01-01T00:00:00Z"}, 400, "scheduledAt"),
        ({"scheduledAt": "2099-01-01T00:00:00"}, 400, "scheduledAt"),
        ({"mediaUrls": ["ftp://example.com/a"]}, 400, "mediaUrls[0]"),
        ({"mediaUrls": ["https://example.com/a"] * 11}, 400, "mediaUrls"),
        ({"attachmentIds": [str(uuid.uuid4())]}, 400, "attachmentIds"),
        ({"phoneNumberId": str(uuid.uuid4())}, 422, "phoneNumberId"),
        ({"from": "+14155550177"}, 422, "from"),
        ({"to": "BRANDNAME"}, 422, "to"),
        ({"to": "911"}, 422, "to"),
        ({"to": f"whatsapp:{CUSTOMER}"}, 422, "to"),
        ({"to": "+14155550155"}, 400, "to"),
        ({"to": "jane@example.com", "channel": "whatsapp"}, 422, "to"),
        ({"channel": "live_chat"}, 422, "channel"),
        ({"direction": "inbound"}, 400, "direction"),
        ({"contentType": "system"}, 400, "contentType"),
        ({"status": "sent"}, 400, "status"),
        ({"providerMessageId": "SM1", "provider": "twilio", "scheduledAt": "2099-01-01T00:00:00Z"}, 400, "scheduledAt"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_name(
    owner: Client, talk: dict[str, Any], body: dict[str, Any], status: int, field: str
) -> None:
    assert await error_fields(await send(owner, talk, **body)) == (status, [field])
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []


async def test_a_contact_with_no_number_cannot_be_texted(owner: Client, line: Connection) -> None:
    contact = (await owner.post(f"{API}/contacts", json={"firstName": "Jane"})).json()
    talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": contact["id"]})).json()
    assert await error_fields(await send(owner, talk)) == (422, ["to"])


async def test_a_message_to_an_address_follows_the_threading_rule(
    owner: Client, talk: dict[str, Any], admin: Any
) -> None:
    body = {"to": CUSTOMER, "content": "Hello"}
    known = (await owner.post(f"{API}/messages", json=body)).json()
    assert known["conversationId"] == talk["id"]
    await owner.post(f"{API}/conversations/{talk['id']}/closure")
    reopened = (await owner.post(f"{API}/messages", json=body)).json()
    assert reopened["conversationId"] == talk["id"]
    assert "conversation.reopened" in await told(owner, talk["id"])
    assert (await owner.get(f"{API}/conversations/{talk['id']}")).json()["status"] == "active"
    await owner.post(f"{API}/conversations/{talk['id']}/closure")
    await admin.execute("UPDATE conversations SET last_message_at = now() - interval '8 days'")
    new = (await owner.post(f"{API}/messages", json=body)).json()
    assert new["conversationId"] != talk["id"]
    await owner.post(f"{API}/conversations/{new['conversationId']}/spam")
    spam = await owner.post(f"{API}/messages", json=body)
    assert (spam.status_code, spam.json()["conflictingId"]) == (409, new["conversationId"])


async def test_a_message_to_a_stranger_makes_a_contact_and_a_conversation(owner: Client, line: Connection) -> None:
    answer = await owner.post(f"{API}/messages", json={"to": "+14155550123", "content": "Hello"})
    assert answer.status_code == 201, answer.text
    (contact,) = (await owner.get(f"{API}/contacts")).json()["items"]
    (talk,) = (await owner.get(f"{API}/conversations")).json()["items"]
    assert (contact["phone"], talk["contactId"], talk["channel"]) == ("+14155550123", contact["id"], "sms")
    assert (talk["messageCount"], talk["phoneNumberId"]) == (1, answer.json()["phoneNumberId"])
    assert await told(owner, contact["id"]) == ["contact.created"]
    assert await told(owner, talk["id"]) == ["conversation.created", "conversation.taken_over"]
    await owner.post(f"{API}/messages", json={"to": "+14155550123", "content": "again"})
    assert len((await owner.get(f"{API}/contacts")).json()["items"]) == 1


async def test_another_channel_is_the_same_contacts_conversation_there(owner: Client, talk: dict[str, Any]) -> None:
    message = (await send(owner, talk, channel="whatsapp")).json()
    assert message["conversationId"] != talk["id"]
    there = (await owner.get(f"{API}/conversations/{message['conversationId']}")).json()
    assert (there["channel"], there["contactId"]) == ("whatsapp", talk["contactId"])


async def test_what_nobody_can_send_to_is_refused(owner: Client, line: Connection) -> None:
    for to, channel in (("nobody", "sms"), ("12", "sms"), ("12345", "whatsapp"), ("jane", "social")):
        answer = await owner.post(f"{API}/messages", json={"to": to, "channel": channel, "content": "Hello"})
        assert answer.status_code == 422, (to, channel, answer.text)
    assert (await owner.get(f"{API}/contacts")).json()["items"] == []


@pytest.mark.parametrize("to", ["911", "+1415", "1234567", "+999999999999"])
async def test_what_can_be_no_number_is_refused_by_name(owner: Client, line: Connection, to: str) -> None:
    answer = await owner.post(f"{API}/messages", json={"to": to, "content": "Hello"})
    assert await error_fields(answer) == (422, ["to"])
    assert (await owner.get(f"{API}/contacts")).json()["items"] == []
    assert (await owner.post(f"{API}/messages", json={"to": "12345", "content": "Hello"})).status_code == 201


async def test_an_address_says_its_channel_itself(owner: Client, line: Connection) -> None:
    said = {"to": f"whatsapp:{CUSTOMER}", "content": "Hello"}
    message = (await owner.post(f"{API}/messages", json=said)).json()
    there = (await owner.get(f"{API}/conversations/{message['conversationId']}")).json()
    assert (there["channel"], message["toAddress"]) == ("whatsapp", CUSTOMER)
    assert await error_fields(await owner.post(f"{API}/messages", json=said | {"channel": "sms"})) == (422, ["to"])


async def test_a_mail_leaves_by_no_number(owner: Client, line: Connection, mailbox: Connection) -> None:
    said = {"to": "jane@example.com", "channel": "email", "content": "Hello"}
    sent = (await owner.post(f"{API}/messages", json=said)).json()
    path = f"{API}/conversations/{sent['conversationId']}/messages"
    for address, body in ((f"{API}/messages", said), (path, {"content": "Hello"})):
        refused = await owner.post(address, json=body | {"from": make.OUR_NUMBER})
        assert await error_fields(refused) == (422, ["from"])
        (number,) = (await owner.get(f"{API}/workspace-phone-numbers")).json()["items"]
        refused = await owner.post(address, json=body | {"phoneNumberId": number["id"]})
        assert await error_fields(refused) == (400, ["phoneNumberId"])


async def test_what_is_said_in_a_conversation_goes_to_its_own_contact(
    owner: Client, talk: dict[str, Any], mailbox: Connection, anonymous: httpx.AsyncClient
) -> None:
    (await owner.post(f"{API}/contacts", json={"phone": "+14155550155"})).raise_for_status()
    for other in ("+14155550155", "+14155550156"):
        assert await error_fields(await send(owner, talk, to=other)) == (400, ["to"])
    point = {"contactId": talk["contactId"], "kind": "phone", "value": "+14155550156"}
    (await owner.post(f"{API}/contact-points", json=point)).raise_for_status()
    for theirs in ("+14155550156", "+1 (415) 555-0156", CUSTOMER):
        assert (await send(owner, talk, to=theirs)).status_code == 201
    # A mail that proves nothing is nobody's: its conversation is with whoever wrote it.
    assert (await post(anonymous, mail(mailbox, sender="bob@example.org", dkim="none", spf="none"))).status_code == 200
    (nobody,) = (await owner.get(f"{API}/conversations", params={"channel": "email"})).json()["items"]
    assert await error_fields(await send(owner, nobody, to="jane@example.com")) == (400, ["to"])
    assert (await send(owner, nobody, to="Bob@example.org")).status_code == 201


# Later


async def test_a_scheduled_message_is_listed_changed_and_called_off(owner: Client, talk: dict[str, Any]) -> None:
    at, later = (now() + timedelta(hours=hours) for hours in (1, 2))
    message = (await send(owner, talk, scheduledAt=at.isoformat())).json()
    assert message["status"] == "scheduled"
    path = f"{API}/scheduled-messages/{message['id']}"
    assert [item["id"] for item in (await owner.get(f"{API}/scheduled-messages")).json()["items"]] == [message["id"]]
    assert (await owner.get(path)).json() == message
    changed = await owner.patch(path, json={"content": "“8pm”", "scheduledAt": later.isoformat()})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["content"], changed.json()["status"]) == ("“8pm”", "scheduled")
    assert await error_fields(await owner.patch(path, json={"content": " "})) == (400, ["content"])
    assert await error_fields(await owner.patch(path, json={"scheduledAt": "2020-01-01T00:00:00Z"})) == (
        400,
        ["scheduledAt"],
    )
    gone = await owner.delete(path)
    assert (gone.status_code, gone.json()["status"]) == (200, "canceled")
    assert (await owner.get(f"{API}/scheduled-messages")).json()["items"] == []
    assert (await owner.delete(path)).status_code == 409
    assert (await owner.get(path)).status_code == 404
    assert await told(owner, message["id"]) == ["message.scheduled", "message.updated", "message.canceled"]


async def test_what_is_due_is_released_in_order(
    owner: Client, talk: dict[str, Any], service: Service, admin: Any
) -> None:
    at = (now() + timedelta(hours=1)).isoformat()
    first, second = [(await send(owner, talk, scheduledAt=at, content=text)).json()["id"] for text in ("one", "two")]
    await admin.execute("UPDATE outgoing_messages SET line_at = now() - interval '1 minute'")
    assert await lines.release(service.database) == 2
    assert await lines.release(service.database) == 0
    rows = await admin.fetch("SELECT id, is_head, state FROM outgoing_messages ORDER BY line_at, id")
    assert [(str(row["id"]), row["is_head"], row["state"]) for row in rows] == [
        (first, True, "queued"),
        (second, False, "queued"),
    ]
    assert (await owner.get(f"{API}/conversation-messages/{first}")).json()["status"] == "queued"


async def test_sent_now_after_all_and_called_off_before_it_leaves(
    owner: Client, talk: dict[str, Any], admin: Any
) -> None:
    at = (now() + timedelta(hours=1)).isoformat()
    one = (await send(owner, talk, scheduledAt=at)).json()["id"]
    assert (await owner.patch(f"{API}/scheduled-messages/{one}", json={"scheduledAt": None})).json()[
        "status"
    ] == "queued"
    two = (await send(owner, talk)).json()["id"]
    assert await admin.fetchval("SELECT is_head FROM outgoing_messages WHERE id = $1", uuid.UUID(one))
    assert (await owner.delete(f"{API}/scheduled-messages/{one}")).status_code == 200
    assert await admin.fetchval("SELECT is_head FROM outgoing_messages WHERE id = $1", uuid.UUID(two))
    await admin.execute("UPDATE outgoing_messages SET state = 'sending'")
    for answer in (
        await owner.delete(f"{API}/scheduled-messages/{two}"),
        await owner.patch(f"{API}/scheduled-messages/{two}", json={"content": "no"}),
        await owner.delete(f"{API}/conversation-messages/{two}"),
    ):
        assert answer.status_code == 409, answer.text


async def test_deleting_a_waiting_message_lets_the_next_one_go(owner: Client, talk: dict[str, Any], admin: Any) -> None:
    one, two = [(await send(owner, talk)).json()["id"] for _ in range(2)]
    assert (await owner.delete(f"{API}/conversation-messages/{one}")).status_code == 204
    rows = await admin.fetch("SELECT id, is_head FROM outgoing_messages")
    assert [(str(row["id"]), row["is_head"]) for row in rows] == [(two, True)]


async def test_what_waits_for_a_merged_contact_leaves_by_the_conversation_it_is_in(
    owner: Client, talk: dict[str, Any], service: Service, admin: Any
) -> None:
    other = (await owner.post(f"{API}/messages", json={"to": "+14155550123", "content": "Hello"})).json()
    theirs = (await owner.get(f"{API}/conversations/{other['conversationId']}")).json()["contactId"]
    await send(owner, talk)
    merged = await owner.post(f"{API}/contacts/{talk['contactId']}/merge", json={"contactId": theirs})
    assert merged.status_code in (200, 201), merged.text
    await lines.mend(service.database)
    rows = await admin.fetch("SELECT conversation_id, is_head FROM outgoing_messages")
    assert {str(row["conversation_id"]) for row in rows} == {talk["id"]}
    assert sorted(row["is_head"] for row in rows) == [False, True]


# Beside it


async def test_a_preview_counts_segments_and_says_why(owner: Client, viewer: Client) -> None:
    answer = await viewer.post(f"{API}/message-previews", json={"content": "It’s ready"})
    assert answer.json() == {"encoding": "UCS-2", "segments": 1, "units": 10, "left": 60, "unusual": ["’"]}


async def test_the_delivery_figures_of_a_number(
    owner: Client, service: Service, line: Connection, admin: Any, stranger: Client
) -> None:
    number = await admin.fetchval("SELECT id FROM workspace_phone_numbers")
    for n, (status, code) in enumerate((("delivered", None), ("read", None), ("undelivered", "30003"), ("sent", None))):
        row = await make.sent(service, owner.workspace_id, f"SM{n}", status=status)
        await admin.execute(
            "UPDATE conversation_messages SET phone_number_id = $2, error_code = $3, segments = 2,"
            " sent_at = created_at, delivered_at = created_at + interval '2 seconds' WHERE id = $1",
            row.id,
            number,
            code,
        )
    path = f"{API}/workspace-phone-numbers/{number}/delivery"
    figures = (await owner.get(path)).json()
    assert (figures["messages"], figures["segments"], figures["deliveredShare"]) == (4, 8, 0.6667)
    assert figures["statuses"] == {"delivered": 1, "read": 1, "undelivered": 1, "sent": 1}
    assert figures["medianSecondsToDeliver"] == 2
    assert [(failure["code"], failure["messages"]) for failure in figures["failures"]] == [("30003", 1)]
    assert "cannot be reached" in figures["failures"][0]["words"]
    assert (await stranger.get(path)).status_code == 404
    assert (
        await owner.get(path, params={"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"})
    ).status_code == 400


async def test_an_attachment_is_published_at_an_address_that_ends(
    owner: Client, service: Service, talk: dict[str, Any], anonymous: httpx.AsyncClient, admin: Any
) -> None:
    attachment = await _stored(service, owner.workspace_id, admin)
    message = (await send(owner, talk, attachmentIds=[str(attachment)])).json()
    (copied,) = message["attachments"]
    assert (copied["state"], copied["messageId"]) == ("stored", message["id"])
    address = service.publishing.address_of(owner.workspace_id, uuid.UUID(copied["id"]))
    fetched = await anonymous.get(address)
    assert (fetched.status_code, fetched.content) == (200, b"picture")
    over = service.publishing.address_of(owner.workspace_id, uuid.UUID(copied["id"]), seconds=-1)
    for wrong in (over, address[:-2] + "xx", f"{address}x", "https://hooks.example.com/media/nonsense"):
        assert (await anonymous.get(wrong)).status_code == 404


async def _stored(service: Service, workspace_id: uuid.UUID, admin: Any) -> uuid.UUID:
    async def content() -> Any:
        yield b"picture"

    key, attachment_id = f"{workspace_id}/{uuid.uuid4()}", uuid.uuid4()
    await service.media._store.keep(key, content())
    await admin.execute(
        "INSERT INTO message_attachments (workspace_id, id, message_id, position, source_url, state, content_type,"
        " size, storage_key, created_at, updated_at)"
        " SELECT workspace_id, $1, id, 0, '', 'stored', 'image/png', 7, $2, now(), now()"
        " FROM conversation_messages WHERE direction = 'inbound'",
        attachment_id,
        key,
    )
    return attachment_id


async def test_readiness_tells_how_long_messages_wait(
    anonymous: httpx.AsyncClient, owner: Client, talk: dict[str, Any]
) -> None:
    assert (await anonymous.get("/readyz")).json()["outboxAgeSeconds"] == 0
    await send(owner, talk)
    assert (await anonymous.get("/readyz")).json()["outboxAgeSeconds"] > 0
    assert "comms_outbox_messages 1.0" in (await anonymous.get("/metrics")).text
