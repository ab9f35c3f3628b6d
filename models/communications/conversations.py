"""Conversations, whose they are, and their messages."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Computed, Index, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import (
    Base,
    ReadOnly,
    TenantRow,
    View,
    now,
    one_of,
    part_of_tenant,
    refers,
    refers_to_member,
    tenant_table,
)
from models.communications.attachments import MessageAttachment, MessageAttachmentView

ConversationChannel = Literal["email", "sms", "call", "whatsapp", "social", "live_chat"]
ConversationStatus = Literal["active", "archived", "closed", "spam"]
MessageDirection = Literal["inbound", "outbound"]
MessageContentType = Literal["text", "html", "media", "system"]
SenderType = Literal["contact", "user", "agent", "system"]
MessageStatus = Literal[
    "receiving",
    "received",
    "scheduled",
    "accepted",
    "queued",
    "sending",
    "sent",
    "partially_delivered",
    "canceled",
    "failed",
    "undelivered",
    "delivered",
    "read",
]

MOST_TAGS = 50


_NO_TEXTS = text("channel <> 'sms'")

OF_SOMEBODY = "contact_id IS NOT NULL AND NOT is_unproven"
"""Of whom a conversation is that the threading rule knows: a contact, and no visitor who only says to be one."""


def _unless_owned(context: Any) -> datetime | None:
    given = context.get_current_parameters()
    is_owned = given.get("assigned_to") is not None or given.get("agent_id") is not None
    return None if is_owned else given.get("created_at") or now()


class Conversation(TenantRow, Base):
    """All that is said between the business and one contact on one channel."""

    large = True
    __tablename__ = "conversations"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        refers_to_member("assigned_to"),
        refers("agent_id", "agents"),
        CheckConstraint("fence >= 0", name="fence_range"),
        # The law of ownership: one owner, an artificial one for a time only, or a place among those who wait for one.
        CheckConstraint("num_nonnulls(assigned_to, agent_id, waiting_since) = 1", name="waiting_since_or_owner"),
        CheckConstraint("(agent_id IS NULL) = (lease_expires_at IS NULL)", name="lease_expires_at_of_agent"),
        one_of("channel", ConversationChannel),
        one_of("status", ConversationStatus),
        CheckConstraint("message_count >= 0", name="message_count_range"),
        CheckConstraint(f"cardinality(tags) <= {MOST_TAGS}", name="tags_range"),
        # The threading rule's law: whatever happens at once, a contact has one open conversation per channel.
        Index(
            "uq_conversations_active",
            "workspace_id",
            "contact_id",
            "channel",
            unique=True,
            postgresql_where=text(f"status = 'active' AND {OF_SOMEBODY}"),
        ),
        one_of("continued_by", Literal["sms", "email"]),
        # Whether an answer by another channel belongs to a chat: asked for every message, and almost never so.
        Index(
            "ix_conversations_continued",
            "workspace_id",
            "contact_id",
            postgresql_where=text("continued_by IS NOT NULL"),
        ),
        Index("ix_conversations_contact", "workspace_id", "contact_id", "channel", "last_message_at"),
        Index("ix_conversations_inbox", "workspace_id", "last_message_at", "id"),
        Index("ix_conversations_created", "workspace_id", "created_at", "id"),
        # Every message is an entry in every index of its conversation: these hold only what few messages touch.
        Index(
            "ix_conversations_assigned",
            "workspace_id",
            "assigned_to",
            "last_message_at",
            "id",
            postgresql_where=text("assigned_to IS NOT NULL"),
        ),
        Index(
            "ix_conversations_status",
            "workspace_id",
            "status",
            "last_message_at",
            "id",
            postgresql_where=text("status <> 'active'"),
        ),
        Index(
            "ix_conversations_channel", "workspace_id", "channel", "last_message_at", "id", postgresql_where=_NO_TEXTS
        ),
        Index(
            "ix_conversations_snoozed",
            "workspace_id",
            "snoozed_until",
            postgresql_where=text("snoozed_until IS NOT NULL"),
        ),
        Index(
            "ix_conversations_put_off",
            "workspace_id",
            "put_off_until",
            postgresql_where=text("put_off_until IS NOT NULL"),
        ),
        Index(
            "ix_conversations_agent",
            "workspace_id",
            "agent_id",
            "last_message_at",
            "id",
            postgresql_where=text("agent_id IS NOT NULL"),
        ),
        # How much each person has to do: counted before they are given more.
        Index(
            "ix_conversations_load",
            "workspace_id",
            "assigned_to",
            "channel",
            postgresql_where=text("status = 'active' AND assigned_to IS NOT NULL"),
        ),
        Index("ix_conversations_lease", "lease_expires_at", postgresql_where=text("agent_id IS NOT NULL")),
        Index("ix_conversations_tagged", "workspace_id", "created_at", "id", postgresql_where=text("tags <> '{}'")),
        # Small, since few values make it up: what is written into it for every message is a few bytes.
        Index("ix_conversations_phone_number", "workspace_id", "phone_number_id"),
    )

    contact_id: Mapped[uuid.UUID | None]
    channel: Mapped[str]
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    subject: Mapped[str | None]
    last_message_at: Mapped[datetime | None]
    message_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    assigned_to: Mapped[uuid.UUID | None]
    agent_id: Mapped[uuid.UUID | None]
    fence: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    lease_expires_at: Mapped[datetime | None]
    waiting_since: Mapped[datetime | None] = mapped_column(default=_unless_owned, server_default=text("now()"))
    ownership_reason: Mapped[str | None]
    silence_told_at: Mapped[datetime | None]
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    phone_number_id: Mapped[uuid.UUID | None]
    snoozed_until: Mapped[datetime | None]
    # The end of the last snooze, kept when it is over, whatever ended it: the watch over silence begins with it.
    put_off_until: Mapped[datetime | None]
    is_unproven: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    continued_by: Mapped[str | None]


class ConversationView(View, kw_only=True):
    """A conversation. ``phoneNumberId`` is the number last used: replies leave from it.

    ``messageCount`` and ``lastMessageAt`` speak of what was said with the contact; internal notes are not counted.
    """

    id: ReadOnly[uuid.UUID]
    contact_id: uuid.UUID | None = None
    channel: ConversationChannel
    status: ReadOnly[ConversationStatus] = "active"
    subject: str | None = None
    last_message_at: ReadOnly[datetime | None] = None
    message_count: ReadOnly[int] = 0
    assigned_to: ReadOnly[uuid.UUID | None] = None
    agent_id: Annotated[
        ReadOnly[uuid.UUID | None], msgspec.Meta(description="The agent it is with, until its lease is over.")
    ] = None
    fence: Annotated[
        ReadOnly[int],
        msgspec.Meta(description="One more whenever it changes hands: what is written under another is refused."),
    ] = 0
    lease_expires_at: Annotated[
        ReadOnly[datetime | None], msgspec.Meta(description="When it is the agent's no more, unless renewed before.")
    ] = None
    waiting_since: Annotated[
        ReadOnly[datetime | None], msgspec.Meta(description="Since when it waits for somebody, while it is nobody's.")
    ] = None
    ownership_reason: Annotated[
        ReadOnly[str | None], msgspec.Meta(description="Why it is whose it is, since it last changed hands.")
    ] = None
    tags: list[str] = []
    phone_number_id: uuid.UUID | None = None
    snoozed_until: ReadOnly[datetime | None] = None
    is_unproven: Annotated[
        ReadOnly[bool],
        msgspec.Meta(description="Whether the contact is only who a visitor of the website says to be."),
    ] = False
    continued_by: Annotated[
        ReadOnly[Literal["sms", "email"] | None],
        msgspec.Meta(description="The channel on which a chat goes on since its visitor has left."),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class ConversationMessage(TenantRow, Base):
    """One thing said. Which of our numbers it used is its own fact, not the conversation's.

    An internal note is for the team and never sent. A deleted message leaves a row of no conversation that holds
    nothing but what the provider calls it: so a repeated webhook finds it, and does not bring it back.
    """

    large = True
    noun = "message"
    __tablename__ = "conversation_messages"
    __table_args__ = part_of_tenant(
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("sender_contact_id", "contacts", on_delete="SET NULL"),
        refers_to_member("sender_user_id"),
        refers("sender_agent_id", "agents"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        one_of("direction", MessageDirection),
        one_of("content_type", MessageContentType),
        one_of("sender_type", SenderType),
        one_of("status", MessageStatus),
        CheckConstraint("conversation_id IS NOT NULL OR deleted_at IS NOT NULL", name="conversation_id_of_deleted"),
        # Whatever sends messages takes them by these: a note is never on its way out.
        CheckConstraint(
            "NOT is_internal OR (provider_message_id IS NULL"
            " AND status NOT IN ('scheduled', 'accepted', 'queued', 'sending'))",
            name="is_internal_stays_here",
        ),
        # What a provider repeats is kept once.
        Index(
            "uq_conversation_messages_provider_id",
            "workspace_id",
            "provider",
            "provider_message_id",
            unique=True,
            postgresql_where=text("provider_message_id IS NOT NULL"),
        ),
        Index("ix_conversation_messages_thread", "workspace_id", "conversation_id", "created_at", "id"),
        Index("ix_conversation_messages_created", "workspace_id", "created_at", "id"),
        # To merge or delete a contact without reading every message of the workspace.
        Index(
            "ix_conversation_messages_sender_contact",
            "workspace_id",
            "sender_contact_id",
            postgresql_where=text("sender_contact_id IS NOT NULL"),
        ),
        Index(
            "ix_conversation_messages_sender_agent",
            "workspace_id",
            "sender_agent_id",
            postgresql_where=text("sender_agent_id IS NOT NULL"),
        ),
        # Of what may be rare among very many. No message is in them as it comes in: that costs nothing more.
        Index(
            "ix_conversation_messages_automatic",
            "workspace_id",
            "sender_type",
            "created_at",
            "id",
            postgresql_where=text("sender_type IN ('agent', 'system')"),
        ),
        Index("ix_conversation_messages_read", "workspace_id", "created_at", "id", postgresql_where=text("is_read")),
        Index(
            "ix_conversation_messages_status",
            "workspace_id",
            "status",
            "created_at",
            "id",
            postgresql_where=text("status NOT IN ('received', 'delivered')"),
        ),
        Index(
            "ix_conversation_messages_content_type",
            "workspace_id",
            "content_type",
            "created_at",
            "id",
            postgresql_where=text("content_type <> 'text'"),
        ),
        Index(
            "ix_conversation_messages_provider",
            "workspace_id",
            "provider",
            "created_at",
            "id",
            postgresql_where=text("provider <> 'twilio'"),
        ),
        Index(
            "ix_conversation_messages_internal",
            "workspace_id",
            "created_at",
            "id",
            postgresql_where=text("is_internal"),
        ),
        Index("ix_conversation_messages_phone_number", "workspace_id", "phone_number_id", "created_at", "id"),
        # For the delivery figures of a number.
        Index(
            "ix_conversation_messages_sent_by",
            "workspace_id",
            "phone_number_id",
            "created_at",
            postgresql_where=text("direction = 'outbound'"),
        ),
    )

    conversation_id: Mapped[uuid.UUID | None]
    direction: Mapped[str]
    content: Mapped[str]
    content_type: Mapped[str] = mapped_column(default="text", server_default="text")
    sender_type: Mapped[str]
    sender_contact_id: Mapped[uuid.UUID | None]
    sender_user_id: Mapped[uuid.UUID | None]
    sender_agent_id: Mapped[uuid.UUID | None]
    # One column per sort of sender, so that each is a real foreign key; the map's senderId is whichever is set.
    sender_id: Mapped[uuid.UUID | None] = mapped_column(
        Computed("coalesce(sender_contact_id, sender_user_id, sender_agent_id)", persisted=True)
    )
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    is_read: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    read_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    status: Mapped[str]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    provider: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    connection_id: Mapped[uuid.UUID | None]
    phone_number_id: Mapped[uuid.UUID | None]
    from_address: Mapped[str | None]
    to_address: Mapped[str | None]
    scheduled_at: Mapped[datetime | None]
    segments: Mapped[int | None]
    is_internal: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    mentions: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    attachments: Mapped[list[MessageAttachment]] = relationship(
        lazy="raise", order_by=MessageAttachment.position, viewonly=True
    )


class ConversationMessageView(View, kw_only=True):
    """A message, with its attachments. ``status`` only ever moves forward.

    ``isInternal`` marks a note for the team; ``mentions`` are the members it calls on.
    """

    id: ReadOnly[uuid.UUID]
    conversation_id: uuid.UUID
    direction: MessageDirection
    content: str = ""
    content_type: MessageContentType = "text"
    sender_type: ReadOnly[SenderType]
    sender_id: ReadOnly[uuid.UUID | None] = None
    meta: dict[str, Any] = msgspec.field(name="metadata", default_factory=dict)
    is_read: bool = False
    read_at: ReadOnly[datetime | None] = None
    delivered_at: ReadOnly[datetime | None] = None
    sent_at: ReadOnly[datetime | None] = None
    status: ReadOnly[MessageStatus]
    error_code: ReadOnly[str | None] = None
    error_message: ReadOnly[str | None] = None
    provider: Literal["twilio", "signalwire", "sendgrid", "smtp"] | None = None
    provider_message_id: str | None = None
    phone_number_id: uuid.UUID | None = None
    from_address: ReadOnly[str | None] = None
    to_address: ReadOnly[str | None] = None
    scheduled_at: ReadOnly[datetime | None] = None
    segments: ReadOnly[int | None] = None
    is_internal: ReadOnly[bool] = False
    mentions: ReadOnly[list[uuid.UUID] | None] = None
    edited_at: ReadOnly[datetime | None] = None
    attachments: ReadOnly[list[MessageAttachmentView]] = []
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
