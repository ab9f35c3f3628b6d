"""Who takes part in a conversation."""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

ParticipantRole = Literal["owner", "participant", "observer"]


class ConversationParticipant(TenantRow, Base):
    """A member who takes part in, or watches, a conversation."""

    large = True
    __tablename__ = "conversation_participants"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "conversation_id", "user_id"),
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers_to_member("user_id"),
        one_of("role", ParticipantRole),
        Index("ix_conversation_participants_created", "workspace_id", "created_at", "id"),
        Index("ix_conversation_participants_user", "workspace_id", "user_id", "created_at", "id"),
    )

    conversation_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    role: Mapped[str] = mapped_column(default="participant", server_default="participant")
    last_read_at: Mapped[datetime | None]
    notifications_enabled: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class ConversationParticipantView(View, kw_only=True):
    """A member's part in a conversation, and how far they have read."""

    id: ReadOnly[uuid.UUID]
    conversation_id: uuid.UUID
    user_id: uuid.UUID
    role: ParticipantRole = "participant"
    last_read_at: ReadOnly[datetime | None] = None
    notifications_enabled: bool = True
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
