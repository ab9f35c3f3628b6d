"""What every provider's dialect shares: the request as it came, and the values read from it.

Bytes in, values out: nothing under ``comms.providers`` knows a table or the database.

    WebhookRefused
    ├── Forged        the request is not proven to come from the account in its path
    └── Unreadable    it is genuine, or claims no proof, but cannot be parsed
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec


class Channel(StrEnum):
    """The conversation channels of the schema map."""

    EMAIL = "email"
    SMS = "sms"
    CALL = "call"
    WHATSAPP = "whatsapp"
    SOCIAL = "social"
    LIVE_CHAT = "live_chat"


class AddressKind(StrEnum):
    """What an address on the wire is; only the first six can be somebody we know."""

    PHONE = "phone"
    SHORT_CODE = "short_code"
    ALPHANUMERIC = "alphanumeric"
    MESSENGER = "messenger"
    RCS = "rcs"
    EMAIL = "email"
    WITHHELD = "withheld"
    RAW = "raw"


class Address(msgspec.Struct, frozen=True):
    """Who or what a message came from or went to.

    ``value`` is normalised (E.164 for phones, without the channel prefix) and may be a thread key unless
    ``kind`` is WITHHELD or RAW; ``raw`` is the text as it came.
    """

    kind: AddressKind
    value: str
    raw: str

    @property
    def is_identity(self) -> bool:
        """Whether this address can identify a contact (a withheld or unreadable one never does)."""
        return self.kind not in (AddressKind.WITHHELD, AddressKind.RAW)


class Secrets(msgspec.Struct, frozen=True, rename="camel"):
    """The base of every provider's credentials: printed, it tells the kind and nothing else."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Request(msgspec.Struct, frozen=True):
    """A webhook as it came over the wire.

    ``url`` is the configured PUBLIC_URL plus the raw path and raw query, byte for byte, never what a framework
    rebuilt. ``headers`` has lower-case names. ``body`` is untouched.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Opened(msgspec.Struct, frozen=True):
    """A request proven genuine, parsed once.

    ``fields`` holds form or query parameters, or the scalar members of a JSON object (first value of each name);
    ``document`` the JSON body if it was JSON, without NUL characters.
    """

    fields: Mapping[str, str]
    document: Any = None


class MediaItem(msgspec.Struct, frozen=True):
    """One item of an MMS as the provider names it; ``content_type`` is a claim, not a fact."""

    url: str
    content_type: str | None = None
    size: int | None = None


class InboundMessage(msgspec.Struct, frozen=True):
    """A message that has reached one of our numbers, in no provider's dialect.

    ``content`` keeps the sender's text except NUL characters. ``media_announced`` is the provider's own count, which
    may be larger than ``len(media)``. ``details`` are the provider's further facts, JSON-ready.
    """

    provider: str
    provider_message_id: str
    account: str
    channel: Channel
    sender: Address
    recipient: Address
    content: str
    media: tuple[MediaItem, ...] = ()
    media_announced: int = 0
    segments: int = 1
    sender_name: str | None = None
    details: dict[str, Any] = {}


class DeliveryReport(msgspec.Struct, frozen=True):
    """What a provider says has become of a message we sent.

    ``status`` is one of our statuses (``comms.delivery``) or None when the provider's word is unknown to us;
    ``reported`` is that word as it came.
    """

    provider: str
    provider_message_id: str
    account: str
    reported: str
    status: str | None
    error_code: str | None = None
    error_message: str | None = None
    at: datetime | None = None
    details: dict[str, Any] = {}


class WebhookRefused(Exception):
    """The webhook was not accepted."""


class Forged(WebhookRefused):
    """The request is not proven to come from the account named in its path."""


class Unreadable(WebhookRefused):
    """The request cannot be parsed."""


Credentials = TypeVar("Credentials", contravariant=True)


class Dialect(Protocol[Credentials]):
    """How one provider proves itself and what it says."""

    name: str

    def open(self, request: Request, credentials: Credentials) -> Opened:
        """The parsed request, proven genuine; raises ``Forged`` or ``Unreadable``."""

    def message_of(self, opened: Opened) -> InboundMessage:
        """The inbound message; ``Forged`` when a mandatory name is missing (a shifted boundary verifies too)."""

    def report_of(self, opened: Opened) -> DeliveryReport:
        """The delivery report; ``Forged`` when a mandatory name is missing."""
