"""Attachments over real HTTP: what is fetched, what is refused, who sees our credentials."""

import asyncio
import hashlib
import socket
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import msgspec
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comms.database import Database
from comms.media import Announced, Media, NotKept, announce
from comms.media.keeping import IN_ONE_PIECE
from comms.media.kinds import content_type_of
from comms.media.sources import Refused, Sources, addresses_of, is_public
from comms.service import Service
from comms.settings import MediaSettings
from comms.simulators.media import Kept, MediaServer, media_server
from comms.simulators.wire import png
from models.base import new_id, now
from models.communications import ConversationMessage, MessageAttachment, MessageAttachmentView
from tests.make import communications as make

SID, TOKEN = make.TWILIO["accountSid"], make.TWILIO["authToken"]
BASIC = "Basic " + b64encode(f"{SID}:{TOKEN}".encode()).decode()
Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@asynccontextmanager
async def served(app: Asgi, **options: Any) -> AsyncIterator[int]:
    """The application answers on this port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", **options))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing else
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving


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


@pytest.fixture
async def world(service: Service, workspace_id: uuid.UUID, tmp_path: Path) -> AsyncIterator[World]:
    server = media_server(SID, TOKEN, cdn_base="")
    async with served(server) as port:
        server.cdn_base = f"http://localhost:{port}"
        world = World(service, workspace_id, server, port, (tmp_path / "kept here").as_uri())
        world.connection_id = (await make.connection(service, workspace_id)).id
        yield world


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


# Announcing


async def test_an_announced_attachment_is_pending_shown_as_get_shows_it_and_has_a_job(world: World, admin: Any) -> None:
    first, second = await world.announced(world.item("ME1"), world.item("ME2"))
    for position, view in enumerate((first, second)):
        row = await world.row(view.id)
        assert view == shown(row)
        assert (row.state, row.position, row.attempts) == ("pending", position, 0)
        (due,) = await jobs_for(admin, view.id)
        assert due <= 0


async def test_a_nul_character_never_reaches_the_database(world: World) -> None:
    (view,) = await world.announced("https://files.signalwire.com/\x00x", declared="image/\x00png")
    row = await world.row(view.id)
    assert (row.source_url, row.declared_type) == ("https://files.signalwire.com/x", "image/png")
    assert view == shown(row)


# Fetching


async def test_an_attachment_is_stored_and_told(world: World, admin: Any) -> None:
    row = await world.fetched(world.item("ME1"))
    assert (row.state, row.error, row.next_attempt_at, row.attempts) == ("stored", None, None, 1)
    assert (row.content_type, row.size, row.sha256) == (
        "image/png",
        len(png()),
        hashlib.sha256(png()).hexdigest(),
    )
    assert world.file(row).read_bytes() == png()
    (told,) = await events_of(admin, row.id)
    assert (told["event"], told["subject_type"]) == ("attachment.stored", "attachment")
    message = await admin.fetchrow("SELECT conversation_id FROM conversation_messages WHERE id = $1", row.message_id)
    assert told["conversation_id"] == message["conversation_id"]
    assert msgspec.json.decode(told["data"], type=MessageAttachmentView) == shown(row)


async def test_credentials_never_reach_another_host(world: World) -> None:
    row = await world.fetched(world.item("ME1"))
    assert row.state == "stored"
    api, cdn = world.server.seen
    assert (api.host, api.status, api.authorization) == (f"127.0.0.1:{world.port}", 307, BASIC)
    assert (cdn.host, cdn.status, cdn.authorization) == (f"localhost:{world.port}", 200, None)


async def test_an_api_key_is_preferred_to_the_accounts_token(world: World) -> None:
    connection = await make.connection(
        world.service, world.workspace_id, secret={**make.TWILIO, "apiKeySid": "SK1", "apiKeySecret": "s3cret"}
    )
    world.connection_id = connection.id
    await world.fetched(world.item("ME1"))
    assert world.server.seen[0].authorization == "Basic " + b64encode(b"SK1:s3cret").decode()


async def test_a_connection_that_is_gone_has_no_credentials_and_is_tried_again(world: World) -> None:
    world.connection_id = None
    row = await world.fetched(world.item("ME1"))
    assert world.server.seen[0].authorization is None
    assert (row.state, row.attempts) == ("pending", 1)
    assert row.error == "127.0.0.1 answered 401: are the connection's credentials right?"


async def test_a_404_at_first_is_tried_again(world: World, admin: Any) -> None:
    world.server.kept["ME1"] = Kept(missing=1)
    (view,) = await world.announced(world.item("ME1"))
    await world.media().fetch(world.workspace_id, view.id)
    row = await world.row(view.id)
    assert (row.state, row.attempts, row.error) == ("pending", 1, "127.0.0.1 answered 404")
    assert row.next_attempt_at is not None
    assert 8 < (row.next_attempt_at - now()).total_seconds() <= 10
    assert 8 < (await jobs_for(admin, view.id))[-1] <= 10

    await world.media().fetch(world.workspace_id, view.id)
    assert (await world.row(view.id)).attempts == 1, "not before its time"

    await world.is_due(view.id)
    await world.media().fetch(world.workspace_id, view.id)
    row = await world.row(view.id)
    assert (row.state, row.attempts, row.error) == ("stored", 2, None)
    assert [event["event"] for event in await events_of(admin, view.id)] == ["attachment.delayed", "attachment.stored"]


async def test_what_cannot_be_fetched_is_given_up_after_the_last_try(world: World, admin: Any) -> None:
    world.server.kept["ME1"] = Kept(missing=100)
    media = world.media(back_off_seconds=(0, 0))
    (view,) = await world.announced(world.item("ME1"))
    for _ in range(5):
        await media.fetch(world.workspace_id, view.id)
    row = await world.row(view.id)
    assert (row.state, row.attempts, row.next_attempt_at) == ("failed", 3, None)
    assert row.error == "127.0.0.1 answered 404; given up after 3 tries"
    assert [event["event"] for event in await events_of(admin, view.id)][-1] == "attachment.failed"
    assert len(world.server.seen) == 3


async def test_a_wrong_declared_type_is_corrected_by_sniffing(world: World) -> None:
    world.server.kept["ME1"] = Kept(content=b"%PDF-1.7\n%\xe2\xe3", content_type="image/jpeg")
    row = await world.fetched(world.item("ME1"), declared="image/jpeg")
    assert (row.declared_type, row.content_type) == ("image/jpeg", "application/pdf")


async def test_a_file_over_the_limit_is_cut_off(world: World, admin: Any) -> None:
    world.server.kept["ME1"] = Kept(size=2_000_000)
    row = await world.fetched(world.item("ME1"), world.media(max_bytes=2_000_000))
    assert (row.state, row.size) == ("stored", 2_000_000)
    row = await world.fetched(world.item("ME1"), world.media(max_bytes=1_999_999))
    assert (row.state, row.error, row.storage_key) == ("failed", "it is larger than 1999999 bytes", None)
    assert [event["event"] for event in await events_of(admin, row.id)] == ["attachment.failed"]


async def test_a_file_that_conceals_its_size_is_cut_off_while_it_streams(world: World, tmp_path: Path) -> None:
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await receive()
        gone = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
            sent += 64 * 1024
            await asyncio.sleep(0)

    async with served(endless) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",), max_bytes=6 * 1024 * 1024)
        row = await world.fetched(f"http://127.0.0.1:{port}/x", media)
    assert (row.state, row.error) == ("failed", f"it is larger than {6 * 1024 * 1024} bytes")
    assert IN_ONE_PIECE < 6 * 1024 * 1024 < sent < 40 * 1024 * 1024
    assert [path for path in (tmp_path / "kept here").rglob("*") if path.is_file()] == []


async def test_a_large_file_is_stored_in_parts(world: World) -> None:
    world.server.kept["ME1"] = Kept(size=2 * IN_ONE_PIECE + 5)
    row = await world.fetched(world.item("ME1"))
    content = png() + bytes(2 * IN_ONE_PIECE + 5 - len(png()))
    assert (row.state, row.size, row.sha256) == ("stored", len(content), hashlib.sha256(content).hexdigest())
    assert world.file(row).read_bytes() == content


async def test_an_empty_file_is_stored(world: World) -> None:
    world.server.kept["ME1"] = Kept(content=b"")
    row = await world.fetched(world.item("ME1"))
    assert (row.state, row.size, row.content_type) == ("stored", 0, "application/octet-stream")
    stream, _, _ = await world.media().open(row)
    assert b"".join([piece async for piece in stream]) == b""


async def test_a_broken_connection_is_tried_again(world: World) -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ConnectionError

    async with served(breaking) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",))
        row = await world.fetched(f"http://127.0.0.1:{port}/x", media)
    assert (row.state, row.error) == ("pending", "the connection broke (RemoteProtocolError)")
    row = await world.fetched(f"http://127.0.0.1:{port}/x", media)
    assert (row.state, row.error) == ("pending", "127.0.0.1 cannot be reached")


async def test_a_file_that_trickles_in_too_slowly_is_tried_again(world: World) -> None:
    async def trickle(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b""})

    async with served(trickle) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",), total_seconds=0.3)
        row = await world.fetched(f"http://127.0.0.1:{port}/x", media)
        assert (row.state, row.error) == ("pending", "it took longer than 0.3 seconds")
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",), total_seconds=5)
        assert (await world.fetched(f"http://127.0.0.1:{port}/x", media)).size == 20


async def test_a_store_that_is_out_of_order_is_tried_again(world: World, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    row = await world.fetched(world.item("ME1"), world.media(url=(tmp_path / "a file").as_uri()))
    assert row.state == "pending"
    assert row.error
    assert (await world.fetched(world.item("ME1"))).state == "stored"


async def test_compressed_content_is_not_unfolded(world: World) -> None:
    async def bomb(scope: Any, receive: Any, send: Any) -> None:
        assert dict(scope["headers"])[b"accept-encoding"] == b"identity"
        headers = [(b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\x1f\x8b"})

    async with served(bomb) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",))
        row = await world.fetched(f"http://127.0.0.1:{port}/x", media)
    assert (row.state, row.error) == ("failed", "it came compressed, which was not asked for")


async def test_no_cookie_is_carried_along(world: World) -> None:
    asked: list[dict[bytes, bytes]] = []

    async def baker(scope: Any, receive: Any, send: Any) -> None:
        asked.append(dict(scope["headers"]))
        headers = [(b"set-cookie", b"id=1; Path=/"), (b"location", b"/next")]
        await send({"type": "http.response.start", "status": 302 if len(asked) == 1 else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(baker) as port:
        row = await world.fetched(f"http://127.0.0.1:{port}/x", world.media(extra_hosts=(f"127.0.0.1:{port}",)))
    assert (row.state, row.content_type, len(asked)) == ("stored", "text/plain", 2)
    assert b"cookie" not in asked[1]


# Running twice, and at once


async def test_runs_at_once_in_two_workers_store_once_and_tell_once(world: World, admin: Any) -> None:
    other = Database(world.service.database.urls, pool_size=2)
    try:
        (view,) = await world.announced(world.item("ME1"))
        await asyncio.gather(
            *(
                world.media(database).fetch(world.workspace_id, view.id)
                for database in (world.service.database, other, world.service.database, other)
            )
        )
        await world.media().fetch(world.workspace_id, view.id)
    finally:
        await other.close()
    assert (await world.row(view.id)).state == "stored"
    assert [event["event"] for event in await events_of(admin, view.id)] == ["attachment.stored"]
    assert [seen.path.split("/")[1] for seen in world.server.seen] == ["2010-04-01", "cdn"]


async def test_who_comes_while_another_is_at_it_looks_again_later(world: World, admin: Any) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(slow) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",))
        (view,) = await world.announced(f"http://127.0.0.1:{port}/x")
        begun = asyncio.create_task(media.fetch(world.workspace_id, view.id))
        await asyncio.wait_for(arrived.wait(), 5)
        await media.fetch(world.workspace_id, view.id)
        assert 60 < (await jobs_for(admin, view.id))[-1] <= 90, "the lease may be a dead process's"
        go_on.set()
        await begun
    assert (await world.row(view.id)).state == "stored"


async def test_an_attachment_deleted_meanwhile_leaves_no_file(world: World, admin: Any, tmp_path: Path) -> None:
    async def deletes(scope: Any, receive: Any, send: Any) -> None:
        await admin.execute("DELETE FROM message_attachments")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(deletes) as port:
        (view,) = await world.announced(f"http://127.0.0.1:{port}/x")
        await world.media(extra_hosts=(f"127.0.0.1:{port}",)).fetch(world.workspace_id, view.id)
    assert [path for path in (tmp_path / "kept here").rglob("*") if path.is_file()] == []
    assert await events_of(admin, view.id) == []


async def test_an_attachment_whose_job_was_lost_is_recalled_once(world: World, admin: Any) -> None:
    (view,) = await world.announced(world.item("ME1"))
    await admin.execute("DELETE FROM jobs.pgqueuer")
    assert await world.media().recall() == 0
    await admin.execute("UPDATE message_attachments SET next_attempt_at = now() - interval '11 minutes'")
    assert await world.media().recall() == 1
    assert await world.media().recall() == 0
    assert len(await jobs_for(admin, view.id)) == 1


# Refusing


async def test_a_foreign_host_is_refused_and_the_message_kept(world: World, admin: Any) -> None:
    row = await world.fetched("https://evil.example/x.png")
    assert (row.state, row.attempts, row.next_attempt_at) == ("refused", 1, None)
    assert row.error == "evil.example is not a host that media of twilio come from"
    assert [event["event"] for event in await events_of(admin, row.id)] == ["attachment.refused"]
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", row.message_id) == "received"


async def test_a_redirect_to_a_host_not_listed_is_refused(world: World) -> None:
    row = await world.fetched(world.item("ME1"), world.media(extra_hosts=()))
    assert (row.state, row.error) == ("refused", "localhost is not asked by https://")
    assert [seen.status for seen in world.server.seen] == [307]


async def test_a_redirect_to_a_private_address_is_refused(world: World) -> None:
    for target in ("https://169.254.169.254/latest", "https://[::1]/x", f"https://127.0.0.1:{world.port}"):
        world.server.cdn_base = target
        row = await world.fetched(world.item("ME1"))
        assert row.state == "refused", target
    assert {seen.status for seen in world.server.seen} == {307}


async def test_a_redirect_in_a_circle_ends(world: World) -> None:
    asked = 0

    async def circle(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/x")]})
        await send({"type": "http.response.body"})

    async with served(circle) as port:
        row = await world.fetched(f"http://127.0.0.1:{port}/x", world.media(extra_hosts=(f"127.0.0.1:{port}",)))
    assert (row.state, row.error, asked) == ("failed", "it is redirected more than 5 times", 6)


async def test_a_name_that_means_a_private_address_is_refused_unless_listed() -> None:
    url = httpx.URL("https://localhost/x")
    assert set(await addresses_of(url, may_be_private=True)) <= {"127.0.0.1", "::1"}
    with pytest.raises(Refused, match="localhost lies in a private network"):
        await addresses_of(url, may_be_private=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("provider", "url", "redirected", "allowed"),
    [
        ("twilio", "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", False, True),
        ("twilio", "https://mms.twiliocdn.com/AC1/x?Signature=1", True, True),
        ("twilio", "https://media.twiliocdn.com/AC1/x", False, True),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/AC1/x", True, True),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/AC1/x", False, False),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com.evil/x", True, False),
        ("twilio", "https://s3-external-1.amazonaws.com/evil/x", True, False),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/../evil/x", True, False),
        ("twilio", "https://evil.s3.amazonaws.com/x", True, False),
        ("twilio", "https://eviltwiliocdn.com/x", False, False),
        ("twilio", "https://twiliocdn.com.evil.example/x", False, False),
        ("twilio", "https://api.twilio.com.evil.example/x", False, False),
        ("twilio", "https://api.twilio.com@evil.example/x", False, False),
        ("twilio", "https://user:password@api.twilio.com/x", False, False),
        ("twilio", "https://api.twilio.com:8443/x", False, False),
        ("twilio", "http://api.twilio.com/x", False, False),
        ("twilio", "http://mms.twiliocdn.com/x", True, False),
        ("twilio", "file:///etc/passwd", False, False),
        ("twilio", "ftp://mms.twiliocdn.com/x", False, False),
        ("twilio", "//mms.twiliocdn.com/x", False, False),
        ("twilio", "", False, False),
        ("twilio", "https://files.signalwire.com/x", False, False),
        ("signalwire", "https://files.signalwire.com/x", False, True),
        ("signalwire", "https://acme.signalwire.com/x", False, True),
        ("signalwire", "https://signalwire.com.evil.example/x", False, False),
        ("signalwire", "https://api.twilio.com/x", False, False),
        ("sendgrid", "https://api.twilio.com/x", False, False),
        ("twilio", "http://localhost:9000/x", False, True),
        ("twilio", "https://localhost:9000/x", False, True),
        ("twilio", "http://localhost:9001/x", False, False),
        ("twilio", "https://cdn.example.com/x", False, True),
        ("twilio", "http://cdn.example.com/x", False, False),
    ],
)
def test_where_media_may_come_from(provider: str, url: str, redirected: bool, allowed: bool) -> None:
    sources = Sources(MediaSettings(extra_hosts=("localhost:9000", "cdn.example.com")))
    try:
        sources.check(provider, httpx.URL(url), redirected=redirected)
    except Refused:
        assert not allowed
    else:
        assert allowed


# Certificates: the connection goes to an address that was checked, the certificate must be the name's.


def _certificate(name: str, folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.parametrize(("name", "state"), [("localhost", "stored"), ("elsewhere.example", "pending")])
async def test_a_certificate_must_be_for_the_name_that_was_asked_for(
    name: str, state: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(name, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(hello, ssl_certfile=str(certificate), ssl_keyfile=str(certificate)) as port:
        media = world.media(extra_hosts=(f"localhost:{port}",))
        row = await world.fetched(f"https://localhost:{port}/x", media)
    assert row.state == state, row.error


# Reading


async def test_a_stored_attachment_is_read_in_pieces(world: World) -> None:
    world.server.kept["ME1"] = Kept(size=600_000)
    row = await world.fetched(world.item("ME1"))
    stream, content_type, size = await world.media().open(row)
    pieces = [piece async for piece in stream]
    assert (content_type, size, len(b"".join(pieces))) == ("image/png", 600_000, 600_000)
    assert len(pieces) > 1
    world.file(row).unlink()
    with pytest.raises(NotKept):
        await world.media().open(row)


async def test_a_pending_attachment_cannot_be_read(world: World) -> None:
    (view,) = await world.announced(world.item("ME1"))
    with pytest.raises(NotKept, match="pending"):
        await world.media().open(await world.row(view.id))


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
        (b"#!AMR\n\x0c\x91\x17\x16\xbe\x66", "audio/amr"),
        (b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x00", "video/3gpp"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video/mp4"),
        (b"%PDF-1.4\nall text", "application/pdf"),
        (b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Jos\xe9", "text/vcard"),
        (b"\xef\xbb\xbfbegin:vcard\r\n", "text/vcard"),
        (b"BEGIN:VCALENDAR\r\n", "text/calendar"),
        ("Grüße, 7 Uhr 👋\n".encode(), "text/plain"),
        (("x" * 8191 + "ü").encode()[:8192], "text/plain"),
        (b"BMW is not a bitmap", "text/plain"),
        (b"<html><script>alert(1)</script>", "text/plain"),
        (b"<svg onload=alert(1)>", "text/plain"),
        (b"\x00\x01\x02\x03", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_what_a_file_is_is_told_by_what_is_in_it(head: bytes, content_type: str) -> None:
    assert content_type_of(head) == content_type
