"""Delivers what is due: leases lines, posts what waits in each, one after the other, and keeps what came of it.

    lease ──► sign, look at the address, post ──► delivered: the next of the line
                                                  not: later, and what is behind it waits
          ──► settle

No transaction is open while an endpoint is asked. A process that dies leaves leases that run out, and whoever has them
next posts again, under the same ``webhook-id``. How much is under way is bounded, for each endpoint and workspace too:
who answers slowly, or has much to hear, delays nobody else.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog

from comms import metrics
from comms.database import Database
from comms.groups import SESSION, Groups, Unavailable
from comms.hooks import endings, following, hearing, leasing, replaying, settling, signing
from comms.hooks.asking import TOTAL_SECONDS, Answer, ask, body_of, shown
from comms.hooks.leasing import Due, Lease, Waiting
from comms.hooks.settling import Key, Result, Try
from comms.jobs import JobFailed
from comms.names import Lookup, look_up
from comms.outbox.fairness import shares
from comms.outside import Crowded, Outside
from comms.readers import Reader
from comms.settings import WebhookSettings
from comms.vault import Unsealable, Vault

log = structlog.get_logger(__name__)


class Pace(msgspec.Struct, frozen=True):
    """How much at once, and how long things take; in seconds.

    Deliveries of a lease are begun within ``spend``, for what was read with it may change: the address, the secrets,
    what whoever is behind it may hear. The ``lease`` is longer, by more than one request. A line that could not be
    delivered because of us is taken again after a ``rest``.
    """

    at_once: int = 192
    at_an_endpoint: int = 8
    of_a_line: int = 8
    lease: float = 90.0
    spend: float = 1.0
    total: float = TOTAL_SECONDS
    poll: float = 1.0
    rest: float = 0.5
    breath: float = 0.002


class Posting:
    """Reads the log for those who listen, and delivers, as long as it runs."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: WebhookSettings,
        *,
        pace: Pace | None = None,
        lookup: Lookup = look_up,
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._pace = pace or Pace()
        self._outside = Outside(keep=True, networks=settings.networks, lookup=lookup)
        self._results: Groups[Result, bool] = Groups(settling.NAME, database, settling.settle, settling.spoil)
        self._reader = following.reader(database)
        self._replays = Reader(database, "replays", replaying.running, replaying.go_on)
        self._read: set[uuid.UUID] = set()
        self._news: set[uuid.UUID] = set()
        self._heard = asyncio.Event()
        self._rung = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Key] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """What happens is told, from here on."""
        await self._results.start()
        self._tasks = [
            asyncio.create_task(self._forever(turns), name="webhooks")
            for turns in (self._follow, self._tell_again, self._post)
        ]

    async def stop(self, grace_seconds: float = 20) -> None:
        """Nothing more is taken; what was under way had ``grace_seconds`` to be answered and kept."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        for under_way in self._under_way:
            under_way.cancel()
        await self._results.stop()
        await self._outside.close()

    def told(self, workspace_id: uuid.UUID, seq: int) -> None:
        """The log of a workspace has grown."""
        if workspace_id in self._read:
            self._news.add(workspace_id)
            self._heard.set()

    async def _forever(self, turns: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turns()
            except Exception as error:  # the database is away: what is due waits where it is
                log.warning("webhooks.interrupted", error=str(JobFailed(error)))
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await self._database.connect()
        try:
            if not self._database.pgbouncer:
                await connection.execute(SESSION)
            yield connection
        finally:
            connection.terminate()

    async def _follow(self) -> None:
        """A workspace's flood is read a piece at a time, in turn with the others' logs."""
        looked_at = 0.0
        async with self._connection() as connection:
            while True:
                if time.monotonic() - looked_at > self._pace.poll:
                    self._read = {row[0] for row in await connection.fetch(_READ)}
                    async with self._database.everywhere() as db:
                        self._news |= set(await following.behind(db))
                    looked_at = time.monotonic()
                self._heard.clear()
                news, self._news = self._news, set()
                for workspace_id in news:
                    more = await self._reader.turn([workspace_id])
                    self._rung.set()
                    self._news.update(more)
                if not self._news:
                    await _until(self._heard, self._pace.poll)

    async def _tell_again(self) -> None:
        """What is told again is put in line a piece at a time, beside what happens now: that waits for none of it."""
        while True:
            async with self._database.everywhere() as db:
                workspaces = await replaying.running(db)
            if await self._replays.turn(workspaces):
                self._rung.set()
            if workspaces:
                self._news.update(workspaces)  # whose logs nobody could read meanwhile
                self._heard.set()
            await asyncio.sleep(self._pace.poll)

    async def _post(self) -> None:
        loop = asyncio.get_running_loop()
        pace = self._pace
        async with self._connection() as connection:
            while True:
                self._rung.clear()
                wait = pace.poll
                if len(self._under_way) < pace.at_once:
                    found = await leasing.waiting(connection)
                    wait = min([wait, *(one.seconds for one in found if one.seconds > 0)])
                    allowed = self._allowed([one for one in found if one.seconds <= 0])
                    if allowed:
                        for lease in await leasing.lease(connection, allowed, pace.lease, loop.time(), pace.of_a_line):
                            self._begin(lease)
                await _until(self._rung, max(wait, pace.breath))
                await asyncio.sleep(pace.breath)  # whatever else becomes due in this instant is taken with it

    def _allowed(self, due: Sequence[Waiting]) -> dict[Key, int]:
        """How many more lines of each endpoint may be taken: workspaces share what there is, and so do endpoints."""
        busy = Counter(self._under_way.values())
        of_workspaces = Counter(workspace_id for workspace_id, _ in self._under_way.values())
        waiting: dict[uuid.UUID, list[Waiting]] = {}
        for one in due:
            room = 1 if one.is_down else self._pace.at_an_endpoint
            if busy[one.workspace_id, one.endpoint_id] < room:
                waiting.setdefault(one.workspace_id, []).append(one)
        given: Counter[Key] = Counter()
        for workspace_id, most in shares(list(waiting), of_workspaces, self._pace.at_once).items():
            turns = list(waiting[workspace_id])
            while most and turns:
                one = turns.pop(0)
                key = (one.workspace_id, one.endpoint_id)
                given[key] += 1
                most -= 1
                if not one.is_down and busy[key] + given[key] < self._pace.at_an_endpoint:
                    turns.append(one)
        return dict(given)

    def _begin(self, lease: Lease) -> None:
        task = asyncio.create_task(self._deliver(lease))
        self._under_way[task] = (lease.workspace_id, lease.endpoint_id)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.pop(task, None)
        self._rung.set()

    async def _deliver(self, lease: Lease) -> None:
        tries: list[Try] = []
        rest = 0.0
        began = time.monotonic()
        secrets = self._secrets(lease)
        for due in lease.due:
            if tries and time.monotonic() - began > self._pace.spend:
                break
            try:
                answer = await self._try(lease, due, secrets)
            except Crowded:
                rest = self._pace.rest
                break
            tries.append(Try(due.id, answer))
            metrics.DELIVERIES.labels("delivered" if answer.error is None else "failed").inc()
            if answer.error is not None:
                log.info(
                    "webhooks.not_delivered",
                    workspace_id=str(lease.workspace_id),
                    endpoint_id=str(lease.endpoint_id),
                    delivery_id=str(due.id),
                    error=answer.error,
                )
                if not answer.is_final:
                    break
        try:
            await self._results.add(Result(lease=lease, tries=tuple(tries), rest=rest))
            if tries and tries[-1].answer.is_gone:
                await endings.end(self._database, lease.workspace_id, lease.endpoint_id, lease.url, endings.GONE)
        except Unavailable:
            # The lease runs out, and it is told once more.
            log.warning("webhooks.not_kept", endpoint_id=str(lease.endpoint_id))
        except Exception as error:
            log.error("webhooks.unexpected", endpoint_id=str(lease.endpoint_id), error=str(JobFailed(error)))

    async def _try(self, lease: Lease, due: Due, secrets: Sequence[str]) -> Answer:
        if (reason := _withheld(lease, due)) is not None or due.event is None:
            return Answer(url=shown(lease.url), error=reason, is_final=True)
        if not secrets:
            return Answer(url=shown(lease.url), error="its secrets cannot be opened: make a new one")
        try:
            body = body_of(lease.workspace_id, due.seq, due.event)
            message_id = signing.id_of(lease.workspace_id, due.seq)
            headers = signing.headers_of(message_id, int(time.time()), body, secrets)
            return await ask(
                self._outside,
                self._settings,
                lease.url,
                headers,
                body,
                total_seconds=self._pace.total,
                whose=lease.workspace_id,
            )
        except Crowded:
            raise
        except Exception as error:  # of ours
            log.error("webhooks.unexpected", delivery_id=str(due.id), error=str(JobFailed(error)))
            return Answer(url=shown(lease.url), error=f"something unexpected happened ({type(error).__name__})")

    def _secrets(self, lease: Lease) -> list[str]:
        secrets = []
        for row in lease.secrets:
            try:
                secrets.append(signing.opened(row, self._vault))
            except Unsealable as error:
                log.error("webhooks.unsealable", endpoint_id=str(lease.endpoint_id), error=str(error))
        return secrets


def _withheld(lease: Lease, due: Due) -> str | None:
    """Why this is told to nobody, if so: who stands behind an endpoint, and what they may hear, may have changed."""
    if due.event is None:
        return "the event is no longer in the log"
    if not hearing.may_hear(lease.listener, due.event["subject_type"]):
        return "whoever is behind the endpoint may not hear of it"
    return None


async def _until(event: asyncio.Event, seconds: float) -> None:
    # Not ``wait_for``: that one forgets a cancellation in the instant in which the event is set.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


_READ = "SELECT workspace_id FROM webhook_progress"
