"""An inbound message on its way to its place."""

import uuid
from datetime import datetime
from typing import Any

import msgspec

from comms import receipts
from comms.consent.keywords import Said
from comms.directory import Connection
from comms.providers.base import AddressKind, Channel, InboundMessage, Request

KIND = "messages"


class Arrival(msgspec.Struct, gc=False):
    """A genuine inbound message as it came."""

    connection: Connection
    request: Request
    message: InboundMessage
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def identity(self) -> str:
        return self.retried.identity if self.retried else self.message.provider_message_id


class Received(msgspec.Struct, frozen=True):
    """What came of an arrival: the message it became, or the reason it became none."""

    message_id: uuid.UUID | None = None
    is_new: bool = False
    reason: str | None = None


class Passage(msgspec.Struct, gc=False):
    """An arrival on its way: what is known of its place so far, and whether it was kept."""

    arrival: Arrival
    number_id: uuid.UUID | None = None
    contact_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None
    twin: "Passage | None" = None
    kept: bool = False
    opened: bool = False  # a conversation of its own, for a sender nobody can know
    said: Said | None = None  # about hearing from us

    @property
    def workspace_id(self) -> uuid.UUID:
        return self.arrival.connection.workspace_id

    @property
    def is_unmapped(self) -> bool:
        """No number of the workspace, and nothing we have already."""
        return self.number_id is None and self.message_id is None

    @property
    def is_of_somebody(self) -> bool:
        """Whether the sender can be known at all."""
        return self.arrival.message.sender.is_identity

    @property
    def line(self) -> str:
        """The number of ours it was sent to, as ``workspace_phone_numbers`` writes it."""
        recipient = self.arrival.message.recipient
        if recipient.kind in (AddressKind.MESSENGER, AddressKind.RCS):
            return f"{recipient.kind}:{recipient.value}"
        return recipient.value

    @property
    def said_by(self) -> str:
        """The sender's address; of one nobody can know, what the provider wrote."""
        sender = self.arrival.message.sender
        return sender.value if sender.is_identity else sender.raw

    @property
    def content_type(self) -> Any:
        """``media`` when there is nothing to read, else ``text``; that somebody calls is what nobody has written."""
        message = self.arrival.message
        if message.channel is Channel.CALL:
            return "system"
        return "media" if message.media and not message.content.strip() else "text"

    @property
    def metadata(self) -> dict[str, Any]:
        """The provider's further facts; ``mediaMissing`` when it announced more items than it sent.

        ``consent`` is what we have read in it about hearing from us.
        """
        message = self.arrival.message
        metadata = {**message.details, "account": message.account, "segments": message.segments}
        if message.media_announced > len(message.media):
            metadata["mediaMissing"] = message.media_announced - len(message.media)
        if self.said is not None:
            metadata["consent"] = {"says": self.said.says, "words": self.said.words, "plainWords": self.said.plainly}
        return metadata
