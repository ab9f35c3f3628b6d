"""The threading rule, case by case."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from models.base import now
from tests.handlers.webhooks import post, rows, text
from tests.make import communications as make


@pytest.fixture
async def known(anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any) -> uuid.UUID:
    """A conversation that a contact has begun."""
    await post(anonymous, text(line, sid="FIRST"))
    (conversation,) = await rows(admin, "conversations", workspace_id)
    return uuid.UUID(str(conversation["id"]))


async def _set(admin: Any, conversation_id: uuid.UUID, status: str, age: timedelta = timedelta()) -> None:
    await admin.execute(
        "UPDATE conversations SET status = $2, last_message_at = $3 WHERE id = $1", conversation_id, status, now() - age
    )


@pytest.mark.parametrize("status", ["closed", "archived"])
@pytest.mark.parametrize(("age", "is_reopened"), [(timedelta(days=6.9), True), (timedelta(days=7.1), False)])
async def test_a_closed_conversation_is_reopened_within_seven_days(
    anonymous: httpx.AsyncClient,
    line: Connection,
    workspace_id: uuid.UUID,
    admin: Any,
    known: uuid.UUID,
    status: str,
    age: timedelta,
    is_reopened: bool,
) -> None:
    await _set(admin, known, status, age)
    await post(anonymous, text(line, sid="SM2"))
    conversations = await rows(admin, "conversations", workspace_id)
    told = [row["event"] for row in await rows(admin, "events", workspace_id)][3:]
    if is_reopened:
        assert [(row["id"], row["status"], row["message_count"]) for row in conversations] == [(known, "active", 2)]
        assert told == ["conversation.reopened", "message.received"]
    else:
        assert [row["status"] for row in conversations] == [status, "active"]
        assert told == ["conversation.created", "message.received"]


async def test_a_workspace_says_how_long_it_reopens(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, known: uuid.UUID
) -> None:
    await admin.execute("""UPDATE workspaces SET settings = '{"reopenWithin": 60}' WHERE id = $1""", workspace_id)
    await _set(admin, known, "closed", timedelta(seconds=90))
    await post(anonymous, text(line, sid="SM2"))
    assert len(await rows(admin, "conversations", workspace_id)) == 2


async def test_the_newest_of_several_closed_ones_is_reopened(
    anonymous: httpx.AsyncClient,
    service: Service,
    line: Connection,
    workspace_id: uuid.UUID,
    admin: Any,
    known: uuid.UUID,
) -> None:
    contact_id = await admin.fetchval("SELECT contact_id FROM conversations WHERE id = $1", known)
    older = await make.conversation(
        service, workspace_id, contact_id, status="archived", last_message_at=now() - timedelta(days=2)
    )
    await _set(admin, known, "closed", timedelta(days=1))
    await post(anonymous, text(line, sid="SM2"))
    statuses = {row["id"]: row["status"] for row in await rows(admin, "conversations", workspace_id)}
    assert statuses == {known: "active", older.id: "archived"}


async def test_an_active_conversation_is_preferred_to_a_newer_closed_one(
    anonymous: httpx.AsyncClient,
    service: Service,
    line: Connection,
    workspace_id: uuid.UUID,
    admin: Any,
    known: uuid.UUID,
) -> None:
    contact_id = await admin.fetchval("SELECT contact_id FROM conversations WHERE id = $1", known)
    await _set(admin, known, "active", timedelta(days=3))
    await make.conversation(service, workspace_id, contact_id, status="closed", last_message_at=now())
    await post(anonymous, text(line, sid="SM2"))
    messages = await rows(admin, "conversation_messages", workspace_id)
    assert {row["conversation_id"] for row in messages} == {known}


async def test_spam_swallows_without_a_word_to_anyone(
    anonymous: httpx.AsyncClient, line: Connection, workspace_id: uuid.UUID, admin: Any, known: uuid.UUID
) -> None:
    await _set(admin, known, "spam", timedelta(days=400))
    before = len(await rows(admin, "events", workspace_id))
    await post(anonymous, text(line, sid="SM2"))
    (conversation,) = await rows(admin, "conversations", workspace_id)
    assert (conversation["status"], conversation["message_count"]) == ("spam", 2)
    assert len(await rows(admin, "events", workspace_id)) == before


async def test_two_open_conversations_of_one_contact_and_channel_cannot_exist(
    service: Service, workspace_id: uuid.UUID, admin: Any, known: uuid.UUID
) -> None:
    contact_id = await admin.fetchval("SELECT contact_id FROM conversations WHERE id = $1", known)
    with pytest.raises(Exception, match="uq_conversations_active"):
        await make.conversation(service, workspace_id, contact_id)
