"""Readers of the event log: each goes through it workspace by workspace, and keeps how far it is with what it does."""

import uuid
from collections.abc import Awaitable, Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database

log = structlog.get_logger(__name__)

CatchUp = Callable[[AsyncSession, uuid.UUID], Awaitable[bool]]
"""Sees to the next few events of a workspace, in one transaction; whether there may be more."""


async def catch_up_each(database: Database, reader: str, workspaces: Sequence[uuid.UUID], catch_up: CatchUp) -> None:
    """The ``reader`` has seen to all events of these workspaces; what it cannot see to in one harms no other.

    Raises what was wrong once all have had their turn; at once when it is the database's fault, which is everybody's.
    """
    stuck: Exception | None = None
    for workspace_id in workspaces:
        try:
            more = True
            while more:
                async with database.everywhere() as db:
                    more = await catch_up(db, workspace_id)
        except (OSError, TimeoutError, SQLAlchemyError):
            raise
        except Exception as error:
            log.exception("reader.stuck", reader=reader, workspace=str(workspace_id))
            stuck = error
    if stuck is not None:
        raise stuck
