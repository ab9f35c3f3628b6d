"""The one place that knows pgqueuer: work is put into the queue with what made it necessary, and taken out by a Runner.

A job is a doorbell: it names a row, and whoever answers looks at the row. It may ring twice (a process that was killed
leaves its jobs to another), so what it starts must be safe to run twice, and at once.
"""

import asyncio
import contextlib
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.core.qm import QueueManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database

log = structlog.get_logger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Does what one kind of job asks for, given its payload."""

HEARTBEAT_SECONDS = 30.0  # a picked job that was silent for longer is picked again
POLL_SECONDS = 5.0  # the safety net below NOTIFY, which a PgBouncer in transaction mode does not carry
AT_ONCE = 16
RETRY_SECONDS = (5, 30, 120, 600)  # after an unexpected failure; then the job is held, with status 'failed'
RECONNECT_SECONDS = (0.1, 0.5, 1, 2, 5)
KEEP_LOG_DAYS = 7

# Every name is given: pgqueuer would take those left out from the environment, even from a variable called CHANNEL.
_NAMES = DBSettings(
    prefix="",
    db_schema="jobs",
    channel=Channel("ch_pgqueuer"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
)
_QUEUE = QueryQueueBuilder(_NAMES)
_ENQUEUE = _QUEUE.build_enqueue_query()


async def enqueue(
    db: Any, name: str, payloads: Sequence[Mapping[str, Any]], *, delay_seconds: float | Sequence[float] = 0
) -> None:
    """A job called ``name`` for each payload, due after its delay, if the transaction of ``db`` commits.

    ``db`` is an ``AsyncSession``, or an asyncpg connection with a transaction of its own.
    """
    if not payloads:
        return
    count = len(payloads)
    delays = [float(delay_seconds)] * count if isinstance(delay_seconds, int | float) else list(delay_seconds)
    nothing = [None] * count
    arguments = (
        [0] * count,
        [name] * count,
        [msgspec.json.encode(payload) for payload in payloads],
        [timedelta(seconds=delay) for delay in delays],
        nothing,
        nothing,
    )
    if isinstance(db, AsyncSession):
        # Not on the driver's connection below: SQLAlchemy begins late, so that would run outside the transaction.
        await (await db.connection()).exec_driver_sql(_ENQUEUE, arguments)
    else:
        await db.execute(_ENQUEUE, *arguments)


_AGE = text(
    "SELECT coalesce(extract(epoch FROM now() - min(execute_after)), 0)::float8"
    " FROM jobs.pgqueuer WHERE status = 'queued' AND execute_after <= now()"
)


async def queue_age(database: Database) -> float:
    """How many seconds the oldest job that is due has been waiting; 0 when none is."""
    async with database.everywhere() as db:
        return float((await db.execute(_AGE)).scalar_one())


_PRUNE = text(
    "DELETE FROM jobs.pgqueuer_log WHERE id IN ("
    "SELECT id FROM jobs.pgqueuer_log WHERE created < now() - make_interval(days => :days) ORDER BY created LIMIT :most"
    ") RETURNING id"
)


async def prune_log(database: Database, *, days: int = KEEP_LOG_DAYS, most: int = 10_000) -> int:
    """The queue's log goes back no further than ``days``; how many lines went. Short transactions, so nobody waits."""
    gone = 0
    while True:
        async with database.everywhere() as db:
            went = len((await db.execute(_PRUNE, {"days": days, "most": most})).all())
        gone += went
        if went < most:
            return gone


class JobFailed(Exception):
    """A job failed in a way its handler did not expect; says how and where, without quoting what people wrote."""

    def __init__(self, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        super().__init__(f"{type(error).__name__}{where}")


class Runner:
    """Takes jobs out of the queue and runs them, ``at_once`` at most, over a database connection of its own.

    When the database goes away it connects again, for ever. A job that fails is tried again a few times and then held.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        at_once: int = AT_ONCE,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._at_once = max(2, at_once)
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._poll = timedelta(seconds=poll_seconds)
        self._queue: QueueManager | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Jobs are being run."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="jobs")

    async def stop(self, grace_seconds: float = 20) -> None:
        """No job runs any more: those begun had ``grace_seconds`` to finish, the rest are handed to whoever is next."""
        if self._task is None:
            return
        self._stopping.set()
        if self._queue is not None:
            self._queue.shutdown.set()
        await asyncio.wait([self._task], timeout=grace_seconds)
        for running in list(self._running):
            running.cancel()
        await asyncio.wait([self._task], timeout=5)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._run_connected()
            except Exception as error:  # the database is away, or has just come back without its tables
                if not self._stopping.is_set():
                    log.warning("jobs.interrupted", error=type(error).__name__)
            if asyncio.get_running_loop().time() - began > 30:
                failures = 0
            pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
            failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_connected(self) -> None:
        connection = await self._database.connect()
        try:
            queue = QueueManager(
                Queries(
                    AsyncpgDriver(connection),
                    qbe=QueryBuilderEnvironment(_NAMES),
                    qbq=_QUEUE,
                    qbs=QuerySchedulerBuilder(_NAMES),
                ),
                channel=_NAMES.channel,
            )
            for name, handler in self._handlers.items():
                queue.entrypoint(name, on_failure="hold", accepts_context=False)(partial(self._do, handler))
            # Without this, an idle queue would notice a lost connection only at its next poll.
            connection.add_termination_listener(lambda _: queue.shutdown.set())
            self._queue = queue
            if self._stopping.is_set():
                return
            await queue.run(
                dequeue_timeout=self._poll,
                batch_size=max(1, self._at_once // 2),
                max_concurrent_tasks=self._at_once,
                heartbeat_timeout=self._heartbeat,
                log_aggregation_interval=timedelta(0),  # we read no statistics; the log is pruned instead
            )
        finally:
            self._queue = None
            connection.terminate()

    async def _do(self, handler: Handler, job: Job) -> None:
        # A task of its own, so that ``stop`` can end it: a job that pgqueuer sees cancelled is deleted, and lost.
        running = asyncio.ensure_future(self._handle(handler, job))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            await running
        except asyncio.CancelledError:
            raise RetryRequested(timedelta(0), "handed to whoever is next") from None

    async def _handle(self, handler: Handler, job: Job) -> None:
        try:
            await handler(msgspec.json.decode(job.payload or b"{}"))
        except Exception as error:
            failure = JobFailed(error)
            log.error("job.failed", job=job.entrypoint, job_id=job.id, attempt=job.attempts + 1, error=str(failure))
            if job.attempts < len(RETRY_SECONDS):
                delay = timedelta(seconds=RETRY_SECONDS[job.attempts])
                raise RetryRequested(delay, str(failure)) from None
            raise failure from None


def uuids(payload: Mapping[str, Any], *names: str) -> list[uuid.UUID]:
    """The ids of these names in a job's payload."""
    return [uuid.UUID(payload[name]) for name in names]
