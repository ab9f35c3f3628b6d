"""When it is night where somebody is: what is not an answer waits until morning."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

UNKNOWN = "Etc/Unknown"
_FURTHEST = timedelta(hours=36)


class QuietHours(msgspec.Struct, frozen=True):
    """From when until when nothing is sent that is not an answer, by the clock of whoever would get it."""

    start: time
    end: time

    def over_at(self, at: datetime, zone: str) -> datetime:
        """``at`` itself, or the end of the quiet hours that it falls into in that time zone."""
        local = at.astimezone(ZoneInfo(zone))
        clock = local.time().replace(tzinfo=None)
        if self.start <= self.end:
            is_quiet, tomorrow = self.start <= clock < self.end, False
        else:
            is_quiet, tomorrow = clock >= self.start or clock < self.end, clock >= self.start
        if not is_quiet:
            return at
        day = local.date() + timedelta(days=1) if tomorrow else local.date()
        return datetime.combine(day, self.end, ZoneInfo(zone)).astimezone(at.tzinfo)


# 47 CFR 64.1200(c)(1): no telephone solicitation before 8 a.m. or after 9 p.m., at the called party's location.
THE_LAWS = QuietHours(start=time(21), end=time(8))


def quiet_hours(settings: Mapping[str, Any], *, automatic: bool) -> QuietHours | None:
    """What a workspace's ``quietHours`` say: its own, for everything; none, where it says ``false``.

    A workspace that says nothing has the law's, 21:00 to 08:00, for what is sent automatically. Whoever writes to one
    person by hand knows what they do.
    """
    said = settings.get("quietHours")
    if said is None:
        return THE_LAWS if automatic else None
    if said is False:
        return None
    return QuietHours(start=time.fromisoformat(said["start"]), end=time.fromisoformat(said["end"]))


def mistake(said: Any) -> str | None:
    """What is wrong with a workspace's ``quietHours``."""
    if said is False:
        return None
    wanted = 'must be false, or an object such as {"start": "21:00", "end": "08:00"}'
    if not isinstance(said, dict) or said.keys() != {"start", "end"}:
        return wanted
    for clock in said.values():
        try:
            if not isinstance(clock, str) or len(clock) != 5 or time.fromisoformat(clock).tzinfo is not None:
                return wanted
        except ValueError:
            return wanted
    return None


@lru_cache(maxsize=4096)
def zones_of(address: str) -> tuple[str, ...]:
    """The time zones a phone number may be in, by its country and area code; none when that is not known."""
    if not address.startswith("+"):
        return ()
    import phonenumbers.timezone  # half a megabyte of tables, and needed for campaigns only

    try:
        number = phonenumbers.parse(address)
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for zone in phonenumbers.timezone.time_zones_for_number(number) if zone != UNKNOWN)


def opens_at(at: datetime, quiet: QuietHours, zones: Sequence[str], otherwise: str) -> tuple[datetime, str]:
    """The first moment from ``at`` on at which it is quiet in none of the ``zones``; and the zone that decides.

    Where they never agree (a number of a whole continent) or there are none, the clock of ``otherwise`` counts.
    """
    moment, decides = at, zones[0] if zones else otherwise
    for _ in range(2 * len(zones)):
        latest, zone = max((quiet.over_at(moment, zone), zone) for zone in zones)
        if latest == moment:
            return moment, decides
        moment, decides = latest, zone
        if moment - at > _FURTHEST:
            break
    if zones and all(quiet.over_at(moment, zone) == moment for zone in zones) and moment - at <= _FURTHEST:
        return moment, decides
    return quiet.over_at(at, otherwise), otherwise
