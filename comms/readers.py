"""Readers of the event log: each goes from workspace to workspace, does the next few events of one, and goes round.

How far it is in a workspace it keeps with what it does there, in one transaction. So one workspace's flood delays the
others by a few events at a time; and what it cannot do in one harms no other: that one it leaves alone for a while.
"""

import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.groups import is_gone
from comms.jobs import JobFailed

log = structlog.get_logger(__name__)

Behind = Callable[[AsyncSession], Awaitable[Sequence[uuid.UUID]]]
"""The workspaces in which there is something to do."""
CatchUp = Callable[[AsyncSession, uuid.UUID], Awaitable[bool]]
"""Sees to the next few events of a workspace, in one transaction; whether there may be more."""

LONGEST_ALONE = 300.0


class Reader:
    """Sees to what the log says in each workspace that is ``behind``, and remembers where it is stuck."""

    def __init__(
        self,
        database: Database,
        name: str,
        behind: Behind,
        catch_up: CatchUp,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._name = name
        self._behind = behind
        self._catch_up = catch_up
        self._clock = clock
        self._stuck: dict[uuid.UUID, tuple[int, float]] = {}  # so often in a row, and until when it is left alone

    async def keep_up(self, workspaces: Sequence[uuid.UUID] | None = None) -> None:
        """Everything told so far is seen to: in these workspaces, or in whichever are behind before each turn."""
        more = True
        while more:
            if workspaces is not None:
                workspaces = await self.turn(workspaces)
                more = bool(workspaces)
            else:
                async with self._database.everywhere() as db:
                    behind = await self._behind(db)
                more = bool(await self.turn(behind))

    async def turn(self, workspaces: Iterable[uuid.UUID]) -> list[uuid.UUID]:
        """The next few events of each of these workspaces are seen to; those in which there may be more.

        Raises only what is everybody's: that the database is away.
        """
        more = []
        for workspace_id in workspaces:
            failures, until = self._stuck.get(workspace_id, (0, 0.0))
            if failures and self._clock() < until:
                continue
            try:
                async with self._database.everywhere() as db:
                    is_more = await self._catch_up(db, workspace_id)
            except Exception as error:
                if _is_away(error):
                    raise
                seconds = min(LONGEST_ALONE, 2.0**failures)
                self._stuck[workspace_id] = (failures + 1, self._clock() + seconds)
                where = {"reader": self._name, "workspace": str(workspace_id)}
                log.error("reader.stuck", **where, error=str(JobFailed(error)), again_in_seconds=seconds)
                continue
            self._stuck.pop(workspace_id, None)
            if is_more:
                more.append(workspace_id)
        return more


def _is_away(error: Exception) -> bool:
    """Whether the database is, for everybody; what takes too long may be one workspace's own."""
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or is_gone(error.orig and error.orig.__cause__)
    return isinstance(error, exc.TimeoutError) or (is_gone(error) and not isinstance(error, TimeoutError))
