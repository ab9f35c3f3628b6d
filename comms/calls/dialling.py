"""What we ask of providers about lines: dial one, take it elsewhere, end it. Never inside a transaction.

A line is known to be dialled before anybody is asked to: whoever finds it so, and without a name, looks into the
provider's log first, for to dial twice is to ring a person twice.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.calls import callbacks, progress, rows, transfers
from comms.calls.progress import DIAL, Report
from comms.database import Database
from comms.directory import Connection, Directory
from comms.outbox.rest import Rest
from comms.providers import calling, rest, twilio
from comms.providers.outgoing import Answer, Busy, Refused, Unclear
from comms.providers.outgoing import Call as Asked
from comms.providers.rest import Account
from comms.settings import Settings
from models.base import now
from models.communications import Call, CallLeg, CallOffer, Recording

log = structlog.get_logger(__name__)

LATE = timedelta(seconds=60)
"""After this a line is given up whose fate nobody knows, or that no provider took: nobody waits for that call now."""
LOOK_AGAIN_SECONDS = 3.0
TIMEOUT = httpx.Timeout(connect=3, write=3, read=6, pool=3)
SETTLED_SECONDS = 20.0
"""What a provider's log does not show so long after it was tried, it never took: a request takes 15 seconds at most.

To connect counts twice, for TCP and for TLS: 2 * 3 + 3 to write + 6 to read. Each request has a pool of its own.
"""
CLOCKS = timedelta(seconds=10)
"""How far a provider's clock may be behind ours."""


class Dialled(msgspec.Struct, frozen=True):
    """A line to be dialled, and all that takes."""

    leg_id: uuid.UUID
    connection_id: uuid.UUID
    provider: str
    to: str
    sender: str
    screen: str
    seconds: int
    tried_at: Any = None


