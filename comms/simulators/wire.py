"""What the simulated providers share: identifiers, queries, and a picture to send."""

import io
import math
import struct
import wave
import zlib
from collections.abc import Mapping, Sequence
from secrets import token_hex
from urllib.parse import urlencode
from uuid import uuid4

from comms.providers.base import MediaItem

FORM = "application/x-www-form-urlencoded; charset=UTF-8"
JSON = "application/json"


def sid(prefix: str) -> str:
    """A fresh identifier as Twilio writes them."""
    return prefix + token_hex(16)


def uuid() -> str:
    """A fresh identifier as SignalWire writes them."""
    return str(uuid4())


def with_query(url: str, params: Mapping[str, str]) -> str:
    """The URL with these parameters behind whatever query it has."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"


def items(media: Sequence[MediaItem | str]) -> list[MediaItem]:
    """The media, those given as a bare URL said to be JPEG."""
    return [MediaItem(item, "image/jpeg") if isinstance(item, str) else item for item in media]


def numbered(media: Sequence[MediaItem]) -> dict[str, str]:
    """``NumMedia``, ``MediaUrl0``, ``MediaContentType0`` and so on."""
    params = {"NumMedia": str(len(media))}
    for index, item in enumerate(media):
        params[f"MediaUrl{index}"] = item.url
        params[f"MediaContentType{index}"] = item.content_type or ""
    return params


def png(width: int = 8, height: int = 8) -> bytes:
    """A small valid picture."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 31 % 256, y * 31 % 256, 160)) for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def wav(seconds: float = 0.5, hertz: int = 440) -> bytes:
    """A short valid sound, as telephones hear: one tone, 8,000 samples a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        samples = (int(12_000 * math.sin(2 * math.pi * hertz * n / 8_000)) for n in range(int(seconds * 8_000)))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()
