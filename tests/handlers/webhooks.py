"""Posting as a provider does, and looking at what came of it."""

import uuid
from typing import Any

import httpx

from comms.directory import Connection
from comms.providers.base import Request
from comms.simulators import signalwire, twilio
from tests.conftest import PUBLIC_URL
from tests.make.communications import OUR_NUMBER

CUSTOMER = "+14155550123"


def url_of(connection: Connection, kind: str = "messages") -> str:
    """Where the provider of that connection posts."""
    return f"{PUBLIC_URL}/webhooks/{connection.provider}/{connection.id}/{kind}"


def text(connection: Connection, **more: Any) -> Request:
    """A signed text to our number."""
    speak = twilio.message if connection.provider == "twilio" else signalwire.message
    return speak(url_of(connection), connection.credentials, **{"sender": CUSTOMER, "recipient": OUR_NUMBER} | more)


def report(connection: Connection, sid: str, status: str, **more: Any) -> Request:
    """A signed delivery report."""
    speak = twilio.report if connection.provider == "twilio" else signalwire.report
    return speak(url_of(connection, "message-status"), connection.credentials, sid=sid, status=status, **more)


async def post(client: httpx.AsyncClient, request: Request) -> httpx.Response:
    """The request, byte for byte."""
    return await client.request(
        request.method, request.url, headers=dict(request.headers), content=request.body or None
    )


async def rows(admin: Any, table: str, workspace_id: uuid.UUID) -> list[dict[str, Any]]:
    """All rows of a workspace, oldest first."""
    order = "seq" if table == "events" else "created_at, id"
    found = await admin.fetch(f"SELECT * FROM {table} WHERE workspace_id = $1 ORDER BY {order}", workspace_id)
    return [dict(row) for row in found]
