"""Who is here: what all devices of a person say together, whatever process they are connected to.

It is for the moment and kept nowhere. Each process says what it knows of its own people, again and again, so that a
word that got lost is made good and whoever a dead process has shown is gone before long.
"""

import time
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from comms.hub.protocol import Here, PresenceSeen, Shown, Status
from comms.sockets import Wire

GRACE_SECONDS = 5.0
"""Who comes back within it was never away."""

REPORT_SECONDS = 20
FORGET_SECONDS = 3.0 * REPORT_SECONDS
REPORTED_AT_ONCE = 100  # people in one word to the other processes, which takes some thousand bytes

_RANK: dict[Shown, int] = {"offline": 0, "away": 1, "online": 2, "busy": 3, "on_call": 4}

LINE = "call_leg"
"""The noun whose events may begin or end that somebody is on a call."""

ON_CALL = """
SELECT workspace_id, array_agg(DISTINCT user_id) AS users FROM call_legs
WHERE workspace_id = ANY($1) AND user_id IS NOT NULL AND answered_at IS NOT NULL AND ended_at IS NULL
GROUP BY workspace_id
"""

HERE = f"""
INSERT INTO routing_turns AS t (workspace_id, user_id, online_until)
SELECT p.workspace_id, p.user_id, now() + make_interval(secs => CASE WHEN h.is_here THEN {FORGET_SECONDS} ELSE 0 END)
FROM unnest($1::uuid[], $2::uuid[], $3::bool[]) AS h (workspace_id, user_id, is_here)
JOIN routing_profiles p ON p.workspace_id = h.workspace_id AND p.user_id = h.user_id AND p.needs_presence
ORDER BY 1, 2
ON CONFLICT (workspace_id, user_id) DO UPDATE SET online_until = excluded.online_until
"""
"""For routing: until when somebody is believed to be here, of those who must be."""


class Report(msgspec.Struct, array_like=True, tag=True):
    """What one process says of its people in a workspace."""

    place: uuid.UUID
    workspace_id: uuid.UUID
    people: dict[uuid.UUID, Status]


class Question(msgspec.Struct, array_like=True, tag=True):
    """A process would like to know who is in a workspace."""

    workspace_id: uuid.UUID


class Roster:
    """The people of a workspace; ``place`` is this process."""

    def __init__(self, workspace_id: uuid.UUID, place: uuid.UUID) -> None:
        self.calls_in_doubt = True
        self._workspace_id = workspace_id
        self._place = place
        self._devices: dict[uuid.UUID, dict[Wire, Status]] = {}
        self._left: dict[uuid.UUID, tuple[Status, float]] = {}  # and until when that stands
        self._elsewhere: dict[tuple[uuid.UUID, uuid.UUID], tuple[Status, float]] = {}
        self._on_call: frozenset[uuid.UUID] = frozenset()
        self._shown: dict[uuid.UUID, Shown] = {}
        self._reported: dict[uuid.UUID, Status] = {}
        self._stirred: set[uuid.UUID] = set()

    # What happens

    def says(self, wire: Wire, user_id: uuid.UUID, status: Status) -> None:
        """A device here says how its user is."""
        self._devices.setdefault(user_id, {})[wire] = status
        self._left.pop(user_id, None)
        self._stirred.add(user_id)

    def leaves(self, wire: Wire, user_id: uuid.UUID) -> None:
        """A device here is gone; its user may be back in a moment."""
        devices = self._devices.get(user_id, {})
        status = devices.pop(wire, None)
        if status is not None and not devices:
            del self._devices[user_id]
            self._left[user_id] = (status, time.monotonic() + GRACE_SECONDS)
        self._stirred.add(user_id)

    def hears(self, report: Report) -> None:
        """Another process says how its people are."""
        now = time.monotonic()
        for user_id, status in report.people.items():
            key = (report.place, user_id)
            if status != "offline":
                self._elsewhere[key] = (status, now + FORGET_SECONDS)
            elif key in self._elsewhere:
                before, until = self._elsewhere[key]
                self._elsewhere[key] = (before, min(until, now + GRACE_SECONDS))
            self._stirred.add(user_id)

    def are_on_call(self, users: Iterable[uuid.UUID]) -> None:
        """These members are on a call, and nobody else."""
        before, self._on_call = self._on_call, frozenset(users)
        self._stirred |= before ^ self._on_call

    def time_passes(self) -> bool:
        """Who did not come back has left, and of whom nothing is heard; whether that may change anything."""
        now = time.monotonic()
        for user_id in [user for user, (_, until) in self._left.items() if until < now]:
            del self._left[user_id]
            self._stirred.add(user_id)
        for key in [key for key, (_, until) in self._elsewhere.items() if until < now]:
            del self._elsewhere[key]
            self._stirred.add(key[1])
        return bool(self._stirred)

    # What is told of it

    def here(self) -> Here:
        """Everybody who is not offline, as it has been told."""
        return Here([PresenceSeen(user_id, status) for user_id, status in self._shown.items()])

    def settled(self) -> tuple[list[PresenceSeen], list[Report]]:
        """Who is here in another way than was told, for those who listen and for the other processes; now it is."""
        changes: list[PresenceSeen] = []
        news: dict[uuid.UUID, Status] = {}
        for user_id in self._stirred:
            status, here = self._status(user_id), self._status_here(user_id)
            if status != self._shown.get(user_id, "offline"):
                changes.append(PresenceSeen(user_id, status))
                _note(self._shown, user_id, status)
            if here != self._reported.get(user_id, "offline"):
                news[user_id] = here
                _note(self._reported, user_id, here)
        self._stirred.clear()
        return changes, self._reports(news)

    def everything(self) -> list[Report]:
        """For the other processes: everybody here."""
        return self._reports(self._reported)

    def nobody(self) -> list[Report]:
        """For the other processes: nobody is here any more."""
        return self._reports(dict.fromkeys(self._reported, "offline"))

    def _reports(self, people: dict[uuid.UUID, Status]) -> list[Report]:
        named = list(people.items())
        parts = (dict(named[start : start + REPORTED_AT_ONCE]) for start in range(0, len(named), REPORTED_AT_ONCE))
        return [Report(self._place, self._workspace_id, part) for part in parts]

    def _status(self, user_id: uuid.UUID) -> Shown:
        if user_id in self._on_call:
            return "on_call"
        last = [self._left[user_id][0]] if user_id in self._left else []
        elsewhere = (status for (_, user), (status, _) in self._elsewhere.items() if user == user_id)
        return max((self._status_here(user_id), *last, *elsewhere), key=_RANK.__getitem__)

    def _status_here(self, user_id: uuid.UUID) -> Status:
        return max(self._devices.get(user_id, {}).values(), key=_RANK.__getitem__, default="offline")


def _note(known: dict[uuid.UUID, Any], user_id: uuid.UUID, status: Shown) -> None:
    if status == "offline":
        known.pop(user_id, None)
    else:
        known[user_id] = status
