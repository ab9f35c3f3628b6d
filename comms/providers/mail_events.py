"""What SendGrid's Event Webhook says of each mail, element by element: a bad one harms no other.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

Kind = Literal[
    "processed",
    "deferred",
    "delivered",
    "bounced",
    "blocked",
    "dropped",
    "opened",
    "opened_by_machine",
    "clicked",
    "complained",
    "unsubscribed",
    "resubscribed",
    "account_status_changed",
    "unknown",
]

OUR_ID = "comms_message_id"
"""The custom argument that our mails carry: custom arguments share their names with SendGrid's own fields."""

_KINDS: Mapping[str, Kind] = {
    "processed": "processed",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "blocked": "blocked",
    "dropped": "dropped",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "resubscribed",
    "account_status_change": "account_status_changed",
}

_STATUSES: Mapping[Kind, str] = {
    "processed": "sending",
    "deferred": "sending",
    "delivered": "delivered",
    "bounced": "undelivered",
    "blocked": "undelivered",
    "dropped": "failed",
    "opened": "read",
    "clicked": "read",
}

_FAILURES = ("bounced", "blocked", "dropped")

# Why SendGrid does not even try: it keeps a suppression list of its own.
_DROPPED = {
    "bounced address": "bounce",
    "invalid": "bounce",
    "spam reporting address": "complaint",
    "unsubscribed address": "unsubscribe",
}

_FILTERED = re.compile(r"(?P<id>.+?)\.(?:filter|recvd)")
_LONGEST = 2_000
_MOST_FIELDS = 100


class Happened(msgspec.Struct, frozen=True):
    """Something that has become of a mail. ``status`` is what it means for the message, None when nothing.

    ``suppresses`` is why its address must not be written to any more; ``welcomes`` that it may be again.
    """

    event_id: str
    kind: Kind
    at: datetime
    address: str | None = None
    provider_message_id: str | None = None
    our_id: uuid.UUID | None = None
    status: str | None = None
    code: str | None = None
    reason: str | None = None
    url: str | None = None
    suppresses: Literal["bounce", "complaint", "unsubscribe"] | None = None
    welcomes: bool = False
    data: dict[str, Any] = {}


def happened(events: Sequence[Any], at: datetime) -> list[Happened]:
    """What each element of a batch says, that came at ``at``; one that is none of an event's shape is ``unknown``."""
    return [_read(event, at) for event in events]


def _read(event: Any, at: datetime) -> Happened:
    if not isinstance(event, dict):
        return Happened(_hashed(event), "unknown", at, data={"element": _short(event)})
    kind = _kind_of(event)
    address = _text(event, "email")
    return Happened(
        event_id=_event_id(event),
        kind=kind,
        at=_moment(event.get("timestamp"), at),
        address=address.lower() if address and "@" in address else None,
        provider_message_id=message_id_of(_text(event, "sg_message_id")),
        our_id=_uuid(_text(event, OUR_ID)),
        status=_STATUSES.get(kind),
        code=(_text(event, "status") or kind) if kind in _FAILURES else None,
        reason=_text(event, "reason") or _text(event, "response"),
        url=_text(event, "url"),
        suppresses=_suppresses(kind, event),
        welcomes=kind == "resubscribed",
        data={name[:200]: _short(value) for name, value in list(event.items())[:_MOST_FIELDS]},
    )


def _kind_of(event: Mapping[str, Any]) -> Kind:
    kind = _KINDS.get(_text(event, "event") or "", "unknown")
    if kind == "bounced" and event.get("type") == "blocked":
        return "blocked"
    # Apple Mail loads the images of every mail by itself, as other privacy proxies do: nobody has looked.
    if kind == "opened" and event.get("sg_machine_open") in (True, "true", 1):
        return "opened_by_machine"
    return kind


def _suppresses(kind: Kind, event: Mapping[str, Any]) -> Any:
    status = _text(event, "status") or ""
    match kind:
        case "bounced":
            # 4.x.x passes, and so does 5.2.2, a mailbox that is full.
            return None if status.startswith("4") or status == "5.2.2" else "bounce"
        case "complained":
            return "complaint"
        case "unsubscribed":
            return "unsubscribe"
        case "dropped":
            return _DROPPED.get((_text(event, "reason") or "").strip().lower())
        case _:
            return None


def message_id_of(sg_message_id: str | None) -> str | None:
    """The ``X-Message-Id`` that a mail was accepted under, without the servers it has passed; None when not said."""
    if not sg_message_id:
        return None
    found = _FILTERED.match(sg_message_id)
    return (found["id"] if found else sg_message_id.partition(".")[0])[:500] or None


def _event_id(event: Mapping[str, Any]) -> str:
    said = _text(event, "sg_event_id")
    return said if said and len(said) <= 200 else _hashed(event)


def _hashed(element: Any) -> str:
    return "sha256:" + hashlib.sha256(msgspec.json.encode(element, order="sorted")).hexdigest()


def _text(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    return value[:_LONGEST] if isinstance(value, str) else None


def _short(value: Any) -> Any:
    """A value that can be kept whatever it is: no longer and no deeper than what SendGrid sends."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:_LONGEST]
    return msgspec.json.encode(value).decode()[:_LONGEST]


def _moment(seconds: Any, otherwise: datetime) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return otherwise
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return otherwise
    return min(at, otherwise + timedelta(minutes=5))


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None
