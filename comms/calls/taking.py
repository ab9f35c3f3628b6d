"""Voice webhooks: each in one unit of work, answered after its commit, and never with an error a caller would hear."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from comms import receipts
from comms.calls import accepting, callbacks, dialogue, outbound
from comms.calls.twiml import A_MOMENT, BROKEN, NOTHING, THANKS, Line, unavailable
from comms.database import Database, driver_of
from comms.directory import Connection
from comms.groups import Unavailable
from comms.providers import wire
from comms.providers.base import Request, WebhookRefused
from comms.providers.voice import Told, told_in
from comms.threads import Contended
from models.base import now

log = structlog.get_logger(__name__)

Query = Mapping[str, str]

PATIENCE_SECONDS = 3.5  # SignalWire waits 5 s for an answer, and the caller meanwhile hears nothing
TRIES = 5

CALLER = frozenset(
    {
        "voice",
        "voice-step",
        "voice-dial",
        "voice-queue",
        "voice-message",
        "voice-fallback",
        "voice-relay",
        "voice-refer",
        "voice-transfer",
    }
)
"""What is asked for the caller's line: an error in any of these leads to the voicemail."""

MEMBER = frozenset(
    {"voice-accept", "voice-accepted", "voice-done", "voice-outbound", "voice-dialled", "voice-notice", "voice-room"}
)
"""What is asked for the line of a member, who is told that something is wrong, or of whoever they call."""

WAITING = "voice-hold"

CALLBACKS = frozenset({"voice-status", "voice-recording", "voice-transcription", "voice-amd", "voice-conference"})
"""What is only told."""

KINDS = CALLER | MEMBER | CALLBACKS | {WAITING}
KEPT = CALLBACKS | {"voice"}
"""Kinds of which a receipt is kept whatever comes of them."""


def last_word(kind: str, line: Line) -> str | None:
    """What is said when we have failed; None for what is only told, and has to be told again.

    A caller may leave a message, and one who has left it is thanked. Nobody is put through who has not pressed the key.
    """
    if kind in CALLBACKS:
        return None
    if kind == "voice-message":
        return THANKS
    if kind == WAITING:
        return A_MOMENT
    return BROKEN if kind in MEMBER else unavailable(line)


class Heard(receipts.Unread, frozen=True):
    """A genuine voice webhook, known by what it says and not by its bytes, which carry the time."""

    name: str = ""

    @property
    def identity(self) -> str:
        return self.retried.identity if self.retried else self.name


class Calls:
    """Takes what providers ask and tell about calls."""

    def __init__(self, database: Database, public_url: str) -> None:
        self._database = database
        self._public_url = public_url

    async def take(
        self,
        kind: str,
        connection: Connection,
        request: Request,
        opened: Any,
        *,
        at: datetime | None = None,
        retried: receipts.Retried | None = None,
    ) -> str:
        """The answer to the webhook, committed; empty for what is only told.

        Raises ``WebhookRefused``, and ``Unavailable`` for what is only told and cannot be kept. When something in here
        is wrong, or the database away, a caller may leave a message.
        """
        line = Line(connection.provider, f"{self._public_url}/webhooks/{connection.provider}/{connection.id}")
        heard: receipts.Webhook = receipts.Unread(connection, request, at or now(), kept_as(kind), retried)
        failure: Exception | None = None
        try:
            told = told_in(connection.provider, opened)
            query = wire.first_of_each(wire.query_of(request.url))
            heard = Heard(connection, request, heard.at, heard.kind, retried, wire.known_as(_name(kind, told, query)))
            async with asyncio.timeout(PATIENCE_SECONDS):
                for attempt in range(TRIES):
                    try:
                        return await self._once(kind, line, heard, told, query)
                    except (DBAPIError, Contended, asyncpg.PostgresError) as error:
                        failure = error
                        await asyncio.sleep(0.01 * (attempt + 1))
        except WebhookRefused:
            raise
        except Exception as error:
            failure = error
        assert failure is not None
        log.error("voice.failed", kind=kind, connection_id=str(connection.id), error=type(failure).__name__)
        if retried is not None:
            raise failure
        is_kept = await self._keep_failed(heard, failure)
        said = last_word(kind, line)
        if said is None and not is_kept:
            raise Unavailable
        return said or NOTHING

    async def _once(self, kind: str, line: Line, heard: Heard, told: Told, query: Query) -> str:
        async with self._database.workspace(heard.connection.workspace_id, is_urgent=True) as db:
            said, reason = await _STORIES[kind](db, kind, line, heard, told, query)
            if kind in KEPT or heard.retried is not None:
                state = "processed" if reason is None else "unmapped"
                receipt = receipts.Receipt(heard, state=state, reason=reason)
                await receipts.keep(await driver_of(db), [receipt])
        return said

    async def _keep_failed(self, heard: receipts.Webhook, failure: Exception) -> bool:
        try:
            async with asyncio.timeout(1), self._database.alone() as db:
                await receipts.keep_failed(db, heard, failure)
        except Exception as error:  # the caller is answered all the same
            log.error("voice.not_kept", kind=heard.kind, error=type(error).__name__)
            return False
        return True


