"""Words between processes, and a database that comes and goes."""

import asyncio
import uuid

import msgspec

from comms.database import Database
from comms.wakeups import PostgresWakeups
from tests.dying import dying


class Listener(msgspec.Struct):
    """What was heard."""

    heard: list[tuple[uuid.UUID, int]] = []
    something: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def news(self, workspace_id: uuid.UUID, seq: int) -> None:
        self.heard.append((workspace_id, seq))
        self.something.set()

    def overheard(self, whisper: str) -> None:
        raise AssertionError(whisper)

    def missed(self) -> None:
        pass


async def test_who_was_let_in_by_a_server_and_told_its_last_word_speaks_and_listens_again(database: Database) -> None:
    here, there = uuid.uuid4(), uuid.uuid4()
    ours, theirs = Listener(), Listener()
    other = PostgresWakeups(database)
    await other.start(theirs)
    async with dying() as (urls, came):
        elsewhere = Database(urls)
        wakeups = PostgresWakeups(elsewhere)
        starting = asyncio.create_task(wakeups.start(ours))
        wakeups.tell(here, 1)
        await came.wait()
        await asyncio.sleep(0.05)
    elsewhere.urls = database.urls
    try:
        async with asyncio.timeout(5):
            await starting
            other.tell(there, 2)
            await ours.something.wait()
            await theirs.something.wait()
    finally:
        await wakeups.stop()
        await other.stop()
    assert (ours.heard, theirs.heard) == ([(there, 2)], [(here, 1)])
