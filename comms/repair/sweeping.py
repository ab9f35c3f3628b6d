"""A number is compared with its provider's own log, and what is lacking takes the same way as a webhook.

So it is kept once, whether its webhook comes late, comes at the same time, or never: the same story keeps both.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import structlog

from comms import arrivals, delivery
from comms.calls.taking import Calls
from comms.database import Database
from comms.directory import Connection, Directory
from comms.groups import Groups, Unavailable
from comms.providers import DIALECTS, log, wire
from comms.providers.base import MediaItem, Request, WebhookRefused
from comms.providers.log import Logged
from comms.providers.outgoing import Busy, Refused, Unclear
from comms.providers.rest import Account
from comms.repair import calls, records
from comms.repair.asking import Providers, Unanswered
from comms.repair.records import Result, Task
from comms.settings import ProviderSettings
from models.base import now

logger = structlog.get_logger(__name__)

OVERLAP = timedelta(hours=1)
"""What was compared is compared again for so long: a provider's log may itself be late."""

GRACE = timedelta(minutes=1)
"""What is younger than this may still be on its way to us."""

MOST_PAGES = 1000
FILLED_AT_ONCE = 50
SWEPT_AT_ONCE = 4

_KNOWN = """
SELECT i.sid, m.status, m.direction, m.deleted_at IS NOT NULL AS is_deleted
FROM unnest($1::text[]) AS i (sid)
JOIN conversation_messages m ON m.workspace_id = $2 AND m.provider = $3 AND m.provider_message_id = i.sid
"""

MOST_ASKED = 50

# A provider tries for hours to deliver a message (Twilio for ten, SignalWire for four): its last report may be lost
# long after it was sent. Where many stay without one, as carriers are, it is each one's turn by chance.
_UNSETTLED = """
SELECT m.provider_message_id FROM conversation_messages m
WHERE m.workspace_id = $1 AND m.phone_number_id = $2 AND m.provider = $3 AND m.direction = 'outbound'
    AND m.created_at >= $4::timestamptz - interval '12 hours' AND m.created_at < $4
    AND m.status IN ('accepted', 'queued', 'sending', 'sent', 'partially_delivered')
    AND m.provider_message_id IS NOT NULL AND m.deleted_at IS NULL
ORDER BY random() LIMIT $5
"""


