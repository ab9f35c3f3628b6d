"""The same thing at the same instant, over two web processes: the database decides, and nobody is told otherwise."""

from typing import Any

from comms.simulators import wire
from tests.journeys import books as promise
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, phone
from tests.journeys.lines import at_once

ROUNDS = 4


async def test_fifty_copies_of_one_webhook_at_once_leave_one_of_everything(pair: Pair, desk: Desk, books: Any) -> None:
    for time in range(1, ROUNDS + 1):
        webhook = desk.text(phone(time), sid=(sid := wire.sid("SM")))
        assert await at_once(pair.ports, [webhook] * 50) == [200] * 50
        assert await _counts(books, desk) == {
            "conversation_messages": time,
            "contacts": time,
            "contact_points": time,
            "conversations": time,
            "webhook_receipts": time,
            "message.received": time,
            "contact.created": time,
            "conversation.created": time,
        }
        assert sid in await promise.hold(books, desk.workspace_id, [sid])


async def test_fifty_first_texts_of_one_contact_at_once_begin_one_conversation(
    pair: Pair, desk: Desk, books: Any
) -> None:
    for time in range(1, ROUNDS + 1):
        texts = [desk.text(phone(time), f"text {index}") for index in range(50)]
        assert await at_once(pair.ports, texts) == [200] * 50
        assert await _counts(books, desk) == {
            "conversation_messages": 50 * time,
            "contacts": time,
            "contact_points": time,
            "conversations": time,
            "webhook_receipts": 50 * time,
            "message.received": 50 * time,
            "contact.created": time,
            "conversation.created": time,
        }
        assert len(await promise.hold(books, desk.workspace_id, [])) == 50 * time
    async with desk.client(pair.other.url) as client:
        conversations = (await client.get("/api/v1/conversations")).json()["items"]
    assert [conversation["messageCount"] for conversation in conversations] == [50] * ROUNDS


async def _counts(books: Any, desk: Desk) -> dict[str, int]:
    """How many rows the workspace has, and how many events of each sort; but for the worker's look at the number."""
    tables = ("conversation_messages", "contacts", "contact_points", "conversations", "webhook_receipts")
    counts = {
        table: await books.fetchval(f"SELECT count(*) FROM {table} WHERE workspace_id = $1", desk.workspace_id)
        for table in tables
    }
    told = await books.fetch(
        "SELECT event, count(*) FROM events WHERE workspace_id = $1 AND subject_type <> 'number_sweep' GROUP BY event",
        desk.workspace_id,
    )
    return counts | {row["event"]: row["count"] for row in told}
