"""What a mail server says of a mail of ours in one of its own: it was not delivered (RFC 3464), or is spam (RFC 5965).

Whoever sends by a mail server hears of it in no other way. Anybody may write such a mail: it is believed where it names
the Message-ID of ours, which is not to be guessed, and the address that it went to.
"""

import re
from collections.abc import Sequence
from email.message import Message
from typing import BinaryIO, Literal

import msgspec

from comms.mail import mime, texts
from comms.mail.mime import Part
from comms.providers.codes import is_no_mailbox
from models.types import spelt

LONGEST_WORDS = 300
_MOST_BYTES = 64 * 1024
_STATUSES = ("message/delivery-status", "message/global-delivery-status")
_COMPLAINTS = ("message/feedback-report",)
_OURS = ("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Returned(msgspec.Struct, frozen=True):
    """What became of the mail of ours with this Message-ID on its way to ``address``, by the names of mail events."""

    kind: Literal["bounced", "blocked", "deferred", "complained"]
    message_id: str
    address: str
    code: str | None = None
    reason: str | None = None

    @property
    def suppresses(self) -> Literal["bounce", "complaint"] | None:
        """Why nothing more is to be sent there."""
        match self.kind:
            case "bounced":
                return "bounce"
            case "complained":
                return "complaint"
            case _:
                return None

    @property
    def status(self) -> str | None:
        """What it means for the message."""
        return {"bounced": "undelivered", "blocked": "undelivered", "deferred": "sending"}.get(self.kind)


def returned(file: BinaryIO, parts: Sequence[Part], answered: Sequence[str]) -> Returned | None:
    """What these parts of a mail report; ``answered`` are the Message-IDs its own headers name, the likeliest first."""
    said = next((part for part in parts if part.content_type in _STATUSES + _COMPLAINTS), None)
    if said is None:
        return None
    ours = next((part for part in parts if part.content_type in _OURS), None)
    named = [*(() if ours is None else texts.message_ids(texts.raw(_headers(file, ours), "message-id"))), *answered]
    if not named:
        return None
    groups = [mime.parsed(group.encode("utf-8", "replace") + b"\n") for group in _groups(_content(file, said))]
    if said.content_type in _COMPLAINTS:
        address = next((found for group in groups if (found := _address(group, "original-rcpt-to"))), "")
        return Returned("complained", named[0], address)
    reports = (_of_recipient(group, named[0]) for group in groups)
    return next((report for report in reports if report is not None), None)


def _of_recipient(group: Message, message_id: str) -> Returned | None:
    """What is said of one recipient: we write to one at a time."""
    address = _address(group, "original-recipient") or _address(group, "final-recipient")
    action = texts.raw(group, "action").strip().lower()
    if not address or action not in ("failed", "delayed"):
        return None
    found = _STATUS.search(texts.raw(group, "status"))
    code = found[0] if found else None
    reason = texts.line(texts.raw(group, "diagnostic-code").partition(";")[2], LONGEST_WORDS) or None
    if action == "delayed":
        return Returned("deferred", message_id, address, None, reason)
    return Returned("bounced" if is_no_mailbox(code) else "blocked", message_id, address, code, reason)


def _address(group: Message, name: str) -> str:
    """The address in a field such as ``rfc822; jane@example.com``; an odd one has quotes only on its way."""
    value = texts.line(texts.raw(group, name))
    return spelt(re.sub(r'^"(.*)"@', r"\1@", value.rpartition(";")[2].strip(" <>"))).lower()


def _groups(text: str) -> list[str]:
    """The fields of the whole report, and then of each recipient."""
    return [group for group in re.split(r"\n[ \t]*\n", text) if group.strip()]


def _content(file: BinaryIO, part: Part) -> str:
    content, _ = mime.decoded(part, file, _MOST_BYTES)
    return texts.decode(content, None)


def _headers(file: BinaryIO, part: Part) -> Message:
    """The headers of the mail that a part encloses."""
    return mime.parsed(re.split(r"\n[ \t]*\n", _content(file, part).lstrip())[0].encode("utf-8", "replace") + b"\n")
