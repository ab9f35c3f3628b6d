"""Whether a business is open: its week, its holidays, and where its clock stands."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Clock = Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class Span(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """From one time of the day to another; one that ends before it begins goes on past midnight."""

    begins: Clock = msgspec.field(name="from")
    ends: Clock = msgspec.field(name="to")


class Holiday(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A day unlike others of its name: closed, or open at these hours instead."""

    on: date
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    open: Annotated[tuple[Span, ...], msgspec.Meta(max_length=10)] = ()


Schedule = Mapping[Weekday, tuple[Span, ...]]


def is_open(schedule: Schedule, holidays: tuple[Holiday, ...], zone: str, at: datetime) -> bool:
    """Whether the hours of ``at``'s day there, or those of the day before that go past midnight, include it."""
    local = at.astimezone(ZoneInfo(zone))
    clock = f"{local:%H:%M}"
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    return any(_includes(span, clock) for span in _hours(schedule, holidays, today)) or any(
        span.ends < span.begins and clock < span.ends for span in _hours(schedule, holidays, yesterday)
    )


def _hours(schedule: Schedule, holidays: tuple[Holiday, ...], day: date) -> tuple[Span, ...]:
    for holiday in holidays:
        if holiday.on == day:
            return holiday.open
    return schedule.get(WEEK[day.weekday()], ())


def _includes(span: Span, clock: str) -> bool:
    if span.ends < span.begins:
        return clock >= span.begins
    return span.begins <= clock < span.ends
