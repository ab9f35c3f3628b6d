"""The event log: one fact, one row, many readers."""

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import ARRAY, JSON, BigInteger, ForeignKey, Index, PrimaryKeyConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, View, now, workspace_reference


class EventCounter(Base):
    """The last sequence number given out in a workspace; its row lock is what makes the log gapless and in order."""

    __tablename__ = "event_counters"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)


class Event(Base):
    """Something that became true, numbered without gaps per workspace. ``data`` is the resource as GET shows it.

    ``changes`` says of an update what each changed field was before, and is after.
    """

    __tablename__ = "events"
    __table_args__ = (
        PrimaryKeyConstraint("workspace_id", "seq"),
        Index("ix_events_subject", "workspace_id", "subject_id", "seq"),
        # What people do, and all that is not about messages: most of the log is neither, and is not slowed by these.
        Index(
            "ix_events_actor",
            "workspace_id",
            "actor_id",
            "seq",
            postgresql_where=text("actor_id IS NOT NULL AND actor_type <> 'contact'"),
        ),
        Index(
            "ix_events_kind", "workspace_id", "subject_type", "seq", postgresql_where=text("subject_type <> 'message'")
        ),
        # The log is in order of time, nearly: a summary of each stretch of it is enough, and costs an insert nothing.
        Index("ix_events_at", "at", postgresql_using="brin", postgresql_with={"autosummarize": True}),
    )

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("event_counters.workspace_id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(BigInteger)
    event: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID | None]
    actor_type: Mapped[str] = mapped_column(default="system", server_default="system")
    actor_id: Mapped[uuid.UUID | None]
    at: Mapped[datetime] = mapped_column(default=now)
    # json, not jsonb: the hub sends these bytes on as they are.
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # Who belonged to the closed channel it happened in; null is everybody.
    audience: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))


class EventView(View, kw_only=True):
    """One entry of the log, as ``GET /events`` lists it and the websocket tells it.

    ``changes`` is null unless the event is of a change: ``{"status": {"before": "lead", "after": "customer"}}``.
    """

    seq: ReadOnly[int]
    event: ReadOnly[str]
    subject_type: ReadOnly[str]
    subject_id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID | None]
    actor_type: ReadOnly[str]
    actor_id: ReadOnly[uuid.UUID | None]
    at: ReadOnly[datetime]
    data: ReadOnly[
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="The thing it happened to, exactly as its own GET shows it.",
                examples=[{"id": "0198c0de-5000-7b44-96c0-086bed0401d7", "firstName": "Ada"}],
            ),
        ]
    ]
    changes: ReadOnly[dict[str, Any] | None]
