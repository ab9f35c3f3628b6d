"""Calls of the providers that telephone: Twilio's TwiML and SignalWire's cXML, which is the same."""

from comms.calls.taking import CALLBACKS, last_word
from comms.calls.twiml import Line
from comms.directory import Connection
from comms.providers import DIALECTS
from comms.providers.base import Request
from comms.service import Service
from handlers.webhooks.answers import NOTED, Answer


async def take(kind: str, service: Service, connection: Connection, request: Request) -> Answer:
    """A provider asks what a line is to do, or tells what has become of it: answered once that is kept."""
    opened = DIALECTS[connection.provider].open(request, connection.credentials)
    said = await service.calls.take(kind, connection, request, opened)
    return NOTED if kind in CALLBACKS else _document(said)


def failed(kind: str, provider: str, base_url: str) -> Answer | None:
    """What a line is told when nothing could be looked up; None for what is only told, and has to be told again."""
    said = last_word(kind, Line(provider, base_url))
    return None if said is None else _document(said)


def _document(said: str) -> Answer:
    return Answer(200, said.encode(), "text/xml")
