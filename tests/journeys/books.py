"""The promise, checked row by row as the database's superuser: nothing lost, nothing doubled, no gap in the log."""

import uuid
from collections.abc import Iterable
from typing import Any


async def hold(db: Any, workspace_id: uuid.UUID, acknowledged: Iterable[str]) -> set[str]:
    """Every acknowledged message is there; whatever is there is there once, counted, told and receipted.

    Returns the provider's ids of all inbound messages that are there.
    """
    kept = await db.fetch(
        "SELECT id, provider_message_id FROM conversation_messages WHERE workspace_id = $1 AND direction = 'inbound'",
        workspace_id,
    )
    sids = [row["provider_message_id"] for row in kept]
    assert set(acknowledged) <= set(sids), "acknowledged messages are lost"
    assert len(sids) == len(set(sids)), "messages are doubled"
    await _are_told_once(db, workspace_id, {row["id"] for row in kept})
    await _have_a_receipt_each(db, workspace_id, {row["provider_message_id"]: row["id"] for row in kept})
    await _are_in_their_place(db, workspace_id)
    return set(sids)


async def _are_told_once(db: Any, workspace_id: uuid.UUID, messages: set[uuid.UUID]) -> None:
    told = await db.fetch(
        "SELECT seq, event, subject_id FROM events WHERE workspace_id = $1 ORDER BY seq", workspace_id
    )
    counter = await db.fetchval("SELECT seq FROM event_counters WHERE workspace_id = $1", workspace_id)
    assert [row["seq"] for row in told] == list(range(1, counter + 1)), "the log has gaps"
    received = [row["subject_id"] for row in told if row["event"] == "message.received"]
    assert len(received) == len(set(received)), "messages are told twice"
    assert set(received) == messages, "messages and what is told of them differ"
    for noun, table in (("contact", "contacts"), ("conversation", "conversations")):
        created = [row["subject_id"] for row in told if row["event"] == f"{noun}.created"]
        assert len(created) == len(set(created)), f"a {noun} began twice"
        rows = await db.fetch(f"SELECT id FROM {table} WHERE workspace_id = $1", workspace_id)
        assert set(created) <= {row["id"] for row in rows}, f"a {noun} was told of and is not there"


async def _have_a_receipt_each(db: Any, workspace_id: uuid.UUID, messages: dict[str, uuid.UUID]) -> None:
    receipts = await db.fetch(
        "SELECT identity, message_id, state FROM webhook_receipts WHERE workspace_id = $1 AND kind = 'messages'",
        workspace_id,
    )
    done = {row["identity"]: row["message_id"] for row in receipts if row["state"] == "processed"}
    assert done == messages, "messages and their receipts differ"
    assert len(done) == sum(row["state"] == "processed" for row in receipts), "receipts are doubled"


async def _are_in_their_place(db: Any, workspace_id: uuid.UUID) -> None:
    strays = await db.fetch(
        "SELECT c.id, c.message_count, count(m.id) FROM conversations c LEFT JOIN conversation_messages m"
        " ON m.workspace_id = c.workspace_id AND m.conversation_id = c.id"
        " WHERE c.workspace_id = $1 GROUP BY c.id, c.message_count HAVING c.message_count <> count(m.id)",
        workspace_id,
    )
    assert not strays, "conversations have miscounted"
    several = await db.fetch(
        "SELECT m.from_address FROM conversation_messages m WHERE m.workspace_id = $1 AND m.direction = 'inbound'"
        " GROUP BY m.from_address HAVING count(DISTINCT (m.conversation_id, m.sender_contact_id)) > 1",
        workspace_id,
    )
    assert not several, "a sender has several contacts or conversations"
