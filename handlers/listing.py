"""Lists: filtered, searched, and paged by the last row seen, so that what arrives meanwhile shifts nothing."""

import hashlib
import inspect
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from litestar.params import QueryParameter
from sqlalchemy import ColumnElement, Table, and_, any_, literal, or_, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from comms import reading, search
from comms.errors import Invalid
from handlers import shapes
from handlers.given import Request
from models.base import Base, View

T = TypeVar("T")

BY = "by_"
"""How the arguments begin that a list is asked by."""
LIMIT, MOST = 50, 200
_MOST_WORDS = 20
_KEY = "_key"  # a column beside another: what its rows are sorted by
_BY_WORDS = "Words that are all in the row, the last one perhaps only begun; case and accents do not matter."
_BY_PARTS = "Words or parts of words that are all somewhere in the row, whatever their case."


class Page(msgspec.Struct, Generic[T], rename="camel"):
    """Some of the rows; ``nextCursor`` asks for those after them, null when there are none."""

    items: list[T]
    next_cursor: str | None = None


@cache
def page_of(view: type[View]) -> type[msgspec.Struct]:
    """``Page`` of one view, under a name of its own in the API's description."""
    row: Any = view
    fields: list[Any] = [("items", list[row]), ("next_cursor", str | None, None)]
    return msgspec.defstruct(f"{view.__name__.removesuffix('View')}Page", fields, rename="camel")


