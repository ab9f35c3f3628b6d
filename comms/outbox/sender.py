"""Sends what is due: takes the first message of each conversation, gives it to its provider, keeps the answer.

    lease ──► look, if somebody may have sent it already ──► send, once ──► settle
                 found: sent                                   accepted: sent
                 not there, and long enough ago: send it       refused: failed, or by another number
                 not there yet: look again later               busy: later
                                                               unclear: look, later

No transaction is open while a provider is asked. A process that dies leaves leases that run out; whoever takes them
next looks before it sends. How many are under way at once is bounded, and a conversation has one at most.
"""

import asyncio
import contextlib
import random
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import perf_counter
from typing import Any

import msgspec
import structlog

from comms import metrics
from comms.consent import Decision, Question, decide
from comms.database import Database
from comms.directory import Connection, Directory, DirectoryUnknown
from comms.groups import SESSION, Groups, Unavailable
from comms.jobs import JobFailed
from comms.outbox import fencing, leasing, settling
from comms.outbox.addressing import SENT_HERE
from comms.outbox.fairness import shares
from comms.outbox.leasing import Lease
from comms.outbox.packing import Packing
from comms.outbox.settling import Result, Settled
from comms.outbox.transports import Transport
from comms.providers.outgoing import Accepted, Busy, CannotAsk, Listed, Outgoing, Refused, Unclear
from models.base import now

log = structlog.get_logger(__name__)


class Pace(msgspec.Struct, frozen=True):
    """How long things take, and how long is too long; in seconds.

    ``send`` is the longest a request may take, and shorter than a ``lease``. What a provider does not show ``settled``
    seconds after it was tried, it never took. ``look_around`` is how soon, in a storm, another workspace is seen.
    """

    at_once: int = 96
    lease: float = leasing.LEASE_SECONDS
    send: float = 20.0
    settled: float = 60.0
    look_again: tuple[float, ...] = (2, 5, 10, 20, 30)
    back_off: tuple[float, ...] = (1, 2, 5, 15, 30, 60, 120, 300)
    give_up: float = 24 * 3600
    fall_over_after: int = 3
    poll: float = 1.0
    breath: float = 0.004
    look_around: float = 0.05


