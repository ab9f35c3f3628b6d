"""How well messages arrive: what became of those that left by a number."""

import uuid
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms.outbox.rows import fetch
from comms.providers.codes import words_of


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """How many messages failed for one reason."""

    code: str | None
    words: str | None
    messages: int


class Figures(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What became of the messages of one number; the counts of ``statuses`` add up to ``messages``."""

    since: datetime
    until: datetime
    messages: int
    segments: int
    statuses: dict[str, int]
    delivered_share: float | None
    median_seconds_to_deliver: float | None
    slow_seconds_to_deliver: float | None
    failures: list[Failure]


ENDED_WELL = ("delivered", "read")
ENDED_BADLY = ("failed", "undelivered")

_STATUSES = """
SELECT m.status, count(*) AS messages, coalesce(sum(m.segments), 0)::bigint AS segments
FROM conversation_messages m
WHERE m.workspace_id = $1 AND m.phone_number_id = $2 AND m.direction = 'outbound' AND m.deleted_at IS NULL
    AND m.created_at >= $3 AND m.created_at < $4
GROUP BY m.status
"""

_TIMES = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS median, percentile_cont(0.95) WITHIN GROUP (ORDER BY took)
    AS slow
FROM (
    SELECT extract(epoch FROM m.delivered_at - coalesce(m.sent_at, m.created_at))::float8 AS took
    FROM conversation_messages m
    WHERE m.workspace_id = $1 AND m.phone_number_id = $2 AND m.direction = 'outbound' AND m.deleted_at IS NULL
        AND m.created_at >= $3 AND m.created_at < $4 AND m.delivered_at IS NOT NULL
) t
"""

_FAILURES = """
SELECT m.error_code AS code, max(m.error_message) AS words, count(*) AS messages
FROM conversation_messages m
WHERE m.workspace_id = $1 AND m.phone_number_id = $2 AND m.direction = 'outbound' AND m.deleted_at IS NULL
    AND m.created_at >= $3 AND m.created_at < $4 AND m.status IN ('failed', 'undelivered')
GROUP BY m.error_code ORDER BY count(*) DESC, m.error_code LIMIT 50
"""


async def of_number(
    db: AsyncSession, workspace_id: uuid.UUID, number_id: uuid.UUID, since: datetime, until: datetime
) -> Figures:
    """What became of the messages that were to leave by this number between ``since`` and ``until``."""
    asked = (workspace_id, number_id, since, until)
    rows = await fetch(db, _STATUSES, *asked)
    statuses = {row["status"]: row["messages"] for row in rows}
    well = sum(statuses.get(status, 0) for status in ENDED_WELL)
    badly = sum(statuses.get(status, 0) for status in ENDED_BADLY)
    (times,) = await fetch(db, _TIMES, *asked)
    return Figures(
        since=since,
        until=until,
        messages=sum(statuses.values()),
        segments=sum(row["segments"] for row in rows),
        statuses=statuses,
        delivered_share=None if well + badly == 0 else round(well / (well + badly), 4),
        median_seconds_to_deliver=times["median"],
        slow_seconds_to_deliver=times["slow"],
        failures=[
            Failure(row["code"], words_of(row["code"]) or row["words"], row["messages"])
            for row in await fetch(db, _FAILURES, *asked)
        ],
    )
