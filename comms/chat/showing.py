"""All that a visitor ever sees: the messages that have a row for them, as they are now.

A change of a message is a new ``seq`` of its row, taken with the visitor's row held. Whoever asks for what comes after
a ``seq`` gets each message once, as it is: however often it has changed, nothing is missed.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms.chat.protocol import File, Shown
from comms.mail.markup import text_of
from comms.outbox.rows import fetch
from models.base import new_id, now

PAGE = 100

Guests = Sequence[tuple[uuid.UUID, uuid.UUID, int]]
"""Workspaces and visitors, each with the ``seq`` up to which it has been told."""

_CHANGED = f"""
SELECT i.ord, e.id, e.place, e.seq, e.client_id, e.created_at, e.message_id, m.direction, m.content, m.content_type,
    CASE WHEN w.shows_names AND m.sender_type = 'user' THEN u.first_name END AS name,
    (
        SELECT json_agg(json_build_object('id', a.id, 'fileName', a.file_name, 'contentType', a.content_type,
            'size', a.size) ORDER BY a.position)::text
        FROM message_attachments a
        WHERE a.workspace_id = e.workspace_id AND a.message_id = e.message_id AND a.state = 'stored'
    ) AS files
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS i (workspace_id, visitor_id, seq, ord)
JOIN visitors v ON v.workspace_id = i.workspace_id AND v.id = i.visitor_id
JOIN chat_widgets w ON w.workspace_id = v.workspace_id AND w.id = v.widget_id
CROSS JOIN LATERAL (
    SELECT * FROM chat_messages e
    WHERE e.workspace_id = i.workspace_id AND e.visitor_id = i.visitor_id AND e.seq > i.seq
    ORDER BY e.seq LIMIT {PAGE}
) e
LEFT JOIN conversation_messages m ON m.workspace_id = e.workspace_id AND m.id = e.message_id
    AND NOT m.is_internal AND m.deleted_at IS NULL
LEFT JOIN users u ON u.id = m.sender_user_id
ORDER BY i.ord, e.seq
"""


async def changed(db: Any, guests: Guests) -> list[list[Shown]]:
    """Of each guest what has changed since, in order, a page at most."""
    columns = [list(column) for column in zip(*guests, strict=True)]
    pages: list[list[Shown]] = [[] for _ in guests]
    for row in await fetch(db, _CHANGED, *columns):
        pages[row["ord"] - 1].append(_shown(row))
    return pages


async def all_of(db: Any, workspace_id: uuid.UUID, visitor_id: uuid.UUID) -> list[Shown]:
    """Everything the visitor sees, in the order in which it was said."""
    seen: list[Shown] = []
    while True:
        [page] = await changed(db, [(workspace_id, visitor_id, seen[-1].seq if seen else 0)])
        seen += page
        if len(page) < PAGE:
            return sorted(seen, key=lambda message: message.place)


def _shown(row: Mapping[str, Any]) -> Shown:
    if row["direction"] is None:
        return Shown(
            id=row["id"],
            place=row["place"],
            seq=row["seq"],
            is_own=False,
            content="",
            name=None,
            files=[],
            client_id=row["client_id"],
            at=row["created_at"],
            is_deleted=True,
        )
    return Shown(
        id=row["id"],
        place=row["place"],
        seq=row["seq"],
        is_own=row["direction"] == "inbound",
        content=text_of(row["content"]) if row["content_type"] == "html" else row["content"],
        name=row["name"],
        files=msgspec.json.decode(row["files"], type=list[File]) if row["files"] else [],
        client_id=row["client_id"],
        at=row["created_at"],
    )


# The visitors are locked in the order of their ids, after the conversations: as everybody does who changes what they
# see.
_ENTER = """
WITH i AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[])
        WITH ORDINALITY AS i (workspace_id, id, visitor_id, message_id, client_id, ord)
),
held AS MATERIALIZED (
    SELECT v.workspace_id, v.id, v.seq FROM visitors v
    WHERE (v.workspace_id, v.id) IN (SELECT workspace_id, visitor_id FROM i)
    ORDER BY v.workspace_id, v.id FOR NO KEY UPDATE
),
counted AS (
    UPDATE visitors v SET seq = v.seq + n.more
    FROM (SELECT workspace_id, visitor_id, count(*) AS more FROM i GROUP BY 1, 2) n
    JOIN held ON held.workspace_id = n.workspace_id AND held.id = n.visitor_id
    WHERE v.workspace_id = n.workspace_id AND v.id = n.visitor_id
)
INSERT INTO chat_messages (workspace_id, id, visitor_id, message_id, client_id, place, seq, created_at, updated_at)
SELECT workspace_id, id, visitor_id, message_id, client_id, place, place, $6, $6
FROM (
    SELECT i.*, held.seq + row_number() OVER (PARTITION BY i.workspace_id, i.visitor_id ORDER BY i.ord) AS place
    FROM i JOIN held ON held.workspace_id = i.workspace_id AND held.id = i.visitor_id
) one
RETURNING id, place
"""


async def enter(
    db: Any, entries: Sequence[tuple[uuid.UUID, uuid.UUID, uuid.UUID, str | None]], at: datetime | None = None
) -> list[tuple[uuid.UUID, int]]:
    """These (workspace, visitor, message, client's id) are what the visitors see next; the ids and places of each."""
    ids = [new_id() for _ in entries]
    rows = await fetch(
        db,
        _ENTER,
        [entry[0] for entry in entries],
        ids,
        [entry[1] for entry in entries],
        [entry[2] for entry in entries],
        [entry[3] for entry in entries],
        at or now(),
    )
    places = {row["id"]: row["place"] for row in rows}
    return [(id_, places[id_]) for id_ in ids]


_WITHDRAW = """
WITH gone AS MATERIALIZED (
    SELECT visitor_id, id FROM chat_messages WHERE workspace_id = $1 AND message_id = ANY($2::uuid[])
),
held AS MATERIALIZED (
    SELECT v.id, v.seq FROM visitors v WHERE v.workspace_id = $1 AND v.id IN (SELECT visitor_id FROM gone)
    ORDER BY v.id FOR NO KEY UPDATE
),
counted AS (
    UPDATE visitors v SET seq = v.seq + n.more
    FROM (SELECT visitor_id, count(*) AS more FROM gone GROUP BY 1) n
    WHERE v.workspace_id = $1 AND v.id = n.visitor_id AND v.id IN (SELECT id FROM held)
)
UPDATE chat_messages e SET message_id = NULL, seq = turned.seq, updated_at = $3
FROM (
    SELECT gone.id, held.seq + row_number() OVER (PARTITION BY gone.visitor_id ORDER BY gone.id) AS seq
    FROM gone JOIN held ON held.id = gone.visitor_id
) turned
WHERE e.workspace_id = $1 AND e.id = turned.id
RETURNING e.id
"""


async def withdraw(db: Any, workspace_id: uuid.UUID, message_ids: Sequence[uuid.UUID]) -> None:
    """Whoever has seen these messages sees that they are deleted."""
    await fetch(db, _WITHDRAW, workspace_id, list(message_ids), now())
