"""What becomes of a delivery report: kept, joined, and a status that only moves forward."""

from typing import Any

import httpx
import msgspec

from comms.directory import Connection
from comms.service import Service
from tests.conftest import Client
from tests.handlers.webhooks import post, report, rows
from tests.make import communications as make


async def test_delivery_reports_move_a_message_forward_only(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection, admin: Any
) -> None:
    message = await make.sent(service, owner.workspace_id, "SM9")
    statuses = []
    for status in ("sent", "delivered", "sent", "undelivered", "read", "queued", "delivered"):
        answer = await post(anonymous, report(line, "SM9", status))
        assert answer.status_code == 204
        assert answer.content == b""
        statuses.append((await owner.get(f"/api/v1/conversation-messages/{message.id}")).json()["status"])
    assert statuses == ["sent", "delivered", "delivered", "delivered", "read", "read", "read"]
    kept = await rows(admin, "delivery_reports", owner.workspace_id)
    assert sorted(row["reported"] for row in kept) == ["delivered", "queued", "read", "sent", "undelivered"]
    assert {row["message_id"] for row in kept} == {message.id}
    told = await rows(admin, "events", owner.workspace_id)
    assert [row["event"] for row in told] == ["message.status_changed"] * 3
    shown = (await owner.get(f"/api/v1/conversation-messages/{message.id}")).json()
    assert msgspec.json.decode(told[-1]["data"]) == shown
    assert shown["deliveredAt"] is not None
    assert shown["readAt"] is not None


async def test_a_failure_tells_its_code_and_gives_way_to_delivered(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection
) -> None:
    message = await make.sent(service, owner.workspace_id, "SM9")
    await post(anonymous, report(line, "SM9", "undelivered", error_code=30003))
    failed = (await owner.get(f"/api/v1/conversation-messages/{message.id}")).json()
    assert (failed["status"], failed["errorCode"]) == ("undelivered", "30003")
    await post(anonymous, report(line, "SM9", "delivered"))
    delivered = (await owner.get(f"/api/v1/conversation-messages/{message.id}")).json()
    assert (delivered["status"], delivered["errorCode"]) == ("delivered", None)


async def test_an_early_report_waits_for_its_message(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection
) -> None:
    assert (await post(anonymous, report(line, "SM9", "delivered"))).status_code == 204
    (parked,) = (await owner.get("/api/v1/delivery-reports")).json()["items"]
    assert parked["messageId"] is None
    conversation = await make.conversation(service, owner.workspace_id)
    recorded = await owner.post(
        "/api/v1/conversation-messages",
        json={
            "conversationId": str(conversation.id),
            "direction": "outbound",
            "content": "See you at 7pm",
            "provider": "twilio",
            "providerMessageId": "SM9",
        },
    )
    assert recorded.status_code == 201
    shown = (await owner.get(f"/api/v1/conversation-messages/{recorded.json()['id']}")).json()
    assert shown["status"] == "delivered"
    (joined,) = (await owner.get("/api/v1/delivery-reports")).json()["items"]
    assert joined["messageId"] == shown["id"]


async def test_a_status_nobody_knows_is_kept_and_changes_nothing(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, line: Connection
) -> None:
    message = await make.sent(service, owner.workspace_id, "SM9")
    assert (await post(anonymous, report(line, "SM9", "teleported"))).status_code == 204
    assert (await owner.get(f"/api/v1/conversation-messages/{message.id}")).json()["status"] == "queued"
    (kept,) = (await owner.get("/api/v1/delivery-reports")).json()["items"]
    assert (kept["reported"], kept["status"]) == ("teleported", None)
