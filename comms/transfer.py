"""Transfer encodings of mail (RFC 2045), undone piece by piece."""

import binascii
import re
from collections.abc import Iterable, Iterator

LONGEST_LINE = 64 * 1024


class Decoder:
    """Undoes a transfer encoding piece by piece; what is not of the encoding is left out, as mail programs do."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """What these further bytes amount to."""
        match self._encoding:
            case "base64":
                text = self._rest + _NOT_BASE64.sub(b"", chunk)
                whole = len(text) - len(text) % 4
                self._rest = text[whole:]
                return _unbase64(text[:whole])
            case "quoted-printable":
                text = self._rest + chunk
                # A soft break and an escape must not be cut in two.
                cut = max(text.rfind(b"\n") + 1, len(text) - 3 if b"=" not in text[-3:] else 0)
                if not cut and len(text) > LONGEST_LINE:
                    cut = len(text)
                self._rest = text[cut:]
                return binascii.a2b_qp(text[:cut])
            case _:
                return chunk

    def end(self) -> bytes:
        """What was still to come."""
        rest, self._rest = self._rest, b""
        match self._encoding:
            case "base64":
                return _unbase64(rest + b"=" * (-len(rest) % 4)) if len(rest) > 1 else b""
            case "quoted-printable":
                return binascii.a2b_qp(rest)
            case _:
                return rest


def decode(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content without its transfer encoding; one we do not know is left as it is."""
    decoder = Decoder(encoding)
    for chunk in chunks:
        yield decoder.feed(chunk)
    yield decoder.end()


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def _unbase64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return b""
