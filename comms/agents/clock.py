"""When a cron expression comes due, as somebody in its time zone would expect."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

_SPAN = timedelta(minutes=1)


def next_run(cron: str, timezone: str, after: datetime) -> datetime:
    """The first moment after ``after`` that ``cron`` names on the clocks of ``timezone``.

    A time of day that a clock skips in spring comes due as soon as the gap is over, one that it shows twice in autumn
    comes due once. What comes round every hour goes by the time that passes instead, through both.
    """
    zone = ZoneInfo(timezone)
    times = croniter(cron, after.astimezone(zone))
    is_hourly = times.expanded[1] == ["*"]
    while True:
        due: datetime = times.get_next(datetime).astimezone(zone)
        if is_hourly or not due.fold:
            return due.astimezone(after.tzinfo)


def runs_until(cron: str, timezone: str, since: datetime, until: datetime, most: int) -> list[datetime]:
    """The last moments, ``most`` of them, after ``since`` and not after ``until``, the earliest first.

    They are looked for in spans of time that double, from ``until`` backwards: a year of minutes costs no more than an
    hour of them.
    """
    span = _SPAN * most
    while True:
        begin = max(since, until - span)
        times = []
        at = begin
        while (at := next_run(cron, timezone, at)) <= until:
            times.append(at)
        if len(times) >= most or begin == since:
            return times[-most:]
        span *= 2
