"""A provider that knows of messages whose webhooks never came."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from comms.simulators.exchange import Exchange, Taken
from comms.simulators.server import Server
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import CUSTOMER
from tests.make.communications import OUR_NUMBER

API = "/api/v1"


class Twilio(Server):
    """Twilio's server, and while it is ``down`` the status and the code it answers everything with."""

    down: tuple[int, int] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.down is None:
            await super().__call__(scope, receive, send)
            return
        status, code = self.down
        body = msgspec.json.encode({"code": code, "message": "It does not work", "status": status})
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]}
        )
        await send({"type": "http.response.body", "body": body})


def ago(minutes: float) -> datetime:
    return (now() - timedelta(minutes=minutes)).replace(microsecond=0)


def receive(exchange: Exchange, body: str, minutes: float, media: tuple[str, ...] = ()) -> Taken:
    """Somebody has texted our number so many minutes ago, and we were not told."""
    taken = exchange.receive(CUSTOMER, OUR_NUMBER, body)
    taken.at, taken.media = ago(minutes), media
    return taken


def lost(exchange: Exchange, many: int, body: str = "{} minutes ago") -> list[str]:
    """Messages whose webhooks never came, a minute apart."""
    return [receive(exchange, body.format(minutes), minutes).sid for minutes in range(many, 0, -1)]


async def messages(client: Client, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        await client.get(f"{API}/conversation-messages", params={"sort": "createdAt", "limit": 200, **query})
    ).json()["items"]
    return found
