"""Calls of the providers that telephone: Twilio's TwiML and SignalWire's cXML, which is the same."""

from comms.calls.taking import CALLBACKS
from comms.directory import Connection
from comms.providers import DIALECTS
from comms.providers.base import Request
from comms.service import Service
from handlers.webhooks.answers import NOTED, Answer


async def take(kind: str, service: Service, connection: Connection, request: Request) -> Answer:
    """A provider asks what a line is to do, or tells what has become of it: answered once that is kept."""
    opened = DIALECTS[connection.provider].open(request, connection.credentials)
    said = await service.calls.take(kind, connection, request, opened)
    return NOTED if kind in CALLBACKS else Answer(200, said.encode(), "text/xml")
