"""Calls whose callbacks never came: one that ended is not under way for ever, and one we never heard of was missed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from comms.calls.taking import Calls
from comms.database import Database
from comms.directory import Connection
from comms.providers import log, wire
from comms.providers.base import Request
from comms.providers.log import LoggedCall
from comms.providers.rest import Account
from comms.providers.voice import status_of
from comms.repair.asking import Providers, Unanswered
from comms.repair.records import Task
from models.communications import ENDED

MOST_PAGES = 200
MOST_ASKED = 100
_SIDES: tuple[Literal["To", "From"], ...] = ("To", "From")


class Compared(msgspec.Struct, frozen=True):
    """How many calls were compared, and how many of them we still do not have, or had not."""

    compared: int = 0
    missing: int = 0
    news: int = 0


async def compare(
    database: Database,
    providers: Providers,
    calls: Calls,
    connection: Connection,
    account: Account,
    task: Task,
    since: datetime,
    until: datetime,
    agent: str,
) -> Compared:
    """What has ended according to the provider has ended here, by the same story as a status callback.

    A call that began before ``since`` is asked for by its name, as long as we think that it goes on.
    """
    ended = await _ended(providers, account, task, since, until)
    for sid in await _under_way(database, task, since):
        row = log.call_in(await providers.ask(log.call(account, sid)))
        if row is not None and status_of(row.reported) in ENDED:
            ended[row.sid] = row
    known = await _statuses(database, task, list(ended))
    lacking = [row for row in ended.values() if _is_lacking(row, known)]
    for row in sorted(lacking, key=lambda row: (row.at or until, row.sid)):
        place = f"{account.place}/Calls/{row.sid}.json"
        request = Request("POST", place, {"content-type": log.FORM, "user-agent": agent}, row.as_webhook())
        await calls.take("voice-status", connection, request, wire.reopened(request), at=row.ended_at or row.at)
    now_known = await _statuses(database, task, [row.sid for row in lacking])
    missing = sum(_is_lacking(row, now_known) for row in lacking)
    return Compared(len(ended), missing, len(lacking) - missing)


async def _ended(
    providers: Providers, account: Account, task: Task, since: datetime, until: datetime
) -> dict[str, LoggedCall]:
    """The calls to and from the number that are over."""
    ended = {}
    for side in _SIDES:
        after = None
        for _ in range(MOST_PAGES):
            page = log.calls_in(
                await providers.ask(log.calls(account, "To" if side == "To" else "From", task.number, after))
            )
            for row in page.rows:
                if row.at is not None and since <= row.at <= until and status_of(row.reported) in ENDED:
                    ended[row.sid] = row
            after = page.after
            if after is None or any(row.at is not None and row.at < since for row in page.rows):
                break
        else:
            raise Unanswered(f"The provider's log has more than {MOST_PAGES} pages of calls since {since:%Y-%m-%d}.")
    return ended


# A phone that rang for the call is a line of it, too.
_UNDER_WAY = """
SELECT l.provider_call_id FROM call_legs l JOIN calls c ON c.workspace_id = l.workspace_id AND c.id = l.call_id
WHERE l.workspace_id = $1 AND c.phone_number_id = $2 AND l.provider = $3 AND l.provider_call_id IS NOT NULL
    AND l.ended_at IS NULL AND l.created_at >= $4::timestamptz - interval '1 day' AND l.created_at < $4
ORDER BY l.created_at DESC LIMIT $5
"""


async def _under_way(database: Database, task: Task, since: datetime) -> list[str]:
    """The lines that began before ``since`` and go on, as far as we know; the newest first."""
    async with database.everywhere() as db:
        connection = await db.connection()
        which = (task.workspace_id, task.number_id, task.provider, since, MOST_ASKED)
        return [row.provider_call_id for row in await connection.exec_driver_sql(_UNDER_WAY, which)]


_STATUSES = """
SELECT provider_call_id, status FROM call_legs
WHERE workspace_id = $1 AND provider = $2 AND provider_call_id = ANY($3::text[])
"""


async def _statuses(database: Database, task: Task, sids: Sequence[str]) -> dict[str, str]:
    async with database.everywhere() as db:
        connection = await db.connection()
        rows = await connection.exec_driver_sql(_STATUSES, (task.workspace_id, task.provider, list(sids)))
        return {row.provider_call_id: row.status for row in rows}


def _is_lacking(row: LoggedCall, known: Mapping[str, str]) -> bool:
    """Whether we think it goes on, or have never heard of it although it was for us."""
    if row.sid in known:
        return known[row.sid] not in ENDED
    return row.direction == "inbound" and row.parent_sid is None
