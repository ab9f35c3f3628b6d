"""A file in a form, as browsers and curl upload it (RFC 7578)."""

import email.parser
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage

from comms import reading
from comms.errors import Invalid

LONGEST_NAME = 255
MOST_PARTS = 20
LONGEST_HEAD = 8_192


def file_in(body: bytes, boundary: str) -> tuple[bytes, str | None] | None:
    """What the form's part ``file`` holds, and the name it came under; None when the form has no such part."""
    for headers, content in _parts(body, boundary):
        if headers.get_param("name", header="content-disposition") == "file":
            return content, name_of(headers.get_filename())
    return None


def name_of(filename: str | None) -> str | None:
    """The file's name as we keep it; ``Invalid`` for one that cannot be kept."""
    try:
        reading.refuse_unstorable(filename)
    except ValueError as error:
        raise Invalid({"file": f"has a name that {error}"}) from None
    return filename and filename[:LONGEST_NAME]


def _parts(body: bytes, boundary: str) -> Iterator[tuple[EmailMessage, bytes]]:
    """The first parts of a form: their headers and what they hold, of which nothing is read or copied twice.

    The framework's own form is a 500 when a text field is not UTF-8; a mail's parser takes a minute for many lines.
    """
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    for part in (b"\r\n" + body).split(delimiter, MOST_PARTS + 1)[1 : MOST_PARTS + 1]:
        head, end, content = part.partition(b"\r\n\r\n")
        if end and len(head) <= LONGEST_HEAD:
            yield email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head.lstrip() + end), content
