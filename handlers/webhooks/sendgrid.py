"""SendGrid's mail and mail events."""

from collections.abc import AsyncIterator

from comms.directory import Connection
from comms.mail.events import Batch
from comms.providers import sendgrid
from comms.providers.base import Request
from comms.service import Service
from handlers.webhooks.answers import DONE, NOTED, Answer
from models.base import now


async def take_events(service: Service, connection: Connection, request: Request) -> Answer:
    """What became of mails we sent."""
    at = now()
    elements = sendgrid.open_events(request, connection.credentials, at)
    await service.mail_events.add(Batch(connection, request, elements, at))
    return NOTED


async def take_inbound(
    service: Service, connection: Connection, request: Request, content: AsyncIterator[bytes]
) -> Answer:
    """A mail has come. Whatever is wrong with it, it is kept: SendGrid drops what is answered by less than a 2xx."""
    await service.intake.take(connection, request, content, now())
    return DONE
