"""Two at once, in the order a test says: one is held where it matters until the other has done, or waits for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.util import await_only


@contextmanager
def the_first_held_before(statement: str) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Whoever comes to such a statement first waits: the one event says that they do, the other lets them go on."""
    is_there, may_go_on = asyncio.Event(), asyncio.Event()

    def wait(_connection: Any, _cursor: Any, said: str, *_: Any) -> None:
        if statement in said and not is_there.is_set():
            is_there.set()
            await_only(may_go_on.wait())

    event.listen(Engine, "before_cursor_execute", wait)
    try:
        yield is_there, may_go_on
    finally:
        event.remove(Engine, "before_cursor_execute", wait)


async def done_or_waiting(admin: Any, task: asyncio.Task[Any]) -> None:
    """The task is done, or waits for what somebody has locked."""
    async with asyncio.timeout(20):
        while not task.done() and not await admin.fetchval(SOMEBODY_WAITS):
            pass


SOMEBODY_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""
