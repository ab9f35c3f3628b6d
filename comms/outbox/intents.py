"""What somebody means to say, and by which way."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from models.communications.conversations import MessageContentType, SenderType


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """By which account, from which address of ours, to which of theirs."""

    provider: str
    connection_id: uuid.UUID | None
    from_address: str
    to_address: str
    number_id: uuid.UUID | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be sent in a conversation.

    ``number_id`` None is the number last used with the contact, ``to`` None the address the contact last wrote from; a
    ``route`` settles both (mail has one). ``is_reply`` None is true when the contact has written within a day of when
    it leaves: quiet hours are for what is no reply. ``attachment_ids`` are stored attachments of this workspace,
    ``media_urls`` what the provider is to fetch elsewhere. ``message_id`` is the message's id, where somebody has to
    know it before: the message that confirms an opt-out leaves because the ledger names it. ``details`` is what the
    transport of the channel wants besides (mail's headers).

    An agent's names the ``sender_agent_id`` and the ``fence`` under which it was written; anybody else's may name a
    fence. When the conversation has changed hands since, it is refused.
    """

    workspace_id: uuid.UUID
    conversation_id: uuid.UUID
    content: str = ""
    content_type: MessageContentType | None = None
    sender_type: SenderType = "system"
    sender_user_id: uuid.UUID | None = None
    sender_agent_id: uuid.UUID | None = None
    fence: int | None = None
    number_id: uuid.UUID | None = None
    to: str | None = None
    route: Route | None = None
    attachment_ids: Sequence[uuid.UUID] = ()
    media_urls: Sequence[str] = ()
    scheduled_at: datetime | None = None
    is_reply: bool | None = None
    metadata: Mapping[str, Any] = {}
    message_id: uuid.UUID | None = None
    details: Mapping[str, Any] = {}

    @property
    def media(self) -> int:
        """How many items go with it."""
        return len(self.attachment_ids) + len(self.media_urls)
