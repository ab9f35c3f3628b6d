"""A message as its provider is to take it: addresses as the wire wants them, media where they can be fetched, and where
to report; and which of the messages a provider shows is this one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from comms.database import Database
from comms.delivery import MARKER
from comms.directory import Connection
from comms.media.publishing import Publishing
from comms.outbox.addressing import on_the_wire
from comms.outbox.leasing import Lease
from comms.outbox.rows import fetch
from comms.providers import twilio
from comms.providers.base import Channel
from comms.providers.outgoing import Accepted, Enclosure, Listed, Outgoing, Unclear
from comms.providers.signalwire import SignalWireCredentials, with_password

LOOKING = 2


class Packing:
    """Packs messages for a service that the world knows as ``public_url``."""

    def __init__(self, database: Database, publishing: Publishing, public_url: str) -> None:
        self._database = database
        self._publishing = publishing
        self._public_url = public_url
        self._looking = asyncio.Semaphore(LOOKING)

    async def pack(self, lease: Lease, connection: Connection) -> Outgoing:
        """The message of ``lease`` as the provider of ``connection`` is to take it."""
        sender, recipient = on_the_wire(lease.channel, lease.route.from_address, lease.route.to_address)
        stored = tuple(
            Enclosure(
                url=self._publishing.address_of(lease.workspace_id, item.id),
                content_type=item.content_type,
                name=item.file_name,
                size=item.size,
                key=item.storage_key,
            )
            for item in lease.attachments
        )
        elsewhere = tuple(Enclosure(url) for url in lease.details.get("mediaUrls", ()))
        return Outgoing(
            id=lease.id,
            channel=Channel(lease.channel),
            sender=sender,
            recipient=recipient,
            content=lease.content,
            subject=lease.subject,
            media=stored + elsewhere,
            callback=self._callback(lease, connection),
            attempted_at=lease.attempted_at,
            mail=lease.details.get("mail", {}),
        )

    def _callback(self, lease: Lease, connection: Connection) -> str:
        path = f"/webhooks/{connection.provider}/{connection.id}/message-status"
        url = f"{self._public_url}{path}?{MARKER}={lease.id}"
        if isinstance(connection.credentials, SignalWireCredentials):
            return with_password(url, connection.credentials)
        return url + twilio.RETRIES if connection.provider == "twilio" else url

    async def told_of(self, lease: Lease) -> str | None:
        """What the provider calls the message, if a report about it has come already."""
        rows = await self._look_up(_TOLD, lease.workspace_id, lease.id, lease.route.provider)
        return rows[0]["provider_message_id"] if rows else None

    async def ours_of(self, lease: Lease, listed: Sequence[Listed]) -> Accepted | None:
        """The oldest of these messages that is none of those we know: this one, that is."""
        if not listed:
            return None
        ids = [one.accepted.provider_message_id for one in listed]
        rows = await self._look_up(_KNOWN, lease.workspace_id, lease.route.provider, ids)
        known = {row["provider_message_id"] for row in rows}
        unknown = [one.accepted for one in listed if one.accepted.provider_message_id not in known]
        return unknown[-1] if unknown else None

    async def _look_up(self, statement: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """A few at a time: when a provider falls silent all that was under way asks at once, and others work here too.

        Raises ``Unclear`` when it cannot be said now.
        """
        try:
            async with self._looking, self._database.everywhere() as db:
                return await fetch(db, statement, *arguments)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise Unclear(f"what is known of it here could not be read ({type(error).__name__})") from error


_TOLD = """
SELECT r.provider_message_id FROM delivery_reports r
WHERE r.workspace_id = $1 AND r.marked_id = $2 AND r.provider = $3
LIMIT 1
"""

_KNOWN = """
SELECT m.provider_message_id FROM conversation_messages m
WHERE m.workspace_id = $1 AND m.provider = $2 AND m.provider_message_id = ANY($3::text[])
"""
