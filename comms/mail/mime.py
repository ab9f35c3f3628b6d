"""A MIME message as it lies in a file: its parts by where they are, so that none of them has to be in memory.

Bytes that break every rule are still read: a part without an end goes to the end of what is around it, a header that
cannot be parsed is not there, and lines may end as they like (SendGrid's own examples end them with LF alone).
"""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import BinaryIO

import msgspec

from comms.mail import texts
from comms.transfer import decode

MOST_HEADER_BYTES = 256 * 1024
MOST_PARTS = 2_000
DEEPEST = 20
CHUNK = 256 * 1024
_LONGEST_LINE = 64 * 1024
_BOUNDARY_END = b" \t\r\n"


class Span(msgspec.Struct, frozen=True):
    """Where something lies in a file: ``length`` bytes from ``start``."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


class Part(msgspec.Struct, frozen=True):
    """A part that has no parts: its headers, and where its content lies, encoded as ``encoding`` says.

    ``container`` is the subtype of the multipart around it ("" when there is none).
    """

    headers: Message
    span: Span
    encoding: str = ""
    container: str = ""

    @property
    def content_type(self) -> str:
        """``type/subtype`` in lower case, as the part claims; a multipart without parts is text."""
        claimed = self.headers.get_content_type()
        return "text/plain" if claimed.startswith("multipart/") else claimed


def form_parts(file: BinaryIO, boundary: bytes, size: int) -> Iterator[Part]:
    """The parts of a multipart body of ``size`` bytes; nothing at all when the boundary is nowhere in it."""
    for span in _between(file, boundary, Span(0, size)):
        headers, body = _headed(file, span)
        yield Part(headers, body)


def leaves(file: BinaryIO, span: Span) -> tuple[Message, list[Part]]:
    """A mail's own headers, and its parts that have no parts, in their order; ``MOST_PARTS`` at most."""
    headers, body = _headed(file, span)
    found: list[Part] = []
    _gather(file, headers, body, "", 0, found)
    return headers, found


def _gather(file: BinaryIO, headers: Message, body: Span, container: str, depth: int, found: list[Part]) -> None:
    if len(found) >= MOST_PARTS:
        return
    boundary = _boundary_of(headers)
    if boundary is not None and depth < DEEPEST:
        inner = list(_between(file, boundary, body))
        for span in inner:
            below, content = _headed(file, span)
            _gather(file, below, content, headers.get_content_subtype(), depth + 1, found)
        if inner:
            return
    encoding = str(headers.get("content-transfer-encoding", "")).strip().lower()
    found.append(Part(headers, body, encoding, container))


def _boundary_of(headers: Message) -> bytes | None:
    """The boundary of a multipart's parts."""
    if headers.get_content_maintype() != "multipart":
        return None
    try:
        boundary = texts.parameter(headers, "boundary")
    except (ValueError, LookupError, TypeError):  # the standard library's parser trips over some
        return None
    return boundary.rstrip().encode("utf-8", "surrogateescape") or None if boundary else None


def _between(file: BinaryIO, boundary: bytes, within: Span) -> list[Span]:
    """Where the parts lie between lines that begin with this boundary, up to its last one or the end."""
    delimiter = b"--" + boundary
    found: list[Span] = []
    begun: int | None = None
    for place in _line_starts(file, delimiter, within):
        file.seek(place)
        line = file.readline(min(_LONGEST_LINE, within.end - place))
        rest = line[len(delimiter) :]
        is_last = rest.startswith(b"--")
        if not is_last and rest.strip(_BOUNDARY_END):
            continue  # a line that only begins like it
        if begun is not None:
            found.append(Span(begun, max(0, place - _end_before(file, place) - begun)))
        if is_last or len(found) >= MOST_PARTS:
            return found
        begun = place + len(line)
    if begun is not None:
        found.append(Span(begun, max(0, within.end - begun)))
    return found


def _line_starts(file: BinaryIO, text: bytes, within: Span) -> Iterator[int]:
    """Where lines begin with ``text``."""
    place, before = within.start, b"\n"  # what is before the first byte counts as the end of a line
    while place < within.end:
        file.seek(place)
        chunk = file.read(min(CHUNK, within.end - place))
        if not chunk:
            return
        window = before + chunk
        found = window.find(b"\n" + text)
        while found >= 0:
            yield place - len(before) + found + 1
            found = window.find(b"\n" + text, found + 1)
        before = window[-len(text) :]
        place += len(chunk)


def _end_before(file: BinaryIO, place: int) -> int:
    """How long the end of the line before is, which belongs to the delimiter: CRLF or LF."""
    file.seek(max(0, place - 2))
    return 2 if file.read(min(2, place)) == b"\r\n" else 1


def _headed(file: BinaryIO, span: Span) -> tuple[Message, Span]:
    """The headers at the beginning of ``span``, and where what follows them lies."""
    lines: list[bytes] = []
    size = 0
    place = span.start
    file.seek(place)
    while place < span.end:
        line = file.readline(min(_LONGEST_LINE, span.end - place))
        if not lines and not size and line.strip(b"\r\n") and not _HEADER.match(line):
            break  # content without any header
        place += len(line)
        if not line.strip(b"\r\n"):
            break
        size += len(line)
        if size <= MOST_HEADER_BYTES:
            lines.append(line)
    return parsed(b"".join(lines)), Span(place, max(0, span.end - place))


_HEADER = re.compile(rb"[!-9;-~]{1,200}[ \t]*:|From |[ \t]")


def parsed(headers: bytes) -> Message:
    """The header lines as a message without a body."""
    return BytesHeaderParser(policy=compat32).parsebytes(headers)


# Content


def read(file: BinaryIO, span: Span, most: int) -> bytes:
    """The first ``most`` bytes there, as they are."""
    file.seek(span.start)
    return file.read(min(span.length, most))


def decoded(part: Part, file: BinaryIO, most: int) -> tuple[bytes, bool]:
    """The first ``most`` bytes of a part's content, decoded, and whether that is all."""
    content = bytearray()
    for chunk in decode(part.encoding, pieces(file, part.span)):
        content += chunk
        if len(content) > most:
            return bytes(content[:most]), False
    return bytes(content), True


def pieces(file: BinaryIO, span: Span) -> Iterator[bytes]:
    """The bytes there, some at a time."""
    left = span.length
    file.seek(span.start)
    while left > 0:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk
