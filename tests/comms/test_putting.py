"""What is said is kept to be sent: where it leads, in which order, and what cannot be sent at all."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from comms.database import Database
from comms.directory import Connection
from comms.errors import Invalid, Unsendable
from comms.outbox import Intent, put, put_all
from comms.outbox.addressing import ConversationMissing
from comms.service import Service
from models.base import now
from models.communications import Conversation, ConversationMessageView
from models.crm import Contact, ContactPoint
from tests.make import communications as make

CUSTOMER = "+14155550199"


async def somebody(service: Service, workspace_id: uuid.UUID, phone: str = CUSTOMER) -> uuid.UUID:
    contact = Contact(workspace_id=workspace_id, id=uuid.uuid4(), phone=phone)
    async with service.database.everywhere() as db:
        db.add(contact)
        await db.flush()
        db.add(
            ContactPoint(workspace_id=workspace_id, contact_id=contact.id, kind="phone", value=phone, is_primary=True)
        )
    return contact.id


@pytest.fixture
async def talk(service: Service, workspace_id: uuid.UUID, line: Connection) -> Conversation:
    """A conversation with somebody who has a phone, in a workspace with a number and a connection."""
    return await make.conversation(service, workspace_id, await somebody(service, workspace_id))


def said(talk: Conversation, content: str = "See you at 7pm", **more: Any) -> Intent:
    more = {"sender_type": "user"} | more
    return Intent(workspace_id=talk.workspace_id, conversation_id=talk.id, content=content, **more)


async def line_of(admin: Any, talk: Conversation) -> list[Any]:
    rows: list[Any] = await admin.fetch(
        "SELECT o.*, m.content FROM outgoing_messages o JOIN conversation_messages m USING (workspace_id, id)"
        " WHERE o.conversation_id = $1 ORDER BY o.line_at, o.id",
        talk.id,
    )
    return rows


async def test_what_is_put_is_a_message_with_its_place_in_line_and_a_job(
    database: Database, service: Service, talk: Conversation, admin: Any
) -> None:
    async with service.database.workspace(talk.workspace_id) as db:
        view = await put(db, said(talk))
    assert (view.status, view.from_address, view.to_address) == ("queued", make.OUR_NUMBER, CUSTOMER)
    (row,) = await line_of(admin, talk)
    assert (row["id"], row["state"], row["is_head"], row["segments"]) == (view.id, "queued", True, 1)
    assert await admin.fetchval("SELECT count(*) FROM jobs.pgqueuer WHERE entrypoint = 'outbox.send'") == 1
    told = await admin.fetch("SELECT event, subject_id FROM events")
    assert [tuple(row) for row in told] == [("message.queued", view.id)]
    counted = await admin.fetchrow("SELECT message_count, last_message_at FROM conversations WHERE id = $1", talk.id)
    assert counted["message_count"] == 1
    assert counted["last_message_at"] is not None


async def test_a_batch_keeps_its_order_and_only_the_first_is_the_head(
    service: Service, talk: Conversation, admin: Any
) -> None:
    async with service.database.alone() as db:
        views, facts = await put_all(db, [said(talk, str(n)) for n in range(20)])
    assert len(facts) == len(views) == 20
    async with service.database.workspace(talk.workspace_id) as db:
        await put(db, said(talk, "20"))
    rows = await line_of(admin, talk)
    assert [row["content"] for row in rows] == [str(n) for n in range(21)]
    assert [row["is_head"] for row in rows] == [True] + [False] * 20


async def test_a_scheduled_one_is_no_head_and_keeps_its_time(service: Service, talk: Conversation, admin: Any) -> None:
    at = now() + timedelta(hours=1)
    async with service.database.workspace(talk.workspace_id) as db:
        view = await put(db, said(talk, scheduled_at=at))
        await put(db, said(talk, "now"))
    assert view.status == "scheduled"
    first, second = await line_of(admin, talk)
    assert (first["content"], first["is_head"], first["state"]) == ("now", True, "queued")
    assert (second["line_at"], second["is_head"], second["state"]) == (at, False, "scheduled")


async def test_replies_go_where_the_contact_last_wrote_from_by_the_number_last_used(
    service: Service, workspace_id: uuid.UUID, talk: Conversation, admin: Any
) -> None:
    other = await make.number(service, workspace_id, "+14155550111")
    await admin.execute("UPDATE conversations SET phone_number_id = $1 WHERE id = $2", other.id, talk.id)
    await admin.execute(
        "INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type, status,"
        " from_address, created_at, updated_at)"
        " VALUES ($1, $2, $3, 'inbound', 'hi', 'contact', 'received', '+14155550188', now(), now())",
        workspace_id,
        uuid.uuid4(),
        talk.id,
    )
    async with service.database.workspace(workspace_id) as db:
        view = await put(db, said(talk))
        asked = await put(db, said(talk, to="(415) 555-0177"))
    assert (view.from_address, view.to_address) == ("+14155550111", "+14155550188")
    assert asked.to_address == "+14155550177"
    assert all(row["is_reply"] for row in await line_of(admin, talk))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"content": "  "}, Invalid),
        ({"content": "x" * 1601}, Invalid),
        ({"scheduled_at": now() - timedelta(seconds=1)}, Invalid),
        ({"to": "BRANDNAME"}, Unsendable),
        ({"to": "anonymous"}, Unsendable),
        ({"to": make.OUR_NUMBER}, Unsendable),
        ({"number_id": uuid.uuid4()}, Unsendable),
        ({"conversation_id": uuid.uuid4()}, ConversationMissing),
        ({"attachment_ids": [uuid.uuid4()]}, Invalid),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_anything_is_kept(
    service: Service, talk: Conversation, admin: Any, changes: dict[str, Any], error: type[Exception]
) -> None:
    given = {"workspace_id": talk.workspace_id, "conversation_id": talk.id, "content": "hello"} | changes
    with pytest.raises(error):
        async with service.database.workspace(talk.workspace_id) as db:
            await put(db, Intent(**given))
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 0


@pytest.mark.parametrize("status", ["suspended", "released", "pending"])
async def test_a_number_that_is_not_active_sends_nothing(
    service: Service, talk: Conversation, admin: Any, status: str
) -> None:
    await admin.execute("UPDATE workspace_phone_numbers SET status = $1", status)
    with pytest.raises(Unsendable):
        async with service.database.workspace(talk.workspace_id) as db:
            await put(db, said(talk))


async def test_of_many_only_those_that_can_be_sent_are_kept(service: Service, talk: Conversation, admin: Any) -> None:
    nobody = await make.conversation(service, talk.workspace_id)
    async with service.database.alone() as db:
        (kept, refused, missing), facts = await put_all(
            db,
            [
                said(talk),
                said(nobody),
                Intent(workspace_id=talk.workspace_id, conversation_id=uuid.uuid4(), content="hello"),
            ],
        )
    assert isinstance(refused, Unsendable)
    assert isinstance(missing, ConversationMissing)
    assert isinstance(kept, ConversationMessageView)
    assert [fact.subject_id for fact in facts] == [kept.id]
    assert await admin.fetchval("SELECT count(*) FROM outgoing_messages") == 1
