"""A workspace that can send: a provider's exchange over real HTTP, and a sender in a hurry."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from comms import delivery
from comms.directory import Connection
from comms.outbox import Intent, put
from comms.outbox.packing import Packing
from comms.outbox.rest import Rest
from comms.outbox.sender import Pace, Sender
from comms.providers import rest, signalwire, twilio
from comms.providers.base import Request
from comms.service import Service
from comms.settings import ProviderSettings, Settings
from comms.simulators.exchange import Exchange, Reporting
from comms.simulators.server import Server
from models.communications import Conversation, ConversationMessageView
from models.crm import Contact, ContactPoint
from tests.make import communications as make
from tests.screens import serving

HURRY = Pace(
    lease=0.9,
    send=0.4,
    settled=0.3,
    look_again=(0.05, 0.1),
    back_off=(0.05, 0.1),
    poll=0.2,
    give_up=60,
)
FAST = Reporting(seconds=0.0)
CUSTOMER = "+14155550199"


class Outside:
    """The provider of a workspace's connection, and whoever sends by it."""

    def __init__(self, service: Service, app: Any, line: Connection, exchange: Exchange, url: str) -> None:
        self.service = service
        self.app = app
        self.line = line
        self.exchange = exchange
        self.url = url

    def sender(self, pace: Pace = HURRY, **more: Any) -> Sender:
        """A sender of its own, as another worker has."""
        short = httpx.Timeout(pace.send)
        known: Mapping[str, Any] = {
            "twilio": Rest(rest.Messages(twilio.account_at), self.url, timeout=short),
            "signalwire": Rest(rest.Messages(signalwire.account_at), self.url, timeout=short),
        } | more
        packing = Packing(self.service.database, self.service.publishing, self.service.settings.server.public_url)
        return Sender(self.service.database, self.service.directory, known, packing, pace=pace)

    @asynccontextmanager
    async def sending(self, *paces: Pace) -> AsyncIterator[list[Sender]]:
        """One sender works, or as many as paces are given, and what else a worker does for what was sent."""
        senders = [self.sender(pace) for pace in paces or (HURRY,)]
        for sender in senders:
            await sender.start()
        joining = asyncio.create_task(self._join_parked())
        try:
            yield senders
        finally:
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)
            for sender in senders:
                await sender.stop(2)

    async def _join_parked(self) -> None:
        """A report that misses its message by an instant, as one that comes at once may, is joined before long."""
        while True:
            await asyncio.sleep(0.5)
            async with self.service.database.alone() as db:
                await delivery.join_all_parked(db)

    async def talk(self, phone: str = CUSTOMER, **more: Any) -> Conversation:
        """A conversation with somebody who has this phone."""
        contact = Contact(workspace_id=self.line.workspace_id, id=uuid.uuid4(), phone=phone)
        async with self.service.database.everywhere() as db:
            db.add(contact)
            await db.flush()
            db.add(
                ContactPoint(
                    workspace_id=contact.workspace_id, contact_id=contact.id, kind="phone", value=phone, is_primary=True
                )
            )
        return await make.conversation(self.service, self.line.workspace_id, contact.id, **more)

    async def say(self, talk: Conversation, content: str = "See you at 7pm", **more: Any) -> ConversationMessageView:
        """A message that is to leave."""
        return await self.put(talk, content=content, **{"sender_type": "user", **more})

    async def put(self, talk: Conversation, **said: Any) -> ConversationMessageView:
        """An intent of that conversation."""
        async with self.service.database.workspace(talk.workspace_id) as db:
            return await put(db, Intent(workspace_id=talk.workspace_id, conversation_id=talk.id, **said))


async def until(admin: Any, condition: str, *, within: float = 8) -> None:
    """The SQL condition holds."""
    async with asyncio.timeout(within):
        while not await admin.fetchval(f"SELECT {condition}"):  # noqa: ASYNC110  # the database does not tell
            await asyncio.sleep(0.02)


NONE_WAITS = "NOT EXISTS (SELECT FROM outgoing_messages)"


@asynccontextmanager
async def outside(service: Service, app: Any, line: Connection, **options: Any) -> AsyncIterator[Outside]:
    """The exchange of ``line`` answers over HTTP, and posts its reports to ``app``."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hooks.example.com") as client:

        async def post(request: Request) -> int:
            answer = await client.request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
            return answer.status_code

        exchange = Exchange(line.credentials, post=post, **{"reporting": FAST, **options})
        exchange.retry_after = 0
        async with serving(Server(exchange.routes)) as address:
            url = address.replace("ws://", "http://").removesuffix("/ws")
            yield Outside(service, app, line, exchange, url)
            await exchange.reported()


def at(settings: Settings, url: str) -> Settings:
    """The settings of a process whose providers are all at ``url``."""
    return msgspec.structs.replace(settings, providers=ProviderSettings(url, url, url))
