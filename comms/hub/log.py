"""The event log, as the hub reads it: whole pages for many workspaces in one query."""

import uuid
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Any

from comms.audience import CLOSED, LEFT, WITHIN
from comms.database import Database
from comms.hub import agents
from comms.hub.frames import Told, told
from comms.hub.rooms import Room
from comms.wakeups import Standing

PAGE = 500

_COLUMNS = (
    "e.seq, e.event, e.at, e.subject_type, e.subject_id, e.conversation_id, e.actor_type, e.actor_id, e.data, e.changes"
)
_AFTER = f"""
SELECT {_COLUMNS}, e.audience, w.place
FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (workspace_id, cursor, place)
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE workspace_id = w.workspace_id AND seq > w.cursor ORDER BY seq LIMIT {PAGE}
) e
ORDER BY w.place, e.seq
"""
# Who comes back hears nothing of a channel that is closed to them by now, but that they have left it, or it was closed.
_CHANNEL = " ".join(
    f"WHEN '{noun}' THEN " + ("e.subject_id" if field == "id" else f"(e.data->>'{field}')::uuid")
    for noun, field in WITHIN.items()
)
_BETWEEN = f"""
SELECT {_COLUMNS}, CASE WHEN e.subject_type = ANY($5::text[])
    AND NOT (e.event = '{LEFT}' AND e.data->>'userId' = $4::uuid::text) AND e.event <> '{CLOSED}' AND EXISTS (
    SELECT FROM team_channels c
    WHERE c.workspace_id = e.workspace_id AND c.is_private AND c.id = CASE e.subject_type {_CHANNEL} END
        AND NOT EXISTS (SELECT FROM team_channel_members m
            WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id AND m.user_id = $4)
) THEN '{{}}' ELSE e.audience END AS audience
FROM events e WHERE e.workspace_id = $1 AND e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT {PAGE}
"""


class Log:
    """Reads; three connections, so that a thousand who come back delay neither what is new nor who may hear it.

    Raises one of ``GONE``.
    """

    def __init__(self, database: Database) -> None:
        self._news = Standing(database)
        self._past = Standing(database)
        self._side = Standing(database)

    async def after(self, cursors: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, list[Any]]:
        """Of each workspace the rows that follow its cursor, at most a page."""
        async with self._news.use() as connection:
            rows = await connection.fetch(_AFTER, list(cursors), list(cursors.values()))
        places = list(cursors)
        pages = {places[place - 1]: list(page) for place, page in groupby(rows, key=lambda row: row["place"])}
        return {key: pages.get(key, []) for key in places}

    async def between(self, workspace_id: uuid.UUID, after: int, upto: int, user_id: uuid.UUID) -> list[Told]:
        """The first page after ``after``, for that user; empty if ``after + 1`` is not in the log."""
        async with self._past.use() as connection:
            rows = await connection.fetch(_BETWEEN, workspace_id, after, upto, user_id, list(WITHIN))
            return unbroken(rows, after)

    async def heard_by_agents(self, room: Room, rows: list[Any]) -> "agents.Hearers | None":
        """Which agents hear what is to be told in a room; None while no agent is there."""
        if not room.agents:
            return None
        async with self._side.use() as connection:
            return await agents.hearers(connection, room.workspace_id, unbroken(rows, room.cursor))

    async def between_for_agents(self, workspace_id: uuid.UUID, page: list[Told]) -> list[Told]:
        """A page of the past as agents are told it."""
        async with self._past.use() as connection:
            return agents.for_agents(page, await agents.hearers(connection, workspace_id, page))

    async def position(self, workspace_id: uuid.UUID) -> int:
        """The last sequence number of a workspace."""
        return (await self.positions([workspace_id])).get(workspace_id, 0)

    async def positions(self, workspace_ids: Collection[uuid.UUID] | None = None) -> dict[uuid.UUID, int]:
        """The last sequence number of these workspaces, or of all."""
        async with self._side.use() as connection:
            if workspace_ids is None:
                rows = await connection.fetch("SELECT workspace_id, seq FROM event_counters")
            else:
                rows = await connection.fetch(
                    "SELECT workspace_id, seq FROM event_counters WHERE workspace_id = ANY($1::uuid[])",
                    list(workspace_ids),
                )
        return {row["workspace_id"]: row["seq"] for row in rows}

    def side(self) -> AbstractAsyncContextManager[Any]:
        """The connection that is not in the way of what is new."""
        return self._side.use()

    def close(self) -> None:
        """The connections are gone."""
        for connection in (self._news, self._past, self._side):
            connection.close()


def unbroken(rows: list[Any], cursor: int) -> list[Told]:
    """The rows as long as each follows the one before it: a log without gaps is what clients rely on."""
    page = []
    for row in rows:
        cursor += 1
        if row["seq"] != cursor:
            break
        page.append(told(tuple(row)[:11]))
    return page
