"""How a mail comes in: its form streams to the disk, is proven genuine, kept in the object store, and read.

The store has it before the transaction that says so: whoever dies in between leaves a file that the same webhook, tried
again, finds in its place.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
import structlog

from comms import receipts
from comms.database import Database
from comms.directory import Connection
from comms.groups import Groups, Unavailable
from comms.mail import reading
from comms.mail.letters import Letter
from comms.mail.passage import KIND, Arrived, Received
from comms.mail.spool import Spool, sha256
from comms.media import Media, Unkept
from comms.providers import sendgrid
from comms.providers.base import Request, Unreadable

log = structlog.get_logger(__name__)

AT_ONCE = 4  # read at the same time, of those that are larger than ``LARGE``
LARGE = 1024 * 1024


class Unread(msgspec.Struct, frozen=True):
    """A genuine webhook that is no mail we can read: known by its bytes, which are in the store."""

    connection: Connection
    request: Request
    storage_key: str
    webhook: str
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def identity(self) -> str:
        return self.retried.identity if self.retried else self.webhook


class Intake:
    """Takes the webhooks of Inbound Parse, now and again."""

    def __init__(self, database: Database, media: Media, mails: Groups[Arrived, Received]) -> None:
        self._database = database
        self._media = media
        self._mails = mails
        self._few_at_once = asyncio.Semaphore(AT_ONCE)

    async def take(
        self, connection: Connection, request: Request, content: AsyncIterator[bytes], at: datetime
    ) -> Received:
        """A mail has come, and is kept; ``request`` is without its body, which is ``content``.

        Raises ``Forged``, and ``Unavailable`` when it cannot be kept now, or nothing could prove it: what we have not
        been told yet is no forgery, and SendGrid tries again for three days.
        """
        if not sendgrid.proves_inbound(connection.credentials):
            log.warning("mail.no_key", connection_id=str(connection.id), missing="parsePublicKey")
            raise Unavailable
        signed, known = sendgrid.inbound_hash(request.headers), sha256(request.url.encode(), b"\0")
        with Spool(signed, known) as spool:
            async for chunk in content:
                spool.write(chunk)
            sendgrid.prove_inbound(request, signed.digest(), connection.credentials, at)
            webhook = known.hexdigest()
            key = key_of(connection, webhook)
            try:
                await self._media.keep(key, spool.content())
            except Unkept as error:
                log.warning("mail.not_stored", connection_id=str(connection.id), error=str(error))
                raise Unavailable from error
            return await self._read(Unread(connection, request, key, webhook, at), spool)

    async def again(
        self, connection: Connection, request: Request, kept: str | None, at: datetime, retried: receipts.Retried
    ) -> None:
        """A mail that is ``kept`` in the store, or else in its receipt, has been taken in once more."""
        with Spool() as spool:
            key = kept or key_of(connection, retried.identity)
            if kept is None:
                spool.write(request.body)
                await self._media.keep(key, spool.content())
            else:
                async for chunk in await self._media.read(key):
                    spool.write(chunk)
            head = msgspec.structs.replace(request, body=b"")
            await self._read(Unread(connection, head, key, retried.identity, at, retried), spool)

    async def _read(self, unread: Unread, spool: Spool) -> Received:
        content_type = unread.request.headers.get("content-type", "")
        try:
            letter = await self._letter(spool, content_type)
        except Exception as error:
            log.error("mail.unreadable", connection_id=str(unread.connection.id), error=type(error).__name__)
            return await self._keep_unreadable(unread, error)
        return await self._mails.add(
            Arrived(
                unread.connection,
                unread.request,
                letter,
                unread.storage_key,
                unread.webhook,
                unread.at,
                unread.retried,
            )
        )

    async def _letter(self, spool: Spool, content_type: str) -> Letter:
        if spool.size < LARGE:
            return await asyncio.to_thread(reading.letter, spool.file, spool.size, content_type)
        async with self._few_at_once:
            return await asyncio.to_thread(reading.letter, spool.file, spool.size, content_type)

    async def _keep_unreadable(self, unread: Unread, error: Exception) -> Received:
        reason = str(error) if isinstance(error, Unreadable) else receipts.describe(error)
        async with self._database.alone() as db:
            await receipts.keep(db, [receipts.Receipt(unread, state="unreadable", reason=reason)])
        return Received(reason=reason)


def key_of(connection: Connection, webhook: str) -> str:
    """Where the store keeps a webhook: the same one, however often it comes, in the same place."""
    return f"{connection.workspace_id}/mail/{connection.id}-{webhook}"
