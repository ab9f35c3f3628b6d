"""How one process tells the others that a log has grown. Every word may be lost without harm: readers also poll.

``Wakeups`` is all the hub asks of a carrier; ``PostgresWakeups`` carries words by NOTIFY, which costs every listening
process one small message each 10 ms however much happens.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import asyncpg
import structlog

from comms.database import Database

log = structlog.get_logger(__name__)

EVENTS = "comms_events"
WHISPERS = "comms_whispers"
INTERVAL_SECONDS = 0.010
PAYLOAD_BYTES = 7_900  # PostgreSQL refuses 8,000
WHISPERS_WAITING = 500  # what is said beyond that between two notifications is not carried
CHECK_SECONDS = 5.0

GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a database that is away, or has just come back, raises; the last is asked of one that has said farewell."""


class Ears(Protocol):
    """Who is woken."""

    def news(self, workspace_id: uuid.UUID, seq: int) -> None:
        """The log of a workspace reaches at least to ``seq``."""

    def overheard(self, whisper: str) -> None:
        """Another process relays something that is not in any log."""

    def missed(self) -> None:
        """Words may have been lost: look for yourself."""


class Wakeups(Protocol):
    """A carrier of words between processes. What this process says, it does not hear."""

    async def start(self, ears: Ears) -> None:
        """From now on ``ears`` are told; returns when listening, or after a few seconds without."""

    async def stop(self) -> None:
        """Nothing more is said or heard."""

    def tell(self, workspace_id: uuid.UUID, seq: int) -> None:
        """The other processes hear soon that the log of a workspace has reached ``seq``."""

    def whisper(self, words: str) -> None:
        """The other processes hear soon, or never, these words (one line of a few hundred bytes)."""


class Standing:
    """A connection of one's own, for one at a time, that is made anew after it was lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Any]:
        """The connection, alone; after any error in the block it is thrown away. Raises one of ``GONE``."""
        async with self._one_at_a_time:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._database.connect(command_timeout=5)
            try:
                yield self._connection
            except BaseException:
                self._connection.terminate()
                raise

    def close(self) -> None:
        """The connection is gone; the next use would make another."""
        if self._connection is not None:
            self._connection.terminate()


class Patience:
    """How long to wait before the next try, and whether the failure is worth a line in the journal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    async def fails(self, error: BaseException) -> None:
        """The try failed, which is said now and then; returns after 20 ms to 2 s, when it is time for the next."""
        self._failures += 1
        if self._failures % 50 == 1:
            log.warning("wakeups.trying_again", what=self._what, failures=self._failures, error=repr(error))
        await asyncio.sleep(min(2.0, 0.02 * 2**self._failures) * random.uniform(0.5, 1.0))

    def works(self) -> None:
        """The try succeeded."""
        if self._failures:
            log.info("wakeups.working_again", what=self._what)
        self._failures = 0


class PostgresWakeups:
    """Words by NOTIFY, on one connection that speaks and one that listens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._speaker = Standing(database)
        self._speaker_pid = 0
        self._news: dict[uuid.UUID, int] = {}
        self._whispers: list[str] = []
        self._something = asyncio.Event()
        self._listening = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, ears: Ears) -> None:
        self._ears = ears
        self._tasks = [asyncio.create_task(self._speak()), asyncio.create_task(self._listen())]
        with suppress(TimeoutError):
            await asyncio.wait_for(self._listening.wait(), 5)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(*GONE):  # the last words
            await asyncio.wait_for(self._notify(), 1)
        self._speaker.close()

    def tell(self, workspace_id: uuid.UUID, seq: int) -> None:
        if seq > self._news.get(workspace_id, 0):
            self._news[workspace_id] = seq
            self._something.set()

    def whisper(self, words: str) -> None:
        if len(self._whispers) < WHISPERS_WAITING:
            self._whispers.append(words)
            self._something.set()

    async def _speak(self) -> None:
        """Idle: at once. Busy: what has gathered since the last notification leaves as one statement."""
        patience = Patience("the connection that notifies")
        while True:
            await self._something.wait()
            self._something.clear()
            try:
                await self._notify()
                patience.works()
            except GONE as error:
                await patience.fails(error)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _notify(self) -> None:
        """What has gathered is said. Raises one of ``GONE``; then the news still wait, and whispers would be stale."""
        news, self._news = self._news, {}
        whispers, self._whispers = self._whispers, []
        payloads = [(EVENTS, text) for text in packed((f"{key}:{seq}" for key, seq in news.items()), " ")]
        payloads += [(WHISPERS, text) for text in packed(whispers, "\n")]
        if not payloads:
            return
        try:
            async with self._speaker.use() as connection:
                self._speaker_pid = connection.get_server_pid()
                await connection.execute(_NOTIFY, *zip(*payloads, strict=True))
        except GONE:
            for workspace_id, seq in news.items():
                self.tell(workspace_id, seq)
            raise

    async def _listen(self) -> None:
        patience = Patience("the connection that listens")
        while True:
            connection = None
            try:
                connection = await self._database.connect(command_timeout=CHECK_SECONDS)
                ended = asyncio.Event()
                connection.add_termination_listener(lambda _, ended=ended: ended.set())
                await connection.add_listener(EVENTS, self._hear_news)
                await connection.add_listener(WHISPERS, self._overhear)
                patience.works()
                self._listening.set()
                self._ears.missed()
                while not ended.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), CHECK_SECONDS)
                        break
                    await connection.execute("SELECT 1")  # a peer that vanished without a word is noticed here
                raise ConnectionError("the connection has ended")
            except GONE as error:
                await patience.fails(error)
            finally:
                if connection is not None:
                    connection.terminate()

    def _hear_news(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        if pid == self._speaker_pid:
            return
        for word in payload.split(" "):
            workspace, _, seq = word.partition(":")
            try:
                self._ears.news(uuid.UUID(workspace), int(seq))
            except ValueError:
                log.warning("wakeups.not_ours", channel=channel)

    def _overhear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        if pid == self._speaker_pid:
            return
        for words in payload.split("\n"):
            self._ears.overheard(words)


# NOTIFY takes a transaction id, so its commit would wait for the disk; these may be lost, so it need not.
_NOTIFY = """
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
SELECT pg_notify(channel, payload) FROM unhurried, unnest($1::text[], $2::text[]) AS said (channel, payload)
"""


def packed(words: Iterable[str], separator: str) -> list[str]:
    """``words`` joined into as few payloads as PostgreSQL's limit allows."""
    payloads: list[str] = []
    gathered: list[str] = []
    size = 0
    for word in words:
        length = len(word.encode()) + 1
        if gathered and size + length > PAYLOAD_BYTES:
            payloads.append(separator.join(gathered))
            gathered, size = [], 0
        gathered.append(word)
        size += length
    if gathered:
        payloads.append(separator.join(gathered))
    return payloads
