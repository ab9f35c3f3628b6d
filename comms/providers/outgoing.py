"""What leaves: a message on its way out, the request it becomes in a provider's dialect, and what the answer means.

Values only: a dialect makes a ``Call`` of an ``Outgoing`` and reads the ``Answer``; whoever has a connection to the
world carries one to the provider and brings back the other.

    NotSent
    ├── Refused    the provider said no, and will say so again
    ├── Busy       the provider did not take it now, and said so: it may be sent again
    └── Unclear    we do not know whether it was taken: to be looked up before anything is sent again
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from comms.providers.base import Channel


class Enclosure(msgspec.Struct, frozen=True):
    """One item of a message: a provider of texts fetches it from ``url``, mail carries what is stored as ``key``."""

    url: str
    content_type: str | None = None
    name: str | None = None
    size: int | None = None
    key: str | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message as a provider is to take it.

    ``id`` is our message's, and our idempotency marker: it is in the ``callback`` address that reports are posted to.
    Addresses are as the wire wants them (``whatsapp:+1415…``). ``attempted_at`` is when it was first given to the
    provider: whoever looks for it looks from there. ``mail`` is what only mail knows (headers, reply-to, HTML), by the
    names that ``comms.mail`` gives it.
    """

    id: uuid.UUID
    channel: Channel
    sender: str
    recipient: str
    content: str = ""
    subject: str | None = None
    media: tuple[Enclosure, ...] = ()
    callback: str | None = None
    attempted_at: datetime | None = None
    mail: Mapping[str, Any] = {}


class Call(msgspec.Struct, frozen=True):
    """An HTTP request to a provider. ``form`` or ``json`` is its body; ``basic`` and ``headers`` prove who we are."""

    method: str
    url: str
    form: Sequence[tuple[str, str]] | None = None
    json: Any = None
    basic: tuple[str, str] | None = None
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Call({self.method} {self.url})"


class Answer(msgspec.Struct, frozen=True):
    """What the provider answered; ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Accepted(msgspec.Struct, frozen=True):
    """The provider has the message. ``status`` is one of ours, None for a word we do not know."""

    provider_message_id: str
    status: str | None = None
    segments: int | None = None
    error_code: str | None = None
    error_message: str | None = None


class Listed(msgspec.Struct, frozen=True):
    """A message that the provider's own log shows; ``at`` is when it was made there."""

    accepted: Accepted
    sender: str
    recipient: str
    content: str
    at: datetime | None = None


class NotSent(Exception):
    """The message was not sent, as far as we know."""


class Refused(NotSent):
    """The provider will not send it: ``code`` is the provider's, ``words`` are for people.

    ``of_connection`` says that the account or the number is refused, and not this message: another one may do.
    """

    def __init__(self, code: str | None, words: str, *, of_connection: bool = False) -> None:
        self.code = code
        self.words = words
        self.of_connection = of_connection
        super().__init__(f"{code}: {words}" if code else words)


class Busy(NotSent):
    """The provider did not take it, and may later: after ``retry_after`` seconds, if it said so."""

    def __init__(self, words: str, *, retry_after: float | None = None) -> None:
        self.words = words
        self.retry_after = retry_after
        super().__init__(words)


class Unclear(NotSent):
    """It may have been sent: the connection broke, the time was up, or the provider failed while it had it."""

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__(words)


class CannotAsk(Exception):
    """This provider cannot say whether it has a message: what is unclear stays so, and is not sent again by itself."""


Credentials = TypeVar("Credentials", contravariant=True)


class Sends(Protocol[Credentials]):
    """How one provider is told to send, over HTTP."""

    def send(self, outgoing: Outgoing, credentials: Credentials, base: str | None) -> Call:
        """The request that sends the message; ``Refused`` when these credentials cannot."""

    def accepted(self, answer: Answer) -> Accepted:
        """What the answer to it means; raises ``Refused``, ``Busy`` or ``Unclear``."""

    def look(self, outgoing: Outgoing, credentials: Credentials, base: str | None) -> Call:
        """The request that lists what the provider has from and to the same numbers since the message was tried."""

    def listed(self, answer: Answer) -> list[Listed]:
        """What its answer shows, newest first; ``Unclear`` when it cannot be told now."""
