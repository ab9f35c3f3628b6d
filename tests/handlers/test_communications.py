"""Conversations, messages, the team, notifications, numbers and connections, where they have rules of their own."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from comms.media.keeping import Store
from comms.service import Service
from comms.settings import Settings
from models.communications import (
    ConversationMessage,
    DeliveryReportRow,
    MessageAttachment,
    Notification,
    WebhookReceipt,
)
from tests.conftest import PUBLIC_URL, Client
from tests.make import rows
from tests.make.communications import SECRETS, conversation, number, sent

API = "/api/v1"


def of(client: Client) -> dict[str, Any]:
    return {"workspace_id": client.workspace_id, "user_id": client.user_id}


async def test_conversations_without_a_message_keep_their_place_in_every_order(
    owner: Client, service: Service, admin: Any
) -> None:
    for day in (3, None, 1, None, 2, None):
        row = await conversation(service, owner.workspace_id)
        if day is not None:
            await admin.execute(
                "UPDATE conversations SET last_message_at = now() - make_interval(days => $1) WHERE id = $2",
                day,
                row.id,
            )
    for sort, nulls in (("lastMessageAt", "last"), ("-lastMessageAt", "first")):
        seen: list[str | None] = []
        ids: set[str] = set()
        cursor = None
        for _ in range(10):
            query = {"sort": sort, "limit": 1} | ({"cursor": cursor} if cursor else {})
            page = (await owner.get(f"{API}/conversations", params=query)).json()
            seen += [item["lastMessageAt"] for item in page["items"]]
            ids |= {item["id"] for item in page["items"]}
            cursor = page["nextCursor"]
            if cursor is None:
                break
        assert len(seen) == len(ids) == 6
        days = [at for at in seen if at is not None]
        assert seen == ([*days, None, None, None] if nulls == "last" else [None, None, None, *days])
        assert days == sorted(days, reverse=sort.startswith("-"))


async def test_a_message_somebody_else_has_sent_is_recorded_in_its_conversation(
    owner: Client, service: Service
) -> None:
    talk = await conversation(service, owner.workspace_id)
    body = {"direction": "outbound", "content": "On our way", "provider": "twilio", "providerMessageId": "SM1"}
    answer = await owner.post(f"{API}/conversations/{talk.id}/messages", json=body)
    assert answer.status_code == 201, answer.text
    message = answer.json()
    assert (message["status"], message["senderType"], message["senderId"]) == ("sent", "user", str(owner.user_id))
    assert message["conversationId"] == str(talk.id)
    assert message["sentAt"] is not None
    now = (await owner.get(f"{API}/conversations/{talk.id}")).json()
    assert (now["messageCount"], now["lastMessageAt"]) == (1, message["createdAt"])
    assert (await owner.get(f"{API}/conversations/{talk.id}/messages")).json()["items"] == [message]
    told = (await owner.get(f"{API}/events", params={"conversationId": str(talk.id)})).json()["items"]
    assert [(item["event"], item["data"]) for item in told] == [("message.sent", message)]
    again = await owner.post(f"{API}/conversations/{talk.id}/messages", json=body)
    assert again.status_code == 409
    assert (await owner.get(f"{API}/conversations/{talk.id}")).json()["messageCount"] == 1


async def test_a_note_is_accepted_and_nothing_more(owner: Client, service: Service) -> None:
    talk = await conversation(service, owner.workspace_id)
    body = {"conversationId": str(talk.id), "direction": "outbound", "content": "Called back", "metadata": {"a": 1}}
    message = (await owner.post(f"{API}/conversation-messages", json=body)).json()
    assert (message["status"], message["sentAt"], message["metadata"]) == ("accepted", None, {"a": 1})


async def test_reports_that_came_first_are_joined_to_their_message(owner: Client, service: Service) -> None:
    talk = await conversation(service, owner.workspace_id)
    await rows.row(
        service, DeliveryReportRow, **of(owner), provider="twilio", provider_message_id="SM2", reported="delivered",
        status="delivered",
    )  # fmt: skip
    body = {"direction": "outbound", "provider": "twilio", "providerMessageId": "SM2"}
    message = (await owner.post(f"{API}/conversations/{talk.id}/messages", json=body)).json()
    assert message["status"] == "delivered"
    reports = (await owner.get(f"{API}/delivery-reports")).json()["items"]
    assert [report["messageId"] for report in reports] == [message["id"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"direction": "inbound"}, "direction"),
        ({"providerMessageId": "SM1"}, "provider"),
        ({"status": "delivered"}, "status"),
        ({"senderId": str(uuid.uuid4())}, "senderId"),
        ({"phoneNumberId": str(uuid.uuid4())}, "phoneNumberId"),
        ({"conversationId": str(uuid.uuid4())}, "conversationId"),
    ],
)
async def test_a_message_is_refused_by_the_field_that_is_wrong(
    owner: Client, service: Service, change: dict[str, Any], field: str
) -> None:
    talk = await conversation(service, owner.workspace_id)
    body = {"conversationId": str(talk.id), "direction": "outbound"}
    answer = await owner.post(f"{API}/conversation-messages", json=body | change)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await owner.get(f"{API}/conversations/{talk.id}")).json()["messageCount"] == 0


async def test_the_messages_of_no_conversation_are_404(owner: Client, stranger: Client, service: Service) -> None:
    talk = await conversation(service, owner.workspace_id)
    for client, there in ((owner, uuid.uuid4()), (stranger, talk.id)):
        path = f"{API}/conversations/{there}/messages"
        assert (await client.get(path)).status_code == 404
        assert (await client.post(path, json={"direction": "outbound"})).status_code == 404
    assert (await owner.get(f"{API}/conversations/{talk.id}/messages")).status_code == 200


async def test_a_cursor_of_one_conversation_is_no_cursor_of_another(owner: Client, service: Service) -> None:
    talks = [await conversation(service, owner.workspace_id) for _ in range(2)]
    for talk in talks:
        for at in range(3):
            await sent(service, owner.workspace_id, f"{talk.id}-{at}", conversation_id=talk.id)
    first, second = (f"{API}/conversations/{talk.id}/messages" for talk in talks)
    cursor = (await owner.get(first, params={"limit": 1})).json()["nextCursor"]
    assert (await owner.get(first, params={"cursor": cursor})).status_code == 200
    assert (await owner.get(second, params={"cursor": cursor})).status_code == 400


async def test_only_reading_and_metadata_of_a_message_change(owner: Client, service: Service) -> None:
    row = await rows.row(service, ConversationMessage, **of(owner), direction="inbound", status="received")
    address = f"{API}/conversation-messages/{row.id}"
    read = (await owner.patch(address, json={"isRead": True, "metadata": {"seen": "yes"}})).json()
    assert read["isRead"] is True
    assert read["readAt"] is not None
    assert read["metadata"] == {"seen": "yes"}
    unread = (await owner.patch(address, json={"isRead": False})).json()
    assert (unread["readAt"], unread["metadata"]) == (None, {"seen": "yes"})
    for change in ({"content": "x"}, {"status": "read"}, {"conversationId": str(uuid.uuid4())}):
        assert (await owner.patch(address, json=change)).status_code == 400


async def test_a_message_comes_with_its_attachments_in_order(owner: Client, service: Service) -> None:
    message = await sent(service, owner.workspace_id, "SM9")
    for position in (1, 0):
        await rows.row(service, MessageAttachment, **of(owner), message_id=message.id, position=position)
    shown = (await owner.get(f"{API}/conversation-messages/{message.id}")).json()
    assert [item["position"] for item in shown["attachments"]] == [0, 1]
    assert "sourceUrl" not in shown["attachments"][0]


async def test_a_file_that_has_not_come_yet_is_409(owner: Client, stranger: Client, service: Service) -> None:
    row = await rows.row(service, MessageAttachment, **of(owner))
    answer = await owner.get(f"{API}/message-attachments/{row.id}/content")
    assert answer.status_code == 409
    assert "pending" in answer.json()["detail"]
    assert (await stranger.get(f"{API}/message-attachments/{row.id}/content")).status_code == 404


async def test_a_stored_file_is_a_download_and_nothing_a_browser_shows(
    owner: Client, stranger: Client, service: Service, settings: Settings
) -> None:
    content = b"<script>alert(1)</script>" * 50_000
    row = await rows.row(
        service, MessageAttachment, **of(owner), state="stored", storage_key="x/y", content_type="text/html",
        size=len(content),
    )  # fmt: skip
    address = f"{API}/message-attachments/{row.id}/content"
    assert (await owner.get(address)).status_code == 404  # the row is there, the file is lost

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    await Store(settings.media.url).keep("x/y", pieces())
    answer = await owner.get(address)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await stranger.get(address)).status_code == 404


async def test_a_number_belongs_to_a_connection_of_its_own_provider(owner: Client, service: Service) -> None:
    connections = {}
    for provider, secret in SECRETS.items():
        body = {"provider": provider, "name": provider, "secret": secret}
        connections[provider] = (await owner.post(f"{API}/workspace-api-keys", json=body)).json()["id"]
    body = {"provider": "twilio", "phoneNumber": "+14155550100"}
    wrong = await owner.post(f"{API}/workspace-phone-numbers", json=body | {"connectionId": connections["signalwire"]})
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "connectionId"
    right = await owner.post(f"{API}/workspace-phone-numbers", json=body | {"connectionId": connections["twilio"]})
    assert right.status_code == 201
    address = f"{API}/workspace-phone-numbers/{right.json()['id']}"
    assert (await owner.patch(address, json={"provider": "signalwire"})).status_code == 400
    both = {"provider": "signalwire", "connectionId": connections["signalwire"]}
    assert (await owner.patch(address, json=both)).status_code == 200
    assert (await owner.patch(address, json={"connectionId": None})).json()["connectionId"] is None


async def test_a_secret_goes_in_and_never_comes_out(
    owner: Client, member: Client, admin: Any, service: Service
) -> None:
    body = {"provider": "twilio", "name": "Main", "secret": {"accountSid": "AC1", "authToken": "very-secret-1234"}}
    made = await owner.post(f"{API}/workspace-api-keys", json=body)
    assert made.status_code == 201
    connection = made.json()
    address = f"{API}/workspace-api-keys/{connection['id']}"
    assert connection["lastFour"] == "1234"
    kinds = {"messages": "messages", "messageStatus": "message-status"}
    kinds |= {"voice": "voice", "voiceStatus": "voice-status", "voiceFallback": "voice-fallback"}
    base = f"{PUBLIC_URL}/webhooks/twilio/{connection['id']}"
    assert connection["webhookUrls"] == {name: f"{base}/{kind}" for name, kind in kinds.items()}
    rotated = await owner.patch(
        address,
        json={"secret": {"accountSid": "AC1", "authToken": "very-secret-1234", "nextAuthToken": "very-secret-2"}},
    )
    listed = await owner.get(f"{API}/workspace-api-keys")
    told = await owner.get(f"{API}/events")
    kept = str(await admin.fetch("SELECT * FROM workspace_api_keys"))
    for text in (made.text, rotated.text, listed.text, told.text, kept):
        assert "very-secret" not in text
    await service.directory.load()
    found = service.directory.find(connection["id"])
    assert found is not None
    assert found.credentials.next_auth_token == "very-secret-2"
    assert (await member.get(address)).status_code == 403
    assert (await member.get(f"{API}/events")).json()["items"] == []


async def test_a_connection_made_or_switched_off_is_known_to_webhooks_at_once(owner: Client, service: Service) -> None:
    body = {"provider": "signalwire", "name": "Main", "secret": SECRETS["signalwire"]}
    connection = (await owner.post(f"{API}/workspace-api-keys", json=body)).json()["id"]
    await _soon(lambda: service.directory.find(connection) is not None)
    await owner.patch(f"{API}/workspace-api-keys/{connection}", json={"isActive": False})
    await _soon(lambda: service.directory.find(connection) is None)


async def _soon(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to hold")


@pytest.mark.parametrize(
    ("secret", "fields"),
    [
        ({}, {"secret.accountSid", "secret.authToken"}),
        ({"accountSid": "AC1"}, {"secret.authToken"}),
        ({"accountSid": "AC1", "authToken": ""}, {"secret.authToken"}),
        ({"accountSid": "AC1", "authToken": 5}, {"secret.authToken"}),
        ({"accountSid": "AC1", "authToken": "x", "authtoken": "x"}, {"secret.authtoken"}),
    ],
)
async def test_a_secret_is_complete_or_refused(owner: Client, secret: dict[str, Any], fields: set[str]) -> None:
    body = {"provider": "twilio", "name": "Main", "secret": secret}
    answer = await owner.post(f"{API}/workspace-api-keys", json=body)
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == fields


async def test_what_is_said_in_the_team_is_said_by_who_says_it(owner: Client, member: Client) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "general"})).json()
    assert channel["createdBy"] == str(owner.user_id)
    said = (await member.post(f"{API}/team-messages", json={"channelId": channel["id"], "content": "Hi"})).json()
    assert said["senderId"] == str(member.user_id)
    answer = {"channelId": channel["id"], "content": "Hello", "parentMessageId": said["id"]}
    assert (await owner.post(f"{API}/team-messages", json=answer)).status_code == 201
    assert (await owner.get(f"{API}/team-messages/{said['id']}")).json()["threadCount"] == 1
    assert (await owner.get(f"{API}/team-channels/{channel['id']}")).json()["lastMessageAt"] is not None
    other = (await owner.post(f"{API}/team-channels", json={"name": "other"})).json()
    elsewhere = await owner.post(f"{API}/team-messages", json=answer | {"channelId": other["id"]})
    assert elsewhere.status_code == 400
    address = f"{API}/team-messages/{said['id']}"
    assert (await owner.patch(address, json={"content": "No"})).status_code == 403
    edited = (await member.patch(address, json={"content": "Hi!"})).json()
    assert (edited["content"], edited["isEdited"]) == ("Hi!", True)


async def test_a_message_is_taken_back_by_its_sender_or_an_administrator(
    owner: Client, admin_member: Client, member: Client
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "general"})).json()["id"]
    said = [
        (await owner.post(f"{API}/team-messages", json={"channelId": channel, "content": "Hi"})).json()["id"]
        for _ in range(2)
    ]
    assert (await member.delete(f"{API}/team-messages/{said[0]}")).status_code == 403
    assert (await owner.delete(f"{API}/team-messages/{said[0]}")).status_code == 204
    assert (await admin_member.delete(f"{API}/team-messages/{said[1]}")).status_code == 204


async def test_notifications_are_ones_own(owner: Client, member: Client, viewer: Client, service: Service) -> None:
    mine = await rows.row(service, Notification, **of(viewer))
    address = f"{API}/notifications/{mine.id}"
    for other in (owner, member):
        assert (await other.get(address)).status_code == 404
        assert (await other.patch(address, json={"isRead": True})).status_code == 404
        assert (await other.get(f"{API}/notifications")).json()["items"] == []
    read = (await viewer.patch(address, json={"isRead": True})).json()
    assert read["readAt"] is not None
    assert (await owner.get(f"{API}/events")).json()["items"] == []
    assert [item["subjectId"] for item in (await viewer.get(f"{API}/events")).json()["items"]] == [str(mine.id)]


@pytest.mark.parametrize("within", [-1, "7 days", True, 1e12, [], {}])
async def test_how_long_conversations_reopen_is_a_number_of_seconds(owner: Client, within: Any) -> None:
    address = f"{API}/workspaces/{owner.workspace_id}"
    answer = await owner.patch(address, json={"settings": {"reopenWithin": within}})
    assert answer.status_code == 400
    assert "reopenWithin" in answer.json()["errors"][0]["field"]
    right = await owner.patch(address, json={"name": "Acme Ltd", "settings": {"reopenWithin": 0, "locale": "en"}})
    assert right.json()["settings"] == {"reopenWithin": 0, "locale": "en"}
    unset = await owner.patch(address, json={"settings": {"reopenWithin": None}})
    assert unset.json()["settings"] == {"locale": "en"}, "null unsets it: then it is as long as we think best"


async def test_members_do_not_change_the_workspace(member: Client, admin_member: Client) -> None:
    address = f"{API}/workspaces/{member.workspace_id}"
    assert (await member.patch(address, json={"name": "Mine"})).status_code == 403
    assert (await admin_member.patch(address, json={"name": "Ours"})).status_code == 200


async def test_a_receipt_is_shown_and_replayed_by_its_own_workspace(
    owner: Client, member: Client, stranger: Client, service: Service
) -> None:
    receipt = await rows.row(service, WebhookReceipt, **of(owner), state="processed", body=b"Body=Hi\xff")
    address = f"{API}/webhook-receipts/{receipt.id}"
    assert "body" not in (await owner.get(address)).json()
    assert (await owner.get(f"{address}/body")).content == b"Body=Hi\xff"
    assert (await member.get(f"{address}/body")).status_code == 403
    replayed = await owner.post(f"{address}/replay")
    assert (replayed.status_code, replayed.json()["state"]) == (200, "processed")
    for path in (f"{address}/body", address):
        assert (await stranger.get(path)).status_code == 404
    assert (await stranger.post(f"{address}/replay")).status_code == 404


async def test_the_log_is_read_in_order_and_to_its_end(owner: Client, stranger: Client) -> None:
    for at in range(5):
        await owner.post(f"{API}/contacts", json={"firstName": str(at)})
    seen: list[int] = []
    after = 0
    while True:
        page = (await owner.get(f"{API}/events", params={"after": after, "limit": 2})).json()
        seen += [item["seq"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        after = int(page["nextCursor"])
    assert seen == [1, 2, 3, 4, 5]
    assert (await owner.get(f"{API}/events", params={"event": "contact.updated"})).json()["items"] == []
    assert (await stranger.get(f"{API}/events")).json()["items"] == []
    for query in ({"after": -1}, {"after": "x"}, {"limit": 0}, {"nope": 1}, {"subjectId": "x"}, {"event": "\x00"}):
        answer = await owner.get(f"{API}/events", params=query)
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == list(query)


async def test_two_tenants_may_have_the_same_number(owner: Client, stranger: Client, service: Service) -> None:
    await number(service, owner.workspace_id)
    body = {"provider": "twilio", "phoneNumber": "+14155550100"}
    assert (await owner.post(f"{API}/workspace-phone-numbers", json=body)).status_code == 409
    assert (await stranger.post(f"{API}/workspace-phone-numbers", json=body)).status_code == 201
