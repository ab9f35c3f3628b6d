"""Text out of bytes, whatever they say of themselves."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses, unquote

import msgspec

MOST_ADDRESSES = 200
_LONGEST_HEADER = 8_000
_LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BREAKS = re.compile(r"\r\n?|[\u2028\u2029\x85]")
_HIDDEN = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_UNHIDDEN = dict.fromkeys(map(ord, _HIDDEN))


_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined")
"""What Python can decode and no mail is written in; the first takes 20 s of half a megabyte."""


def decode(content: bytes, charset: str | None) -> str:
    """The text: as its charset says, else as UTF-8, else as Windows wrote it; never anything a database refuses."""
    for name in (charset, "utf-8", "cp1252"):
        try:
            if name and (codec := codecs.lookup(name.strip("\"' "))).name not in _NO_CHARSETS:
                return clean(content.decode(codec.name, "strict"))
        except (LookupError, ValueError, TypeError):  # UnicodeError is a ValueError
            continue
    return clean(content.decode("utf-8", "replace"))


def clean(text: str) -> str:
    """The text without control characters, each line ended by a newline."""
    return _CONTROL.sub("", _BREAKS.sub("\n", text))


def line(text: str, most: int = _LONGEST_HEADER) -> str:
    """The text in one line, without anything that would show it otherwise than it is."""
    return " ".join(clean(text).translate(_UNHIDDEN).split())[:most].strip()


def header(message: Message, name: str) -> str:
    """The header in one line, decoded (RFC 2047); "" when there is none."""
    return unfolded(raw(message, name))


def raw(message: Message, name: str) -> str:
    """The first header of that name as it came."""
    wanted = name.lower()
    for key, value in message.raw_items():
        if key.lower() == wanted:
            return str(value)[:_LONGEST_HEADER]
    return ""


def unfolded(value: str) -> str:
    """A header's value in one line, its encoded words and its bytes decoded."""
    return line(_words(value))


def _words(value: str) -> str:
    try:
        pieces = decode_header(_plain(value)) if "=?" in value else [(_plain(value), None)]
    except (HeaderParseError, MessageError, ValueError, LookupError):
        pieces = [(_plain(value), None)]
    return "".join(
        piece if isinstance(piece, str) else decode(piece, None if charset == "unknown-8bit" else charset)
        for piece, charset in pieces
    )


def _plain(value: str) -> str:
    """The value with the bytes that were no ASCII decoded."""
    return decode(value.encode("utf-8", "surrogateescape"), None)


class Mailbox(msgspec.Struct, frozen=True):
    """Somebody's address, and the name before it ("" when there is none)."""

    name: str
    address: str


def mailboxes(values: Iterable[str]) -> list[Mailbox]:
    """The addresses in these headers, with their names; what is no address is left out."""
    try:
        # Names are decoded afterwards: a decoded one may hold commas and brackets.
        found = getaddresses([_plain(value)[:_LONGEST_HEADER] for value in values])
    except (ValueError, IndexError, TypeError):
        return []
    boxes = [Mailbox(line(_words(name), _LONGEST_NAME), line(address, 320)) for name, address in found]
    return [box for box in boxes if is_address(box.address)][:MOST_ADDRESSES]


_ADDRESS = re.compile(r"[^@\s<>(),;:\"\\]{1,64}@[^@\s<>(),;:\"\\/]{1,255}")


def is_address(text: str) -> bool:
    """Whether this looks like an e-mail address."""
    return _ADDRESS.fullmatch(text) is not None


_MESSAGE_ID = re.compile(r"<([^<>\s]{1,500})>")


def message_ids(value: str) -> list[str]:
    """The Message-IDs in a header without their brackets, in their order; a lone one may have none."""
    value = clean(value)
    found = _MESSAGE_ID.findall(re.sub(r"\n[ \t]+", "", value))
    if not found:
        bare = value.split()
        found = bare[:1] if len(bare) == 1 and len(bare[0]) <= 500 else []
    return list(dict.fromkeys(str(one) for one in found))


def file_name(names: Sequence[str | None], content_type: str, position: int) -> str:
    """What to call a file: the name it claims without any path, or one made from its type."""
    for claimed in names:
        name = line(re.split(r"[/\\]", claimed)[-1], 150).strip(" .") if claimed else ""
        name = re.sub(r'[<>:"|?*]', "_", name)
        if name and any(unicodedata.category(mark)[0] in "LN" for mark in name):
            return name
    return f"attachment-{position + 1}{_ENDINGS.get(content_type, '')}"


_ENDINGS = {
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/plain": ".txt",
    "text/html": ".html",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
}


def parameter(headers: Message, name: str, header: str = "content-type") -> str | None:
    """A header's parameter, decoded if it says how (RFC 2231); the standard library would decode it by any codec."""
    value = headers.get_param(name, None, header)
    if isinstance(value, tuple):
        charset, _, text = value
        return decode(text.encode("latin-1", "replace"), charset)
    return None if value is None else unquote(value)


def claimed_name(headers: Message) -> str | None:
    """The file name that a part's headers give it (RFC 2231, or RFC 2047 as many write it)."""
    for claim, name in (("filename", "content-disposition"), ("name", "content-type")):
        try:
            value = parameter(headers, claim, name)
            if value is not None:
                return unfolded(value)
        except (ValueError, LookupError, TypeError):
            continue
    return None
