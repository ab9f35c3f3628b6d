"""Genuine webhooks that no provider sends on an ordinary day: kept all the same, and answered with success."""

import random
import string
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from comms.directory import Connection
from comms.providers.base import Request
from comms.service import Service
from comms.simulators import signalwire, twilio
from tests.conftest import Client
from tests.handlers.webhooks import CUSTOMER, post, report, rows, text, url_of
from tests.make import communications as make
from tests.make.communications import OUR_NUMBER

LONG = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=8_000))  # it cannot be compressed much


@pytest.fixture
async def wire(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A SignalWire connection and a number on it."""
    await make.number(service, workspace_id, provider="signalwire")
    return await make.connection(service, workspace_id, "signalwire")


async def _with_header(anonymous: httpx.AsyncClient, request: Request, name: str, value: str) -> int:
    """The status that answers the request with a header that nobody signs."""
    return (
        await post(anonymous, msgspec.structs.replace(request, headers={**request.headers, name: value}))
    ).status_code


@pytest.mark.parametrize("value", ["\\u0000", "x\\u0000", "\\\\u0000", "\0", "a\0b\\u0000", '"\\'])
async def test_whatever_stands_in_an_unsigned_header_the_webhook_is_kept(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, value: str
) -> None:
    assert await _with_header(anonymous, text(line, sid="SM1"), "user-agent", value) == 200
    assert await _with_header(anonymous, report(line, "SM9", "sent"), "i-twilio-idempotency-token", value) == 204
    kept = [msgspec.json.decode(row["headers"]) for row in await rows(admin, "webhook_receipts", workspace_id)]
    assert kept[0]["user-agent"] == kept[1]["i-twilio-idempotency-token"] == value.replace("\0", "")
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 1


async def test_a_report_with_a_nul_in_its_id_is_kept(
    anonymous: httpx.AsyncClient, wire: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    fields = {"id": "n\0ative", "status": "delivered\0", "error_message": "\0"}
    odd = signalwire.signed(url_of(wire, "message-status"), wire.credentials, fields)
    assert (await post(anonymous, odd)).status_code == 204
    (kept,) = await rows(admin, "delivery_reports", workspace_id)
    assert (kept["provider_message_id"], kept["status"], kept["error_message"]) == ("native", "delivered", None)


@pytest.mark.parametrize("field", ["MessageSid", "From", "ProfileName", "NumMedia", "MediaUrl0", "FromCity", "Body"])
async def test_a_message_is_kept_however_long_its_fields_are(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, field: str
) -> None:
    long = f"messenger:{LONG}" if field == "From" else LONG
    for _ in range(2):
        assert (await post(anonymous, text(line, **{field: long}))).status_code == 200
    first = (await rows(admin, "webhook_receipts", workspace_id))[0]
    assert (first["state"], first["reason"]) == ("processed", None)
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert len(messages) == (1 if field == "MessageSid" else 2)
    assert messages[0]["id"] == first["message_id"]


async def test_a_message_of_a_long_id_is_found_by_its_reports(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    for status in ("delivered", LONG, f"{LONG}!"):
        assert (await post(anonymous, report(line, LONG, status))).status_code == 204
    reports = await rows(admin, "delivery_reports", workspace_id)
    assert [row["status"] for row in reports] == ["delivered", None, None]
    await post(anonymous, text(line, sid=LONG))
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert {row["provider_message_id"] for row in reports} == {message["provider_message_id"]}


async def test_a_call_of_a_long_id_is_kept(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    fields = {"CallSid": LONG, "AccountSid": line.credentials.account_sid, "From": CUSTOMER, "To": OUR_NUMBER}
    for kind, status in (("voice", "ringing"), ("voice-status", LONG), ("voice-status", "completed")):
        said = fields | {"CallStatus": status, "CallbackSource": LONG}
        answer = await post(anonymous, twilio.signed(url_of(line, kind), line.credentials, said))
        assert answer.status_code < 300
    assert {row["state"] for row in await rows(admin, "webhook_receipts", workspace_id)} == {"processed"}
    (call,) = await rows(admin, "calls", workspace_id)
    assert call["status"] == "completed"


@pytest.mark.parametrize("more", [{"NumMedia": "1", "MediaUrl0": "https://api.twilio.com/a"}, {}])
async def test_a_form_without_a_body_is_a_message_without_words(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, more: dict[str, str]
) -> None:
    fields = {"MessageSid": "SM1", "AccountSid": line.credentials.account_sid, "From": CUSTOMER, "To": OUR_NUMBER}
    odd = twilio.signed(url_of(line), line.credentials, fields | {"SmsStatus": "received"} | more)
    assert (await post(anonymous, odd)).status_code == 200
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert (message["content"], message["content_type"]) == ("", "media" if more else "text")


async def test_swml_without_a_body_is_a_message_without_words(
    anonymous: httpx.AsyncClient, wire: Connection, workspace_id: uuid.UUID, admin: Any
) -> None:
    said = {"message_id": "m1", "project_id": "p1", "from": CUSTOMER, "to": OUR_NUMBER}
    odd = signalwire.signed_json(url_of(wire), wire.credentials, {"message": said})
    assert (await post(anonymous, odd)).status_code == 200
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert (message["content"], message["from_address"]) == ("", CUSTOMER)


async def test_a_status_sent_to_the_address_of_messages_becomes_no_message(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    stray = twilio.report(url_of(line), line.credentials, sid="SM1", status="sent", recipient=OUR_NUMBER)
    assert (await post(anonymous, stray)).status_code == 403
    assert (await owner.get("/api/v1/conversation-messages")).json()["items"] == []


@pytest.mark.parametrize(("sent", "kept"), [(15, 15), (45, 40)])
async def test_every_item_is_kept_and_what_is_beyond_all_measure_counted(
    anonymous: httpx.AsyncClient, wire: Connection, workspace_id: uuid.UUID, admin: Any, sent: int, kept: int
) -> None:
    urls = [f"https://files.signalwire.com/{number}" for number in range(sent)]
    assert (await post(anonymous, text(wire, shape="swml", body=None, media=urls))).status_code == 200
    attachments = await rows(admin, "message_attachments", workspace_id)
    assert sorted(row["position"] for row in attachments) == list(range(kept))
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    assert msgspec.json.decode(message["metadata"]).get("mediaMissing", 0) == sent - kept