class Sweeps:
    """Compares numbers with their providers' logs: those that are due, or the one somebody asks for."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        settings: ProviderSettings,
        messages: Groups[arrivals.Arrival, arrivals.Received],
        reports: Groups[delivery.Reported, delivery.Noted],
        story_of_calls: Calls,
    ) -> None:
        self._database = database
        self._directory = directory
        self._messages = messages
        self._reports = reports
        self._calls = story_of_calls
        self._providers = Providers(settings)

    async def sweep_due(self) -> None:
        """Every number that is due has been compared; one that cannot be says why, and delays no other."""
        while True:
            async with self._database.everywhere() as db:
                tasks = await records.take_up(db)
            for first in range(0, len(tasks), SWEPT_AT_ONCE):
                await asyncio.gather(*(self._sweep(task, GRACE) for task in tasks[first : first + SWEPT_AT_ONCE]))
            if len(tasks) < records.AT_ONCE:
                return

    async def sweep(self, workspace_id: uuid.UUID, number_id: uuid.UUID) -> None:
        """The number has been compared just now; raises ``Missing`` and ``Conflict``."""
        async with self._database.workspace(workspace_id) as db:
            task = await records.take_up_one(db, workspace_id, number_id)
        await self._sweep(task, timedelta(0))

    async def close(self) -> None:
        """No provider is asked any more."""
        await self._providers.close()

    async def _sweep(self, task: Task, grace: timedelta) -> None:
        until = now() - grace
        try:
            result = await self._compare(task, until)
        except (Unanswered, Refused, Busy, Unclear) as error:
            result = Result(until=until, error=getattr(error, "words", str(error))[:500])
        except Exception as error:
            logger.exception("sweep.failed", number_id=str(task.number_id), error=type(error).__name__)
            result = Result(until=until, error=f"It failed unexpectedly ({type(error).__name__}); it is tried again.")
        async with self._database.everywhere() as db:
            await records.settle(db, task, result)

    async def _compare(self, task: Task, until: datetime) -> Result:
        connection = self._connection(task)
        account = self._providers.account_of(connection)
        compared, lacking, late = 0, list[Logged](), list[Logged]()
        async for rows in self._log(account, task, until):
            known = await self._known(task, [row.sid for row in rows])
            compared += len(rows)
            lacking += [row for row in rows if row.is_inbound and row.sid not in known]
            late += [row for row in rows if row.sid in known and _is_further(row, known[row.sid])]
        for row in await self._unsettled(account, task):
            known = await self._known(task, [row.sid])
            compared += 1
            late += [row] if row.sid in known and _is_further(row, known[row.sid]) else []
        filled = await self._fill_in(connection, account, _oldest_first(lacking))
        reported = await self._report(connection, account, _oldest_first(late))
        missing = len({row.sid for row in lacking}) - sum(outcome.message_id is not None for outcome in filled)
        called = await self._compare_calls(connection, account, task, until)
        new = sum(outcome.is_new for outcome in filled) + reported + called.news
        if new:
            logger.warning("sweep.back_filled", number_id=str(task.number_id), back_filled=new)
        return Result(
            until=until, compared=compared + called.compared, missing=missing + called.missing, back_filled=new
        )

    async def _compare_calls(
        self, connection: Connection, account: Account, task: Task, until: datetime
    ) -> calls.Compared:
        if not task.has_voice:
            return calls.Compared()
        since = task.swept_until - OVERLAP
        return await calls.compare(
            self._database, self._providers, self._calls, connection, account, task, since, until, AGENT
        )

    async def _log(self, account: Account, task: Task, until: datetime) -> Any:
        """What the provider has of the number since it was compared last, page by page, newest first."""
        since = task.swept_until - OVERLAP
        for side, name in _questions(task):
            after = None
            for _ in range(MOST_PAGES):
                page = log.messages_in(await self._providers.ask(log.messages(account, side, name, after)))
                rows = [row for row in page.rows if row.at is not None and since <= row.at <= until]
                if rows:
                    yield rows
                after = page.after
                if after is None or any(row.at is not None and row.at < since for row in page.rows):
                    break
            else:
                raise Unanswered(f"The provider's log has more than {MOST_PAGES} pages since {since:%Y-%m-%d}.")

    async def _known(self, task: Task, sids: Sequence[str]) -> dict[str, Any]:
        async with self._database.everywhere() as db:
            connection = await db.connection()
            rows = await connection.exec_driver_sql(_KNOWN, (list(sids), task.workspace_id, task.provider))
            return {row["sid"]: row for row in rows.mappings()}

    async def _unsettled(self, account: Account, task: Task) -> list[Logged]:
        """What the provider knows by now of older messages of ours of which we have not heard the end."""
        async with self._database.everywhere() as db:
            connection = await db.connection()
            which = (task.workspace_id, task.number_id, task.provider, task.swept_until - OVERLAP, MOST_ASKED)
            sids = [row.provider_message_id for row in await connection.exec_driver_sql(_UNSETTLED, which)]
        rows = [log.message_in(await self._providers.ask(log.message(account, sid))) for sid in sids]
        return [row for row in rows if row is not None]

    async def _fill_in(
        self, connection: Connection, account: Account, lacking: Sequence[Logged]
    ) -> list[arrivals.Received]:
        """What came of each message that we lacked."""
        outcomes = []
        for first in range(0, len(lacking), FILLED_AT_ONCE):
            group = lacking[first : first + FILLED_AT_ONCE]
            coming = [_arrival(connection, account, row, await self._media(account, row)) for row in group]
            outcomes += await asyncio.gather(*(self._received(arrival) for arrival in coming if arrival is not None))
        return outcomes

    async def _received(self, arrival: arrivals.Arrival) -> arrivals.Received:
        try:
            return await self._messages.add(arrival)
        except Unavailable:
            return arrivals.Received(reason="it could not be kept now")

    async def _report(self, connection: Connection, account: Account, late: Sequence[Logged]) -> int:
        """How many messages of ours have moved on because of what the log says of them."""
        news = 0
        for row in late:
            headers = {"content-type": log.FORM, "user-agent": AGENT}
            request = Request("POST", _place(account, row), headers, row.as_report())
            noted = await self._reports.add(
                delivery.Reported(connection, request, row.report(connection.provider), now())
            )
            news += noted.is_new
        return news

    async def _media(self, account: Account, row: Logged) -> list[MediaItem]:
        if not row.media:
            return []
        return log.media_in(await self._providers.ask(log.media(account, row.sid)), account, row.sid)

    def _connection(self, task: Task) -> Connection:
        """The number's own connection, or its workspace's to that provider."""
        if task.connection_id is not None:
            found = self._directory.find(str(task.connection_id))
        else:
            theirs = [
                one
                for one in self._directory.all()
                if one.workspace_id == task.workspace_id and one.provider == task.provider
            ]
            found = min(theirs, key=lambda one: one.id, default=None)
        if found is None:
            raise Unanswered(f"There is no active connection to {task.provider} to ask by.")
        return found


AGENT = "comms sweep"
"""Who a receipt says the webhook came from: us, by the provider's log, at the address it names."""


def _questions(task: Task) -> Iterator[tuple[Literal["To", "From"], str]]:
    """Both ways of each name the number has at its provider."""
    names = [task.number]
    if task.provider == "twilio" and task.number.startswith("+"):
        names.append(f"whatsapp:{task.number}")
    for name in names:
        yield "To", name
        yield "From", name


def _arrival(
    connection: Connection, account: Account, row: Logged, media: Sequence[MediaItem]
) -> arrivals.Arrival | None:
    """The message as its webhook would have brought it; a replay reads the same receipt the same way."""
    headers = {"content-type": log.FORM, "user-agent": AGENT}
    request = Request("POST", _place(account, row), headers, row.as_webhook(media))
    try:
        message = DIALECTS[connection.provider].message_of(wire.reopened(request))
    except WebhookRefused:
        return None
    message = msgspec.structs.replace(message, details={**message.details, "backFilled": True})
    return arrivals.Arrival(connection, request, message, row.at or now())


def _place(account: Account, row: Logged) -> str:
    return f"{account.place}/Messages/{row.sid}.json"


def _is_further(row: Logged, ours: Any) -> bool:
    """Whether the provider's log is ahead of what we know of a message of ours."""
    status = row.report("").status
    if row.is_inbound or ours["direction"] != "outbound" or ours["is_deleted"] or status is None:
        return False
    return delivery.RANK[status] > delivery.RANK[ours["status"]]


def _oldest_first(rows: Sequence[Logged]) -> list[Logged]:
    """Each once, in the order in which they were sent."""
    once = {row.sid: row for row in rows}
    return sorted(once.values(), key=lambda row: (row.at or now(), row.sid))
