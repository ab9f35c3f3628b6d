"""What may be sent: derived from a view, bounded by its table's columns, and read so that every mistake is named."""

import re
from collections.abc import Callable, Collection
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Numeric, Table
from sqlalchemy import inspect as mapping_of

from comms import reading
from comms.errors import Invalid
from models.base import Base, View

S = TypeVar("S", bound=msgspec.Struct)

LONG = frozenset({"body", "content", "description", "message", "notes", "text"})
LONG_TEXT = 65_536
SHORT_TEXT = 1_000
MANY = 1_000
BATCH = 500
SAID = r"\S"
"""What a name must match: it is not blanks alone."""


def read(shape: type[S], sent: Any) -> S:
    """A request's body as the ``shape`` that its handler declares; raises ``Invalid`` naming all that is wrong."""
    if getattr(shape, "row_by_row", False) and isinstance(sent, dict):
        return shape(items=_rows(sent))
    return reading.read(shape, sent)


def _rows(sent: dict[str, Any]) -> list[Any]:
    """The rows of a batch as they were sent: each is read, and refused, by itself."""
    errors = {name: "is not a field here" for name in sent if name != "items"}
    items = sent.get("items")
    rows = items if isinstance(items, list) else []
    if not 0 < len(rows) <= BATCH:
        errors["items"] = f"must be a list of 1 to {BATCH} rows"
    if errors:
        raise Invalid(errors)
    return rows


def given(sent: msgspec.Struct) -> dict[str, Any]:
    """The fields that were there, by attribute name: what PATCH leaves out is not among them, null is."""
    return {name: value for name, value in msgspec.structs.asdict(sent).items() if value is not msgspec.UNSET}


def create_shape(
    table: type[Base],
    view: type[View],
    *,
    name: str | None = None,
    without: Collection[str] = (),
    also: Collection[tuple[str, Any, Any]] = (),
) -> type[msgspec.Struct]:
    """What may be sent to make a row: the view without what only we set, and ``without`` some fields more.

    ``also`` are fields that are sent and not shown: name, type and default.
    """
    fields: list[tuple[str, Any, Any]] = [
        (field.name, _bounded(table, field), _field(field, field.default, field.default_factory))
        for field in writable(view)
        if field.name not in without
    ]
    return _shape(view, name or f"New{_resource(view)}", [*fields, *also])


def change_shape(
    table: type[Base], view: type[View], *, only: Collection[str] | None = None, without: Collection[str] = ()
) -> type[msgspec.Struct]:
    """What may be sent to change a row: every field may be absent, and null only where the view has null.

    Of what clients set, ``only`` these fields, or all ``without`` those.
    """
    fields = [
        (field.name, Union[_bounded(table, field), msgspec.UnsetType], _field(field, msgspec.UNSET))  # noqa: UP007 - made here
        for field in writable(view)
        if field.name not in without and (only is None or field.name in only)
    ]
    return _shape(view, f"{_resource(view)}Change", fields)


def writable(view: type[View]) -> list[msgspec.structs.FieldInfo]:
    """The view's fields that clients set."""
    return [field for field in msgspec.structs.fields(view) if not is_read_only(field)]


def is_read_only(field: msgspec.structs.FieldInfo) -> bool:
    """Whether only we set this field."""
    metas = [meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta)]
    return get_origin(field.type) is Annotated and any((meta.extra or {}).get("read_only") for meta in metas)


def plain(annotation: Any) -> Any:
    """A field's type without what ``Annotated`` says of it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def column_of(table: type[Base], name: str) -> Column[Any] | None:
    """The column behind a view's field; None for a relationship or something computed for the view."""
    found = mapping_of(table).columns.get(name)
    return found if isinstance(found, Column) else None


def _shape(view: type[View], name: str, fields: list[tuple[str, Any, Any]]) -> type[msgspec.Struct]:
    known = frozenset(field.encode_name for field in msgspec.structs.fields(view))
    return msgspec.defstruct(
        name,
        fields,
        namespace={"read_only": known, "view": view, "__doc__": None},
        rename="camel",
        forbid_unknown_fields=True,
        kw_only=True,
    )


def _resource(view: type[View]) -> str:
    return view.__name__.removesuffix("View")


