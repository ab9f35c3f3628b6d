"""When a cron expression comes due next, as somebody in its time zone would expect."""

from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter


def next_run(cron: str, timezone: str, after: datetime) -> datetime:
    """The first moment after ``after`` that ``cron`` names on the clocks of ``timezone``.

    A time of day that a clock skips in spring comes due as soon as the gap is over, one that it shows twice in autumn
    comes due once. What comes round every hour goes by the time that passes instead, through both.
    """
    zone = ZoneInfo(timezone)
    is_hourly = cron.split()[1].startswith("*")
    times = croniter(cron, after.astimezone(zone))
    while True:
        due: datetime = times.get_next(datetime).astimezone(zone)
        if is_hourly or not due.fold:
            return due.astimezone(after.tzinfo)