class Listing:
    """How one table is listed.

    Sorted by any of its view's times and numbers and by what is searched, a large table only by what an index orders;
    filtered by any of its few known values, and by what is named.
    """

    def __init__(self, table: type[Base], view: type[View], search: Sequence[str], filters: Sequence[str]) -> None:
        self.table = table
        self.view = view
        self.fields = {field.name: field for field in msgspec.structs.fields(view)}
        self.search = [_column(table, name) for name in search]
        self.sorts = {
            field.encode_name: _key(table, name)
            for name, field in self.fields.items()
            if shapes.column_of(table, name) is not None
            and (_key(table, name) in _indexed(table) if table.large else name in search or _is_ordered(field.type))
        }
        filters = [*filters, *(name for name in self.fields if name not in filters and self._is_enumerated(name))]
        self.parameters = self._parameters(filters)
        self._by: dict[str, str] = {self.fields[name].encode_name: name for name in filters}
        self.options: list[ORMOption] = [
            selectinload(getattr(table, name)) for name in self.fields if name in table.__mapper__.relationships
        ]

    def _is_enumerated(self, name: str) -> bool:
        """Whether a field is kept in a column and has a few known values: a list can be filtered by each such field."""
        kind = shapes.plain(self.fields[name].type)
        options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        is_kept = shapes.column_of(self.table, name) is not None
        return is_kept and {get_origin(option) for option in options if option is not NoneType} == {Literal}

    def _parameters(self, filters: Sequence[str]) -> dict[str, inspect.Parameter]:
        """The query parameters, by their names in the URL."""
        kinds: dict[str, tuple[Any, Any, str]] = {
            "limit": (int, LIMIT, "How many rows at most."),
            "cursor": (str | None, None, "The `nextCursor` of the page before, with the same filters and sort."),
            "sort": (
                Literal[tuple(f"{sign}{name}" for name in self.sorts for sign in ("", "-"))],
                "-createdAt",
                "The order; `-` for descending.",
            ),
        }
        if self.search:
            kinds["q"] = (str | None, None, _BY_WORDS if search.finds(self.table) else _BY_PARTS)
        for name in filters:
            field = self.fields[name]
            kind, of_list = shapes.plain(field.type), get_origin(shapes.plain(field.type)) is list
            kinds[field.encode_name] = (
                get_args(kind)[0] if of_list else kind,
                None,
                f"Only rows with this `{field.encode_name}`.",
            )
        kinds["createdAfter"] = (datetime | None, None, "Only rows made at this time or later.")
        kinds["createdBefore"] = (datetime | None, None, "Only rows made before this time.")
        parameters = {}
        for name, (kind, default, says) in kinds.items():
            bounds: dict[str, Any] = {"ge": 1, "le": MOST} if name == "limit" else {}
            optional: Any = kind if default is not None else kind | None
            annotation: Any = Annotated[optional, QueryParameter(name=name, description=says, **bounds)]
            parameters[name] = inspect.Parameter(
                f"{BY}{name}", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        return parameters

    async def page(
        self,
        db: AsyncSession,
        request: Request,
        asked: Mapping[str, Any],
        *conditions: ColumnElement[bool],
        within: uuid.UUID | None = None,
    ) -> Page[Any]:
        """The rows after the cursor that are as ``asked`` and meet the ``conditions``; raises ``Invalid``.

        ``within`` says of the messages of a conversation which it is; the ``conditions`` must, too.
        """
        wanted = self._checked(request, asked)
        sort = wanted.pop("sort")
        limit, cursor = wanted.pop("limit"), wanted.pop("cursor", None)
        bound_to = msgspec.json.encode([request.scope["path"], sort, sorted(wanted.items())])
        descending, name = sort.startswith("-"), self.sorts[sort.lstrip("-")]
        key, tie = _column(self.table, name), _column(self.table, "id")
        seen = None if cursor is None else self._position(cursor, name, bound_to)
        behind = [] if seen is None else _after(key, tie, descending, *seen)
        met = [*conditions, *self._conditions(wanted)]
        if "workspace_id" in self.table.__table__.c:
            # Row security says so too, but not in a way the planner could count rows by.
            met.append(_column(self.table, "workspace_id") == request.user.workspace_id)

        async def first(more: Sequence[ColumnElement[bool]], place: ColumnElement[Any] | None = None) -> Sequence[Any]:
            in_order = (key.desc(), tie.desc()) if descending else (key.asc(), tie.asc())
            order = in_order if place is None else (place,)
            query = (
                select(self.table).options(*self.options).where(*_within(behind, tie, [*met, *more], order, limit + 1))
            )
            return (await db.scalars(query.order_by(*order).limit(limit + 1))).all()

        q = wanted.get("q")
        if q and search.finds(self.table):
            edge = wanted.get("createdBefore" if descending else "createdAfter")
            start = seen or (edge and (edge, uuid.UUID(int=0)))
            by_creation = search.ByCreation(descending, start) if name == "created_at" else None
            by = search.conversation_filter(self.table)
            alone = self.fields[by].encode_name if by else ""
            within = within or wanted.get(alone)
            filtered = any(name in self._by and name != alone for name in wanted)
            rows = await search.first_rows(
                db, q, self.table, limit, by_creation, first, within=within, filtered=filtered
            )
        else:
            rows = await first(self._has_parts(q) if q else [])
        items = [msgspec.convert(row, self.view, from_attributes=True) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items)
        last: Any = rows[limit - 1]
        return Page(items, bookmark([getattr(last, name), last.id], bound_to))

    def _checked(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked, by names in the URL; only what was there, and the defaults."""
        sent = request.query_params
        refuse_unknown(request, self.parameters)
        wanted = {
            name: asked[parameter.name]
            for name, parameter in self.parameters.items()
            if name in sent or parameter.default is not None
        }
        errors = {}
        for name, value in wanted.items():
            try:
                if value is None and name not in self._by:
                    raise ValueError("must not be null")
                reading.refuse_unstorable(value)
                column = shapes.column_of(self.table, self._by[name]) if name in self._by else None
                if column is not None and isinstance(value, str) and hasattr(column.type, "kept"):
                    wanted[name] = column.type.kept(value)
            except ValueError as error:
                errors[name] = str(error)
        if errors:
            raise Invalid(errors)
        return wanted

    def matching(self, request: Request, asked: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        """What the filters ask of a row, for those who show the rows in another way; raises ``Invalid``."""
        wanted = self._checked(request, asked)
        return self._conditions(
            {name: value for name, value in wanted.items() if name not in ("limit", "cursor", "sort")}
        )

    def _conditions(self, wanted: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        for name, value in wanted.items():
            if name == "q":
                continue
            if name in self._by:
                column = _column(self.table, self._by[name])
                holds_many = get_origin(shapes.plain(self.fields[self._by[name]].type)) is list
                # A list that is not empty: said aloud, an index of those few rows is of use.
                conditions += (
                    [any_(column) == value, column != text("'{}'")]
                    if holds_many
                    else [_is(self.table, self._by[name], value)]
                )
            elif value is not None:
                created = _column(self.table, "created_at")
                conditions.append(created >= value if name == "createdAfter" else created < value)
        return conditions

    def _has_parts(self, q: str) -> list[ColumnElement[bool]]:
        """The conditions that a row has all words of ``q``, or parts of words, somewhere."""
        words = q.split()[:_MOST_WORDS] or [q]
        return [or_(*(column.icontains(word, autoescape=True) for column in self.search)) for word in words]

    def _position(self, cursor: str, name: str, bound_to: bytes) -> tuple[Any, Any]:
        """The sort value and id of the last row seen."""
        place: Any = tuple[self.fields[name.removesuffix(_KEY)].type, self.fields["id"].type]  # type: ignore[misc]  # known at run time
        return bookmarked(cursor, bound_to, place)  # type: ignore[no-any-return]  # likewise


def refuse_unknown(request: Request, known: Mapping[str, Any]) -> None:
    """``Invalid`` names every query parameter that is not known here, or given twice."""
    sent = request.query_params
    errors = {name: "is not a query parameter here" for name in sent if name not in known}
    errors |= {name: "is given more than once" for name in sent if len(sent.getall(name)) > 1 and name in known}
    if errors:
        raise Invalid(errors)


def _within(
    behind: Sequence[ColumnElement[bool]],
    tie: InstrumentedAttribute[Any],
    met: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
    most: int,
) -> Sequence[ColumnElement[bool]]:
    """The conditions ``met`` by rows of any of the stretches ``behind``."""
    if len(behind) < 2:
        return [*met, *behind]
    first = [select(tie).where(*met, stretch).order_by(*order).limit(most).subquery() for stretch in behind]
    return [tie.in_(union_all(*(stretch.select() for stretch in first)))]


def _after(
    key: InstrumentedAttribute[Any], tie: InstrumentedAttribute[Any], descending: bool, value: Any, identity: Any
) -> list[ColumnElement[bool]]:
    """Rows behind (value, identity), where PostgreSQL puts null: last when ascending, first when descending.

    Two stretches where nulls begin or end: each is a range of an index, both in one condition are none.
    """
    if value is None:
        beside = and_(key.is_(None), tie < identity if descending else tie > identity)
        return [beside, key.is_not(None)] if descending else [beside]
    seen = tuple_(literal(value, key.type), literal(identity, tie.type))
    if descending:
        return [tuple_(key, tie) < seen]
    return [tuple_(key, tie) > seen, key.is_(None)] if _is_nullable(key) else [tuple_(key, tie) > seen]


def _is_nullable(key: InstrumentedAttribute[Any]) -> bool:
    return bool(getattr(key.expression, "nullable", True))


def bookmark(place: Any, bound_to: bytes) -> str:
    """The cursor of a list: the place of the last row shown, for the question ``bound_to`` alone."""
    return _pack(msgspec.json.encode(place), bound_to)


def bookmarked(cursor: str, bound_to: bytes, place: type[T]) -> T:
    """The place that a ``bookmark`` of the same question holds; raises ``Invalid``."""
    try:
        packed = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        if packed[:8] != _digest(packed[8:], bound_to) or _pack(packed[8:], bound_to) != cursor:
            raise ValueError
        return msgspec.json.decode(packed[8:], type=place)
    except (ValueError, msgspec.MsgspecError):
        raise Invalid({"cursor": "is not the nextCursor of a list with the same filters and sort"}) from None


def _pack(payload: bytes, bound_to: bytes) -> str:
    return urlsafe_b64encode(_digest(payload, bound_to) + payload).rstrip(b"=").decode()


def _digest(payload: bytes, bound_to: bytes) -> bytes:
    """A checksum, not a proof: whoever forges a cursor only reads their own workspace from another place on."""
    return hashlib.blake2b(payload, key=hashlib.sha256(bound_to).digest(), digest_size=8).digest()


def _key(table: type[Base], name: str) -> str:
    """The column that a field's rows are sorted by, where that is not the field's own."""
    return name + _KEY if shapes.column_of(table, name + _KEY) is not None else name


def _indexed(table: type[Base]) -> set[str]:
    """The columns that an index of a table orders its rows by, and then by id."""
    whole = [
        index for index in cast(Table, table.__table__).indexes if index.dialect_kwargs.get("postgresql_where") is None
    ]
    keys = [[column.name for column in index.columns] for index in whole]
    return {names[1] for names in keys if len(names) == 3 and names[::2] == ["workspace_id", "id"]}


def _is_ordered(annotation: Any) -> bool:
    kind = shapes.plain(annotation)
    options = set(get_args(kind)) - {NoneType} if get_args(kind) else {kind}
    return options <= {int, Decimal, datetime, date}


def _is(table: type[Base], name: str, value: Any) -> ColumnElement[bool]:
    """The row has this value, or one that its table takes for the same."""
    column = _column(table, name)
    found_by = getattr(column.expression, "info", {}).get("found_by")
    if found_by is None or value is None:
        plain: ColumnElement[bool] = column == value
        return plain
    met: ColumnElement[bool] = found_by(value)
    return met


def _column(table: type[Base], name: str) -> InstrumentedAttribute[Any]:
    column: InstrumentedAttribute[Any] = getattr(table, name)
    return column
