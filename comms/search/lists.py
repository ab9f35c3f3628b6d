"""Which rows of a list have the words: asked for in the way that reads least, the same rows in the same order always.

There are three ways. If the list is in the order the index knows, that of creation, the first rows that have the words
are looked up by their ids; it is enough if they fill the page. If few have the words, all of those are looked up. Else
the list is read as it is without words, and each of its rows asked for them, until the page is full.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    column,
    false,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import NullType

from comms.search.kinds import PARTS, Kind, kind_of
from comms.search.question import Question, read
from models.base import Base
from models.tenancy import WORKSPACE_SETTING

FEW = 5_000
"""So many rows are looked up by their ids; if more have the words, each row of a list is asked."""
FEW_OF_ONE = 2_500
"""The same of one conversation, whose messages are soon asked one by one: there are only so many."""
AHEAD = 5
"""So many times as many as a page shows are looked up first: enough, unless filters leave out most of them."""

Ask = Callable[[Sequence[ColumnElement[bool]], ColumnElement[Any] | None], Awaitable[Sequence[Any]]]
"""The first rows of a list that meet these conditions too, in its own order or this one: one more than a page shows."""


class ByCreation(msgspec.Struct, frozen=True):
    """The order of a list from the newest row to the oldest, or back; behind the row seen last."""

    newest: bool
    seen: tuple[datetime, uuid.UUID] | None = None


async def first_rows(
    db: AsyncSession,
    q: str,
    table: type[Base],
    limit: int,
    order: ByCreation | None,
    ask: Ask,
    *,
    within: uuid.UUID | None = None,
    filtered: bool = True,
) -> Sequence[Any]:
    """What ``ask`` gives of the rows of ``table`` that have the words of ``q``.

    ``order`` is given where the list is in that of creation, ``within`` where it is of one conversation's messages.
    ``filtered`` says whether ``ask`` may leave out many of them.
    """
    question = read(q)
    if question is None:
        return []
    part = PARTS.get(table)
    kind = kind_of(table) if part is None else part.kind
    assert kind is not None, "only what the index finds"
    named: InstrumentedAttribute[uuid.UUID] = getattr(table, "id" if part is None else part.column)
    besides = [] if part is None else _has_all(getattr(table, part.text), question)
    if part is not None:
        order = None  # a part is not made when what it belongs to is
    if order is not None:
        # A conversation's are read one by one, no more of them than are shown if nothing leaves out any.
        most = AHEAD * limit + 1 if within is None or filtered else limit + 1
        found = await _first(db, question, kind, order, within, most)
        rows = await _in_place(found, named, ask)
        if len(found) < most or len(rows) > limit:
            return rows
    if order is not None and within is not None:
        found = await _first(db, question, kind, order, within, FEW_OF_ONE + 1)
        if len(found) <= FEW_OF_ONE:
            return await _in_place(found, named, ask)
    else:
        found = await _all(db, question, kind)
        if len(found) <= FEW:
            return await ask([named == any_(_apart(found)), *besides], None)
    return await ask([_has_words(named, kind, question), *besides], None)


async def _first(
    db: AsyncSession, question: Question, kind: Kind, order: ByCreation, within: uuid.UUID | None, most: int
) -> Sequence[uuid.UUID]:
    """The ids of the first rows that have the words, or of all."""
    at, seen = order.seen or (None, None)
    where = {"within": within, "newest": order.newest, "at": at, "seen": seen}
    asked = _asked(question, kind, most, whole=within is not None)
    found: Sequence[uuid.UUID] = (await db.execute(_FIRST, asked | where)).scalar_one()
    return found


async def _in_place(found: Sequence[uuid.UUID], named: InstrumentedAttribute[uuid.UUID], ask: Ask) -> Sequence[Any]:
    """Those of the ids found that the list shows: in their order, which is its own."""
    first = func.unnest(_ids(found)).table_valued("id", with_ordinality="place").render_derived()
    return await ask([named == first.c.id], first.c.place)


async def _all(db: AsyncSession, question: Question, kind: Kind) -> Sequence[uuid.UUID]:
    """The ids of all rows that have the words, or of more than a few."""
    found: Sequence[uuid.UUID] = (await db.execute(_AMONG, _asked(question, kind, FEW + 1))).scalar_one()
    return found


def _asked(question: Question, kind: Kind, most: int, *, whole: bool = False) -> dict[str, Any]:
    words = {"wanted": question.wanted(whole=whole), "filtered": question.filtered(whole=whole)}
    return {"kind": kind.name, **words, "most": most}


def _ids(found: Sequence[uuid.UUID]) -> ColumnElement[Any]:
    # Of no type that we would go through thousands of ids for.
    return cast(bindparam(None, found, NullType()), ARRAY(Uuid()))


def _apart(found: Sequence[uuid.UUID]) -> ColumnElement[Any]:
    """Ids that the planner does not see: it would take them to lie evenly in whatever order is asked for.

    Then it walks through a million rows to meet those that lie at its end.
    """
    return cast(select(_ids(found)).scalar_subquery(), ARRAY(Uuid()))


def _has_words(named: InstrumentedAttribute[uuid.UUID], kind: Kind, question: Question) -> ColumnElement[bool]:
    """The condition that what this column names has all that is asked."""
    table = named.class_.__tablename__
    has = text(
        f"SELECT d.words @@ {_IN_BUCKET} AS has FROM search_documents d"
        f" WHERE d.workspace_id = {table}.workspace_id AND d.subject_id = {table}.{named.key}"
    ).bindparams(asked=question.whole(), kind=kind.name)
    return has.columns(column("has", Boolean)).scalar_subquery().is_(True)


def _has_all(said: InstrumentedAttribute[str], question: Question) -> list[ColumnElement[bool]]:
    """The conditions that all parts stand in the column itself."""
    digits = func.regexp_replace(said, r"\D", "", "g")
    return [
        or_(
            and_(*(said.icontains(term.word, autoescape=True) for term in part.terms)),
            false() if part.number is None else digits.contains(part.number.word, autoescape=True),
        )
        for part in question.parts
    ]


_AMONG = text("SELECT search_among(:kind, :wanted, :filtered, :most)")
_FIRST = text("SELECT search_first(:kind, :wanted, :filtered, :within, :newest, :at, :seen, :most)")
# What is asked of each bucket, made once for all rows.
_IN_BUCKET = f"""(
    SELECT array_agg(CAST(replace(:asked, chr(1), search_tag(here, :kind, b)) AS tsquery) ORDER BY b)
    FROM CAST(current_setting('{WORKSPACE_SETTING}') AS uuid) AS here,
        generate_series(0, (SELECT coalesce(max(bucket), 0) + 1 FROM search_progress)) AS b
)[d.bucket + 1]"""
