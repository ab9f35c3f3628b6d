"""What was attached to messages, and how far its fetching has come."""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

AttachmentState = Literal["pending", "stored", "failed", "refused"]


class MessageAttachment(TenantRow, Base):
    """One item of a message; the row is there at once, the bytes follow."""

    large = True
    noun = "attachment"
    __tablename__ = "message_attachments"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "message_id", "position"),
        refers("message_id", "conversation_messages", on_delete="CASCADE"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        one_of("state", AttachmentState),
        Index(
            "ix_message_attachments_due",
            "next_attempt_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_message_attachments_created", "workspace_id", "created_at", "id"),
        # Whether another message carries a file that is to be removed.
        Index(
            "ix_message_attachments_storage_key",
            "storage_key",
            postgresql_where=text("storage_key IS NOT NULL"),
        ),
        Index(
            "ix_message_attachments_state",
            "workspace_id",
            "state",
            "created_at",
            "id",
            postgresql_where=text("state <> 'stored'"),
        ),
    )

    message_id: Mapped[uuid.UUID]
    position: Mapped[int]
    connection_id: Mapped[uuid.UUID | None]
    source_url: Mapped[str]
    declared_type: Mapped[str | None]
    file_name: Mapped[str | None]
    content_id: Mapped[str | None]
    content_type: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    storage_key: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    next_attempt_at: Mapped[datetime | None]
    error: Mapped[str | None]


class MessageAttachmentView(View, kw_only=True):
    """An attachment and how far its fetching has come; ``contentType`` is sniffed once stored."""

    id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID]
    position: ReadOnly[int]
    declared_type: ReadOnly[str | None] = None
    file_name: ReadOnly[str | None] = None
    content_id: ReadOnly[str | None] = None
    content_type: ReadOnly[str | None] = None
    size: ReadOnly[int | None] = None
    sha256: ReadOnly[str | None] = None
    state: ReadOnly[AttachmentState] = "pending"
    attempts: ReadOnly[int] = 0
    next_attempt_at: ReadOnly[datetime | None] = None
    error: ReadOnly[str | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
