"""Works off jobs and does what comes round again and again, in the web process or in one of its own."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import text

from comms import jobs
from comms.database import Database
from comms.duties import Duties, Round, Task

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
        self._database = database
        self._rounds = duties.rounds
        self._runner = jobs.Runner(database, duties.jobs, at_once=at_once, heartbeat_seconds=heartbeat_seconds)
        self._tasks: list[asyncio.Task[None]] = []
        self._looks: list[_Look] = []

    async def start(self) -> None:
        """Jobs are run as they become due, here and now."""
        await self._runner.start()
        asked: dict[float, list[Round]] = defaultdict(list)
        for each in self._rounds:
            if each.is_due is None:
                self._tasks.append(asyncio.create_task(_repeat(each.seconds, each.task)))
            else:
                asked[each.seconds].append(each)
        for seconds, rounds in asked.items():
            look = _Look(self._database, rounds)
            self._tasks.append(asyncio.create_task(_repeat(seconds, look)))
            self._looks.append(look)

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Nothing runs here any more; what could not be finished in time is handed to whoever is next."""
        under_way = [*self._tasks, *(task for look in self._looks for task in look.under_way.values())]
        for task in under_way:
            task.cancel()
        for task in under_way:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks, self._looks = [], []
        await self._runner.stop(grace_seconds)


class _Look:
    """Asks once for all of the rounds which of them are due, and begins those: an idle worker costs next to nothing.

    One that is still at it is not begun again, and holds up no other.
    """

    def __init__(self, database: Database, rounds: Sequence[Round]) -> None:
        self._database = database
        self._rounds = rounds
        self._question = text(f"SELECT {', '.join(f'({each.is_due})' for each in rounds)}")
        self.under_way: dict[int, asyncio.Task[None]] = {}

    async def __call__(self) -> None:
        async with self._database.everywhere() as db:
            answers = (await db.execute(self._question)).one()
        for index, is_due in enumerate(answers):
            if is_due and index not in self.under_way:
                task = self.under_way[index] = asyncio.create_task(_do(self._rounds[index].task))
                task.add_done_callback(partial(self._forget, index))

    def _forget(self, index: int, _: "asyncio.Task[None]") -> None:
        del self.under_way[index]


async def _repeat(seconds: float, task: Task) -> None:
    """``task`` is done every so often, whatever becomes of it."""
    while True:
        await _do(task)
        await asyncio.sleep(seconds)


async def _do(task: Task) -> None:
    """It is done, or it is said that it was not."""
    try:
        await task()
    except Exception as error:
        done = getattr(task, "func", task)  # the function, where some of its arguments are given
        name = getattr(done, "__qualname__", type(done).__name__)
        log.error("worker.task_failed", task=name, error=str(jobs.JobFailed(error)))
