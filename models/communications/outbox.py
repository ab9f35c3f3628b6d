"""What has been said and has not left yet."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

OutgoingState = Literal["queued", "scheduled", "sending", "unclear"]


class OutgoingMessage(TenantRow, Base):
    """A message on its way out, under its own id; the row is gone once the provider has it, or never will.

    A conversation's messages leave one after the other in the order of ``line_at``: only the first of them, its
    ``is_head``, is ever taken. ``next_attempt_at`` is when it may be taken next; while it is being sent that is when
    whoever sends it has lost it. ``sending`` beyond that, and ``unclear``, may have been sent: to be looked up first.
    """

    large = True
    __tablename__ = "outgoing_messages"
    __table_args__ = tenant_table(
        refers("id", "conversation_messages", on_delete="CASCADE"),
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        one_of("state", OutgoingState),
        CheckConstraint("state <> 'scheduled' OR NOT is_head", name="is_head_of_what_is_due"),
        CheckConstraint("segments >= 1", name="segments_range"),
        # The law of order: a conversation has one message at a time that may leave.
        Index(
            "uq_outgoing_messages_head",
            "workspace_id",
            "conversation_id",
            unique=True,
            postgresql_where=text("is_head"),
        ),
        Index("ix_outgoing_messages_line", "workspace_id", "conversation_id", "line_at", "id"),
        # For the workers, which go through all workspaces at once.
        Index("ix_outgoing_messages_due", "workspace_id", "next_attempt_at", postgresql_where=text("is_head")),
        Index(
            "ix_outgoing_messages_behind",
            "workspace_id",
            "conversation_id",
            postgresql_where=text("NOT is_head AND state <> 'scheduled'"),
        ),
        Index("ix_outgoing_messages_scheduled", "line_at", postgresql_where=text("state = 'scheduled'")),
        Index("ix_outgoing_messages_created", "workspace_id", "created_at", "id"),
    )

    conversation_id: Mapped[uuid.UUID]
    connection_id: Mapped[uuid.UUID | None]
    phone_number_id: Mapped[uuid.UUID | None]
    provider: Mapped[str]
    state: Mapped[str]
    is_head: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    line_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    attempted_at: Mapped[datetime | None]
    slot_at: Mapped[datetime | None]
    # What an agent has said under it leaves only while it is the conversation's.
    fence: Mapped[int | None] = mapped_column(BigInteger)
    is_reply: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    segments: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    error: Mapped[str | None]


class OutgoingMessageView(View, kw_only=True):
    """A message that has not left yet, under the message's own id, and why it still waits."""

    id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID]
    connection_id: ReadOnly[uuid.UUID | None] = None
    phone_number_id: ReadOnly[uuid.UUID | None] = None
    state: ReadOnly[OutgoingState]
    line_at: ReadOnly[
        Annotated[
            datetime, msgspec.Meta(description="Its place in its conversation's line; of a scheduled one, its time.")
        ]
    ]
    next_attempt_at: ReadOnly[datetime]
    attempts: ReadOnly[int] = 0
    segments: ReadOnly[int] = 1
    error: ReadOnly[str | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
