"""Attachments over real HTTP: what is announced, what is fetched, and what is tried again."""

import asyncio
import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec

from comms.media.keeping import IN_ONE_PIECE
from comms.simulators.media import Kept
from comms.simulators.wire import png
from models.base import now
from models.communications import MessageAttachmentView
from tests.comms.media.worlds import BASIC, World, events_of, jobs_for, served, shown
from tests.make import communications as make

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
