"""When cron expressions come due, around the days on which clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from comms.agents.clock import next_run

CASES = [
    # New York, 8 March 2026: 02:00 becomes 03:00
    ("0 9 * * *", "America/New_York", "2026-03-07T12:00-05:00", "2026-03-08T09:00-04:00"),
    ("30 2 * * *", "America/New_York", "2026-03-07T12:00-05:00", "2026-03-08T03:00-04:00"),
    ("30 2 * * *", "America/New_York", "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"),
    ("*/30 * * * *", "America/New_York", "2026-03-08T01:30-05:00", "2026-03-08T03:00-04:00"),
    # New York, 1 November 2026: 02:00 becomes 01:00
    ("0 9 * * *", "America/New_York", "2026-10-31T12:00-04:00", "2026-11-01T09:00-05:00"),
    ("30 1 * * *", "America/New_York", "2026-10-31T12:00-04:00", "2026-11-01T01:30-04:00"),
    ("30 1 * * *", "America/New_York", "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"),
    ("*/30 * * * *", "America/New_York", "2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00"),
    ("*/30 * * * *", "America/New_York", "2026-11-01T01:30-05:00", "2026-11-01T02:00-05:00"),
    # and where they do not
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00+00:00", "2028-02-29T00:00+00:00"),
    ("0 9 * * 1-5", "Asia/Kolkata", "2026-11-20T09:00+05:30", "2026-11-23T09:00+05:30"),
]


@pytest.mark.parametrize(("cron", "zone", "after", "due"), CASES)
def test_it_comes_due_when_the_clocks_there_say_so(cron: str, zone: str, after: str, due: str) -> None:
    found = next_run(cron, zone, datetime.fromisoformat(after).astimezone(UTC))
    assert found == datetime.fromisoformat(due), found.astimezone(ZoneInfo(zone)).isoformat()
    assert found.tzinfo is UTC
