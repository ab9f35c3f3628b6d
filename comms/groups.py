"""Group commit: what is waiting leaves together, and nobody waits for company while nothing is under way.

While the lanes are idle an item leaves at once, alone. While one is committing, what arrives gathers and leaves as one
transaction, when that lane is free or when there is enough for another: a group costs little more than a single item
(bench/README.md).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg
import structlog

from comms import metrics
from comms.database import Database
from comms.events import Told
from comms.threads import Contended

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

LANES = 2
MOST = 512  # in one group
WORTH = 8  # a transaction of its own; fewer wait for the one that is under way
WORTH_WAITING_SECONDS = 0.02  # if that ends soon
QUEUE = 20_000  # waiting; more is refused at once
PATIENCE_SECONDS = 4.0  # SignalWire waits 5 s for an answer
LATE_SECONDS = 0.1
LOCK_MS = 500  # a group waits so long for a row that somebody holds
LOCK_ALONE_MS = 100  # and an item by itself; less, the more of its group have waited in vain
SESSION = (
    f"SET plan_cache_mode = force_generic_plan; SET jit = off; SET lock_timeout = '{LOCK_MS}ms';"
    " SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
)
TRANSIENT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    # Something was deleted, or reopened, between our look at it and our use of it.
    asyncpg.ForeignKeyViolationError,
    asyncpg.UniqueViolationError,
    Contended,
)
GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.InternalClientError,  # the server has just said its last word on this connection
)


def is_gone(error: BaseException | None) -> bool:
    """Whether the database went away; an argument that cannot be encoded is an InterfaceError too, but no outage."""
    return isinstance(error, GONE) and not isinstance(error, ValueError)


class Unavailable(Exception):
    """The database did not take it in time: the provider must try again."""


class _Waiting(Generic[Item, Outcome]):
    __slots__ = ("deadline", "item", "outcome")

    def __init__(self, item: Item, outcome: "asyncio.Future[Outcome]", deadline: float) -> None:
        self.item = item
        self.outcome = outcome
        self.deadline = deadline


class Groups(Generic[Item, Outcome]):
    """Applies items in groups, each group in one transaction, each item's outcome after its commit.

    ``apply`` does a group's work on a connection and says what was told in the event log; it must be idempotent, since
    a commit whose answer was lost is done again. ``spoil`` keeps an item that fails alone. Each of the ``shortcuts``
    is asked first: one statement, a transaction by itself, that does what it can, with None for the rest.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        apply: Callable[[Any, Sequence[Item]], Awaitable[tuple[list[Outcome], Told]]],
        spoil: Callable[[Any, Item, Exception], Awaitable[tuple[list[Outcome], Told]]],
        shortcuts: Sequence[Callable[[Any, Sequence[Item]], Awaitable[tuple[list[Outcome | None], Told]]]] = (),
        *,
        lanes: int = LANES,
    ) -> None:
        self.name = name
        self._database = database
        self._apply = apply
        self._spoil = spoil
        self._shortcut = shortcuts[0] if shortcuts else None
        # What a shortcut leaves has a lane of its own, so that the common case does not wait for it.
        self._rest = Groups(name, database, apply, spoil, shortcuts[1:], lanes=1) if shortcuts else None
        self._lane_count = lanes
        self._committing = 0
        self._waiting: deque[_Waiting[Item, Outcome]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._gathering: deque[asyncio.Future[None]] = deque()
        self._unanswered: deque[_Waiting[Item, Outcome]] = deque()  # in the order of their deadlines
        self._lanes: list[asyncio.Task[None]] = []
        self._clock: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """The lanes are open."""
        self._stopping = False
        if self._rest is not None:
            await self._rest.start()
        self._lanes = [asyncio.create_task(self._lane()) for _ in range(self._lane_count)]
        self._clock = asyncio.create_task(self._refuse_the_late())

    async def stop(self) -> None:
        """What was waiting has been committed or refused; the lanes are closed."""
        self._stopping = True
        self._wake(self._lane_count)
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=PATIENCE_SECONDS + 1)
        for lane in self._lanes:
            lane.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lane
        self._lanes = []
        if self._rest is not None:
            await self._rest.stop()
        if self._clock is not None:
            self._clock.cancel()
        self._unanswered.clear()
        self._refuse(list(self._waiting))
        self._waiting.clear()

    @property
    def waiting(self) -> int:
        """How many items no lane has taken yet."""
        return len(self._waiting) + (self._rest.waiting if self._rest else 0)

    def add(self, item: Item) -> "asyncio.Future[Outcome]":
        """The outcome of ``item``, done when it is committed; ``Unavailable`` when the database cannot take it."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        if self._stopping or len(self._waiting) >= QUEUE:
            outcome.set_exception(Unavailable())
            return outcome
        waiting = _Waiting(item, outcome, loop.time() + PATIENCE_SECONDS)
        self._waiting.append(waiting)
        self._unanswered.append(waiting)
        self._wake(1)
        return outcome

    def take_over(self, group: "list[_Waiting[Item, Outcome]]") -> None:
        """These wait here from now on, with the outcomes and deadlines they have."""
        self._waiting.extend(group)
        self._unanswered.extend(group)
        self._wake(len(group))

    def _wake(self, lanes: int) -> None:
        if len(self._waiting) >= WORTH or self._stopping:
            while self._gathering:
                _rouse(self._gathering.popleft())
        while lanes and self._idle:
            lanes -= _rouse(self._idle.popleft())

    async def _lane(self) -> None:
        connection: Any = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                if not self._waiting:
                    if self._stopping:
                        return
                    sleeper = loop.create_future()
                    self._idle.append(sleeper)
                    await sleeper
                    continue
                if (patience := self._patience()) > 0:
                    await self._gather(patience)
                    continue
                # A fair share: while one lane commits, the other gathers as much, and neither core waits.
                share = max(WORTH, -(-(len(self._waiting) + self._committing) // self._lane_count))
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), share, MOST))]
                if connection is None or connection.is_closed():
                    connection = await self._connected()
                    if connection is None:
                        self._put_back(group)
                        await asyncio.sleep(0.1)
                        continue
                self._committing += len(group)
                try:
                    await self._commit(connection, group)
                except Exception as error:  # whatever it is, the lane goes on
                    log.warning("groups.lane_interrupted", groups=self.name, error=type(error).__name__)
                    connection.terminate()
                    connection = None
                    self._put_back(group)
                    await asyncio.sleep(0.05)
                finally:
                    self._committing -= len(group)
        finally:
            if connection is not None:
                connection.terminate()

    def _patience(self) -> float:
        """For how many seconds those who wait had better wait for what is under way, and leave together afterwards."""
        if not self._committing or len(self._waiting) >= WORTH or self._stopping:
            return 0.0
        waited = asyncio.get_running_loop().time() + PATIENCE_SECONDS - self._waiting[0].deadline
        return WORTH_WAITING_SECONDS - waited

    async def _gather(self, seconds: float) -> None:
        """There are more of them, or the time is over."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathering.append(sleeper)
        await asyncio.wait([sleeper], timeout=seconds)
        if not sleeper.done():
            self._gathering.remove(sleeper)

    async def _connected(self) -> Any:
        connection: Any = None
        try:
            connection = await self._database.connect(command_timeout=PATIENCE_SECONDS)
            # The statements never change and find every row by a key, so one plan fits all inputs. It is made when the
            # tables may still be empty, and must not be one that reads them from end to end (comms/growth.py).
            # Whoever holds a row for long delays only those who need that row: they are done again later.
            if not self._database.pgbouncer:  # there a session's settings would be everybody's
                await connection.execute(SESSION)
        except Exception as error:  # whatever it is, the lane goes on
            log.warning("groups.no_connection", groups=self.name, error=type(error).__name__)
            if connection is not None:
                connection.terminate()
            return None
        return connection

    async def _commit(self, connection: Any, group: list[_Waiting[Item, Outcome]]) -> None:
        if self._shortcut is not None and self._rest is not None:
            self._rest.take_over(await self._apply_shortcut(connection, group, self._shortcut))
            return
        try:
            await self._apply_together(connection, group)
        except Exception as error:
            if is_gone(error):
                raise
            # Nothing of the group was committed. One by one, the poisoned item fails alone.
            log.warning("groups.taken_apart", groups=self.name, items=len(group), error=type(error).__name__)
            in_vain = 0
            for waiting in group:
                if not waiting.outcome.done():
                    failure = await self._apply_alone(connection, waiting, LOCK_ALONE_MS // (in_vain + 1))
                    in_vain += isinstance(failure, asyncpg.LockNotAvailableError)

    async def _apply_shortcut(
        self, connection: Any, group: list[_Waiting[Item, Outcome]], shortcut: Any
    ) -> list[_Waiting[Item, Outcome]]:
        """What could not be done in one statement."""
        try:
            outcomes, told = await shortcut(connection, [waiting.item for waiting in group])
        except Exception as error:
            if is_gone(error):
                raise
            log.warning("groups.shortcut_failed", groups=self.name, items=len(group), error=type(error).__name__)
            return group
        left = []
        for waiting, outcome in zip(group, outcomes, strict=True):
            if outcome is None:
                left.append(waiting)
            elif not waiting.outcome.done():
                waiting.outcome.set_result(outcome)
        if len(left) < len(group):
            metrics.GROUP_SIZE.labels(self.name).observe(len(group) - len(left))
        if told:
            self._database.on_told(told)
        return left

    async def _apply_together(
        self, connection: Any, group: list[_Waiting[Item, Outcome]], lock_ms: int = LOCK_MS
    ) -> None:
        await connection.execute("BEGIN" if lock_ms == LOCK_MS else f"BEGIN; SET LOCAL lock_timeout = '{lock_ms}ms'")
        try:
            outcomes, told = await self._apply(connection, [waiting.item for waiting in group])
            await connection.execute("COMMIT")
        except BaseException as error:
            if not is_gone(error):
                await connection.execute("ROLLBACK")
            raise
        metrics.GROUP_SIZE.labels(self.name).observe(len(group))
        for waiting, outcome in zip(group, outcomes, strict=True):
            if not waiting.outcome.done():
                waiting.outcome.set_result(outcome)
        if told:
            self._database.on_told(told)

    async def _apply_alone(self, connection: Any, waiting: _Waiting[Item, Outcome], lock_ms: int) -> Exception | None:
        """Kept or spoilt; why it was not simply kept."""
        failure: Exception = Unavailable()
        for attempt in range(3):
            try:
                await self._apply_together(connection, [waiting], max(lock_ms, 1))  # 0 would be for ever
                return None
            except Exception as error:
                if is_gone(error):
                    raise
                failure = error
                if not isinstance(error, TRANSIENT):
                    break
                await asyncio.sleep(0.01 * (attempt + 1))
        metrics.SPOILT.labels(self.name).inc()
        log.error("groups.item_failed", groups=self.name, error=type(failure).__name__)
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_ALONE_MS}ms'")
                outcomes, told = await self._spoil(connection, waiting.item, failure)
        except Exception as error:
            if is_gone(error):
                raise
            log.error("groups.item_not_kept", groups=self.name, error=type(error).__name__)
            self._refuse([waiting])
            return failure
        if not waiting.outcome.done():
            waiting.outcome.set_result(outcomes[0])
        if told:
            self._database.on_told(told)
        return failure

    async def _refuse_the_late(self) -> None:
        """Nobody waits beyond their deadline, whatever the lanes are stuck in: the provider is told to try again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LATE_SECONDS)
            now = loop.time()
            while self._unanswered and (self._unanswered[0].outcome.done() or self._unanswered[0].deadline <= now):
                self._refuse([self._unanswered.popleft()])

    def _put_back(self, group: list[_Waiting[Item, Outcome]]) -> None:
        now = asyncio.get_running_loop().time()
        self._refuse([waiting for waiting in group if waiting.deadline <= now])
        self._waiting.extendleft(
            waiting for waiting in reversed(group) if waiting.deadline > now and not waiting.outcome.done()
        )

    def _refuse(self, group: Sequence[_Waiting[Item, Outcome]]) -> None:
        for waiting in group:
            if not waiting.outcome.done():
                waiting.outcome.set_exception(Unavailable())


def _rouse(sleeper: "asyncio.Future[None]") -> bool:
    """Whether that has woken somebody."""
    if sleeper.done():
        return False
    sleeper.set_result(None)
    return True
