"""What a message exchange has and does, as its log and its errors show it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from comms.providers.base import Request
from comms.simulators.server import Asked, Reply

Post = Callable[[Request], Awaitable[int]]
"""Posts a webhook, and says how it was answered."""

Fault = Literal["busy", "failing", "lost", "broken", "overloaded", "never"]
"""What may go wrong with a create. ``busy``: 429, not taken. ``failing``: 500, not taken. ``lost``: taken, and the
answer never comes. ``broken``: taken, and the connection breaks in the answer. ``overloaded``: 503, and taken all the
same. ``never``: not taken, and no answer comes.
"""
TAKEN = ("lost", "broken", "overloaded")

MAGIC = {
    "+15005550001": (21211, "Invalid 'To' Phone Number"),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable via SMS"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
UNDELIVERABLE = {"+15005550013": 30003, "+15005550015": 30005, "+15005550016": 30006, "+15005550017": 30007}
"""Numbers whose messages are taken, and then not delivered for this reason. Ours, in Twilio's manner."""


class Taken(msgspec.Struct):
    """A message that the exchange has, as its own log shows it."""

    sid: str
    sender: str
    recipient: str
    body: str
    at: datetime
    direction: str = "outbound-api"
    status: str = "queued"
    media: tuple[str, ...] = ()
    callback: str | None = None
    error_code: int | None = None


class Reporting(msgspec.Struct):
    """How the exchange tells what became of a message; ``seconds`` is how long each step takes."""

    statuses: Sequence[str] = ("sent", "delivered")
    seconds: float = 0.3
    doubled: bool = False
    shuffled: bool = False
    before_answer: bool = False


class Number(msgspec.Struct):
    """A number of the account, and where it posts what comes in."""

    sid: str
    phone_number: str
    sms_url: str = ""
    sms_fallback_url: str = ""
    voice_url: str = ""
    voice_fallback_url: str = ""
    status_callback: str = ""


def error(status: int, code: int, message: str, **headers: str) -> Reply:
    """The refusal as both providers write it."""
    document = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Reply(status, document, headers={name.replace("_", "-"): value for name, value in headers.items()})


def missing(asked: Asked) -> Reply:
    """What is answered where nothing is."""
    return error(404, 20404, f"The requested resource {asked.path} was not found")


def number_shown(number: Number) -> dict[str, Any]:
    """A number as the API shows it."""
    return msgspec.structs.asdict(number) | {"capabilities": {"voice": True, "sms": True, "mms": True}}


def is_dated(taken: Taken, query: Any) -> bool:
    """Whether it was sent within ``DateSent>`` and ``DateSent<``, as the listing takes them: days or instants."""
    since, until = query.get("DateSent>"), query.get("DateSent<")
    return (since is None or taken.at >= _instant(since)) and (until is None or taken.at <= _instant(until))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
