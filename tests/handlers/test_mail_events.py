"""What SendGrid tells of our mails: kept once, in whatever order it comes, and told of their messages."""

import uuid
from typing import Any

import httpx
import msgspec
import pytest

from comms import delivery
from comms.directory import Connection
from comms.mail import events
from comms.mail.events import Batch
from comms.providers.sendgrid import open_events
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from tests.comms.providers import golden
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make


async def told(admin: Any, workspace_id: uuid.UUID) -> list[str]:
    return [row["event"] for row in await rows(admin, "events", workspace_id)]


EVENTS = [
    name
    for name in golden.names("sendgrid")
    if name.startswith(("event_", "pub_event_")) and golden.fixture("sendgrid", name)["accept"]
]
STATUSES = {
    "event_async_bounce": ["bounced"],
    "event_blocked": ["blocked"],
    "event_click": ["clicked"],
    "event_open": ["opened_by_machine"],
    "event_spamreport": ["complained"],
    "event_account_status": ["account_status_changed"],
    "event_batch_duplicate_and_unknown": ["delivered", "unknown"],
    "pub_event_single": ["dropped"],
    "pub_event_multiple": ["blocked", "processed"],
}


@pytest.mark.parametrize("kind", EVENTS)
async def test_every_golden_event_is_kept_once(
    kind: str, service: Service, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    expected = golden.fixture("sendgrid", kind)
    request, at = golden.request(expected), golden.moment(expected)
    elements = open_events(request, golden.sendgrid_credentials(expected), at)
    for _ in range(2):
        await service.mail_events.add(Batch(mailbox, request, elements, at))
    found = await rows(admin, "mail_events", workspace_id)
    assert len(found) == len({msgspec.json.encode(element) for element in elements})
    if kind in STATUSES:
        assert sorted(row["kind"] for row in found) == STATUSES[kind]
    words = {row["source"] for row in await rows(admin, "consents", workspace_id)}
    assert words == {
        "event_async_bounce": {"bounce"}, "event_spamreport": {"complaint"}, "pub_event_single": {"bounce"},
    }.get(kind, words if kind == "event_batch" else set())  # fmt: skip


async def test_events_of_a_mail_move_its_message_once_and_spare_who_bounced(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    sent = await make.sent(service, workspace_id, "X1", provider="sendgrid")
    bounce = sendgrid.event("bounce", "Jane@example.com", now(), message_id="X1", status="5.1.1", type="bounce")
    batch = ["nonsense", sendgrid.event("processed", "jane@example.com", now(), message_id="X1"), bounce, bounce]
    for elements in (batch, [bounce]):
        request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, elements, now())  # type: ignore[arg-type]  # one is no event
        assert (await post(anonymous, request)).status_code == 204
    kinds = [row["kind"] for row in await rows(admin, "mail_events", workspace_id)]
    assert sorted(kinds) == ["bounced", "processed", "unknown"]
    (message,) = [row for row in await rows(admin, "conversation_messages", workspace_id) if row["id"] == sent.id]
    assert (message["status"], message["error_code"]) == ("undelivered", "5.1.1")
    (consent,) = await rows(admin, "consents", workspace_id)
    assert (consent["address"], consent["sender"], consent["source"]) == ("jane@example.com", "*", "bounce")
    assert (await told(admin, workspace_id)).count("message.status_changed") == 1


@pytest.mark.parametrize("order", ["delivered first", "bounce first", "together", "together, bounce first"])
async def test_a_bounce_that_comes_after_a_mail_was_taken_is_what_became_of_it(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID, order: str
) -> None:
    sent = await make.sent(service, workspace_id, "X1", provider="sendgrid", status="sent")
    taken = sendgrid.event("delivered", "jane@example.com", now(), message_id="X1")
    # An asynchronous one names no sg_message_id: it is known by what our mails carry.
    named = {"comms_message_id": str(sent.id), "status": "5.1.1", "type": "bounce", "reason": "550 5.1.1 unknown"}
    bounce = {**sendgrid.event("bounce", "jane@example.com", now(), message_id="X1"), **named}
    del bounce["sg_message_id"]
    elements = [bounce, taken] if "bounce first" in order else [taken, bounce]
    for batch in [elements] if "together" in order else [[one] for one in elements]:
        request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, batch, now())
        assert (await post(anonymous, request)).status_code == 204
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", sent.id)
    assert (row["status"], row["error_code"], row["error_message"]) == ("undelivered", "5.1.1", "550 5.1.1 unknown")
    assert row["delivered_at"] is None
    (consent,) = await rows(admin, "consents", workspace_id)
    assert (consent["address"], consent["source"]) == ("jane@example.com", "bounce")
    parked = await make.sent(service, workspace_id, "X2", provider="sendgrid", status="delivered")
    late = [{**bounce, "comms_message_id": str(parked.id), "sg_event_id": "late"}]
    for read in ("undelivered", "read"):  # whoever reads it has it, whatever a server says
        event = late if read == "undelivered" else [sendgrid.event("open", "jane@example.com", now(), message_id="X2")]
        request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, event, now())
        assert (await post(anonymous, request)).status_code == 204
        assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", parked.id) == read


async def test_a_machine_that_opens_has_read_nothing_and_a_person_has(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    sent = await make.sent(service, workspace_id, "X1", provider="sendgrid", status="delivered")
    for is_machine, status in ((True, "delivered"), (False, "read")):
        event = sendgrid.event("open", "jane@example.com", now(), message_id="X1", sg_machine_open=is_machine)
        request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, [event], now())
        assert (await post(anonymous, request)).status_code == 204
        assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", sent.id) == status


async def test_an_event_that_comes_before_its_mail_is_known_waits_for_it(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    event = sendgrid.event("delivered", "jane@example.com", now(), message_id="early")
    request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, [event], now())
    assert (await post(anonymous, request)).status_code == 204
    assert await admin.fetchval("SELECT message_id FROM mail_events") is None
    sent = await make.sent(service, workspace_id, "early", provider="sendgrid")
    async with service.database.alone() as db:
        await delivery.join_all_parked(db)
    await events.join_parked(service.database)
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", sent.id) == "delivered"
    assert await admin.fetchval("SELECT message_id FROM mail_events") == sent.id
