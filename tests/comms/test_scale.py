"""``comms demo --scale``: what it makes up hangs together."""

import asyncio
import uuid
from typing import Any

import pytest

from comms import search, workspaces
from comms.database import Database
from comms.demo.scale import fill
from comms.errors import CannotRun
from comms.service import Service
from models.base import new_id
from models.communications import ConversationMessage, MessageAttachment
from tests.make import communications

NOTHING_WRONG = {
    "conversations that count other messages than they have": """
        SELECT count(*) FROM conversations c LEFT JOIN (
            SELECT conversation_id, count(*) AS messages, max(created_at) AS at, min(created_at) AS began
            FROM conversation_messages GROUP BY 1
        ) AS m ON m.conversation_id = c.id
        WHERE c.message_count IS DISTINCT FROM m.messages OR c.last_message_at IS DISTINCT FROM m.at
            OR c.created_at <> m.began""",
    "contacts whose own addresses are no contact points": """
        SELECT count(*) FROM contacts c WHERE
            phone IS NOT NULL AND NOT EXISTS (SELECT FROM contact_points p WHERE p.contact_id = c.id
                AND p.kind = 'phone' AND p.value = c.phone AND p.is_primary)
            OR email IS NOT NULL AND NOT EXISTS (SELECT FROM contact_points p WHERE p.contact_id = c.id
                AND p.kind = 'email' AND p.value = c.email AND p.is_primary)""",
    "messages before their conversation": """
        SELECT count(*) FROM conversation_messages m JOIN conversations c ON c.id = m.conversation_id
        JOIN contacts p ON p.id = c.contact_id WHERE m.created_at < c.created_at OR c.created_at < p.created_at""",
    "messages of the future": "SELECT count(*) FROM conversation_messages WHERE created_at > now()",
    "ids that are not in order of time": """
        SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY created_at) AS before FROM conversation_messages) AS m
        WHERE id < before""",
    "messages that cannot be found": """
        SELECT count(*) FROM conversation_messages m
        WHERE NOT EXISTS (SELECT FROM search_documents d WHERE d.subject_id = m.id)""",
}


async def filled(database: Database, contacts: int, messages: int) -> uuid.UUID:
    async with database.everywhere() as db:
        slug = uuid.uuid4().hex
        workspace, _ = await workspaces.found(db, name="Large", slug=slug, email=f"{slug}@example.com")
    await fill(database, workspace.id, contacts, messages, lambda words: None)
    return workspace.id


async def test_what_is_made_up_hangs_together(database: Database, admin: Any) -> None:
    await filled(database, 300, 2_000)
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 300
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 2_000
    for wrong, query in NOTHING_WRONG.items():
        assert await admin.fetchval(query) == 0, wrong
    assert await admin.fetchval("SELECT max(message_count) FROM conversations") > 50, "nobody writes a lot"
    for column, table, least in (
        ("status", "conversations", 4),
        ("channel", "conversations", 4),
        ("assigned_to", "conversations", 8),
        ("status", "contacts", 5),
        ("status", "conversation_messages", 4),
    ):
        assert await admin.fetchval(f"SELECT count(DISTINCT {column}) FROM {table}") >= least, (table, column)
    days = await admin.fetchval("SELECT extract(day FROM max(created_at) - min(created_at)) FROM conversation_messages")
    assert days > 700


@pytest.mark.parametrize(("contacts", "messages"), [(1, 1), (7, 3), (50, 20), (3, 100)])
async def test_any_numbers_will_do(contacts: int, messages: int, database: Database, admin: Any) -> None:
    await filled(database, contacts, messages)
    assert await admin.fetchval("SELECT count(*) FROM contacts") == contacts
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == messages
    for wrong, query in NOTHING_WRONG.items():
        assert await admin.fetchval(query) == 0, wrong


async def test_a_workspace_is_filled_once_however_often_it_is_asked(database: Database, admin: Any) -> None:
    workspace_id = await filled(database, 20, 50)
    again = [fill(database, workspace_id, 20, 50, lambda words: None) for _ in range(2)]
    for outcome in await asyncio.gather(*again, return_exceptions=True):
        assert isinstance(outcome, CannotRun), outcome
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 20
    await filled(database, 20, 50)  # another one may be
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 40


async def test_nothing_is_left_of_a_filling_that_was_interrupted(database: Database, admin: Any) -> None:
    async with database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name="Large", slug="large", email="large@example.com")

    def interrupt(words: str) -> None:
        if "messages" in words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await fill(database, workspace.id, 20, 50, interrupt)
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 0
    await fill(database, workspace.id, 20, 50, lambda words: None)
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 50


async def test_what_was_said_before_keeps_its_own_reports(service: Service, admin: Any) -> None:
    async with service.database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name="Large", slug="large", email="a@b.example")
    row = await communications.sent(service, workspace.id, "SM1", status="sent")
    await admin.execute(
        "INSERT INTO delivery_reports (workspace_id, id, message_id, provider, provider_message_id, reported, status,"
        " reported_at, created_at, updated_at)"
        " VALUES ($1, $2, $2, 'twilio', 'SM1', 'sent', 'sent', now(), now(), now())",
        workspace.id,
        row.id,
    )
    await fill(service.database, workspace.id, 20, 50, lambda words: None)
    assert await admin.fetchval("SELECT count(*) FROM delivery_reports WHERE message_id = $1", row.id) == 1


async def test_what_was_sent_before_keeps_its_own_files(service: Service, admin: Any) -> None:
    async with service.database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name="Large", slug="large", email="a@b.example")
    talk = await communications.conversation(service, workspace.id)
    message = ConversationMessage(
        id=uuid.UUID(str(new_id())[:-1] + "0"),  # one of those that files are made up for
        workspace_id=workspace.id,
        conversation_id=talk.id,
        direction="inbound",
        content="Look",
        sender_type="contact",
        status="received",
    )
    async with service.database.everywhere() as db:
        db.add(message)
        await db.flush()
        db.add(
            MessageAttachment(
                workspace_id=workspace.id, message_id=message.id, position=0, source_url="https://media.example/1"
            )
        )
    await fill(service.database, workspace.id, 20, 50, lambda words: None)
    kept = "SELECT source_url FROM message_attachments WHERE message_id = $1"
    assert [row["source_url"] for row in await admin.fetch(kept, message.id)] == ["https://media.example/1"]


async def test_what_is_made_up_is_found(database: Database, admin: Any) -> None:
    workspace_id = await filled(database, 50, 400)
    question = search.read("inv")
    assert question is not None
    async with database.workspace(workspace_id) as db:
        found, _ = await search.find(db, question, ["message"], 100, asker=uuid.uuid4())
    written = await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE content ~* '\\minv'")
    assert len(found) == written > 0
