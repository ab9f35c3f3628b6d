"""Of two contacts that become one, the conversations: one active one for each channel, holding all that was said.

Whose it is then, ``comms/ownership/uniting.py`` says.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from comms.contacts.references import Pair
from comms.ownership import uniting
from models.communications import Conversation

_RIVALS = text(
    """
    SELECT to_jsonb(o) AS "from", to_jsonb(k) AS "into" FROM conversations o
    JOIN conversations k ON k.workspace_id = o.workspace_id AND k.channel = o.channel AND k.status = 'active'
    WHERE o.workspace_id = :workspace AND o.contact_id = :source AND k.contact_id = :target AND o.status = 'active'
        AND NOT o.is_unproven AND NOT k.is_unproven
    ORDER BY o.id
    """
).columns(**{"from": JSONB, "into": JSONB})

_MOVE_MESSAGES = text(
    """
    WITH held AS MATERIALIZED (
        SELECT id FROM conversation_messages WHERE workspace_id = :workspace AND conversation_id = :from_id
            AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY(CAST(:ids AS uuid[])))
        ORDER BY id FOR NO KEY UPDATE
    ),
    found AS (  -- else their words would be gone with the conversation they were in
        UPDATE search_documents d SET conversation_id = :into_id FROM held
        WHERE d.workspace_id = :workspace AND d.subject_id = held.id
    )
    UPDATE conversation_messages m SET conversation_id = :into_id, updated_at = :at FROM held
    WHERE m.workspace_id = :workspace AND m.id = held.id RETURNING m.id
    """
)

# They leave by the line of the conversation they are in, which has its head again within seconds (outbox.lines).
_MOVE_LINE = text(
    """
    UPDATE outgoing_messages o SET conversation_id = m.conversation_id, is_head = false
    FROM conversation_messages m
    WHERE o.workspace_id = :workspace AND o.conversation_id = :from_id AND m.workspace_id = o.workspace_id
        AND m.id = o.id AND m.conversation_id <> o.conversation_id
    """
)

# Who is joined by nothing has not changed: here, and where they part.
_TAKE_OVER = text(
    """
    UPDATE conversations c SET message_count = n.message_count, last_message_at = n.last_message_at,
        phone_number_id = n.phone_number_id, put_off_until = n.put_off_until,
        updated_at = CASE WHEN (c.message_count, c.last_message_at, c.phone_number_id)
            IS DISTINCT FROM (n.message_count, n.last_message_at, n.phone_number_id) THEN :at ELSE c.updated_at END
    FROM (
        SELECT k.message_count + o.message_count AS message_count,
            greatest(k.last_message_at, o.last_message_at) AS last_message_at,
            greatest(k.put_off_until, o.put_off_until) AS put_off_until,
            CASE WHEN o.last_message_at > k.last_message_at OR k.last_message_at IS NULL
                THEN coalesce(o.phone_number_id, k.phone_number_id) ELSE k.phone_number_id END AS phone_number_id
        FROM conversations k, conversations o
        WHERE k.workspace_id = :workspace AND k.id = :into_id AND o.workspace_id = :workspace AND o.id = :from_id
    ) n
    WHERE c.workspace_id = :workspace AND c.id = :into_id
    """
)

# Archived, with no time of a last message: so the threading rule never reopens what is empty.
_EMPTY = text(
    """
    UPDATE conversations SET status = 'archived', message_count = 0, last_message_at = NULL, updated_at = :at
    WHERE workspace_id = :workspace AND id = :from_id
    """
)

# What has been said since stays where it was said, and so do its time and the number it used.
_RETURN = text(
    """
    UPDATE conversations c SET message_count = n.message_count, last_message_at = n.last_message_at, updated_at = :at
    FROM (
        SELECT greatest(0, message_count - :count) AS message_count, CASE
            WHEN last_message_at > greatest(CAST(:into_at AS timestamptz), CAST(:from_at AS timestamptz))
            THEN last_message_at ELSE CAST(:into_at AS timestamptz) END AS last_message_at
        FROM conversations WHERE workspace_id = :workspace AND id = :into_id
    ) n
    WHERE c.workspace_id = :workspace AND c.id = :into_id
        AND (c.message_count, c.last_message_at) IS DISTINCT FROM (n.message_count, n.last_message_at)
    """
)

_REFILL = text(
    """
    UPDATE conversations c SET message_count = n.message_count, last_message_at = n.last_message_at, status = n.status,
        updated_at = :at
    FROM (
        SELECT b.message_count + :count AS message_count,
            greatest(b.last_message_at, CAST(:from_at AS timestamptz)) AS last_message_at,
            CASE WHEN b.status <> 'archived' THEN b.status WHEN EXISTS (
                SELECT FROM conversations a WHERE a.workspace_id = b.workspace_id AND a.contact_id = b.contact_id
                    AND a.channel = b.channel AND a.status = 'active' AND a.id <> b.id AND NOT a.is_unproven
            ) THEN 'closed' ELSE 'active' END AS status
        FROM conversations b WHERE b.workspace_id = :workspace AND b.id = :from_id
    ) n
    WHERE c.workspace_id = :workspace AND c.id = :from_id
        AND (c.message_count, c.last_message_at, c.status)
            IS DISTINCT FROM (n.message_count, n.last_message_at, n.status)
    """
)


async def hold(db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]) -> None:
    """No message is put into these contacts' conversations until the commit; locked in the order of their ids."""
    await db.execute(
        select(Conversation.id)
        .where(Conversation.workspace_id == workspace_id, Conversation.contact_id.in_(list(contact_ids)))
        .order_by(Conversation.id)
        .with_for_update(key_share=True)
    )