class Sender:
    """Sends what is due, over the ``transports`` of each provider, as long as it runs."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        transports: Mapping[str, Transport],
        packing: Packing,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._database = database
        self._directory = directory
        self._transports = transports
        self._packing = packing
        self._pace = pace or Pace()
        self._results: Groups[Result, Settled] = Groups(settling.NAME, database, settling.settle, settling.spoil)
        self._rung = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], uuid.UUID] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What is due is sent, from here on."""
        await self._results.start()
        self._task = asyncio.create_task(self._run(), name="sender")

    async def stop(self, grace_seconds: float = 20) -> None:
        """Nothing more is taken; what was under way had ``grace_seconds`` to be answered and kept."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        for task in self._under_way:
            task.cancel()
        await self._results.stop()
        for transport in self._transports.values():
            await transport.close()

    def ring(self) -> None:
        """Something may be due now."""
        self._rung.set()

    async def _run(self) -> None:
        while True:
            connection: Any = None
            try:
                connection = await self._database.connect()
                if not self._database.pgbouncer:
                    await connection.execute(SESSION)
                await self._take_turns(connection)
            except Exception as error:  # the database is away: what is due waits where it is
                log.warning("sender.interrupted", error=str(JobFailed(error)))
                await asyncio.sleep(0.5)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _take_turns(self, connection: Any) -> None:
        loop = asyncio.get_running_loop()
        due: list[uuid.UUID] = []
        looked_at = 0.0
        while True:
            self._rung.clear()
            wait = self._pace.poll if not due else self._pace.look_around
            if len(self._under_way) < self._pace.at_once:
                if not due or loop.time() - looked_at > self._pace.look_around:
                    lines = await leasing.waiting(connection)
                    due = [workspace_id for workspace_id, seconds in lines if seconds <= 0]
                    looked_at = loop.time()
                    wait = min([self._pace.poll, *(seconds for _, seconds in lines if seconds > 0)])
                allowed = shares(due, Counter(self._under_way.values()), self._pace.at_once)
                if allowed:
                    leases = await leasing.lease(connection, allowed, self._pace.lease, loop.time())
                    for lease, decision in zip(leases, await _decide(connection, leases), strict=True):
                        self._begin(lease, decision)
                    wait = 0.0
                if not allowed or not leases:  # whoever may have no more is looked at when one of theirs has ended
                    due = []
            # Not ``wait_for``: that one forgets a cancellation in the instant in which the bell rings.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait or self._pace.breath):
                    await self._rung.wait()
            await asyncio.sleep(self._pace.breath)  # whatever else becomes due in this instant is taken with it

    def _begin(self, lease: Lease, decision: Decision) -> None:
        task = asyncio.create_task(self._deliver(lease, decision))
        self._under_way[task] = lease.workspace_id
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.pop(task, None)
        self._rung.set()

    async def _deliver(self, lease: Lease, decision: Decision) -> None:
        try:
            result = _held_back(lease, decision) or await self._try(lease)
        except Exception as error:  # of ours: nothing is known of what the provider has
            log.error("outbox.unexpected", message_id=str(lease.id), error=str(JobFailed(error)))
            words = f"something unexpected happened ({type(error).__name__})"
            result = Result(lease=lease, outcome="unclear", words=words, seconds=self._pace.back_off[-1])
        try:
            await self._results.add(result)
        except Unavailable:
            # The lease runs out, and whoever has the message next asks the provider first.
            log.warning("outbox.not_kept", message_id=str(lease.id), outcome=result.outcome)

    async def _try(self, lease: Lease) -> Result:
        """What came of it; the provider is asked to send at most once."""
        try:
            connection = await self._connection(lease)
            transport = self._transports.get(lease.route.provider)
            if transport is None:
                raise Refused(None, f"Nothing is sent by {lease.route.provider} here.", of_connection=True)
            outgoing = await self._packing.pack(lease, connection)
            if lease.is_unclear:
                return await self._look(lease, transport, outgoing, connection)
            _expect_number(lease)
            if lease.until - asyncio.get_running_loop().time() < self._pace.send:
                return Result(lease=lease, outcome="again")
            return _sent(lease, await self._send(transport, outgoing, connection))
        except Refused as error:
            return self._refused(lease, error)
        except Busy as error:
            return self._busy(lease, error)
        except Unclear as error:
            return self._unclear(lease, error.words)

    async def _connection(self, lease: Lease) -> Connection:
        try:
            found = await self._directory.look_up(str(lease.route.connection_id))
        except DirectoryUnknown:
            raise Busy("which connections there are is not known just now") from None
        if found is None or found.credentials is None:
            why = "has been switched off or removed" if found is None else "has a secret that cannot be opened"
            raise Refused(None, f"The connection it was to leave by {why}.", of_connection=True)
        return found

    async def _send(self, transport: Transport, outgoing: Outgoing, connection: Connection) -> Accepted:
        began = perf_counter()
        try:
            async with asyncio.timeout(self._pace.send):
                return await transport.send(outgoing, connection)
        except TimeoutError:
            raise Unclear(f"the provider has not answered for {self._pace.send:g} seconds") from None
        finally:
            metrics.SEND_SECONDS.labels(connection.provider).observe(perf_counter() - began)

    async def _look(self, lease: Lease, transport: Transport, outgoing: Outgoing, connection: Connection) -> Result:
        """Whether the provider has it: then it is sent; else, once that is sure, it is sent again."""
        known = await self._packing.told_of(lease)
        if known is not None:
            return Result(lease=lease, outcome="sent", provider_message_id=known)
        try:
            async with asyncio.timeout(self._pace.send):
                listed = await transport.find(outgoing, connection)
        except CannotAsk as error:
            words = str(error) or "It is not known whether it was sent, and this provider cannot be asked."
            return Result(lease=lease, outcome="failed", code="unclear", words=words)
        except TimeoutError:
            raise Unclear("the provider does not answer when it is asked what it has") from None
        found = await self._packing.ours_of(lease, _like(outgoing, listed))
        if found is not None:
            return _sent(lease, found)
        if now() - lease.attempted_at < timedelta(seconds=self._pace.settled):
            raise Unclear("the provider does not have it (yet)")
        return Result(lease=lease, outcome="again", words="the provider never took it: it is sent again")

    def _refused(self, lease: Lease, error: Refused) -> Result:
        if error.of_connection and lease.fallback is not None and not lease.is_unclear:
            return Result(lease=lease, outcome="elsewhere", route=lease.fallback, words=error.words)
        if lease.is_unclear and error.of_connection:  # whether it was sent is what could not be asked
            return self._unclear(lease, error.words)
        return Result(lease=lease, outcome="failed", code=error.code, words=error.words)

    def _busy(self, lease: Lease, error: Busy) -> Result:
        if lease.is_unclear:
            return self._unclear(lease, error.words)
        if lease.fallback is not None and lease.attempt >= self._pace.fall_over_after:
            return Result(lease=lease, outcome="elsewhere", route=lease.fallback, words=error.words)
        # Behind others, or at its number's pace, it may have waited for long before it was tried at all.
        is_tried = lease.attempt > len(self._pace.back_off)
        if is_tried and now() - lease.line_at > timedelta(seconds=self._pace.give_up):
            words = f"The provider did not take it for {self._pace.give_up / 3600:g} hours: {error.words}"
            return Result(lease=lease, outcome="failed", code="expired", words=words)
        pause = max(_nth(self._pace.back_off, lease.attempt), error.retry_after or 0)
        return Result(lease=lease, outcome="later", words=error.words, seconds=pause * random.uniform(1, 1.5))

    def _unclear(self, lease: Lease, words: str) -> Result:
        """To be looked up; by people, when it could not be for a day."""
        if lease.is_unclear and now() - lease.attempted_at > timedelta(seconds=self._pace.give_up):
            words = f"Whether it was sent is not known, and could not be asked: {words}"
            return Result(lease=lease, outcome="failed", code="unclear", words=words)
        waited = (now() - lease.attempted_at).total_seconds() if lease.is_unclear else 0.0
        pause = next((pause for pause in self._pace.look_again if pause > waited / 2), self._pace.look_again[-1])
        return Result(lease=lease, outcome="unclear", words=words, seconds=pause * random.uniform(1, 1.2))


async def _decide(db: Any, leases: Sequence[Lease]) -> list[Decision]:
    """What those who are written to want, at the moment of sending."""
    return await decide(
        db,
        [
            Question(
                workspace_id=lease.workspace_id,
                channel=lease.channel,
                address=lease.route.to_address,
                sender=lease.route.from_address,
                is_reply=lease.is_reply,
                is_automatic=lease.sender_type != "user",
                at=now(),
                message_id=lease.id,
            )
            for lease in leases
        ],
    )


def _expect_number(lease: Lease) -> None:
    """The number it is to leave by may still send; what was so when it was put in line may have changed since."""
    if lease.channel in SENT_HERE and lease.number_status != "active":
        why = "has been removed" if lease.number_status is None else f"is {lease.number_status} now"
        raise Refused(None, f"The number it was to leave by {why}.", of_connection=True)


def _held_back(lease: Lease, decision: Decision) -> Result | None:
    """What comes of a message that must not leave, or not now; None when it may, or may have left already."""
    if lease.is_stale:
        return Result(lease=lease, outcome="canceled", words=fencing.CALLED_BACK)
    if decision.allowed or lease.is_unclear:
        return None
    note = {"consent": decision.explained(now())}
    if decision.not_before is not None:
        return Result(lease=lease, outcome="later", until=decision.not_before, words=decision.words, note=note)
    return Result(lease=lease, outcome="failed", code=decision.code, words=decision.words, note=note)


def _sent(lease: Lease, accepted: Accepted) -> Result:
    is_failed = accepted.status in ("failed", "undelivered", "canceled")
    return Result(
        lease=lease,
        outcome="sent",
        provider_message_id=accepted.provider_message_id,
        status=accepted.status,
        segments=accepted.segments,
        code=accepted.error_code if is_failed else None,
        words=accepted.error_message if is_failed else None,
    )


SKEW = timedelta(seconds=60)
"""How far a provider's clock may be from ours."""


TRIAL = re.compile(r"Sent from (your|a) \w+ trial account - ", re.IGNORECASE)
"""What a provider puts before every text of an account that is a trial."""


def _like(outgoing: Outgoing, listed: Sequence[Listed]) -> list[Listed]:
    """Those between the same two addresses, of the same text, that are no older than the attempt."""
    since = None if outgoing.attempted_at is None else outgoing.attempted_at - SKEW
    said = _as_read(outgoing.content)
    return [
        one
        for one in listed
        if (one.sender, one.recipient) == (outgoing.sender, outgoing.recipient)
        and said in (_as_read(one.content), _as_read(TRIAL.sub("", one.content, count=1)))
        and (since is None or one.at is None or one.at >= since)
    ]


def _as_read(content: str) -> str:
    """The text without what may become of it on its way: line ends, spaces, and how a letter is composed."""
    return " ".join(unicodedata.normalize("NFC", content).split())


def _nth(pauses: Sequence[float], attempt: int) -> float:
    return pauses[min(attempt, len(pauses)) - 1]
