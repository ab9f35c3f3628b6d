"""One way to ask for rows, whoever owns the transaction: a unit of work, or a group on a connection of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession


async def fetch(db: Any, statement: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
    """The rows of ``statement``; ``db`` is an ``AsyncSession`` or an asyncpg connection with a transaction."""
    if isinstance(db, AsyncSession):
        await db.flush()
        result = await (await db.connection()).exec_driver_sql(statement, arguments)
        return [dict(row) for row in result.mappings()]
    return [dict(row) for row in await db.fetch(statement, *arguments)]


class Rows:
    """A unit of work, asked as stories ask that groups run."""

    def __init__(self, db: AsyncSession) -> None:
        self._db = db

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """The rows of ``statement``."""
        return await fetch(self._db, statement, *arguments)
