"""How often somebody may try: counted in the database, so that it holds for all processes together.

Or, where what is asked for costs little more than to count it there, in each process by itself.
"""

import hashlib
import ipaddress
import time
from collections.abc import Sequence
from datetime import datetime
from math import ceil

import msgspec
from sqlalchemy import text

from comms.database import Database
from comms.errors import TooMany
from models.types import spelt


class Allowance(msgspec.Struct, frozen=True):
    """``burst`` attempts at once, and a further one every ``seconds``."""

    burst: int
    seconds: float


BY_EMAIL = Allowance(10, 60)
BY_ADDRESS = Allowance(50, 6)
BY_AGENT = Allowance(100, 0.02)
"""Of the requests of one agent's token, in each process: a runtime that runs away leaves room for everybody else."""

# The generic cell rate algorithm: one instant per key says all. An attempt that is refused does not move it.
_TRY = text(
    """
    INSERT INTO sign_in_limits AS l (key, until) VALUES (:key, now() + make_interval(secs => :seconds))
    ON CONFLICT (key) DO UPDATE SET until = greatest(l.until, now()) + make_interval(secs => :seconds)
    WHERE greatest(l.until, now()) + make_interval(secs => :seconds) <= now() + make_interval(secs => :longest)
    RETURNING until
    """
)
_WAIT = text("SELECT extract(epoch FROM until - now())::float8 FROM sign_in_limits WHERE key = :key")
_SWEEP = text(
    "DELETE FROM sign_in_limits WHERE key IN"
    " (SELECT key FROM sign_in_limits WHERE until < now() LIMIT 100 FOR UPDATE SKIP LOCKED)"
)
_FORGIVE = text("DELETE FROM sign_in_limits WHERE key = :key")


async def admit(database: Database, *, email: str, address: str | None) -> None:
    """One more attempt to prove a password is counted; raises ``TooMany`` when there were too many."""
    asked = [] if address is None else [("address", address, BY_ADDRESS)]
    await count(database, [*asked, ("email", spelt(email).lower(), BY_EMAIL)])


async def count(database: Database, attempts: Sequence[tuple[str, str, Allowance]]) -> None:
    """One more attempt is counted of each kind and value; raises ``TooMany`` when there were too many of one.

    Its own unit of work: what is counted stays counted, whatever becomes of the attempt. A kind that ends in
    ``address`` is of IP addresses.
    """
    refused: float | None = None
    async with database.everywhere() as db:
        await db.execute(_SWEEP)
        for kind, value, allowance in attempts:
            key = _key(kind, _network(value) if kind.endswith("address") else value)
            longest = allowance.burst * allowance.seconds
            values = {"key": key, "seconds": allowance.seconds, "longest": longest}
            admitted: datetime | None = await db.scalar(_TRY, values)
            if admitted is None:
                ahead = await db.scalar(_WAIT, {"key": key})
                refused = float(ahead or 0) + allowance.seconds - longest
                break
    if refused is not None:
        raise TooMany(max(1, ceil(refused)))


async def forgive(database: Database, *, email: str) -> None:
    """Whoever has just proved the password may mistype it again."""
    async with database.everywhere() as db:
        await db.execute(_FORGIVE, {"key": _key("email", spelt(email).lower())})


class Pace:
    """How often each comes to this process; told apart by what they come with."""

    MOST = 10_000

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._until: dict[bytes, float] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._until

    def count(self, key: bytes) -> None:
        """They have come once more; raises ``TooMany``, and what is refused does not count."""
        at, each = time.monotonic(), self._allowance.seconds
        until = max(self._until.get(key, at), at) + each
        if (ahead := until - at - self._allowance.burst * each) > 0:
            raise TooMany(max(1, ceil(ahead)))
        if len(self._until) >= self.MOST:
            self._until = {one: then for one, then in self._until.items() if then > at}
        self._until[key] = until


def _key(kind: str, value: str) -> str:
    """No list of who tried to sign in is kept, only what tells them apart."""
    return f"{kind}:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"


def _network(address: str) -> str:
    """An IPv6 household has 2^64 addresses: they count as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
