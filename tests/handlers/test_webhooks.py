"""From a provider's request to rows: accepted, refused, repeated, unmapped."""

import uuid
from typing import Any

import httpx
import msgspec
import pytest

from comms.directory import Connection
from comms.metrics import REGISTRY
from comms.providers.base import Channel
from comms.service import Service
from comms.simulators import signalwire, twilio
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import CUSTOMER, post, rows, text, url_of
from tests.make import communications as make


@pytest.fixture
async def wire(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A SignalWire connection and a number on it."""
    await make.number(service, workspace_id, provider="signalwire")
    return await make.connection(service, workspace_id, "signalwire")


async def test_a_signed_text_becomes_a_message_of_a_new_contact(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    answer = await post(anonymous, text(line, body="Is the 3pm slot open? 🙂", sid="SM1"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/xml"
    assert answer.text == '<?xml version="1.0" encoding="UTF-8"?><Response/>'

    (message,) = (await owner.get("/api/v1/conversation-messages")).json()["items"]
    assert message["content"] == "Is the 3pm slot open? 🙂"
    assert (message["direction"], message["status"], message["senderType"]) == ("inbound", "received", "contact")
    assert (message["fromAddress"], message["providerMessageId"]) == (CUSTOMER, "SM1")
    conversation = (await owner.get(f"/api/v1/conversations/{message['conversationId']}")).json()
    assert (conversation["channel"], conversation["status"], conversation["messageCount"]) == ("sms", "active", 1)
    contact = (await owner.get(f"/api/v1/contacts/{conversation['contactId']}")).json()
    assert (contact["phone"], contact["source"]) == (CUSTOMER, "inbound_sms")


async def test_an_event_tells_exactly_what_get_shows(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1", media=["https://api.twilio.com/a", "https://api.twilio.com/b"]))
    told = await rows(admin, "events", owner.workspace_id)
    assert [row["event"] for row in told] == ["contact.created", "conversation.created", "message.received"]
    assert [row["seq"] for row in told] == [1, 2, 3]
    message, contact = msgspec.json.decode(told[2]["data"]), msgspec.json.decode(told[0]["data"])
    assert message == (await owner.get(f"/api/v1/conversation-messages/{message['id']}")).json()
    assert contact == (await owner.get(f"/api/v1/contacts/{contact['id']}")).json()


async def test_a_repeated_webhook_keeps_one_message(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    request = text(line, sid="SM1")
    fallback = text(line, sid="SM1", ErrorCode="11200", ErrorUrl=url_of(line))
    assert [(await post(anonymous, each)).status_code for each in (request, request, fallback)] == [200] * 3
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 1
    assert len(await rows(admin, "events", workspace_id)) == 3
    (receipt,) = await rows(admin, "webhook_receipts", workspace_id)
    assert receipt["body"] == request.body
    assert receipt["state"] == "processed"


async def test_a_repeated_webhook_does_not_reopen_a_conversation_closed_since(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    (conversation,) = (await owner.get("/api/v1/conversations")).json()["items"]
    await owner.post(f"/api/v1/conversations/{conversation['id']}/closure")
    await post(anonymous, text(line, sid="SM1"))
    (after,) = (await owner.get("/api/v1/conversations")).json()["items"]
    assert after["status"] == "closed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: msgspec.structs.replace(request, body=request.body + b"&x=1"),
        lambda request: msgspec.structs.replace(request, body=request.body[:-20]),
        lambda request: msgspec.structs.replace(
            request, headers={name: value for name, value in request.headers.items() if "signature" not in name}
        ),
        lambda request: msgspec.structs.replace(request, url=request.url.replace("/messages", "/message-status")),
        lambda request: msgspec.structs.replace(request, url=f"{request.url}?x=1"),
        lambda request: msgspec.structs.replace(request, body=request.body.replace(b"Body=", b"BodyH=")),
    ],
    ids=["tampered", "truncated", "unsigned", "other route", "other query", "boundary shifted"],
)
async def test_a_forged_webhook_is_403_and_leaves_no_row_but_a_counter(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, spoil: Any
) -> None:
    before = _counted("forged")
    answer = await post(anonymous, spoil(text(line, body="Hello")))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    for table in ("webhook_receipts", "conversation_messages", "contacts", "events", "delivery_reports"):
        assert await rows(admin, table, workspace_id) == []
    assert _counted("forged") == before + 1


def _counted(verdict: str) -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "comms_webhooks_total" and sample.labels["verdict"] == verdict
    )


async def test_another_connections_secret_proves_nothing(
    anonymous: httpx.AsyncClient, service: Service, line: Connection, stranger: Client
) -> None:
    secret = {"accountSid": "AC" + "b" * 32, "authToken": "theirs"}
    theirs = await make.connection(service, stranger.workspace_id, secret=secret)
    signed_by_them = twilio.message(url_of(line), theirs.credentials, sender=CUSTOMER, recipient=make.OUR_NUMBER)
    assert (await post(anonymous, signed_by_them)).status_code == 403


async def test_during_a_rotation_both_secrets_are_accepted(
    anonymous: httpx.AsyncClient, service: Service, workspace_id: uuid.UUID, admin: Any
) -> None:
    await make.number(service, workspace_id)
    both = await make.connection(service, workspace_id, secret={**make.TWILIO, "nextAuthToken": "the-next-token"})
    after = msgspec.structs.replace(both.credentials, auth_token="the-next-token")
    for number, credentials in enumerate((both.credentials, after)):
        request = twilio.message(
            url_of(both), credentials, sender=CUSTOMER, recipient=make.OUR_NUMBER, sid=f"SM{number}"
        )
        assert (await post(anonymous, request)).status_code == 200
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/twilio/{unknown}/messages", 404),
        ("POST", "/webhooks/twilio/not-an-id/messages", 404),
        ("POST", "/webhooks/signalwire/{connection}/messages", 404),
        ("POST", "/webhooks/twilio/{connection}/nothing", 404),
        ("POST", "/webhooks/nobody/{connection}/messages", 404),
        ("POST", "/webhooks/twilio/{connection}/messages/more", 404),
        ("PUT", "/webhooks/twilio/{connection}/messages", 405),
        ("DELETE", "/webhooks/twilio/{connection}/message-status", 405),
        ("POST", "/webhooks/twilio/{connection}/messages", 403),
        ("GET", "/webhooks/twilio/{connection}/messages", 403),
    ],
)
async def test_what_is_no_webhook_is_refused_with_the_fitting_status(
    anonymous: httpx.AsyncClient, line: Connection, method: str, path: str, status: int
) -> None:
    address = path.format(connection=line.id, unknown=uuid.uuid4())
    answer = await anonymous.request(method, address, content=b"a=b")
    assert answer.status_code == status
    assert answer.json()["status"] == status
    if status == 405:
        assert answer.headers["allow"] == "POST, GET"


async def test_a_body_over_a_mebibyte_is_413(anonymous: httpx.AsyncClient, line: Connection) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    large = b"x" * (1024 * 1024 + 1)
    assert (await anonymous.post(url_of(line), content=large, headers=headers)).status_code == 413

    async def unannounced() -> Any:
        for _ in range(17):
            yield b"x" * 65_536

    assert (await anonymous.post(url_of(line), content=unannounced(), headers=headers)).status_code == 413


async def test_genuine_bytes_that_are_no_json_are_400(anonymous: httpx.AsyncClient, wire: Connection) -> None:
    request = signalwire.signed_json(url_of(wire), wire.credentials, {"message": 1})
    broken = _resigned(wire, request.url, b'{"message": ')
    assert (await post(anonymous, broken)).status_code == 400


def _resigned(wire: Connection, url: str, body: bytes) -> Any:
    import hmac

    from comms.providers.base import Request

    signature = hmac.digest(wire.credentials.signing_key.encode(), url.encode() + body, "sha1").hex()
    headers = {"content-type": "application/json", "x-signalwire-signature": signature}
    return Request("POST", url, headers, body)


@pytest.mark.parametrize("shape", ["form", "get", "json", "swml"])
async def test_signalwire_is_read_in_every_shape_it_sends(
    anonymous: httpx.AsyncClient, wire: Connection, workspace_id: uuid.UUID, admin: Any, shape: str
) -> None:
    answer = await post(anonymous, text(wire, body="Hello ☃", shape=shape))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == ("application/json" if shape == "swml" else "text/xml")
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert (message["content"], message["provider"]) == ("Hello ☃", "signalwire")


async def test_twilio_may_also_use_get(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    assert (await post(anonymous, text(line, method="GET"))).status_code == 200
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 1


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("72345", "short_code"),
        ("ACME Bank", "alphanumeric"),
        ("+14155550123", "phone"),
    ],
)
async def test_a_sender_who_can_be_known_is_a_contact(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, sender: str, kind: str
) -> None:
    for sid in ("SM1", "SM2"):
        assert (await post(anonymous, text(line, sender=sender, sid=sid))).status_code == 200
    (point,) = await rows(admin, "contact_points", workspace_id)
    assert (point["kind"], point["value"], point["is_primary"]) == (kind, sender, True)
    (conversation,) = await rows(admin, "conversations", workspace_id)
    assert conversation["message_count"] == 2


@pytest.mark.parametrize("sender", ["anonymous", "Restricted", "", "+266696687"])
async def test_a_withheld_sender_is_no_contact_and_never_a_thread(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, sender: str
) -> None:
    for sid in ("SM1", "SM2"):
        assert (await post(anonymous, text(line, sender=sender, sid=sid))).status_code == 200
    assert await rows(admin, "contacts", workspace_id) == []
    conversations = await rows(admin, "conversations", workspace_id)
    assert [row["contact_id"] for row in conversations] == [None, None]
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert {row["from_address"] for row in messages} == {sender}


async def test_whatsapp_is_a_channel_of_the_same_contact(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    await post(anonymous, text(line, sid="SM2", channel=Channel.WHATSAPP))
    assert len(await rows(admin, "contacts", workspace_id)) == 1
    assert {row["channel"] for row in await rows(admin, "conversations", workspace_id)} == {"sms", "whatsapp"}


async def test_a_contact_on_two_of_our_numbers_stays_in_one_thread(
    anonymous: httpx.AsyncClient, service: Service, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    second = await make.number(service, workspace_id, "+14155550177")
    await post(anonymous, text(line, sid="SM1"))
    await post(anonymous, text(line, sid="SM2", recipient="+14155550177"))
    (conversation,) = await rows(admin, "conversations", workspace_id)
    assert conversation["phone_number_id"] == second.id  # replies leave from the number last texted
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert len({row["phone_number_id"] for row in messages}) == 2


async def test_nul_characters_and_blank_bodies_find_their_place(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    await post(anonymous, text(line, body="be\0fore", sid="SM1"))
    await post(anonymous, text(line, body="", sid="SM2"))
    await post(anonymous, text(line, body="", media=["https://api.twilio.com/x"], sid="SM3"))
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert [(row["content"], row["content_type"]) for row in messages] == [
        ("before", "text"),
        ("", "text"),
        ("", "media"),
    ]


async def test_every_item_of_an_mms_is_a_row_and_a_job_at_once(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    urls = [f"https://api.twilio.com/media/{number}" for number in range(3)]
    await post(anonymous, text(line, body="", media=urls, NumMedia="4"))
    attachments = await rows(admin, "message_attachments", workspace_id)
    assert sorted((row["position"], row["source_url"], row["state"]) for row in attachments) == [
        (number, url, "pending") for number, url in enumerate(urls)
    ]
    assert await admin.fetchval("SELECT count(*) FROM jobs.pgqueuer WHERE entrypoint = 'media.fetch'") == 3
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert msgspec.json.decode(message["metadata"])["mediaMissing"] == 1


async def test_an_unknown_number_is_kept_with_its_reason_and_can_be_replayed(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    assert (await post(anonymous, text(line, recipient="+14155550177", sid="SM1"))).status_code == 200
    (receipt,) = (await owner.get("/api/v1/webhook-receipts?state=unmapped")).json()["items"]
    assert "+14155550177 is not a number of this workspace" in receipt["reason"]
    assert (await owner.get("/api/v1/contacts")).json()["items"] == []

    still = (await owner.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")).json()
    assert (still["state"], still["attempts"]) == ("unmapped", 2)
    number = {"phoneNumber": "+14155550177", "provider": "twilio"}
    assert (await owner.post("/api/v1/workspace-phone-numbers", json=number)).status_code == 201
    assert still["updatedAt"] > receipt["updatedAt"]
    replayed = await owner.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    assert replayed.json()["state"] == "processed"
    assert replayed.json()["updatedAt"] > still["updatedAt"]
    (message,) = (await owner.get("/api/v1/conversation-messages")).json()["items"]
    assert message["id"] == replayed.json()["messageId"]
    await owner.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    assert len((await owner.get("/api/v1/conversation-messages")).json()["items"]) == 1


async def test_a_providers_retry_after_the_number_was_added_becomes_the_message(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection
) -> None:
    request = text(line, recipient="+14155550177", sid="SM1")
    await post(anonymous, request)
    await make.number(service, owner.workspace_id, "+14155550177")
    await post(anonymous, request)
    (receipt,) = (await owner.get("/api/v1/webhook-receipts")).json()["items"]
    assert (receipt["state"], receipt["attempts"]) == ("processed", 2)


async def test_a_receipt_of_another_workspace_cannot_be_replayed(
    anonymous: httpx.AsyncClient, owner: Client, stranger: Client, line: Connection
) -> None:
    await post(anonymous, text(line, recipient="+14155550177"))
    (receipt,) = (await owner.get("/api/v1/webhook-receipts")).json()["items"]
    assert (await stranger.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")).status_code == 404


async def test_a_sub_accounts_text_is_taken_and_counted(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    assert (await post(anonymous, text(line, AccountSid="AC" + "f" * 32))).status_code == 200
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 1


async def test_a_connection_made_through_the_api_is_known_to_the_next_webhook(
    anonymous: httpx.AsyncClient, owner: Client, admin: Any
) -> None:
    made = await owner.post(
        "/api/v1/workspace-api-keys", json={"provider": "twilio", "name": "Main", "secret": make.TWILIO}
    )
    assert made.status_code == 201
    assert made.json()["lastFour"] == make.TWILIO["authToken"][-4:]
    await owner.post("/api/v1/workspace-phone-numbers", json={"phoneNumber": make.OUR_NUMBER, "provider": "twilio"})
    line = Connection(uuid.UUID(made.json()["id"]), owner.workspace_id, "twilio", _credentials(make.TWILIO))
    assert made.json()["webhookUrls"]["messages"] == url_of(line)
    assert (await post(anonymous, text(line))).status_code == 200
    await owner.patch(f"/api/v1/workspace-api-keys/{line.id}", json={"isActive": False})
    assert (await post(anonymous, text(line))).status_code == 404


def _credentials(secret: dict[str, Any]) -> Any:
    from comms.providers import read_credentials

    return read_credentials("twilio", msgspec.json.encode(secret))


async def test_sendgrid_is_proven_and_kept_also_where_nothing_comes_of_it(
    anonymous: httpx.AsyncClient, service: Service, owner: Client
) -> None:
    from comms.simulators import sendgrid

    event_public, event_private = sendgrid.new_keys()
    parse_public, parse_private = sendgrid.new_keys()
    connection = await make.connection(
        service,
        owner.workspace_id,
        "sendgrid",
        {
            "eventPublicKey": event_public,
            "eventPrivateKey": event_private,
            "parsePublicKey": parse_public,
            "parsePrivateKey": parse_private,
        },
    )
    happened = [sendgrid.event("delivered", "jane@example.com", now())]
    events = sendgrid.events(url_of(connection, "events"), connection.credentials, happened, now())
    mail = sendgrid.inbound(
        url_of(connection, "inbound"), connection.credentials, now(), sender="jane@example.com",
        recipients=["support@acme.example"], subject="Hi", text="Hello",
    )  # fmt: skip
    for request, status in ((events, 204), (mail, 200)):
        answers = [await post(anonymous, request), await post(anonymous, request)]
        assert {answer.status_code for answer in answers} == {status}
        tampered = msgspec.structs.replace(request, body=request.body + b" ")
        assert (await post(anonymous, tampered)).status_code == 403
    receipts = (await owner.get("/api/v1/webhook-receipts")).json()["items"]
    assert sorted((row["kind"], row["state"]) for row in receipts) == [("events", "processed"), ("inbound", "unmapped")]
