"""Works off jobs and does what comes round again and again, in the web process or in one of its own."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from comms import idempotency, jobs, receipts
from comms.database import Database
from comms.media import FETCH, Media

log = structlog.get_logger(__name__)

Retry = Callable[[uuid.UUID, uuid.UUID], Awaitable[Any]]
"""Does a kept webhook again, given its workspace and its receipt."""

Task = Callable[[], Awaitable[Any]]

RECALL_SECONDS = 60.0
PRUNE_SECONDS = 3600.0
STOP_SECONDS = 20.0


class Worker:
    """Runs the jobs ``media.fetch`` and ``receipts.retry``, and the ``periodic`` tasks, each every so many seconds."""

    def __init__(
        self,
        database: Database,
        *,
        media: Media,
        retry: Retry,
        periodic: Sequence[tuple[float, Task]] = (),
        at_once: int = jobs.AT_ONCE,
        heartbeat_seconds: float = jobs.HEARTBEAT_SECONDS,
    ) -> None:
        self._database = database
        self._media = media
        self._retry = retry
        self._periodic = [(RECALL_SECONDS, media.recall), (PRUNE_SECONDS, self._prune), *periodic]
        self._runner = jobs.Runner(
            database,
            {FETCH: self._fetch, receipts.RETRY: self._do_again},
            at_once=at_once,
            heartbeat_seconds=heartbeat_seconds,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Jobs are run as they become due, here and now."""
        await self._runner.start()
        self._tasks = [asyncio.create_task(_repeat(seconds, task)) for seconds, task in self._periodic]

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Nothing runs here any more; what could not be finished in time is handed to whoever is next."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self._runner.stop(grace_seconds)

    async def _fetch(self, payload: dict[str, Any]) -> None:
        await self._media.fetch(*jobs.uuids(payload, "workspaceId", "attachmentId"))

    async def _do_again(self, payload: dict[str, Any]) -> None:
        await self._retry(*jobs.uuids(payload, "workspaceId", "receiptId"))

    async def _prune(self) -> None:
        await jobs.prune_log(self._database)
        await idempotency.sweep(self._database)


async def _repeat(seconds: float, task: Task) -> None:
    """``task`` is done every so often, whatever becomes of it."""
    while True:
        try:
            await task()
        except Exception as error:
            name = getattr(task, "__qualname__", type(task).__name__)
            log.error("worker.task_failed", task=name, error=str(jobs.JobFailed(error)))
        await asyncio.sleep(seconds)
