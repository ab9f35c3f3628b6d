"""A workspace whose attachments are really served, and what became of them."""

import asyncio
import socket
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import uvicorn

from comms.database import Database
from comms.media import Announced, Media, announce
from comms.service import Service
from comms.settings import MediaSettings
from comms.simulators.media import MediaServer
from models.base import new_id, now
from models.communications import ConversationMessage, MessageAttachment, MessageAttachmentView
from tests.make import communications as make

SID, TOKEN = make.TWILIO["accountSid"], make.TWILIO["authToken"]
BASIC = "Basic " + b64encode(f"{SID}:{TOKEN}".encode()).decode()
Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@asynccontextmanager
async def served(app: Asgi, **options: Any) -> AsyncIterator[int]:
    """The application answers on this port of 127.0.0.1, until its connections are cut."""
    # The standard loop leaves Nagle's algorithm on for a listener that does not say it is TCP: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", **options)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Without its main loop, which looks every tenth of a second whether it is to end.
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        for one in server.servers:
            one.close()
        connections: list[Any] = list(server.server_state.connections)
        for connection in connections:
            connection.transport.abort()
        tasks = list(server.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """A workspace with a Twilio connection, Twilio's media server, and a ``Media`` that is told about both."""

    def __init__(self, service: Service, workspace_id: uuid.UUID, server: MediaServer, port: int, url: str) -> None:
        self.service = service
        self.workspace_id = workspace_id
        self.server = server
        self.port = port
        self.twilio = f"http://127.0.0.1:{port}"
        self.settings = MediaSettings(url=url, twilio_url=self.twilio, extra_hosts=(f"localhost:{port}",))
        self.connection_id: uuid.UUID | None = None

    def media(self, database: Database | None = None, **options: Any) -> Media:
        """Fetches as the settings say; any of them, or how patient it is, may be told otherwise."""
        patience = {name: options.pop(name) for name in ("back_off_seconds", "total_seconds") if name in options}
        settings = msgspec.structs.replace(self.settings, **options)
        return Media(database or self.service.database, self.service.directory, settings, **patience)

    def item(self, name: str) -> str:
        """The address of a media item as Twilio's webhook names it."""
        return f"{self.twilio}/2010-04-01/Accounts/{SID}/Messages/MM1/Media/{name}"

    async def announced(self, *urls: str, provider: str = "twilio", declared: str = "image/jpeg") -> list[Any]:
        """A message with these attachments has arrived."""
        conversation = await make.conversation(self.service, self.workspace_id)
        message = ConversationMessage(
            workspace_id=self.workspace_id,
            conversation_id=conversation.id,
            direction="inbound",
            content="Look",
            sender_type="contact",
            status="received",
            provider=provider,
            provider_message_id=new_id().hex,
        )
        async with self.service.database.everywhere() as db:
            db.add(message)
        connection = await self.service.database.connect()
        try:
            async with connection.transaction():
                return await announce(
                    connection,
                    [
                        Announced(
                            workspace_id=self.workspace_id,
                            message_id=message.id,
                            connection_id=self.connection_id,
                            position=position,
                            source_url=url,
                            declared_type=declared,
                            at=now(),
                        )
                        for position, url in enumerate(urls)
                    ],
                )
        finally:
            await connection.close()

    async def fetched(self, url: str, media: Media | None = None, **announced: Any) -> MessageAttachment:
        """The attachment after one try."""
        (view,) = await self.announced(url, **announced)
        await (media or self.media()).fetch(self.workspace_id, view.id)
        return await self.row(view.id)

    async def row(self, attachment_id: uuid.UUID) -> MessageAttachment:
        async with self.service.database.everywhere() as db:
            row = await db.get(MessageAttachment, (self.workspace_id, attachment_id))
        assert row is not None
        return row

    async def is_due(self, attachment_id: uuid.UUID) -> None:
        """Its next try is now."""
        async with self.service.database.everywhere() as db:
            row = await db.get(MessageAttachment, (self.workspace_id, attachment_id))
            assert row is not None
            row.next_attempt_at = datetime.now(UTC) - timedelta(seconds=1)

    def file(self, row: MessageAttachment) -> Path:
        folder = Path(unquote(urlsplit(self.settings.url).path))
        assert row.storage_key == f"{row.workspace_id}/{row.id}"
        return folder / row.storage_key


async def events_of(admin: Any, attachment_id: uuid.UUID) -> list[Any]:
    return list(await admin.fetch("SELECT * FROM events WHERE subject_id = $1 ORDER BY seq", attachment_id))


async def jobs_for(admin: Any, attachment_id: uuid.UUID) -> list[float]:
    """The seconds until each of its jobs is due."""
    rows = await admin.fetch(
        "SELECT extract(epoch FROM execute_after - now())::float8 FROM jobs.pgqueuer"
        " WHERE entrypoint = 'media.fetch' AND convert_from(payload, 'utf8')::json->>'attachmentId' = $1 ORDER BY 1",
        str(attachment_id),
    )
    return [row[0] for row in rows]


def shown(row: MessageAttachment) -> MessageAttachmentView:
    return msgspec.convert(row, MessageAttachmentView, from_attributes=True)
