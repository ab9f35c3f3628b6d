"""A process that dies in the middle of its work."""

from collections.abc import Awaitable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


class Killed(BaseException):
    """The process is gone."""


async def killed_at(step: int, work: Awaitable[Any]) -> bool:
    """Whoever does this dies before the so-many-eth statement; False if it was done by then."""
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise Killed

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await work
    except Killed:
        return True
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return False
