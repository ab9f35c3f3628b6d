"""Works off jobs and does what comes round again and again, in the web process or in one of its own."""

import asyncio
import contextlib

import structlog

from comms import jobs
from comms.database import Database
from comms.duties import Duties, Task

log = structlog.get_logger(__name__)

STOP_SECONDS = 20.0


class Worker:
    """Does the ``duties``: jobs as they become due, and each round every so many seconds."""

    def __init__(
        self,
        database: Database,
        duties: Duties,
        *,
        at_once: int = jobs.AT_ONCE,
        heartbeat_seconds: float = jobs.HEARTBEAT_SECONDS,
    ) -> None:
        self._rounds = duties.rounds
        self._runner = jobs.Runner(database, duties.jobs, at_once=at_once, heartbeat_seconds=heartbeat_seconds)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Jobs are run as they become due, here and now."""
        await self._runner.start()
        self._tasks = [asyncio.create_task(_repeat(seconds, task)) for seconds, task in self._rounds]

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Nothing runs here any more; what could not be finished in time is handed to whoever is next."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self._runner.stop(grace_seconds)


async def _repeat(seconds: float, task: Task) -> None:
    """``task`` is done every so often, whatever becomes of it."""
    while True:
        try:
            await task()
        except Exception as error:
            done = getattr(task, "func", task)  # the function, where some of its arguments are given
            name = getattr(done, "__qualname__", type(done).__name__)
            log.error("worker.task_failed", task=name, error=str(jobs.JobFailed(error)))
        await asyncio.sleep(seconds)
