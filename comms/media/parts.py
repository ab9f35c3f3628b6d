"""An attachment that has come with its mail: a piece of a file that the store already has."""

import re
from collections.abc import AsyncIterator

import msgspec

from comms.transfer import Decoder

PROVIDER = "sendgrid"
"""Whose messages come with their attachments."""

_WRITTEN = re.compile(r"stored:(?P<key>[^#]+)#(?P<start>\d+)\+(?P<length>\d+)(?:,(?P<encoding>[a-z-]+))?")


class Stored(msgspec.Struct, frozen=True):
    """``length`` bytes from ``start`` of what is under ``key``, to be decoded from that transfer encoding."""

    key: str
    start: int
    length: int
    encoding: str = ""


def written(part: Stored) -> str:
    """The part as an attachment's source."""
    encoding = f",{part.encoding}" if re.fullmatch(r"[a-z-]+", part.encoding) else ""
    return f"stored:{part.key}#{part.start}+{part.length}{encoding}"


def find(source: str) -> Stored | None:
    """The part that a source names; None when it lies elsewhere."""
    found = _WRITTEN.fullmatch(source)
    if found is None:
        return None
    return Stored(found["key"], int(found["start"]), int(found["length"]), found["encoding"] or "")


async def decoded(part: Stored, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The part's content without its transfer encoding, none of which makes it larger."""
    decoder = Decoder(part.encoding)
    async for chunk in content:
        yield decoder.feed(chunk)
    yield decoder.end()


async def nothing() -> AsyncIterator[bytes]:
    """The content of an empty file."""
    yield b""
