"""What providers told us, kept as they told it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, now, one_of, part_of_tenant, refers, tenant_table
from models.core import Provider

ReceiptKind = Literal[
    "messages",
    "message-status",
    "inbound",
    "events",
    "voice",
    "voice-status",
    "voice-recording",
    "voice-transcription",
    "voice-amd",
    "voice-conference",
]
ReceiptState = Literal["processed", "unmapped", "failed", "unreadable"]


class WebhookReceipt(TenantRow, Base):
    """A genuine webhook, byte for byte, kept in the same commit as what it became.

    ``unmapped`` waits for somebody to make what it names (``reason`` says what) and replay it; ``failed`` is tried
    again by the worker at ``next_attempt_at``; ``unreadable`` can be tried again by a person. A mail's body is in the
    object store under ``storage_key``, and ``body`` is empty.
    """

    large = True
    __tablename__ = "webhook_receipts"
    __table_args__ = part_of_tenant(
        # A webhook is known by what the provider signed, never by a header.
        UniqueConstraint("workspace_id", "connection_id", "kind", "identity"),
        refers("connection_id", "workspace_api_keys"),  # what it received outlives it: switch it off instead
        one_of("provider", Provider),
        one_of("kind", ReceiptKind),
        one_of("state", ReceiptState),
        Index("ix_webhook_receipts_created", "workspace_id", "created_at", "id"),
        Index("ix_webhook_receipts_open", "workspace_id", "state", postgresql_where=text("state <> 'processed'")),
        Index("ix_webhook_receipts_due", "next_attempt_at", postgresql_where=text("state = 'failed'")),
    )

    connection_id: Mapped[uuid.UUID]
    provider: Mapped[str]
    kind: Mapped[str]
    identity: Mapped[str]
    method: Mapped[str]
    url: Mapped[str]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    body: Mapped[bytes]
    storage_key: Mapped[str | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    next_attempt_at: Mapped[datetime | None]
    message_id: Mapped[uuid.UUID | None]


class WebhookReceiptView(View, kw_only=True):
    """A kept webhook: what came of it, and why if nothing did. ``body`` is the request's, as text."""

    id: ReadOnly[uuid.UUID]
    connection_id: ReadOnly[uuid.UUID]
    provider: ReadOnly[Provider]
    kind: ReadOnly[ReceiptKind]
    identity: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="What makes the webhook itself: the same one again has the same.",
                examples=["SM3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d"],
            ),
        ]
    ]
    method: ReadOnly[Annotated[str, msgspec.Meta(description="How it was sent.", examples=["POST"])]]
    url: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="The address it was sent to, as its signature covers it.",
                examples=["https://comms.example.com/webhooks/twilio/0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11/messages"],
            ),
        ]
    ]
    state: ReadOnly[ReceiptState]
    reason: ReadOnly[str | None] = None
    attempts: ReadOnly[int] = 1
    next_attempt_at: ReadOnly[datetime | None] = None
    message_id: ReadOnly[uuid.UUID | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class DeliveryReportRow(TenantRow, Base):
    """One delivery report. ``message_id`` is empty while the message it speaks of is not known yet."""

    large = True
    __tablename__ = "delivery_reports"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "provider", "provider_message_id", "reported"),
        refers("message_id", "conversation_messages", on_delete="CASCADE"),
        Index("ix_delivery_reports_message", "workspace_id", "message_id"),
        Index("ix_delivery_reports_parked", "created_at", postgresql_where=text("message_id IS NULL")),
        Index("ix_delivery_reports_created", "workspace_id", "created_at", "id"),
        Index(
            "ix_delivery_reports_status",
            "workspace_id",
            "status",
            "created_at",
            "id",
            postgresql_where=text("status NOT IN ('queued', 'sent', 'delivered')"),
        ),
        Index(
            "ix_delivery_reports_marked", "workspace_id", "marked_id", postgresql_where=text("marked_id IS NOT NULL")
        ),
    )

    message_id: Mapped[uuid.UUID | None]
    provider: Mapped[str]
    provider_message_id: Mapped[str]
    reported: Mapped[str]
    status: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    reported_at: Mapped[datetime] = mapped_column(default=now)
    # Of a report that came before we knew what the provider calls the message: which one it is by its address.
    marked_id: Mapped[uuid.UUID | None]


class DeliveryReportView(View, kw_only=True):
    """What a provider said of a message; ``messageId`` is null while the report waits for its message."""

    id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID | None] = None
    provider: ReadOnly[str]
    provider_message_id: ReadOnly[str]
    reported: ReadOnly[
        Annotated[str, msgspec.Meta(description="The status in the provider's word.", examples=["delivered"])]
    ]
    status: ReadOnly[str | None] = None
    error_code: ReadOnly[str | None] = None
    error_message: ReadOnly[str | None] = None
    reported_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
