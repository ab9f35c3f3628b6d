"""A workspace that sends mail: SendGrid's API over real HTTP, a mail server that keeps what it gets, and a sender."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from comms.directory import Connection
from comms.mail.carrying import ByApi, BySmtp
from comms.mail.tokens import Tokens
from comms.outbox import Intent, put
from comms.outbox.packing import Packing
from comms.outbox.sender import Pace, Sender
from comms.providers.base import Request
from comms.service import Service
from comms.simulators import sendgrid
from comms.simulators.mail_exchange import MailExchange
from comms.simulators.server import Server
from models.base import now
from models.communications import ConversationMessageView
from tests.handlers.webhooks import url_of
from tests.make.communications import OUR_MAIL
from tests.make.sending import HURRY
from tests.screens import serving

PATIENT = msgspec.structs.replace(HURRY, send=5.0, lease=12.0)
"""As quick, where no answer is ever lost: a busy machine takes its time."""

JANE = "Jane Doe <jane@example.com>"


def mail(connection: Connection, sender: str = JANE, to: str = OUR_MAIL, **more: Any) -> Request:
    """A signed mail to our address."""
    url = url_of(connection, "inbound")
    return sendgrid.inbound(url, connection.credentials, now(), sender=sender, recipients=[to], **more)


class PostOffice:
    """SendGrid for one workspace's connection, and whoever sends by it."""

    def __init__(self, service: Service, connection: Connection, exchange: MailExchange, url: str) -> None:
        self.service = service
        self.connection = connection
        self.exchange = exchange
        self.tokens = Tokens(service.settings.security)
        read = service.media.read
        self.url = url
        self.expect_events_within(20)
        self.by_smtp = BySmtp(service.settings.providers.smtp_hosts, self.tokens, read, service.unsubscribing)

    def expect_events_within(self, seconds: float) -> None:
        """A mail that no event has told of by then is not known to be sent."""
        within = timedelta(seconds=seconds)
        self.by_api = ByApi(
            self.url, self.tokens, self.service.media.read, self.service.unsubscribing, tells_within=within
        )

    @asynccontextmanager
    async def sending(self, pace: Pace = PATIENT) -> AsyncIterator[None]:
        """What is due is sent."""
        packing = Packing(self.service.database, self.service.publishing, self.service.settings.server.public_url)
        known = {"sendgrid": self.by_api, "smtp": self.by_smtp}
        sender = Sender(self.service.database, self.service.directory, known, packing, pace=pace)
        await sender.start()
        try:
            yield
        finally:
            await sender.stop(2)

    async def say(self, conversation_id: uuid.UUID, content: str, **more: Any) -> ConversationMessageView:
        """A mail that is to leave."""
        workspace_id = self.connection.workspace_id
        async with self.service.database.workspace(workspace_id) as db:
            intent = Intent(workspace_id=workspace_id, conversation_id=conversation_id, content=content, **more)
            return await put(db, intent)


@asynccontextmanager
async def post_office(service: Service, app: Any, connection: Connection) -> AsyncIterator[PostOffice]:
    """SendGrid answers over HTTP, and posts its events to ``app``."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hooks.example.com") as client:

        async def post(request: Request) -> int:
            answer = await client.request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
            return answer.status_code

        exchange = MailExchange(connection.credentials, events_url=url_of(connection, "events"), post=post, seconds=0.0)
        async with serving(Server(exchange.routes)) as address:
            yield PostOffice(service, connection, exchange, address.replace("ws://", "http://").removesuffix("/ws"))
            await exchange.told()
