"""Request bodies: derived from a resource's view, bounded by its columns, and read so that every mistake is named."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from sqlalchemy import BigInteger, Column, Integer, Numeric
from sqlalchemy import inspect as mapping_of

from comms.errors import Invalid
from models.base import Base, View

S = TypeVar("S", bound=msgspec.Struct)

LONG = frozenset({"body", "content", "description", "message", "notes", "text"})
LONG_TEXT = 65_536
SHORT_TEXT = 1_000
MANY = 1_000
BATCH = 500


def read(shape: type[S], sent: Any) -> S:
    """``sent`` (decoded JSON) as a ``shape``; raises ``Invalid`` naming every unknown, read-only or wrong field."""
    if not isinstance(sent, dict):
        raise Invalid({"": "the body must be a JSON object"})
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    fixed: frozenset[str] = getattr(shape, "read_only", frozenset())
    if getattr(shape, "row_by_row", False):
        return shape(items=_rows(sent))
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, value in sent.items():
        if name not in fields:
            errors[name] = "is read-only" if name in fixed else "is not a field here"
            continue
        try:
            refuse_unstorable(value)
            refuse_float_money(fields[name].type, value)
            converted = msgspec.convert(value, fields[name].type, strict=True)
            if isinstance(converted, datetime) and converted.tzinfo is None:
                raise ValueError("needs a time zone, such as 2026-01-31T12:00:00Z")
            values[fields[name].name] = _lawful(fields[name].type, converted)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            errors[name + place.rstrip("`")] = reason
        except ValueError as error:
            errors[name] = str(error)
    errors |= {name: "is required" for name, field in fields.items() if field.required and name not in sent}
    if errors:
        raise Invalid(errors)
    return shape(**values)


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
    table: type[Base], view: type[View], *, name: str | None = None, without: Collection[str] = ()
) -> type[msgspec.Struct]:
    """What may be sent to make a row: the view without what only we set, and ``without`` some fields more."""
    fields = [
        (field.name, _bounded(table, field), _field(field, field.default, field.default_factory))
        for field in writable(view)
        if field.name not in without
    ]
    return _shape(view, name or f"New{_resource(view)}", fields)


def change_shape(
    table: type[Base], view: type[View], *, only: Collection[str] | None = None, without: Collection[str] = ()
) -> type[msgspec.Struct]:
    """What may be sent to change a row: every field may be absent, and null only where the view has null.

    Of what clients set, ``only`` these fields, or all ``without`` those.
    """
    fields = [
        (field.name, Union[_bounded(table, field), msgspec.UnsetType], _field(field, msgspec.UNSET))  # noqa: UP007
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


def refuse_unstorable(value: Any) -> None:
    """``ValueError`` when PostgreSQL could not keep this value: NUL, or half of a surrogate pair."""
    for text in _texts(value):
        if "\x00" in text:
            raise ValueError("must not contain NUL")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("must be Unicode text")


def refuse_float_money(annotation: Any, value: Any) -> None:
    """``ValueError`` when a decimal came as a binary fraction, in which cents get lost."""
    match value:
        case float():
            if Decimal in _options(annotation):
                raise ValueError('must be a decimal string, such as "12.50", or a whole number')
        case list():
            for option in _options(annotation):
                for inner in value if get_origin(option) is list else ():
                    refuse_float_money(get_args(option)[0], inner)
        case dict():
            for option in _options(annotation):
                is_struct = isinstance(option, type) and issubclass(option, msgspec.Struct)
                for field in msgspec.structs.fields(option) if is_struct else ():
                    refuse_float_money(field.type, value.get(field.encode_name))


def _options(annotation: Any) -> tuple[Any, ...]:
    """What a value may be, without what ``Annotated`` says of it."""
    kind = plain(annotation)
    return tuple(plain(option) for option in get_args(kind)) if get_origin(kind) in (Union, UnionType) else (kind,)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


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


def _bounded(table: type[Base], field: msgspec.structs.FieldInfo) -> Any:
    """The field's type with its column's limits, so that the API refuses by name what the table would not keep."""
    column = column_of(table, field.name)
    most = LONG_TEXT if field.name in LONG else SHORT_TEXT

    def bound(kind: Any) -> Any:
        if kind is str:
            law = getattr(column.type, "normalise", None) if column is not None else None
            return Annotated[str, msgspec.Meta(max_length=most, extra={"law": law} if law else None)]
        if kind is datetime:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        if kind is int and column is not None and isinstance(column.type, Integer):
            bits = 63 if isinstance(column.type, BigInteger) else 31
            return Annotated[int, msgspec.Meta(ge=-(2**bits), le=2**bits - 1)]
        if kind is Decimal and column is not None and isinstance(column.type, Numeric):
            return Annotated[Decimal, msgspec.Meta(extra={"law": _money(column.type)})]
        if get_origin(kind) is list:
            inner: Any = bound(get_args(kind)[0])
            return Annotated[list[inner], msgspec.Meta(max_length=MANY)]
        return kind

    kind = plain(field.type)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(bound(option) for option in get_args(kind))]  # noqa: UP007
    return bound(kind)


def _money(column: Numeric[Any]) -> Callable[[Decimal], Decimal]:
    scale = column.scale or 0
    largest = Decimal(10) ** ((column.precision or 14) - scale)

    def law(value: Decimal) -> Decimal:
        if not value.is_finite() or abs(value) >= largest:
            raise ValueError(f"must be a number below {largest:f}")
        if value != value.quantize(Decimal(1).scaleb(-scale)):
            raise ValueError(f"must have at most {scale} decimals")
        return value

    return law


def _lawful(annotation: Any, value: Any) -> Any:
    """``value`` as its column type normalises it; ``ValueError`` says what is wrong with it."""
    if value is None:
        return None
    for option in (annotation, *get_args(annotation)):
        if get_origin(option) is Annotated:
            for meta in get_args(option)[1:]:
                law = (meta.extra or {}).get("law") if isinstance(meta, msgspec.Meta) else None
                if law is not None:
                    return law(value)
    return value
