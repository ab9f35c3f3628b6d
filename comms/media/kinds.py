"""What a file is, by what is in it: neither its name nor what the sender says of it counts."""

import codecs
import unicodedata

import filetype

HEAD = 8192  # bytes that are enough to know
UNKNOWN = "application/octet-stream"

# The videos that carriers send most; filetype 1.2 looks for the brand four bytes too early.
_BRANDS = {b"ftyp3gp": "video/3gpp", b"ftyp3g2": "video/3gpp2"}
_CARDS = {b"BEGIN:VCARD": "text/vcard", b"BEGIN:VCALENDAR": "text/calendar"}
# Formats that begin like text. For all others text stays text: "BMW" is not the beginning of a bitmap.
_TEXTUAL = frozenset({"application/pdf", "application/rtf", "application/postscript"})


def content_type_of(head: bytes) -> str:
    """The MIME type of a file that begins with ``head``; ``text/plain`` for any text, also one that is HTML or SVG."""
    for beginning, card in _CARDS.items():
        if head.removeprefix(codecs.BOM_UTF8).lstrip()[: len(beginning)].upper() == beginning:
            return card
    if head[4:11] in _BRANDS:
        return _BRANDS[head[4:11]]
    guessed: str | None = filetype.guess_mime(head) if head else None
    if _is_text(head):
        return guessed if guessed in _TEXTUAL else "text/plain"
    return guessed or UNKNOWN


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(head) and not any(unicodedata.category(mark) == "Cc" and mark not in "\t\n\r\f" for mark in text)
