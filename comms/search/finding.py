"""From a question to the rows it means: newest first, in bounded time however many there are."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

import msgspec
from sqlalchemy import ColumnElement, TextClause, and_, false, func, or_, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from comms.search.kinds import KINDS, PARTS, Kind, kind_of
from comms.search.question import Question
from models.base import Base
from models.tenancy import WORKSPACE_SETTING

BUDGET = timedelta(milliseconds=15)
FEW = 5_000
"""Up to so many rows are looked up by their ids, then filtered and sorted; of more, each row of a list is asked."""


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


async def meant(db: AsyncSession, question: Question, table: type[Base]) -> list[ColumnElement[bool]]:
    """The conditions that a row of ``table`` is meant: one of few, or else asked row by row."""
    if table not in PARTS:
        kind = kind_of(table)
        assert kind is not None, "only what the index finds"
        return [await _documented(db, question, kind, table.__tablename__, "id")]
    part = PARTS[table]
    theirs = await _documented(db, question, part.kind, table.__tablename__, part.column)
    return [theirs, *([] if part.text is None else _has_all(getattr(table, part.text), question))]


async def _documented(db: AsyncSession, question: Question, kind: Kind, table: str, column: str) -> ColumnElement[bool]:
    """The condition that the document which a column of ``table`` names has all that is asked."""
    asked_of = {"kind": kind.name, "wanted": question.wanted(), "filtered": question.filtered(), "most": FEW + 1}
    found: list[uuid.UUID] = (await db.execute(_AMONG, asked_of)).scalar_one()
    if len(found) <= FEW:
        # As a query of its own: were the planner shown the ids, it would take them to lie evenly in whatever order is
        # asked for, and walk through a million rows to meet those that lie at its end.
        among = text(f"{table}.{column} = ANY((SELECT CAST(:found AS uuid[]))::uuid[])")
        return among.bindparams(found=found)  # type: ignore[return-value]  # a condition is text too
    asked = text(
        f"(SELECT d.words @@ {_IN_BUCKET} FROM search_documents d"
        f" WHERE d.workspace_id = {table}.workspace_id AND d.subject_id = {table}.{column}) IS TRUE"
    )
    return asked.bindparams(asked=question.whole(), kind=kind.name)  # type: ignore[return-value]  # likewise


def _has_all(column: InstrumentedAttribute[str], question: Question) -> list[ColumnElement[bool]]:
    """The conditions that all parts stand in the column itself."""
    digits = func.regexp_replace(column, r"\D", "", "g")
    return [
        or_(
            and_(*(column.icontains(term.word, autoescape=True) for term in part.terms)),
            false() if part.number is None else digits.contains(part.number.word, autoescape=True),
        )
        for part in question.parts
    ]


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


# What is asked of each bucket, made once for all rows.
_IN_BUCKET = f"""(
    SELECT array_agg(CAST(replace(:asked, chr(1), search_tag(here, :kind, b)) AS tsquery) ORDER BY b)
    FROM CAST(current_setting('{WORKSPACE_SETTING}') AS uuid) AS here,
        generate_series(0, (SELECT coalesce(max(bucket), 0) + 1 FROM search_progress)) AS b
)[d.bucket + 1]"""
_FOUND = text(
    "SELECT * FROM search_found(CAST(:kinds AS text[]), :wanted, :filtered, :bucket, :at, :id, :most, :budget, :asker)"
)
_AMONG = text("SELECT search_among(:kind, :wanted, :filtered, :most)")
