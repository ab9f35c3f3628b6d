"""A mail on its way to its place."""

import hashlib
import uuid
from datetime import datetime
from typing import Any

import msgspec

from comms import receipts
from comms.directory import Connection
from comms.mail.automatic import Automatic
from comms.mail.letters import Letter
from comms.providers.addresses import email_address
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
        """What makes the mail itself: its Message-ID, to whom it went, and its content.

        A Message-ID alone is anybody's to write: with somebody else's content it is another mail.
        """
        letter = self.letter
        recipients = sorted(recipient.lower() for recipient in letter.envelope.recipients)
        known = "\0".join((letter.message_id or "", letter.sender.address.lower(), letter.digest, *recipients))
        return f"{(letter.message_id or 'none')[:400]} {hashlib.sha256(known.encode()).hexdigest()[:24]}"


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
        if letter.cc:
            said["cc"] = list(letter.cc)
        if self.automatic:
            said["automatic"] = self.automatic
        if self.sender_differs:
            said["senderDiffers"] = True
        return said
