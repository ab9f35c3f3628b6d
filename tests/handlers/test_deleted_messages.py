"""What is deleted stays deleted, whoever repeats it, and takes its files along."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from comms.directory import Connection
from comms.media.keeping import NotKept, Store
from comms.providers.base import MediaItem
from comms.service import Service
from comms.settings import Settings
from models.communications import MessageAttachment
from tests.conftest import Client
from tests.handlers.webhooks import post, report, rows, text
from tests.make import communications as make
from tests.make import rows as any_row

API = "/api/v1"


async def _only(client: Client, path: str) -> dict[str, Any]:
    (item,) = (await client.get(f"{API}/{path}")).json()["items"]
    found: dict[str, Any] = item
    return found


@pytest.mark.parametrize("path", ["conversation-messages", "conversations"])
@pytest.mark.parametrize("media", [[], [MediaItem("https://api.twilio.com/x", "image/png")]], ids=["text", "media"])
async def test_a_repeated_webhook_does_not_bring_back_what_was_deleted(
    anonymous: httpx.AsyncClient,
    owner: Client,
    line: Connection,
    workspace_id: uuid.UUID,
    admin: Any,
    path: str,
    media: list[MediaItem],
) -> None:
    await post(anonymous, text(line, sid="SM1", body="My secret", media=media))
    row = await _only(owner, path)
    assert (await owner.delete(f"{API}/{path}/{row['id']}")).status_code == 204
    told = len(await rows(admin, "events", workspace_id))
    for sid in ("SM1", "SM1"):
        assert (await post(anonymous, text(line, sid=sid, body="My secret", media=media))).status_code == 200
    assert (await owner.get(f"{API}/conversation-messages")).json()["items"] == []
    assert len(await rows(admin, "events", workspace_id)) == told
    (left,) = await rows(admin, "conversation_messages", workspace_id)
    assert (left["provider_message_id"], left["content"], left["from_address"]) == ("SM1", "", None)
    assert left["conversation_id"] is left["sender_contact_id"] is None
    assert await rows(admin, "message_attachments", workspace_id) == []
    # What is new still comes, into a conversation that is there.
    await post(anonymous, text(line, sid="SM2"))
    message = await _only(owner, "conversation-messages")
    assert (await owner.get(f"{API}/conversations/{message['conversationId']}")).json()["messageCount"] == 1


async def test_what_is_left_of_a_message_is_nobodys_to_see(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, admin: Any
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    message = await _only(owner, "conversation-messages")
    address = f"{API}/conversation-messages/{message['id']}"
    assert (await owner.delete(address)).status_code == 204
    answers = [
        await owner.get(address),
        await owner.patch(address, json={"isRead": True}),
        await owner.delete(address),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert (await owner.get(f"{API}/conversations/{message['conversationId']}/messages")).json()["items"] == []
    log = (await owner.get(f"{API}/events")).json()["items"]
    assert [item["event"] for item in log].count("message.deleted") == 1


async def test_only_administrators_delete_what_was_said_with_a_contact(
    anonymous: httpx.AsyncClient, owner: Client, member: Client, stranger: Client, line: Connection
) -> None:
    await post(anonymous, text(line, sid="SM1"))
    address = f"{API}/conversation-messages/{(await _only(owner, 'conversation-messages'))['id']}"
    assert (await member.delete(address)).status_code == 403
    assert (await stranger.delete(address)).status_code == 404
    assert (await owner.get(address)).status_code == 200


async def test_a_deleted_message_is_no_longer_counted(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    for sid in ("SM1", "SM2"):
        await post(anonymous, text(line, sid=sid))
    newest, oldest = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    address = f"{API}/conversations/{newest['conversationId']}"
    seen = []
    for message in (newest, oldest):
        await owner.delete(f"{API}/conversation-messages/{message['id']}")
        talk = (await owner.get(address)).json()
        seen.append((talk["messageCount"], talk["lastMessageAt"]))
    assert seen == [(1, oldest["createdAt"]), (0, None)]


async def test_messages_that_arrive_while_others_are_deleted_are_counted_right(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    for number in range(6):
        await post(anonymous, text(line, sid=f"OLD{number}"))
    old = (await owner.get(f"{API}/conversation-messages")).json()["items"]
    answers = await asyncio.gather(
        *(owner.delete(f"{API}/conversation-messages/{message['id']}") for message in old + old),
        *(post(anonymous, text(line, sid=f"NEW{number}")) for number in range(6)),
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [204] * 6 + [404] * 6
    assert (await _only(owner, "conversations"))["messageCount"] == 6


async def test_a_conversation_deleted_while_messages_arrive_loses_none_of_the_later(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection
) -> None:
    for turn in range(5):
        await post(anonymous, text(line, sid=f"FIRST{turn}"))
        talk = await _only(owner, "conversations")
        gone, *answers = await asyncio.gather(
            owner.delete(f"{API}/conversations/{talk['id']}"),
            *(post(anonymous, text(line, sid=f"SM{turn}-{each}")) for each in range(4)),
        )
        assert gone.status_code == 204
        assert {answer.status_code for answer in answers} == {200}
        await post(anonymous, text(line, sid=f"LAST{turn}"))
        there = await _only(owner, "conversations")
        assert there["id"] != talk["id"]
        messages = (await owner.get(f"{API}/conversations/{there['id']}/messages")).json()["items"]
        assert len(messages) == there["messageCount"] >= 1
        assert f"LAST{turn}" in {message["providerMessageId"] for message in messages}


async def test_a_report_about_a_deleted_message_is_told_to_nobody(
    anonymous: httpx.AsyncClient, owner: Client, line: Connection, service: Service, admin: Any
) -> None:
    message = await make.sent(service, owner.workspace_id, "SM1")
    assert (await owner.delete(f"{API}/conversation-messages/{message.id}")).status_code == 204
    assert (await post(anonymous, report(line, "SM1", "delivered"))).status_code == 204
    events = [row["event"] for row in await rows(admin, "events", owner.workspace_id)]
    assert events == ["message.deleted"]


@pytest.mark.parametrize("path", ["message", "conversation"])
async def test_stored_files_go_with_their_message(
    owner: Client, service: Service, settings: Settings, admin: Any, path: str
) -> None:
    message = await make.sent(service, owner.workspace_id, "SM1")
    who = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    key = f"{owner.workspace_id}/b"
    await any_row.row(
        service, MessageAttachment, **who, message_id=message.id, position=0, state="stored", storage_key=key
    )
    await any_row.row(service, MessageAttachment, **who, message_id=message.id, position=1)
    store = Store(settings.media.url)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a file"

    await store.keep(key, pieces())
    address = {
        "message": f"conversation-messages/{message.id}",
        "conversation": f"conversations/{message.conversation_id}",
    }
    assert (await owner.delete(f"{API}/{address[path]}")).status_code == 204
    assert (await owner.get(f"{API}/message-attachments")).json()["items"] == []
    (job,) = await admin.fetch("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = 'media.remove'")
    assert job["payload"] == msgspec.json.encode({"storageKey": key})
    for _ in range(2):  # a job may ring twice
        await service.media.remove(key)
    with pytest.raises(NotKept):
        await store.open(key)
