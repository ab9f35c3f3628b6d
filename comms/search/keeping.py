"""The index follows the tables: at once for what is written over the API, within a second or so for everything else.

Everything may be done twice and in any order: the words are those the row has now. What happens while they are written
has an event of its own, and is taken in after it.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.search.kinds import ABOUT, KINDS
from comms.search.words import document, tag, words_of
from models.search import BUCKET


async def index(
    db: AsyncSession, workspace_id: uuid.UUID, kind: str, ids: Iterable[uuid.UUID], bucket: int | None = None
) -> None:
    """These rows are found by the words they have now, and those that are gone no longer.

    A row stays in the bucket it is in, so that whoever is paging meets it once; a new one comes into ``bucket``.
    """
    asked = sorted(set(ids))
    rows = (await db.execute(_ROWS[kind], {"here": workspace_id, "ids": asked})).all()
    if bucket is None:
        bucket = await db.scalar(_BUCKET, {"here": workspace_id}) or 0
    marks: dict[int, str] = {}
    documents: list[tuple[Any, ...]] = []
    bare = []
    for row in rows:
        words = words_of(row.texts) if row.at is not None else []
        if not words:
            bare.append(row.id)
            continue
        place = bucket if row.bucket is None else row.bucket
        mark = marks.get(place) or marks.setdefault(place, tag(workspace_id, kind, place))
        documents.append((row.id, place, row.at, row.conversation_id, document(words, mark)))
    if bare:
        await db.execute(_FORGET, {"here": workspace_id, "ids": bare})
    if documents:
        await (await db.connection()).exec_driver_sql(
            _KEEP, (workspace_id, kind, *(list(column) for column in zip(*documents, strict=True)))
        )


async def take_in(db: AsyncSession) -> None:
    """What this transaction will tell is found by its words from its commit on."""
    changed: dict[tuple[uuid.UUID, str], set[uuid.UUID]] = {}
    for fact in db.info.get("facts", ()):
        if fact.subject_type in KINDS:
            changed.setdefault((fact.workspace_id, fact.subject_type), set()).add(fact.subject_id)
        elif fact.subject_type in ABOUT:
            kind, field = ABOUT[fact.subject_type]
            subject = uuid.UUID(msgspec.json.decode(fact.data)[field])
            changed.setdefault((fact.workspace_id, kind), set()).add(subject)
    if changed:
        await db.flush()
    for (workspace_id, kind), ids in sorted(changed.items()):
        await index(db, workspace_id, kind, ids)


async def behind(db: AsyncSession, most: int = 100) -> Sequence[uuid.UUID]:
    """Workspaces whose log, or whose older rows, have not been taken in."""
    return (await db.scalars(_BEHIND, {"most": most})).all()


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = 500) -> bool:
    """The next few rows of the workspace are taken in; False when there is nothing left to do, or another does it."""
    await db.execute(_BEGIN, {"here": workspace_id, "kind": next(iter(KINDS))})
    progress = (await db.execute(_PROGRESS, {"here": workspace_id})).one_or_none()
    if progress is None:
        return False
    if progress.backfill is not None:
        await _take_older(db, workspace_id, progress, most)
        return True
    told = (
        await db.execute(
            _TOLD, {"here": workspace_id, "after": progress.seq, "most": most, "about": list({*KINDS, *ABOUT})}
        )
    ).one()
    if told.last is None:
        return False
    changed: dict[str, list[uuid.UUID]] = {}
    for kind, subject in zip(told.kinds, told.subjects, strict=True):
        changed.setdefault(kind, []).append(subject)
    for kind, ids in sorted(changed.items()):
        await index(db, workspace_id, kind, ids, progress.bucket)
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": told.last, "new": told.new, "full": BUCKET})
    return bool(told.read == most)


async def _take_older(db: AsyncSession, workspace_id: uuid.UUID, progress: Any, most: int) -> None:
    """The next rows that are older than the index; ids are in order of time."""
    kind = progress.backfill
    ids = (
        await db.scalars(
            _OLDER[kind],
            {"here": workspace_id, "after": progress.backfill_after or uuid.UUID(int=0), "most": most},
        )
    ).all()
    await index(db, workspace_id, kind, ids, progress.bucket)
    names = list(KINDS)
    others = names[names.index(kind) + 1 :]
    to_do = {"kind": kind, "after": ids[-1]} if len(ids) == most else {"kind": next(iter(others), None), "after": None}
    await db.execute(_BACK, {"here": workspace_id, "new": len(ids), "full": BUCKET, **to_do})


_ROWS = {
    kind.name: text(
        f"SELECT i.id, t.created_at AS at, {kind.conversation} AS conversation_id, d.bucket,"
        f" ARRAY[{', '.join(kind.texts.values())}]::text[] AS texts"
        f" FROM unnest(CAST(:ids AS uuid[])) AS i (id)"
        f" LEFT JOIN {kind.rows} t ON t.workspace_id = :here AND t.id = i.id"
        f" LEFT JOIN search_documents d ON d.workspace_id = :here AND d.subject_id = i.id"
    )
    for kind in KINDS.values()
}
_OLDER = {
    kind.name: text(f"SELECT id FROM {kind.rows} WHERE workspace_id = :here AND id > :after ORDER BY id LIMIT :most")
    for kind in KINDS.values()
}
_BUCKET = text("SELECT bucket FROM search_progress WHERE workspace_id = :here")
_FORGET = text("DELETE FROM search_documents WHERE workspace_id = :here AND subject_id = ANY(CAST(:ids AS uuid[]))")
_KEEP = """
INSERT INTO search_documents AS d (workspace_id, kind, subject_id, bucket, at, conversation_id, words)
SELECT $1::uuid, $2::text, id, bucket, at, conversation_id, words::tsvector
FROM unnest($3::uuid[], $4::int[], $5::timestamptz[], $6::uuid[], $7::text[])
    AS n (id, bucket, at, conversation_id, words)
