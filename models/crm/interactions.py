"""What was done with a contact outside of our conversations: meetings, notes, tasks, calls made elsewhere."""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, Computed, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

InteractionType = Literal["call", "email", "meeting", "note", "task", "sms", "whatsapp", "linkedin"]
InteractionDirection = Literal["inbound", "outbound"]


class CrmInteraction(TenantRow, Base):
    """One thing done, or to be done, with a contact."""

    noun = "interaction"
    __tablename__ = "crm_interactions"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="CASCADE"),
        refers("agent_id", "agents", on_delete="SET NULL"),
        refers_to_member("user_id"),
        one_of("type", InteractionType),
        one_of("direction", InteractionDirection),
        CheckConstraint("duration >= 0", name="duration_range"),
        Index("ix_crm_interactions_created", "workspace_id", "created_at", "id"),
        Index("ix_crm_interactions_contact", "workspace_id", "contact_id", "occurred_at", "id"),
        Index("ix_crm_interactions_occurred", "workspace_id", "occurred_at", "id"),
        Index("ix_crm_interactions_user", "workspace_id", "user_id", "created_at", "id"),
        # What comes due: few, whatever was done in the past.
        Index(
            "ix_crm_interactions_due",
            "scheduled_at",
            postgresql_where=text(
                "completed_at IS NULL AND user_id IS NOT NULL AND scheduled_at > coalesce(reminded_at, created_at)"
            ),
        ),
        Index("ix_crm_interactions_agent", "workspace_id", "agent_id", postgresql_where=text("agent_id IS NOT NULL")),
    )

    contact_id: Mapped[uuid.UUID]
    type: Mapped[str]
    direction: Mapped[str | None]
    subject: Mapped[str | None]
    content: Mapped[str | None]
    outcome: Mapped[str | None]
    duration: Mapped[int | None]
    scheduled_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    agent_id: Mapped[uuid.UUID | None]
    user_id: Mapped[uuid.UUID | None]
    reminded_at: Mapped[datetime | None]
    # Where it stands on a timeline, as a column so that an index can order by it.
    occurred_at: Mapped[datetime] = mapped_column(
        Computed("coalesce(completed_at, scheduled_at, created_at)", persisted=True)
    )


class CrmInteractionView(View, kw_only=True):
    """An interaction. ``duration`` is in seconds; ``occurredAt`` when it was completed, else scheduled, else noted."""

    id: ReadOnly[uuid.UUID]
    contact_id: uuid.UUID
    type: InteractionType
    direction: InteractionDirection | None = None
    subject: str | None = None
    content: str | None = None
    outcome: str | None = None
    duration: int | None = None
    scheduled_at: datetime | None = None
    completed_at: datetime | None = None
    agent_id: uuid.UUID | None = None
    user_id: uuid.UUID | None = None
    occurred_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
