"""Why a value is refused, in a person's words: msgspec's sentences are about Python's types."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

NEEDS_ZONE = "needs a time zone, such as 2026-01-31T12:00:00Z"
A_TIME = "a time with its offset, such as 2026-01-31T12:00:00Z"
TOO_LARGE = "is too large or too small a number"

KINDS: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "null": "null",
    "array": "a list",
    "object": "a JSON object",
    "uuid": "a UUID",
    "decimal": 'a decimal string, such as "12.50", or a whole number',
    "datetime": A_TIME,
    "date": "a date, such as 2026-01-31",
    "time": "a time of day, such as 09:30:00",
    "bytes": "base64",
}
_UNITS = {"str": "characters", "array": "items", "object": "fields", "bytes": "bytes"}
_PLACE = re.compile(r" - at `(?P<key>key` in `)?\$(?P<place>.*)`$", re.DOTALL)


def reason_of(error: Exception | str, kind: Any) -> tuple[str, str]:
    """Where below a value of ``kind`` the mistake is (``""``, ``[1]``, ``.inner``), and what is wrong there."""
    said = str(error)
    found = _PLACE.search(said)
    place, is_key = (found["place"], found["key"] is not None) if found else ("", False)
    sentence = said[: found.start()] if found else said
    if lost := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", sentence, re.DOTALL):
        return f"{place}.{lost[2]}", "is required" if lost[1] == "missing required" else "is not a field here"
    reason = _translated(sentence, list(_met(kind, place, is_key=is_key)))
    return place, f"has a name that {reason}" if is_key else reason


def _translated(sentence: str, options: list[tuple[Any, tuple[Any, ...]]]) -> str:
    known = [value for kind, _ in options if get_origin(kind) is Literal for value in get_args(kind)]
    nothing = " or null" if any(kind is NoneType for kind, _ in options) else ""
    if known and sentence.startswith(("Invalid enum value", "Expected `str", "Expected `int")):
        return f"must be one of {', '.join(str(value) for value in known if value is not None)}{nothing}"
    for pattern, say in _SENTENCES:
        if found := re.fullmatch(pattern, sentence, re.DOTALL):
            return say(found, [meta for _, metas in options for meta in metas if isinstance(meta, msgspec.Meta)])
    return sentence


def _of_kind(found: re.Match[str], _: list[msgspec.Meta]) -> str:
    named = [KINDS.get(kind, kind) for kind in found[1].split(" | ")]
    return f"must be {' or '.join(dict.fromkeys(named))}"


def _bounded(found: re.Match[str], metas: list[msgspec.Meta]) -> str:
    if found[1] in KINDS:
        for meta in metas:
            if meta.ge is not None and meta.le is not None:
                return f"must be from {meta.ge} to {meta.le}"
    limit = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}[found[2]]
    return f"must be {limit} {found[3]}"


def _long(found: re.Match[str], _: list[msgspec.Meta]) -> str:
    if found[2] == ">=" and found[3] == "1":
        return "must not be empty"
    return f"must have at {'least' if found[2] == '>=' else 'most'} {found[3]} {_UNITS.get(found[1], 'items')}"


def _matching(found: re.Match[str], _: list[msgspec.Meta]) -> str:
    pattern = ast.literal_eval(found[1])
    return "must not be blank" if pattern == r"\S" else f"must match {pattern}"


def _is(sentence: str) -> Callable[[re.Match[str], list[msgspec.Meta]], str]:
    return lambda _found, _metas: sentence


_SENTENCES: tuple[tuple[str, Callable[[re.Match[str], list[msgspec.Meta]], str]], ...] = (
    (r"Expected `([^`]+)`, got `.*`", _of_kind),
    (r"Expected `([^`]+)`", _of_kind),
    (r"Expected `(\w+)` (>=|<=|>|<) (\S+)", _bounded),
    (r"Expected `(\w+)` of length (>=|<=) (\d+)", _long),
    (r"Expected `str` matching regex (.+)", _matching),
    (r"Expected `\w+` with a timezone component", _is(NEEDS_ZONE)),
    (r"Invalid RFC3339 encoded datetime", _is(f"must be {KINDS['datetime']}")),
    (r"Invalid RFC3339 encoded date", _is(f"must be {KINDS['date']}")),
    (r"Invalid RFC3339 encoded time", _is(f"must be {KINDS['time']}")),
    (r"Invalid UUID", _is(f"must be {KINDS['uuid']}")),
    (r"Invalid decimal string", _is(f"must be {KINDS['decimal']}")),
    (r"Invalid base64 encoded string", _is(f"must be {KINDS['bytes']}")),
    (r"(?:Integer value|Number) out of range", _is(TOO_LARGE)),
)


def options_of(kind: Any, metas: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each type that a value of ``kind`` may have, and what ``Annotated`` says of it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from options_of(arguments[0], (*metas, *arguments[1:]))
    elif origin in (Union, UnionType):
        for option in arguments:
            yield from options_of(option, metas)
    elif kind is not msgspec.UnsetType:
        yield (NoneType if kind is None else kind), metas


def _met(kind: Any, place: str, *, is_key: bool) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """What may be at a place inside a value of ``kind``, as far as it is a list or a mapping."""
    step, rest = re.match(r"(\[[^\]]*\])?(.*)", place, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
    for option, metas in options_of(kind):
        arguments = get_args(option)
        if step is None and not rest and not is_key:
            yield option, metas
        elif arguments and get_origin(option) is not Literal and not (rest and step is None):
            yield from _met(arguments[0] if step is None else arguments[-1], rest, is_key=is_key and step is not None)
