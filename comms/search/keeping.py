"""The index follows the tables: at once for what is written over the API, within a second or so for everything else.

Everything may be done twice and in any order: the words are those the row has now. What happens while they are written
has an event of its own, and is taken in after it.
"""

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.search.kinds import ABOUT, KINDS
from comms.search.words import document, tag, words_of


async def index(
    db: AsyncSession, workspace_id: uuid.UUID, kind: str, ids: Iterable[uuid.UUID], bucket: int | None = None
) -> int:
    """These rows are found by the words they have now, and those that are gone no longer.

    A row stays in the bucket it is in, so that whoever is paging meets it once; a new one comes into ``bucket``.
    So are those rows of another kind that have the same words. Returns how many are new.
    """
    asked = sorted(set(ids))
    rows = (await db.execute(_ROWS[kind], {"here": workspace_id, "ids": asked})).all()
    filling = rows[0].filling if bucket is None and rows else bucket or 0
    marks: dict[int, str] = {}
    documents: list[tuple[Any, ...]] = []
    bare = []
    new = 0
    for row in rows:
        words = words_of(row.texts) if row.at is not None else []
        if not words:
            bare.append(row.id)
            continue
        place = filling if row.bucket is None else row.bucket
        mark = marks.get(place) or marks.setdefault(place, tag(workspace_id, kind, place))
        new += row.bucket is None
        goes_with = (row.conversation_id, row.channel_id, row.mail_id)
        documents.append((row.id, place, row.at, *goes_with, document(words, mark)))
    if bare:
        await db.execute(_FORGET, {"here": workspace_id, "ids": bare})
    if documents:
        await (await db.connection()).exec_driver_sql(
            _KEEP, (workspace_id, kind, *(list(column) for column in zip(*documents, strict=True)))
        )
    also = KINDS[kind].also
    others = [row.also for row in rows if row.also is not None]
    if also and others:
        new += await index(db, workspace_id, also[0], others, filling)
    return new


async def follow_moves(db: AsyncSession, workspace_id: uuid.UUID, merges: Iterable[uuid.UUID]) -> None:
    """The words of messages go with the conversations these merges have left them in.

    The merges have seen to it themselves, except of words that somebody else was about to keep in that moment.
    """
    await db.execute(_MOVED, {"here": workspace_id, "merges": sorted(set(merges))})


async def take_in(db: AsyncSession) -> None:
    """What this transaction will tell is found by its words from its commit on."""
    changed: dict[tuple[uuid.UUID, str], set[uuid.UUID]] = {}
    for fact in db.info.get("facts", ()):
        if fact.subject_type in KINDS:
            fields = KINDS[fact.subject_type].fields
            if fields and fact.changes is not None and fields.isdisjoint(msgspec.json.decode(fact.changes)):
                continue
            changed.setdefault((fact.workspace_id, fact.subject_type), set()).add(fact.subject_id)
        elif fact.subject_type in ABOUT:
            kind, field = ABOUT[fact.subject_type]
            subject = uuid.UUID(msgspec.json.decode(fact.data)[field])
            changed.setdefault((fact.workspace_id, kind), set()).add(subject)
    if changed:
        await db.flush()
    for (workspace_id, kind), ids in sorted(changed.items()):
        await index(db, workspace_id, kind, ids)


_ROWS = {
    kind.name: text(
        f"SELECT i.id, t.created_at AS at, {kind.conversation} AS conversation_id, {kind.channel} AS channel_id,"
        f" {kind.mail} AS mail_id, {kind.also[1] if kind.also else 'NULL::uuid'} AS also,"
        f" d.bucket, coalesce((SELECT p.bucket FROM search_progress p WHERE p.workspace_id = :here), 0) AS filling,"
        f" ARRAY[{', '.join(kind.texts.values())}]::text[] AS texts"
        f" FROM unnest(CAST(:ids AS uuid[])) AS i (id)"
        f" LEFT JOIN {kind.rows} t ON t.workspace_id = :here AND t.id = i.id"
        f" LEFT JOIN search_documents d ON d.workspace_id = :here AND d.subject_id = i.id"
    )
    for kind in KINDS.values()
}
_FORGET = text("DELETE FROM search_documents WHERE workspace_id = :here AND subject_id = ANY(CAST(:ids AS uuid[]))")
_MOVED = text(
    """
    UPDATE search_documents d SET conversation_id = m.conversation_id
    FROM contact_merges g
    JOIN conversations c ON c.workspace_id = :here AND c.contact_id IN (g.contact_id, g.merged_contact_id)
    JOIN conversation_messages m ON m.workspace_id = :here AND m.conversation_id = c.id
    WHERE g.workspace_id = :here AND g.id = ANY(CAST(:merges AS uuid[]))
        AND d.workspace_id = :here AND d.subject_id = m.id AND d.conversation_id <> m.conversation_id
    """
)
_KEEP = """
INSERT INTO search_documents AS d
    (workspace_id, kind, subject_id, bucket, at, conversation_id, channel_id, mail_id, words)
SELECT $1::uuid, $2::text, id, bucket, at, conversation_id, channel_id, mail_id, words::tsvector
FROM unnest($3::uuid[], $4::int[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[])
    AS n (id, bucket, at, conversation_id, channel_id, mail_id, words)
ON CONFLICT (workspace_id, subject_id) DO UPDATE SET
    bucket = excluded.bucket, at = excluded.at, conversation_id = excluded.conversation_id, words = excluded.words
WHERE (d.bucket, d.at, d.conversation_id, d.words)
    IS DISTINCT FROM (excluded.bucket, excluded.at, excluded.conversation_id, excluded.words)
"""
