"""What msgspec finds wrong, as it is told to people."""

import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest

from comms.reasons import reason_of

Level = Literal["none", "read"]


class Inner(msgspec.Struct, forbid_unknown_fields=True, tag="inner"):
    """Something in something."""

    size: int


class Other(msgspec.Struct, tag="other"):
    """Another thing."""


@pytest.mark.parametrize(
    ("kind", "sent", "place", "reason"),
    [
        (int | None, "x", "", "must be a whole number or null"),
        (int | msgspec.UnsetType | None, "x", "", "must be a whole number or null"),
        (bool, 1, "", "must be true or false"),
        (str, 1, "", "must be text"),
        (list[str], "x", "", "must be a list"),
        (dict[str, int], [], "", "must be a JSON object"),
        (Inner, [], "", "must be a JSON object"),
        (Inner, {"type": "inner"}, ".size", "is required"),
        (Inner, {"type": "inner", "size": 1, "x": 1}, ".x", "is not a field here"),
        (Inner, {"type": "inner", "size": 1.5}, ".size", "must be a whole number"),
        (list[Inner], [{"type": "inner"}], "[0].size", "is required"),
        (Level, "zzz", "", "must be one of none, read"),
        (Level | None, "zzz", "", "must be one of none, read or null"),
        (Level, 5, "", "must be one of none, read"),
        (list[Level], ["read", "zzz"], "[1]", "must be one of none, read"),
        (dict[Literal["a", "b"], Level], {"a": "zzz"}, "[...]", "must be one of none, read"),
        (dict[Literal["a", "b"], Level], {"z": "read"}, "", "has a name that must be one of a, b"),
        (Literal[1, 2], 3, "", "must be one of 1, 2"),
        (Annotated[int, msgspec.Meta(ge=1)], 0, "", "must be at least 1"),
        (Annotated[int, msgspec.Meta(ge=0, le=100)] | None, 101, "", "must be from 0 to 100"),
        (Annotated[float, msgspec.Meta(lt=5)], 7.5, "", "must be less than 5"),
        (Annotated[str, msgspec.Meta(max_length=2)], "xxx", "", "must have at most 2 characters"),
        (Annotated[str, msgspec.Meta(min_length=1)], "", "", "must not be empty"),
        (Annotated[list[int], msgspec.Meta(min_length=2)], [1], "", "must have at least 2 items"),
        (Annotated[str, msgspec.Meta(pattern="^a'\\d$")], "b", "", "must match ^a'\\d$"),
        (datetime, "x", "", "must be a time with its offset, such as 2026-01-31T12:00:00Z"),
        (date, "x", "", "must be a date, such as 2026-01-31"),
        (time, "x", "", "must be a time of day, such as 09:30:00"),
        (Decimal, "x", "", 'must be a decimal string, such as "12.50"'),
        (Decimal, True, "", 'must be a decimal string, such as "12.50"'),
        (uuid.UUID, "x", "", "must be a UUID"),
        (Annotated[datetime, msgspec.Meta(tz=True)], "2026-01-01T00:00:00", "", "needs a time zone, such as"),
    ],
    ids=str,
)
def test_a_person_reads_what_is_wrong_and_where(kind: Any, sent: Any, place: str, reason: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(sent, kind, strict=True)
    found, said = reason_of(refused.value, kind)
    assert (found, said.startswith(reason)) == (place, True), said


def test_a_sentence_that_nobody_translated_is_told_as_it_is() -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"type": "third"}, Inner | Other)
    assert reason_of(refused.value, Inner | Other) == (".type", "Invalid value 'third'")
