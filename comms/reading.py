"""JSON that somebody sent, read as the shape it should have, so that every mistake in it is named by its place."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from comms.errors import Invalid
from comms.reasons import KINDS, NEEDS_ZONE, TOO_LARGE, options_of, reason_of

S = TypeVar("S", bound=msgspec.Struct)

MOST_MISTAKES = 50
MOST_DIGITS = 4_000  # Python reads no integer of more than 4,300
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
FIRST_INSTANT, END_OF_INSTANTS = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
_FAR_AWAY = f"must lie in the years {FIRST_INSTANT.year} to {END_OF_INSTANTS.year - 1}"


def read(shape: type[S], sent: Any, place: str = "") -> S:
    """``sent`` (decoded JSON) as a ``shape``; raises ``Invalid`` naming every unknown, read-only or wrong field.

    They are named by where they are below ``place``: ``lineItems[0].quantity``.
    """
    if not isinstance(sent, dict):
        raise Invalid({place: "must be a JSON object" if place else "the body must be a JSON object"})
    errors: dict[str, str] = {}
    made: S = _struct(shape, sent, place, errors)
    if errors:
        raise Invalid({_legible(name): reason for name, reason in errors.items()})
    return made


def read_all(shape: type[S], sent: Sequence[Any], place: str) -> list[S]:
    """Every item of ``sent`` as a ``shape``; raises ``Invalid`` with the mistakes of all of them."""
    errors: dict[str, str] = {}
    items: list[S] = []
    for position, item in enumerate(sent):
        try:
            items.append(read(shape, item, f"{place}[{position}]"))
        except Invalid as error:
            errors |= error.errors
    if errors:
        raise Invalid(errors)
    return items


def written(item: msgspec.Struct) -> dict[str, Any]:
    """The item as a column keeps it: JSON, without what was left out."""
    plain: dict[str, Any] = msgspec.to_builtins(item)
    return plain


def leniently(body: bytes) -> Any:
    """JSON with halves of surrogate pairs and numbers beyond any type in it, for ``read`` to name the places of.

    ``ValueError`` when it is no JSON even so.
    """
    return json.loads(body.decode(), parse_int=_whole, parse_constant=_no_json)


def refuse_no_instant(at: datetime) -> None:
    """``ValueError`` when a time has no offset, or lies so far away that sums with it would leave the calendar."""
    if at.tzinfo is None:
        raise ValueError(NEEDS_ZONE)
    if not FIRST_INSTANT <= at < END_OF_INSTANTS:
        raise ValueError(_FAR_AWAY)


def refuse_no_year(on: date) -> None:
    """``ValueError`` when a date lies as far away: its year has lost a digit, or stands for never."""
    if not FIRST_INSTANT.year <= on.year < END_OF_INSTANTS.year:
        raise ValueError(_FAR_AWAY)


def refuse_unstorable(value: Any) -> None:
    """``ValueError`` when PostgreSQL could not keep this: NUL, half of a surrogate pair, or a number without end."""
    for text in _atoms(value):
        if isinstance(text, float):
            if not math.isfinite(text):
                raise ValueError(TOO_LARGE)
            continue
        if "\x00" in text:
            raise ValueError("must not contain NUL")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("must be Unicode text")


def _struct(shape: type[Any], sent: dict[str, Any], place: str, errors: dict[str, str]) -> Any:
    """``sent`` as a ``shape``; None, and the mistakes among the ``errors``, if there are some."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    fixed: frozenset[str] = getattr(shape, "read_only", frozenset())
    before = len(errors)
    values: dict[str, Any] = {}
    for name, value in sent.items():
        here = f"{place}.{name}" if place else name
        if name in fields:
            values[fields[name].name] = _value(fields[name].type, value, here, errors)
        else:
            errors[here] = "is read-only" if name in fixed else "is not a field here"
    for name, field in fields.items():
        if field.required and name not in sent:
            errors[f"{place}.{name}" if place else name] = "is required"
    return None if len(errors) > before else shape(**values)


def _value(kind: Any, sent: Any, place: str, errors: dict[str, str]) -> Any:
    """``sent`` as a ``kind``; what is inside it is read first, each by itself."""
    options = list(options_of(kind))
    structs = [option for option, _ in options if _is_struct(option)]
    if isinstance(sent, dict) and len(structs) == 1:
        return _struct(structs[0], sent, place, errors)
    before = len(errors)
    for option, metas in options:
        origin, arguments = get_origin(option), get_args(option)
        if isinstance(sent, list) and origin is list:
            _converted(Annotated[(list[Any], *metas)] if metas else list[Any], sent, place, errors)
            items = []
            for position, item in enumerate(sent):
                if len(errors) - before >= (1 if place in errors else MOST_MISTAKES):
                    break
                items.append(_value(arguments[0], item, f"{place}[{position}]", errors))
            return items
        if isinstance(sent, dict) and origin is dict and arguments[1] not in (Any, object):
            inner = {name: _value(arguments[1], value, f"{place}.{name}", errors) for name, value in sent.items()}
            return None if len(errors) > before else _leaf(kind, inner, place, errors)
    return _leaf(kind, sent, place, errors)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag_field is None


def _leaf(kind: Any, sent: Any, place: str, errors: dict[str, str]) -> Any:
    try:
        refuse_unstorable(sent)
        if isinstance(sent, str | float) and _is_no_decimal(sent) and _may_be(Decimal, kind):
            raise ValueError(f"must be {KINDS['decimal']}")
        value = _converted(kind, sent, place, errors)
        if isinstance(value, datetime):
            refuse_no_instant(value)
        elif isinstance(value, date):
            refuse_no_year(value)
        return _lawful(kind, value)
    except ValueError as error:
        errors[place] = str(error)
    return None


def _is_no_decimal(sent: str | float) -> bool:
    """Python reads more than what is documented: other scripts' digits, underscores, blanks, a sign, an exponent."""
    return not isinstance(sent, str) or _DECIMAL.fullmatch(sent) is None


def _may_be(wanted: type, kind: Any) -> bool:
    return any(option is wanted for option, _ in options_of(kind))


def _converted(kind: Any, sent: Any, place: str, errors: dict[str, str]) -> Any:
    try:
        return msgspec.convert(sent, kind, strict=True)
    except msgspec.ValidationError as error:
        inner, reason = reason_of(error, kind)
        errors[place + inner] = reason
    return None


def _lawful(kind: Any, value: Any) -> Any:
    """``value`` as its column type normalises it; ``ValueError`` says what is wrong with it."""
    if value is None:
        return None
    for _, metas in options_of(kind):
        for meta in metas:
            law = (meta.extra or {}).get("law") if isinstance(meta, msgspec.Meta) else None
            if law is not None:
                return law(value)
    return value


def _atoms(value: Any) -> Iterator[str | float]:
    match value:
        case str() | float():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from _atoms(inner)
        case list():
            for inner in value:
                yield from _atoms(inner)


def _legible(name: str) -> str:
    """A field's name as it can be told: what is no Unicode text in it is written as JSON does."""
    return name.encode(errors="backslashreplace").decode()


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.inf


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
