"""A mail on its way to its place."""

import hashlib
import uuid
from datetime import datetime
from typing import Any

import msgspec

from comms import receipts
from comms.directory import Connection
from comms.mail.addresses import email_address
from comms.mail.automatic import Automatic
from comms.mail.letters import Letter
from comms.providers.base import Address, Request
from models.communications.mail import ThreadedBy

KIND = "inbound"


class Arrived(msgspec.Struct, gc=False):
    """A genuine mail, read. ``request`` has no body: that is in the object store under ``storage_key``."""

    connection: Connection
    request: Request
    letter: Letter
    storage_key: str
    webhook: str
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def identity(self) -> str:
        """What the webhook is known by: its bytes."""
        return self.retried.identity if self.retried else self.webhook

    @property
    def workspace_id(self) -> uuid.UUID:
        return self.connection.workspace_id

    @property
    def sender(self) -> Address:
        """Who claims to have written."""
        return email_address(self.letter.sender.address)

    @property
    def provider_message_id(self) -> str:
        """What makes the mail itself: its Message-ID, its sender and its content, to however many of us it went.

        A Message-ID alone is anybody's to write: with somebody else's content it is another mail. Without one, the same
        words to the same address at another time are another mail.
        """
        letter = self.letter
        known = "\0".join((letter.message_id or self._sent, letter.sender.address.lower(), letter.digest))
        return f"{(letter.message_id or 'none')[:400]} {hashlib.sha256(known.encode()).hexdigest()[:24]}"

    @property
    def _sent(self) -> str:
        """When and to whom a mail without a Message-ID was sent; without a date, only its own webhook repeats it."""
        when = self.letter.written_at
        recipients = sorted(recipient.lower() for recipient in self.letter.envelope.recipients)
        return "\0".join((self.webhook if when is None else when.isoformat(), *recipients))


class Received(msgspec.Struct, frozen=True):
    """What came of a mail: the message it became, or the reason it became none."""

    message_id: uuid.UUID | None = None
    is_new: bool = False
    reason: str | None = None


class Place(msgspec.Struct):
    """Where a mail belongs, as far as that is known."""

    address_id: uuid.UUID
    address: str
    token: uuid.UUID | None
    message_id: uuid.UUID | None = None
    contact_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    automatic: Automatic | None = None
    by: ThreadedBy = "new"
    sender_differs: bool = False
    opened: bool = False

    def metadata(self, letter: Letter) -> dict[str, Any]:
        """What a message says of itself as a mail, in short; the rest is its mail's."""
        said: dict[str, Any] = {"subject": letter.subject, "isVerified": letter.is_verified, "threadedBy": self.by}
        if letter.reply_to:
            said["replyTo"] = letter.reply_to
        if letter.cc:
            said["cc"] = list(letter.cc)
        if self.automatic:
            said["automatic"] = self.automatic
        if self.sender_differs:
            said["senderDiffers"] = True
        return said