class Dialler:
    """Speaks to the providers about lines."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        settings: Settings,
        *,
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
        settled_seconds: float = SETTLED_SECONDS,
        http: Rest | None = None,
    ) -> None:
        self._database = database
        self._directory = directory
        self._bases: Mapping[str, str | None] = {
            "twilio": settings.providers.twilio_url,
            "signalwire": settings.providers.signalwire_url,
        }
        self._public_url = settings.server.public_url
        self._look_again_seconds = look_again_seconds
        self._settled = timedelta(seconds=settled_seconds)
        self._http = http or Rest(rest.Messages(twilio.account_at), None, timeout=TIMEOUT)

    async def close(self) -> None:
        """No connection is open any more."""
        await self._http.close()

    async def dial(self, workspace_id: uuid.UUID, leg_id: uuid.UUID) -> None:
        """The line is dialled, or was, or never will be."""
        due = await self._begin(workspace_id, leg_id)
        if due is None:
            return
        may_be_there = due.tried_at is not None
        try:
            connection, account = await self._account(due.connection_id, due.provider)
            known = await self._find(workspace_id, due, account) if may_be_there else None
            if known is None and may_be_there:
                await self._expect_settled(workspace_id, due)
                may_be_there = False
            if known is None:
                base = f"{self._public_url}/webhooks/{due.provider}/{connection.id}"
                asked = calling.create(
                    account,
                    to=due.to,
                    sender=due.sender,
                    url=f"{base}/{due.screen}",
                    callback=f"{base}/voice-status?leg={leg_id}",
                    seconds=due.seconds,
                )
                known = calling.placed(await self._http.ask(asked))
        except Busy as error:
            await self._again(workspace_id, leg_id, self._wait_after(error), was_dialled=may_be_there)
        except Unclear:
            await self._again(workspace_id, leg_id, self._look_again_seconds, was_dialled=True)
        except Refused as error:
            log.warning("calls.refused", leg_id=str(leg_id), code=error.code)
            await self._fail(workspace_id, leg_id, error.code or "refused")
        else:
            await self._know(workspace_id, leg_id, known)

    async def end(self, workspace_id: uuid.UUID, leg_id: uuid.UUID, *, since: datetime | None = None) -> None:
        """The line has ended. A provider that is busy is asked again soon, for as long as somebody may be waiting."""
        found = await self._named(workspace_id, leg_id)
        if found is None:
            return
        provider_call_id, connection_id, provider = found
        _, account = await self._account(connection_id, provider)
        try:
            await self._do(calling.finish(account, provider_call_id))
        except (Busy, Unclear) as error:
            since = since or now()
            if now() - since > transfers.BEARABLE:
                raise
            async with self._database.workspace(workspace_id) as db:
                payload = {"workspaceId": workspace_id, "legId": leg_id, "since": since}
                await jobs.enqueue(db, progress.END_LEG, [payload], delay_seconds=self._wait_after(error))

    async def redirect(
        self,
        workspace_id: uuid.UUID,
        leg_id: uuid.UUID,
        kind: str,
        transfer_id: uuid.UUID,
        *,
        turn: int,
        since: datetime,
    ) -> None:
        """The line asks at that address of ours what to do, and leaves what it did; or it stays, if that is refused.

        A provider that is busy is asked again for as long as the contact can bear.
        """
        found = await self._leaving(workspace_id, leg_id, kind, transfer_id, turn)
        if found is None:
            return
        provider_call_id, connection_id, provider = found
        try:
            connection, account = await self._account(connection_id, provider)
            query = urlencode({"transfer": transfer_id, "leg": leg_id})
            url = f"{self._public_url}/webhooks/{provider}/{connection.id}/{kind}?{query}"
            calling.changed(await self._http.ask(calling.redirect(account, provider_call_id, url)))
        except (Refused, Busy, Unclear) as error:
            left = (since + transfers.BEARABLE - now()).total_seconds()
            log.warning("calls.not_redirected", leg_id=str(leg_id), kind=kind, error=type(error).__name__)
            async with self._database.workspace(workspace_id) as db:
                call, _ = await _held(db, leg_id)
                if call is None:
                    return
                if isinstance(error, Refused) or left <= 0:
                    await transfers.give_up(db, call, transfer_id)
                    return
                if isinstance(error, Busy):
                    await transfers.stays(db, call, transfer_id)
                payload = {"workspaceId": workspace_id, "legId": leg_id, "kind": kind, "transferId": transfer_id}
                payload |= {"turn": turn, "since": since}
                seconds = min(self._wait_after(error), left)
                await jobs.enqueue(db, progress.REDIRECT, [payload], delay_seconds=seconds)

    async def remove_queue(self, connection_id: uuid.UUID, provider: str, queue_id: str) -> None:
        """The queue that one caller has waited in is no more."""
        _, account = await self._account(connection_id, provider)
        await self._do(calling.remove_queue(account, queue_id))

    async def pause(self, call: Call, leg: CallLeg, recording: Recording, *, paused: bool) -> None:
        """The recording goes on, or does not; raises ``Refused``, ``Busy`` or ``Unclear``."""
        assert call.connection_id is not None
        _, account = await self._account(call.connection_id, call.provider)
        asked = calling.pause(account, leg.provider_call_id or "", recording.provider_recording_id, paused=paused)
        calling.changed(await self._http.ask(asked))

    def _wait_after(self, error: Busy | Unclear) -> float:
        """After how many seconds the provider is asked again: nobody waits for a call as long as it may wish."""
        wanted = error.retry_after if isinstance(error, Busy) else None
        return min(wanted or self._look_again_seconds, LATE.total_seconds())

    async def _do(self, asked: Asked) -> None:
        """Done; a refusal is final, and what was unclear may be done again: to do it twice is to do it once."""
        try:
            answer: Answer = await self._http.ask(asked)
            calling.done(answer)
        except Refused as error:
            log.warning("calls.refused", code=error.code)

    async def _account(self, connection_id: uuid.UUID, provider: str) -> tuple[Connection, Account]:
        connection = await self._directory.look_up(str(connection_id))
        if connection is None:
            raise Refused(None, "The connection is switched off.")
        return connection, calling.account_of(provider, connection.credentials, self._bases[provider])

    async def _begin(self, workspace_id: uuid.UUID, leg_id: uuid.UUID) -> Dialled | None:
        async with self._database.workspace(workspace_id) as db:
            call, leg = await _held(db, leg_id)
            if call is None or leg is None or leg.provider_call_id is not None or leg.ended_at is not None:
                return None
            offer = None if leg.offer_id is None else await db.get(CallOffer, (workspace_id, leg.offer_id))
            if call.ended_at is not None or (offer is not None and offer.state != "offered"):
                await _report(db, call, leg, Report("canceled"))
                return None
            if leg.created_at < now() - LATE:
                code = "unreachable" if leg.dialled_at is None else "unclear"
                await _report(db, call, leg, Report("failed", error_code=code))
                return None
            ours = call.to_address if call.direction == "inbound" else call.from_address
            if call.connection_id is None or not leg.to_address or not ours:
                await _report(db, call, leg, Report("failed", error_code="connection"))
                return None
            tried_at, leg.dialled_at = leg.dialled_at, leg.dialled_at or now()
            token = f"&token={offer.token}" if offer is not None else ""
            kind = "voice-outbound" if offer is None else "voice-accept"
            return Dialled(
                leg_id=leg.id,
                connection_id=call.connection_id,
                provider=call.provider,
                to=leg.to_address,
                sender=ours,
                screen=f"{kind}?leg={leg.id}{token}",
                seconds=30 if offer is None else offer.seconds,
                tried_at=tried_at,
            )

    async def _find(self, workspace_id: uuid.UUID, due: Dialled, account: Account) -> calling.Placed | None:
        """The call that an earlier try has made, if one did: in the provider's log, and none of ours by name."""
        there = calling.listed(await self._http.ask(calling.look(account, to=due.to, sender=due.sender)))
        async with self._database.workspace(workspace_id) as db:
            ours = set(
                await db.scalars(
                    select(CallLeg.provider_call_id).where(
                        CallLeg.provider == due.provider, CallLeg.provider_call_id.in_([call.call_id for call in there])
                    )
                )
            )
        since = due.tried_at - CLOCKS
        return next(
            (call for call in there if call.call_id not in ours and (call.at is None or call.at >= since)), None
        )

    async def _expect_settled(self, workspace_id: uuid.UUID, due: Dialled) -> None:
        """``Unclear`` while an earlier try may still be under way; else this is a new one."""
        if now() - due.tried_at < self._settled:
            raise Unclear("the provider does not have it (yet)")
        async with self._database.workspace(workspace_id) as db:
            _, leg = await _held(db, due.leg_id)
            if leg is None or leg.dialled_at != due.tried_at:
                raise Unclear("somebody else tries it")
            leg.dialled_at = now()

    async def _know(self, workspace_id: uuid.UUID, leg_id: uuid.UUID, placed: calling.Placed) -> None:
        async with self._database.workspace(workspace_id) as db:
            call, leg = await _held(db, leg_id)
            if call is None or leg is None:
                return
            await callbacks.know(db, call, leg, placed.call_id)
            if placed.status is not None:
                await _report(db, call, leg, Report(placed.status))
            if call.ended_at is not None and leg.ended_at is None:
                await jobs.enqueue(db, progress.END_LEG, [{"workspaceId": workspace_id, "legId": leg_id}])

    async def _again(self, workspace_id: uuid.UUID, leg_id: uuid.UUID, seconds: float, *, was_dialled: bool) -> None:
        async with self._database.workspace(workspace_id) as db:
            _, leg = await _held(db, leg_id)
            if leg is not None and not was_dialled:
                leg.dialled_at = None
            await jobs.enqueue(db, DIAL, [{"workspaceId": workspace_id, "legId": leg_id}], delay_seconds=seconds)

    async def _fail(self, workspace_id: uuid.UUID, leg_id: uuid.UUID, code: str) -> None:
        async with self._database.workspace(workspace_id) as db:
            call, leg = await _held(db, leg_id)
            if call is not None and leg is not None:
                await _report(db, call, leg, Report("failed", error_code=code))

    async def _named(self, workspace_id: uuid.UUID, leg_id: uuid.UUID) -> tuple[str, uuid.UUID, str] | None:
        async with self._database.workspace(workspace_id) as db:
            leg = await rows.leg_of(db, leg_id)
            return None if leg is None else _name(await db.get(Call, (workspace_id, leg.call_id)), leg)

    async def _leaving(
        self, workspace_id: uuid.UUID, leg_id: uuid.UUID, kind: str, transfer_id: uuid.UUID, turn: int
    ) -> tuple[str, uuid.UUID, str] | None:
        async with self._database.workspace(workspace_id) as db:
            call, leg = await _held(db, leg_id)
            if call is None or leg is None or not await transfers.leaves(db, call, transfer_id, kind, turn):
                return None
            return _name(call, leg)


async def _report(db: AsyncSession, call: Call, leg: CallLeg, report: Report) -> None:
    """The line is so, as if its provider had told."""
    await progress.move(db, call, leg, report)
    if leg.ended_at is not None:
        await transfers.line_over(db, call, leg)


async def _held(db: AsyncSession, leg_id: uuid.UUID) -> tuple[Call | None, CallLeg | None]:
    leg = await rows.leg_of(db, leg_id)
    if leg is None:
        return None, None
    return await rows.held_by(db, leg), leg


def _name(call: Call | None, leg: CallLeg) -> tuple[str, uuid.UUID, str] | None:
    if call is None or leg.provider_call_id is None or call.connection_id is None:
        return None
    return leg.provider_call_id, call.connection_id, call.provider
