"""Waiting for what says nothing of itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], Awaitable[object]], within: float, *, every: float = 0.03) -> None:
    """It holds when asked, before so many seconds have passed; to ask seldom leaves the processors to who is asked."""
    deadline = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(every)


def until_now(holds: Callable[[], object], within: float) -> None:
    """The same, where nothing else has to go on meanwhile."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.03)