def _field(field: msgspec.structs.FieldInfo, default: Any, factory: Any = msgspec.NODEFAULT) -> Any:
    renamed = field.encode_name if field.encode_name != msgspec_camel(field.name) else None
    if factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=factory, name=renamed)
    if default is not msgspec.NODEFAULT:
        return msgspec.field(default=default, name=renamed)
    return msgspec.field(name=renamed)


def msgspec_camel(name: str) -> str:
    """``assigned_to`` as JSON has it: ``assignedTo``."""
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


class Limits(NamedTuple):
    """What the CHECKs of a table say of one column by itself."""

    ge: int | None = None
    gt: int | None = None
    le: int | None = None
    pattern: str | None = None


def limits_of(column: Column[Any]) -> Limits:
    """The limits of a column's values, where a CHECK states them plainly; the others only PostgreSQL knows."""
    number, name = r"(-?\d+)", column.name
    limits = Limits()
    for constraint in column.table.constraints if isinstance(column.table, Table) else ():
        law = str(constraint.sqltext) if isinstance(constraint, CheckConstraint) else ""
        if found := re.fullmatch(rf"{name} BETWEEN {number} AND {number}", law):
            limits = limits._replace(ge=int(found[1]), le=int(found[2]))
        elif found := re.fullmatch(rf"{name} (>=|>) {number}(?: AND \(.+\))?", law):
            least = int(found[2])
            limits = limits._replace(ge=least) if found[1] == ">=" else limits._replace(gt=least)
        elif found := re.fullmatch(rf"{name} ~ '([^']+)'", law):
            limits = limits._replace(pattern=found[1])
    return limits


def _bounded(table: type[Base], field: msgspec.structs.FieldInfo) -> Any:
    """The field's type with its column's limits, so that the API refuses by name what the table would not keep."""
    column = column_of(table, field.name)
    limits = Limits() if column is None else limits_of(column)
    is_name = field.name == "name" and plain(field.type) is str
    most = LONG_TEXT if field.name in LONG else SHORT_TEXT

    def bound(kind: Any) -> Any:
        if get_origin(kind) is Annotated:
            parts: Any = get_args(kind)
            return Annotated[(bound(parts[0]), *parts[1:])]
        if kind is str:
            law = getattr(column.type, "normalise", None) if column is not None else None
            pattern = limits.pattern or (SAID if is_name else None)
            pattern = None if law else pattern  # of what the law makes of it
            return Annotated[str, msgspec.Meta(max_length=most, pattern=pattern, extra={"law": law} if law else None)]
        if kind is int and column is not None and isinstance(column.type, Integer):
            size = 2 ** (63 if isinstance(column.type, BigInteger) else 31)
            least = -size if limits.ge is None else limits.ge
            least = least if limits.gt is None else limits.gt + 1
            return Annotated[int, msgspec.Meta(ge=least, le=size - 1 if limits.le is None else limits.le)]
        if kind is Decimal and column is not None and isinstance(column.type, Numeric):
            return Annotated[Decimal, msgspec.Meta(extra={"law": _money(column.type, limits)})]
        if get_origin(kind) is list:
            inner: Any = bound(get_args(kind)[0])
            return Annotated[list[inner], msgspec.Meta(max_length=MANY)]
        return kind

    kind = plain(field.type)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(bound(option) for option in get_args(kind))]  # noqa: UP007 - of types known only now
    return bound(kind)


def decimals_of(value: Decimal) -> int:
    """How many it is written with: three in 12.500, which to some is 12.5, to others twelve thousand five hundred."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _money(column: Numeric[Any], limits: Limits) -> Callable[[Decimal], Decimal]:
    scale = column.scale or 0
    largest = Decimal(10) ** ((column.precision or 14) - scale)

    def law(value: Decimal) -> Decimal:
        if not value.is_finite() or value.copy_abs() >= largest:  # abs() would round it, and raise beyond its exponents
            raise ValueError(f"must be a number below {largest:f}")
        if limits.ge is not None and value < limits.ge:
            raise ValueError(f"must be at least {limits.ge}")
        if limits.gt is not None and value <= limits.gt:
            raise ValueError(f"must be more than {limits.gt}")
        if limits.le is not None and value > limits.le:
            raise ValueError(f"must be at most {limits.le}")
        if decimals_of(value) > scale:
            raise ValueError(f"must have at most {scale} decimals")
        return value

    return law