ON CONFLICT (workspace_id, subject_id) DO UPDATE SET
    bucket = excluded.bucket, at = excluded.at, conversation_id = excluded.conversation_id, words = excluded.words
WHERE (d.bucket, d.at, d.conversation_id, d.words)
    IS DISTINCT FROM (excluded.bucket, excluded.at, excluded.conversation_id, excluded.words)
"""
_BEHIND = text(
    "SELECT c.workspace_id FROM event_counters c LEFT JOIN search_progress p ON p.workspace_id = c.workspace_id"
    " WHERE p.workspace_id IS NULL OR p.seq < c.seq OR p.backfill IS NOT NULL LIMIT :most"
)
# The log is followed from where it stands before the first older row is read: nothing falls between the two.
_BEGIN = text(
    "INSERT INTO search_progress (workspace_id, seq, backfill)"
    " SELECT workspace_id, seq, :kind FROM event_counters WHERE workspace_id = :here"
    " ON CONFLICT (workspace_id) DO NOTHING"
)
_PROGRESS = text("SELECT * FROM search_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_ABOUT = {
    "kind": " ".join(f"WHEN '{name}' THEN '{kind}'" for name, (kind, _) in ABOUT.items()),
    "id": " ".join(f"WHEN '{name}' THEN (data->>'{field}')::uuid" for name, (_, field) in ABOUT.items()),
}
_TOLD = text(
    f"""
    WITH told AS (
        SELECT seq, event, subject_type, subject_id, data FROM events WHERE workspace_id = :here AND seq > :after
        ORDER BY seq LIMIT :most
    ),
    subject AS (
        SELECT CASE subject_type {_ABOUT["kind"]} ELSE subject_type END AS kind,
            CASE subject_type {_ABOUT["id"]} ELSE subject_id END AS id,
            bool_or(event ~ '[.](created|received|sent)$') AS is_new
        FROM told WHERE subject_type = ANY(CAST(:about AS text[])) AND event <> 'message.status_changed'
        GROUP BY 1, 2
    )
    SELECT (SELECT max(seq) FROM told) AS last, (SELECT count(*) FROM told) AS read,
        coalesce(array_agg(kind), '{{}}') AS kinds, coalesce(array_agg(id), '{{}}') AS subjects,
        count(*) FILTER (WHERE is_new) AS new
    FROM subject
    """
)
_FILLED = (
    "bucket = bucket + ((filled + :new) >= :full)::int,"
    " filled = CASE WHEN filled + :new >= :full THEN 0 ELSE filled + :new END"
)
_ADVANCE = text(f"UPDATE search_progress SET seq = :seq, {_FILLED} WHERE workspace_id = :here")
_BACK = text(
    f"UPDATE search_progress SET backfill = :kind, backfill_after = :after, {_FILLED} WHERE workspace_id = :here"
)