Said = tuple[str, str | None]
Story = Callable[[AsyncSession, str, Line, Heard, Told, Query], Awaitable[Said]]


async def _ask_caller(db: AsyncSession, kind: str, line: Line, heard: Heard, told: Told, query: Query) -> Said:
    if heard.retried is not None:  # whoever asked has long been answered, and phones would ring for nobody
        return NOTHING, await dialogue.remember(db, heard.connection, heard.request, told, heard.at)
    return await dialogue.answer(db, line, kind, heard.connection, heard.request, told, query)


async def _hold(db: AsyncSession, kind: str, line: Line, heard: Heard, told: Told, query: Query) -> Said:
    return await dialogue.meanwhile(db, line, told), None


async def _ask_member(db: AsyncSession, kind: str, line: Line, heard: Heard, told: Told, query: Query) -> Said:
    match kind:
        case "voice-accept":
            return await accepting.screen(db, line, told, query), None
        case "voice-accepted":
            return await accepting.accept(db, line, told, query), None
        case "voice-outbound":
            return await outbound.screen(db, line, told, query), None
        case "voice-dialled":
            return await outbound.dial(db, line, told, query), None
        case "voice-notice":
            return await outbound.notify(db, line, told, query), None
        case "voice-room":
            return await outbound.meet(db, line, told, query), None
    return await outbound.finish(db, line, told, query), None


async def _note(db: AsyncSession, kind: str, line: Line, heard: Heard, told: Told, query: Query) -> Said:
    known = True
    match kind:
        case "voice-status":
            await callbacks.take_status(db, heard.connection, heard.request, told, query, heard.at)
        case "voice-recording":
            known = await callbacks.take_recording(db, told, query.get("kind", "call"))
        case "voice-transcription":
            known = await callbacks.take_transcript(db, told)
        case "voice-amd":
            known = await callbacks.take_detection(db, told, query)
        case _:
            known = await callbacks.take_conference(db, told)
    return "", None if known else f"no call of ours has the line {told.call_id or 'it speaks of'}"


_STORIES: Mapping[str, Story] = {
    **dict.fromkeys(CALLER, _ask_caller),
    **dict.fromkeys(MEMBER, _ask_member),
    **dict.fromkeys(CALLBACKS, _note),
    WAITING: _hold,
}


def kept_as(kind: str) -> str:
    """The kind that a receipt of such a webhook has."""
    return kind if kind in KEPT else "voice"


def _name(kind: str, told: Told, query: Query) -> str:
    """What makes the webhook itself: the same one again has the same."""
    match kind:
        case "voice":
            return told.call_id
        case "voice-recording" if told.recording is not None:
            return f"{told.recording.id}:{told.recording.state}"
        case "voice-transcription" if told.transcript is not None:
            return f"{told.transcript.recording_id}:{told.transcript.was_understood}"
        case "voice-amd":
            return f"{told.call_id}:{told.detected}"
        case "voice-conference" if told.conference is not None:
            return f"{told.conference.id}:{told.conference.event}:{told.sequence}:{told.call_id}"
    return f"{told.call_id}:{kind}:{told.reported}:{told.sequence}:{query.get('turn', '')}"
