"""The same thing at the same instant, over two web processes: the database decides, and nobody is told otherwise."""

from typing import Any

from tests.journeys import books as promise
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, phone
from tests.journeys.lines import at_once


async def test_fifty_copies_of_one_webhook_at_once_leave_one_of_everything(pair: Pair, desk: Desk, books: Any) -> None:
    statuses = await at_once(pair.ports, [desk.text(phone(1), sid="SM" + "5" * 32)] * 50)
    assert statuses == [200] * 50
    assert await _counts(books, desk) == {
        "conversation_messages": 1,
        "contacts": 1,
        "contact_points": 1,
        "conversations": 1,
        "webhook_receipts": 1,
        "message.received": 1,
        "contact.created": 1,
        "conversation.created": 1,
    }
    await promise.hold(books, desk.workspace_id, ["SM" + "5" * 32])


async def test_fifty_first_texts_of_one_contact_at_once_begin_one_conversation(
    pair: Pair, desk: Desk, books: Any
) -> None:
    texts = [desk.text(phone(2), f"text {index}") for index in range(50)]
    assert await at_once(pair.ports, texts) == [200] * 50
    assert await _counts(books, desk) == {
        "conversation_messages": 50,
        "contacts": 1,
        "contact_points": 1,
        "conversations": 1,
        "webhook_receipts": 50,
        "message.received": 50,
        "contact.created": 1,
        "conversation.created": 1,
    }
    async with desk.client(pair.other.url) as client:
        (conversation,) = (await client.get("/api/v1/conversations")).json()["items"]
    assert conversation["messageCount"] == 50
    assert len(await promise.hold(books, desk.workspace_id, [])) == 50


async def _counts(books: Any, desk: Desk) -> dict[str, int]:
    """How many rows the workspace has, and how many events of each sort."""
    tables = ("conversation_messages", "contacts", "contact_points", "conversations", "webhook_receipts")
    counts = {
        table: await books.fetchval(f"SELECT count(*) FROM {table} WHERE workspace_id = $1", desk.workspace_id)
        for table in tables
    }
    told = await books.fetch(
        "SELECT event, count(*) FROM events WHERE workspace_id = $1 GROUP BY event", desk.workspace_id
    )
    return counts | {row["event"]: row["count"] for row in told}
