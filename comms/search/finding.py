"""From a question to the rows it means: newest first, in bounded time however many there are."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.search.kinds import KINDS
from comms.search.question import Question

BUDGET = timedelta(milliseconds=15)


class Place(msgspec.Struct, array_like=True, frozen=True):
    """Where to go on: behind that row of the bucket, or at its beginning."""

    bucket: int
    at: datetime | None = None
    id: uuid.UUID | None = None


class Found(msgspec.Struct, frozen=True):
    """A row that is meant."""

    id: uuid.UUID
    kind: str
    place: Place


class Texts(msgspec.Struct, frozen=True):
    """A row's texts, by the names of the fields."""

    conversation_id: uuid.UUID | None
    channel_id: uuid.UUID | None
    at: datetime
    of: dict[str, str | None]


async def find(
    db: AsyncSession,
    question: Question,
    kinds: Sequence[str],
    most: int,
    after: Place | None = None,
    *,
    asker: uuid.UUID,
) -> tuple[list[Found], Place | None]:
    """At most so many of the rows that are meant, and where the rest begin: for the user who asks.

    Of private team channels only theirs are looked into, so that nothing tells how much there is in others.

    The search may stop early to stay within its time: then there are fewer than ``most``, and yet a place to go on.
    """
    start = after or Place(bucket=-1)
    rows = (
        await db.execute(
            _FOUND,
            {
                "kinds": list(kinds),
                "wanted": question.wanted(),
                "filtered": question.filtered(),
                "bucket": None if after is None else start.bucket,
                "at": start.at,
                "id": start.id,
                "most": most + 1,
                "budget": BUDGET,
                "asker": asker,
            },
        )
    ).all()
    found = [Found(row.subject_id, row.kind, Place(row.bucket, row.at, row.subject_id)) for row in rows if row.kind]
    if len(found) > most:
        return found[:most], found[most - 1].place
    stopped = rows[-1] if rows and rows[-1].kind is None else None
    return found, None if stopped is None else Place(stopped.bucket)


async def texts_of(db: AsyncSession, found: Sequence[Found]) -> dict[uuid.UUID, Texts]:
    """What stands in the rows found, as far as they are still there."""
    ids: dict[str, list[uuid.UUID]] = {}
    for row in found:
        ids.setdefault(row.kind, []).append(row.id)
    if not ids:
        return {}
    return {
        row.id: Texts(
            row.conversation_id, row.channel_id, row.at, dict(zip(KINDS[row.kind].texts, row.texts, strict=True))
        )
        for row in await db.execute(_texts(tuple(sorted(ids))), ids)
    }


@cache
def _texts(kinds: tuple[str, ...]) -> TextClause:
    """The texts of rows of these kinds. Of no others: asked for no ids, PostgreSQL may read an index for them all."""
    return text(
        " UNION ALL ".join(
            f"SELECT '{kind.name}' AS kind, t.id, t.created_at AS at, {kind.conversation} AS conversation_id,"
            f" {kind.channel} AS channel_id,"
            f" ARRAY[{', '.join(kind.texts.values())}]::text[] AS texts"
            f" FROM {kind.rows} t WHERE t.id = ANY(CAST(:{kind.name} AS uuid[]))"
            for kind in map(KINDS.__getitem__, kinds)
        )
    )


_FOUND = text(
    "SELECT * FROM search_found(CAST(:kinds AS text[]), :wanted, :filtered, :bucket, :at, :id, :most, :budget, :asker)"
)
