"""What comes round for agents: what has expired is told so, and the catalogue's trends are counted."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents.approvals import expire_overdue
from comms.agents.catalogue import count_trends
from comms.agents.memory import forget_expired
from comms.database import Database

EXPIRY_SECONDS = 60.0
TRENDS_SECONDS = 3600.0


def of(database: Database) -> list[tuple[float, Callable[[], Awaitable[Any]]]]:
    """The sweeps, each with how often it is due."""

    async def expire_actions() -> None:
        await until_done(database, expire_overdue)

    async def forget_memory() -> None:
        await until_done(database, forget_expired)

    async def count_template_trends() -> None:
        async with database.everywhere() as db:
            await count_trends(db)

    return [
        (EXPIRY_SECONDS, expire_actions),
        (EXPIRY_SECONDS, forget_memory),
        (TRENDS_SECONDS, count_template_trends),
    ]


async def until_done(database: Database, sweep: Callable[[AsyncSession], Awaitable[int]]) -> int:
    """Nothing is left to sweep: a transaction for every few hundred rows; returns how many there were."""
    swept = 0
    while True:
        async with database.everywhere() as db:
            done = await sweep(db)
        if not done:
            return swept
        swept += done
