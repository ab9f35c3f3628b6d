"""What agents ask before they act, and what they did."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, now, one_of, refers, refers_to_member, tenant_table

RiskLevel = Literal["low", "medium", "high", "critical"]
ActionStatus = Literal["pending", "approved", "rejected", "expired"]
Performer = Literal["comms", "runtime"]
ActionTrigger = Literal["user", "schedule", "workflow", "agent"]


class AgentPendingAction(TenantRow, Base):
    """Something an agent would do if a person lets it. It is decided once, and done once.

    What comms knows how to do is done in the transaction that approves it, which is the one that says so.
    """

    __tablename__ = "agent_pending_actions"
    __table_args__ = tenant_table(
        refers("agent_id", "agents"),
        refers("team_id", "agent_teams", on_delete="SET NULL"),
        refers("conversation_id", "conversations", on_delete="SET NULL"),
        refers_to_member("asked_by"),
        refers_to_member("reviewed_by"),
        one_of("risk_level", RiskLevel),
        one_of("status", ActionStatus),
        CheckConstraint(
            "status NOT IN ('approved', 'rejected') OR (reviewed_at IS NOT NULL AND (reviewed_by IS NOT NULL OR"
            " (passed_alone AND status = 'approved')))",
            name="reviewed_by_somebody",
        ),
        CheckConstraint("NOT passed_alone OR risk_level = 'low'", name="passed_alone_is_low"),
        one_of("performed_by", Performer),
        CheckConstraint(
            "(performed_at IS NULL) = (performed_by IS NULL) AND (performed_at IS NULL) = (succeeded IS NULL)"
            " AND (performed_at IS NULL OR status = 'approved')",
            name="performed_once_approved",
        ),
        CheckConstraint("edited_details IS NULL OR status = 'approved'", name="edited_details_of_approved"),
        CheckConstraint("status <> 'expired' OR expires_at IS NOT NULL", name="expires_at_of_expired"),
        Index("ix_agent_pending_actions_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_pending_actions_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_agent_pending_actions_agent", "workspace_id", "agent_id", "created_at", "id"),
        Index(
            "ix_agent_pending_actions_conversation",
            "workspace_id",
            "conversation_id",
            "created_at",
            "id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index("ix_agent_pending_actions_due", "expires_at", postgresql_where=text("status = 'pending'")),
    )

    agent_id: Mapped[uuid.UUID]
    team_id: Mapped[uuid.UUID | None]
    action_type: Mapped[str]
    risk_level: Mapped[str] = mapped_column(default="medium", server_default="medium")
    title: Mapped[str]
    description: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    edited_details: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    requested_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    reviewed_by: Mapped[uuid.UUID | None]
    reviewed_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    asked_by: Mapped[uuid.UUID | None]
    passed_alone: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    conversation_id: Mapped[uuid.UUID | None]
    fence: Mapped[int | None] = mapped_column(BigInteger)
    performed_by: Mapped[str | None]
    performed_at: Mapped[datetime | None]
    succeeded: Mapped[bool | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[str | None]


class AgentPendingActionView(View, kw_only=True):
    """Something an agent asks to do. ``editedDetails`` are what was approved, when not the ``details`` asked for.

    ``performedBy`` is ``comms`` for the action types it knows (docs/agents.md), which are done as they are approved;
    any other is handed back to the agent's runtime, which reports what came of it.
    """

    id: ReadOnly[uuid.UUID]
    agent_id: uuid.UUID
    team_id: uuid.UUID | None = None
    action_type: Annotated[str, msgspec.Meta(examples=["create_record"])]
    risk_level: RiskLevel = "medium"
    title: Annotated[str, msgspec.Meta(examples=["Keep who has called"])]
    description: str | None = None
    details: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="What is to be done, by its `actionType`.",
            examples=[{"resource": "contacts", "values": {"firstName": "Ada"}}],
        ),
    ] = {}
    edited_details: ReadOnly[dict[str, Any] | None] = None
    status: ReadOnly[ActionStatus] = "pending"
    requested_at: ReadOnly[datetime]
    expires_at: datetime | None = None
    reviewed_by: ReadOnly[uuid.UUID | None] = None
    reviewed_at: ReadOnly[datetime | None] = None
    reason: ReadOnly[str | None] = None
    asked_by: Annotated[
        ReadOnly[uuid.UUID | None], msgspec.Meta(description="The member who asked, or made the token that asked.")
    ] = None
    passed_alone: Annotated[
        ReadOnly[bool], msgspec.Meta(description="Whether a policy let it pass without a person.")
    ] = False
    conversation_id: ReadOnly[uuid.UUID | None] = None
    fence: Annotated[
        ReadOnly[int | None],
        msgspec.Meta(description="The fence of the conversation's ownership it was asked under.", examples=[3]),
    ] = None
    performed_by: Annotated[
        ReadOnly[Performer | None], msgspec.Meta(description="Who did what was approved.", examples=["comms"])
    ] = None
    performed_at: Annotated[
        ReadOnly[datetime | None],
        msgspec.Meta(description="When it was done; null until it is.", examples=["2026-03-01T12:00:00Z"]),
    ] = None
    succeeded: Annotated[ReadOnly[bool | None], msgspec.Meta(description="Whether that went well.")] = None
    result: Annotated[
        ReadOnly[dict[str, Any] | None],
        msgspec.Meta(
            description="What came of it, such as the id of the message.",
            examples=[{"messageId": "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"}],
        ),
    ] = None
    error: ReadOnly[str | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentActionAuditLog(TenantRow, Base):
    """What an agent did. Rows are only added, so who did something is archived, never deleted."""

    __tablename__ = "agent_action_audit_log"
    __table_args__ = tenant_table(
        refers("agent_id", "agents"),
        refers("team_id", "agent_teams"),
        one_of("triggered_by", ActionTrigger),
        CheckConstraint("duration_ms >= 0", name="duration_ms_range"),
        Index("ix_agent_action_audit_log_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_action_audit_log_agent", "workspace_id", "agent_id", "created_at", "id"),
    )

    agent_id: Mapped[uuid.UUID | None]
    team_id: Mapped[uuid.UUID | None]
    action_type: Mapped[str]
    action_details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    success: Mapped[bool]
    error: Mapped[str | None]
    triggered_by: Mapped[str]
    executed_at: Mapped[datetime] = mapped_column(default=now)
    duration_ms: Mapped[int | None]


class AgentActionAuditLogView(View, kw_only=True):
    """Something an agent did, who or what set it off, and whether it worked."""

    id: ReadOnly[uuid.UUID]
    agent_id: ReadOnly[uuid.UUID | None] = None
    team_id: ReadOnly[uuid.UUID | None] = None
    action_type: ReadOnly[str]
    action_details: ReadOnly[dict[str, Any]] = {}
    success: ReadOnly[bool]
    error: ReadOnly[str | None] = None
    triggered_by: ReadOnly[ActionTrigger]
    executed_at: ReadOnly[datetime]
    duration_ms: ReadOnly[int | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
