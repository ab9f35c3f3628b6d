"""SendGrid's mail and mail events: proven genuine and kept byte for byte, until the story that reads them exists."""

from comms.directory import Connection
from comms.providers import sendgrid
from comms.providers.base import Request
from comms.receipts import Unread
from comms.service import Service
from handlers.webhooks.answers import NOTED, Answer
from models.base import now


async def take_events(service: Service, connection: Connection, request: Request) -> Answer:
    """What became of mails we sent."""
    sendgrid.open_events(request, connection.credentials, now())
    await _keep(service, connection, request, "events")
    return NOTED


async def take_inbound(service: Service, connection: Connection, request: Request) -> Answer:
    """A mail has come."""
    sendgrid.open_inbound(request, connection.credentials, now())
    await _keep(service, connection, request, "inbound")
    return NOTED


async def _keep(service: Service, connection: Connection, request: Request, kind: str) -> None:
    await service.replays.keep_unread(
        Unread(connection, request, now(), kind), "kept as it came: mail is not read into conversations yet"
    )
