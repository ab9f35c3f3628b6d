"""Stored attachments are read back, and known by what is in them."""

import pytest

from comms.media import NotKept
from comms.media.kinds import content_type_of
from comms.simulators.media import Kept
from comms.simulators.wire import png
from tests.comms.media.worlds import World

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