async def join(db: AsyncSession, pair: Pair) -> list[dict[str, Any]]:
    """Where both have an active conversation of a channel, the target's holds all messages; what that did."""
    joined = []
    for row in (await db.execute(_RIVALS, pair.parameters)).all():
        before, into = row
        keys = {"workspace": pair.workspace_id, "from_id": before["id"], "into_id": into["id"], "at": pair.at}
        moved = (await db.execute(_MOVE_MESSAGES, keys | {"ids": None})).scalars()
        messages = [str(message_id) for message_id in moved]
        await db.execute(_MOVE_LINE, {name: keys[name] for name in ("workspace", "from_id")})
        await db.execute(_TAKE_OVER, keys)
        await db.execute(_EMPTY, {name: keys[name] for name in ("workspace", "from_id", "at")})
        gone, kept = await _held(db, pair, before), await _held(db, pair, into)
        assert gone is not None, "its row is locked"
        assert kept is not None, "its row is locked"
        united = await uniting.unite(db, gone, kept)
        joined.append({"from": before, "into": into, "messages": messages, "united": msgspec.to_builtins(united)})
    return joined


async def part(db: AsyncSession, pair: Pair, joined: Iterable[dict[str, Any]]) -> None:
    """The messages that had moved are in their own conversations again, which are active if they may be."""
    for entry in joined:
        before, into = entry["from"], entry["into"]
        back = await _held(db, pair, before)
        if back is None:
            continue  # deleted since
        keys = {"workspace": pair.workspace_id, "from_id": before["id"], "at": pair.at}
        moved = await db.execute(
            _MOVE_MESSAGES,
            keys | {"from_id": into["id"], "into_id": before["id"], "ids": entry["messages"]},
        )
        # Deleted ones are not counted by anybody any more.
        lost = len(entry["messages"]) - len(moved.scalars().all())
        await db.execute(_MOVE_LINE, {"workspace": pair.workspace_id, "from_id": into["id"]})
        count = max(0, before["message_count"] - lost)
        times = {"from_at": _time(before), "into_at": _time(into)}
        await db.execute(_RETURN, keys | times | {"into_id": into["id"], "count": count})
        await db.execute(_REFILL, keys | {"from_at": times["from_at"], "count": count})
        if "united" in entry:
            united = msgspec.convert(entry["united"], uniting.United)
            await db.refresh(back)
            await uniting.part(db, back, await _held(db, pair, into), united, was=before, into=into)


async def _held(db: AsyncSession, pair: Pair, row: dict[str, Any]) -> Conversation | None:
    """That conversation as it is by now, if it is there still; ``hold`` has locked its row."""
    return await db.get(Conversation, (pair.workspace_id, uuid.UUID(row["id"])), populate_existing=True)


def _time(row: dict[str, Any]) -> datetime | None:
    said = row["last_message_at"]
    return None if said is None else datetime.fromisoformat(said)
