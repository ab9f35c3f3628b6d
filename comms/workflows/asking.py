"""What must hold: a field, an operator and a value, asked of JSON; and in words, why it does or does not.

Numbers are compared as numbers, a decimal string beside a number too; times as instants, a date as its first in UTC.
Other text is compared as it is by ``equals`` and ``in``, whatever its case by the others, and has no order. Of what is
not there only ``is_not_set`` and what denies something (``not_…``) are true. A value may speak of what is there, as in
``{{trigger.data.name}}``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import msgspec

from comms import reading
from comms.errors import Invalid
from comms.workflows import values

MOST = 50
Operator = Literal[
    "equals",
    "not_equals",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "greater_than",
    "at_least",
    "less_than",
    "at_most",
    "is_set",
    "is_not_set",
]
_LISTS, _NUMBERS, _EITHER = (
    ("in", "not_in"),
    ("greater_than", "at_least", "less_than", "at_most"),
    ("is_set", "is_not_set"),
)
_LONGEST = 80


class Asked(msgspec.Struct, frozen=True):
    """One thing that must hold."""

    field: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    operator: Operator
    value: Any = None


class Answer(msgspec.Struct, frozen=True):
    """Whether it holds, and why."""

    holds: bool
    words: str


def read(sent: Sequence[Any], place: str, refusal: Callable[[str], str | None]) -> list[Asked]:
    """The conditions; ``Invalid`` names what is wrong with each. ``refusal`` says why a field is none, if so."""
    if len(sent) > MOST:
        raise Invalid({place: f"must be {MOST} at most"})
    found = reading.read_all(Asked, sent, place)
    errors: dict[str, str] = {}
    for index, asked in enumerate(found):
        here = f"{place}[{index}]"
        if (reason := refusal(asked.field)) is not None:
            errors[f"{here}.field"] = reason
        if (reason := _wrong_value(asked)) is not None:
            errors[f"{here}.value"] = reason
    if errors:
        raise Invalid(errors)
    return found


def answer(asked: Asked, path: str, scope: Mapping[str, Any]) -> Answer:
    """Whether it holds of what stands at the ``path``; what its value speaks of is in the ``scope`` too, or nothing."""
    value, wanted_value = values.found_at(path, scope), values.fill(asked.value, scope, path, {})
    holds = _holds(asked.operator, value, wanted_value)
    wanted = asked.operator if asked.operator in _EITHER else f"{asked.operator} {_short(wanted_value)}"
    return Answer(holds, f"{asked.field} is {_short(value)}: {'' if holds else 'not '}{wanted}")


def _wrong_value(asked: Asked) -> str | None:
    value, operator = asked.value, asked.operator
    if isinstance(value, str) and values.is_open(value):
        return None
    if operator in _EITHER:
        return None if value is None else f"must be absent for {operator}"
    if operator in _LISTS:
        return None if isinstance(value, list) and value else f"must be a list for {operator}"
    if operator in _NUMBERS:
        is_ordered = _number(value) is not None or _instant(value) is not None
        return None if is_ordered else f"must be a number, or a time such as 2026-03-01T12:00:00Z, for {operator}"
    if operator in ("equals", "not_equals"):
        return None
    return None if isinstance(value, str) and value else f"must be text for {operator}"


def _holds(operator: str, value: Any, wanted: Any) -> bool:
    if operator.startswith("not_"):
        return not _holds(operator.removeprefix("not_"), value, wanted)
    match operator:
        case "is_set":
            return value not in (None, "", [], {})
        case "is_not_set":
            return value in (None, "", [], {})
        case "equals":
            return _same(value, wanted)
        case "in":
            return isinstance(wanted, list) and any(_same(value, one) for one in wanted)
        case "contains" if isinstance(value, list):
            return any(_same(one, wanted) for one in value)
    if operator in _NUMBERS:
        return _compared(operator, value, wanted)
    if not isinstance(value, str) or not isinstance(wanted, str):
        return False
    value, wanted = value.casefold(), wanted.casefold()
    test: Mapping[str, Callable[[], bool]] = {
        "contains": lambda: wanted in value,
        "starts_with": lambda: value.startswith(wanted),
        "ends_with": lambda: value.endswith(wanted),
    }
    return test[operator]()


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int | float) or isinstance(wanted, int | float):
        return _number(value) == _number(wanted)
    if value != wanted and (instant := _instant(value)) is not None:
        return instant == _instant(wanted)
    return bool(value == wanted)


def _compared(operator: str, value: Any, wanted: Any) -> bool:
    for measure in (_number, _instant):
        one, other = measure(value), measure(wanted)
        if one is not None and other is not None:
            return _ordered(operator, one, other)
    return False


def _ordered(operator: str, one: Any, other: Any) -> bool:
    return bool(
        {
            "greater_than": one > other,
            "at_least": one >= other,
            "less_than": one < other,
            "at_most": one <= other,
        }[operator]
    )


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    with suppress(msgspec.ValidationError):
        return datetime.combine(msgspec.convert(value, date), time(), UTC)
    with suppress(msgspec.ValidationError):
        at = msgspec.convert(value, datetime)
        return at if at.tzinfo is not None else None
    return None


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
