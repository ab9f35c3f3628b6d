"""How a text travels: in which alphabet, and in how many segments it is cut and paid for.

GSM 03.38 has 128 characters of seven bits, and some more that take two; a text with any other is sent as UCS-2, sixteen
bits a unit. Alone a segment holds 160 or 70, one of several 153 or 67, for it also says where it belongs (3GPP TS
23.038 and 23.040). No character is cut in two.
"""

from typing import Literal

import msgspec

Encoding = Literal["GSM-7", "UCS-2"]

LONGEST = 1600
"""Characters: more is refused by both providers."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_ALONE = {"GSM-7": 160, "UCS-2": 70}
_JOINED = {"GSM-7": 153, "UCS-2": 67}


class Measure(msgspec.Struct, frozen=True):
    """A text as it travels: ``units`` are septets or 16-bit units, ``left`` those free in its last segment.

    ``unusual`` are the characters that make it UCS-2, each once.
    """

    encoding: Encoding
    segments: int
    units: int
    left: int
    unusual: tuple[str, ...] = ()


def measure(content: str) -> Measure:
    """How this text travels; an empty one takes one segment."""
    unusual = tuple(dict.fromkeys(char for char in content if char not in _BASIC and char not in _EXTENDED))
    encoding: Encoding = "UCS-2" if unusual else "GSM-7"
    if unusual:
        sizes = [2 if ord(char) > 0xFFFF else 1 for char in content]
    else:
        sizes = [2 if char in _EXTENDED else 1 for char in content]
    units = sum(sizes)
    alone, room = _ALONE[encoding], _JOINED[encoding]
    if units <= alone:
        return Measure(encoding, 1, units, alone - units, unusual)
    segments, free = 1, room
    for size in sizes:
        if size > free:
            segments, free = segments + 1, room
        free -= size
    return Measure(encoding, segments, units, free, unusual)


def count(content: str, media: int = 0) -> int:
    """How many segments a provider counts: media make an MMS, which is one whatever its text."""
    return 1 if media else measure(content).segments
