"""What comes of calls: what was recorded, to whom they were handed, and what providers told of their lines."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, now, one_of, refers, refers_to_member, tenant_table
from models.types import Phone

RecordingKind = Literal["voicemail", "call"]
RecordingState = Literal["in_progress", "paused", "completed", "absent", "failed"]
TranscriptionStatus = Literal["pending", "completed", "failed"]
TransferKind = Literal["blind", "warm"]
TransferState = Literal["ringing", "consulting", "completed", "canceled"]


class Recording(TenantRow, Base):
    """Something recorded of a call: its sound is an attachment of a message of the conversation."""

    large = True
    __tablename__ = "recordings"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "provider", "provider_recording_id"),
        refers("call_id", "calls", on_delete="CASCADE"),
        refers("leg_id", "call_legs", on_delete="SET NULL"),
        refers("message_id", "conversation_messages", on_delete="SET NULL"),
        one_of("kind", RecordingKind),
        one_of("state", RecordingState),
        one_of("transcription_status", TranscriptionStatus),
        Index("ix_recordings_created", "workspace_id", "created_at", "id"),
        Index("ix_recordings_call", "workspace_id", "call_id", "created_at", "id"),
    )

    call_id: Mapped[uuid.UUID]
    leg_id: Mapped[uuid.UUID | None]
    message_id: Mapped[uuid.UUID | None]
    kind: Mapped[str]
    state: Mapped[str]
    provider: Mapped[str]
    provider_recording_id: Mapped[str]
    duration_seconds: Mapped[int | None]
    channels: Mapped[int | None]
    transcript: Mapped[str | None]
    transcription_status: Mapped[str | None]


class RecordingView(View, kw_only=True):
    """A voicemail, or the recording of a conversation. Its sound is what is attached to the message ``messageId``."""

    id: ReadOnly[uuid.UUID]
    call_id: ReadOnly[uuid.UUID]
    leg_id: ReadOnly[uuid.UUID | None] = None
    message_id: ReadOnly[uuid.UUID | None] = None
    kind: ReadOnly[RecordingKind]
    state: ReadOnly[RecordingState]
    provider: ReadOnly[str]
    provider_recording_id: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="The provider's own id of the recording.", examples=["RE3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d"]
            ),
        ]
    ]
    duration_seconds: ReadOnly[int | None] = None
    channels: ReadOnly[
        Annotated[int, msgspec.Meta(description="2 when each side has a track of its own.", examples=[1])] | None
    ] = None
    transcript: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(description="What was said, as the provider understood it.", examples=["Please call back."]),
        ]
        | None
    ] = None
    transcription_status: ReadOnly[TranscriptionStatus | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class CallTransfer(TenantRow, Base):
    """A call is handed to somebody else: at once (blind), or after a word with them (warm)."""

    __tablename__ = "call_transfers"
    __table_args__ = tenant_table(
        refers("call_id", "calls", on_delete="CASCADE"),
        refers_to_member("requested_by"),
        refers_to_member("to_user_id"),
        one_of("kind", TransferKind),
        one_of("state", TransferState),
        Index(
            "uq_call_transfers_open",
            "workspace_id",
            "call_id",
            unique=True,
            postgresql_where=text("state IN ('ringing', 'consulting')"),
        ),
        Index("ix_call_transfers_created", "workspace_id", "created_at", "id"),
    )

    call_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    state: Mapped[str]
    requested_by: Mapped[uuid.UUID | None]
    to_user_id: Mapped[uuid.UUID | None]
    to_address: Mapped[str] = mapped_column(Phone)
    ended_at: Mapped[datetime | None]


class CallTransferView(View, kw_only=True):
    """How far the handing over of a call has come."""

    id: ReadOnly[uuid.UUID]
    call_id: ReadOnly[uuid.UUID]
    kind: ReadOnly[TransferKind]
    state: ReadOnly[TransferState]
    requested_by: ReadOnly[uuid.UUID | None] = None
    to_user_id: ReadOnly[uuid.UUID | None] = None
    to_address: ReadOnly[str]
    ended_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class CallReport(TenantRow, Base):
    """What a provider told of a line, once. ``leg_id`` is empty while the line it speaks of is not known yet."""

    large = True
    __tablename__ = "call_reports"
    __table_args__ = tenant_table(
        UniqueConstraint(
            "workspace_id", "provider", "provider_call_id", "reported", "sequence", name="uq_call_reports_once"
        ),
        refers("leg_id", "call_legs", on_delete="CASCADE"),
        Index("ix_call_reports_leg", "workspace_id", "leg_id"),
        Index(
            "ix_call_reports_parked",
            "workspace_id",
            "provider",
            "provider_call_id",
            postgresql_where=text("leg_id IS NULL"),
        ),
        Index("ix_call_reports_created", "workspace_id", "created_at", "id"),
    )

    leg_id: Mapped[uuid.UUID | None]
    provider: Mapped[str]
    provider_call_id: Mapped[str]
    reported: Mapped[str]
    sequence: Mapped[int] = mapped_column(default=-1, server_default=text("-1"))
    duration_seconds: Mapped[int | None]
    error_code: Mapped[str | None]
    reported_at: Mapped[datetime] = mapped_column(default=now)


class CallReportView(View, kw_only=True):
    """What a provider said of a line; ``legId`` is null while the report waits for its line."""

    id: ReadOnly[uuid.UUID]
    leg_id: ReadOnly[uuid.UUID | None] = None
    provider: ReadOnly[str]
    provider_call_id: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="The provider's own id of the line.", examples=["CA3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d"]
            ),
        ]
    ]
    reported: ReadOnly[
        Annotated[str, msgspec.Meta(description="The status in the provider's word.", examples=["in-progress"])]
    ]
    sequence: ReadOnly[
        Annotated[int, msgspec.Meta(description="The provider's count of its reports, -1 without.", examples=[2])]
    ]
    duration_seconds: ReadOnly[int | None] = None
    error_code: ReadOnly[str | None] = None
    reported_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
