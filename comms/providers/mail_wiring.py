"""Where SendGrid posts what becomes of mails, and the mails that come in.

https://www.twilio.com/docs/sendgrid/api-reference/webhooks
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from comms.providers.log import listing_of, text_of
from comms.providers.outgoing import Answer, Call

WANTED = (
    "delivered",
    "bounce",
    "dropped",
    "deferred",
    "spam_report",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
)
"""The events without which a message's end, or who is not to be written to, would stay unknown."""


class EventHook(msgspec.Struct, frozen=True):
    """Where events are posted; ``lacking`` are those of ``WANTED`` that are not; ``key`` proves them, if any does."""

    url: str
    is_enabled: bool
    lacking: Sequence[str]
    key: str | None


class ParseHook(msgspec.Struct, frozen=True):
    """Where the mails to a domain are posted."""

    url: str
    domain: str


def events(base: str, api_key: str) -> Call:
    """The request for the event webhooks of an account."""
    return _get(f"{base}/v3/user/webhooks/event/settings/all", api_key)


def events_in(answer: Answer) -> list[EventHook]:
    """What its answer shows."""
    return [
        EventHook(
            url=text_of(row.get("url")) or "",
            is_enabled=row.get("enabled") is True,
            lacking=[name for name in WANTED if row.get(name) is not True],
            key=text_of(row.get("public_key")),
        )
        for row in _rows(answer, "webhooks")
    ]


def parses(base: str, api_key: str) -> Call:
    """The request for the domains whose mail is taken in."""
    return _get(f"{base}/v3/user/webhooks/parse/settings", api_key)


def parses_in(answer: Answer) -> list[ParseHook]:
    """What its answer shows."""
    return [
        ParseHook(text_of(row.get("url")) or "", (text_of(row.get("hostname")) or "").lower())
        for row in _rows(answer, "result")
    ]


def _get(url: str, api_key: str) -> Call:
    return Call("GET", url, headers={"authorization": f"Bearer {api_key}"})


def _rows(answer: Answer, name: str) -> list[dict[str, Any]]:
    return [row for row in listing_of(answer, name)[name] if isinstance(row, dict)]
