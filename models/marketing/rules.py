"""What is said of contacts in general: who belongs together, what they are worth, whose they are, what follows."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers_to_member, tenant_table

SegmentMatch = Literal["all", "any"]
Operator = Literal[
    "equals",
    "not_equals",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "contains_any",
    "contains_all",
    "starts_with",
    "ends_with",
    "greater_than",
    "at_least",
    "less_than",
    "at_most",
    "before",
    "after",
    "within_days",
    "not_within_days",
    "is_set",
    "is_not_set",
]
AutomationTrigger = Literal[
    "lead_created",
    "contact_created",
    "contact_updated",
    "tag_added",
    "segment_entered",
    "lead_score_reached",
    "deal_created",
    "deal_stage_changed",
    "deal_won",
    "deal_lost",
    "email_opened",
    "email_clicked",
    "message_received",
    "call_missed",
    "conversation_closed",
    "invoice_overdue",
    "invoice_paid",
]
AutomationAction = Literal[
    "send_email",
    "send_sms",
    "create_task",
    "update_field",
    "add_tag",
    "remove_tag",
    "assign_owner",
    "change_deal_stage",
    "add_to_campaign",
    "notify_member",
    "call_webhook",
]
AutomationStatus = Literal["active", "paused", "draft", "archived"]
ScoringType = Literal["demographic", "behavioral", "engagement"]


_FIELD_SAID = "A field of a contact, or `customFields.<name>`."
_VALUE_SAID = "What the field is compared with; of which type depends on the field and the operator."


class Condition(View, kw_only=True):
    """Something that is true of a contact or not.

    ``field`` is one of a contact's (``email``, ``tags``, ``createdAt`` …) or ``customFields.<name>``; which operators
    it has, and what ``value`` they take, depends on its type.
    """

    field: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description=_FIELD_SAID, examples=["jobTitle"])]
    operator: Annotated[Operator, msgspec.Meta(examples=["contains"])]
    value: Annotated[Any, msgspec.Meta(description=_VALUE_SAID, examples=["chief"])] = None


class Segment(TenantRow, Base):
    """The contacts of whom certain things are true."""

    __tablename__ = "segments"
    __table_args__ = tenant_table(
        one_of("match", SegmentMatch),
        CheckConstraint("contact_count >= 0", name="contact_count_positive"),
        Index("ix_segments_created", "workspace_id", "created_at", "id"),
    )

    name: Mapped[str]
    description: Mapped[str | None]
    rules: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    match: Mapped[str] = mapped_column(default="all", server_default="all")
    contact_count: Mapped[int | None]
    last_calculated_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class SegmentView(View, kw_only=True):
    """A segment: contacts for whom ``all`` or ``any`` of the rules are true; without rules it is empty."""

    id: ReadOnly[uuid.UUID]
    name: str
    description: str | None = None
    rules: list[Condition] = []
    match: SegmentMatch = "all"
    contact_count: ReadOnly[int | None] = None
    last_calculated_at: ReadOnly[datetime | None] = None
    is_active: bool = True
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AutomationRule(TenantRow, Base):
    """When one thing happens, another is done."""

    __tablename__ = "automation_rules"
    __table_args__ = tenant_table(
        one_of("trigger_type", AutomationTrigger),
        one_of("action_type", AutomationAction),
        one_of("status", AutomationStatus),
        CheckConstraint("execution_count >= 0", name="execution_count_positive"),
        Index("ix_automation_rules_created", "workspace_id", "created_at", "id"),
        Index(
            "ix_automation_rules_trigger", "workspace_id", "trigger_type", postgresql_where=text("status = 'active'")
        ),
    )

    name: Mapped[str]
    description: Mapped[str | None]
    trigger_type: Mapped[str]
    trigger_config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    action_type: Mapped[str]
    action_config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    execution_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_executed_at: Mapped[datetime | None]


class AutomationRuleView(View, kw_only=True):
    """An automation rule. What its configurations hold depends on their types; complete once it is ``active``."""

    id: ReadOnly[uuid.UUID]
    name: str
    description: str | None = None
    trigger_type: AutomationTrigger
    trigger_config: dict[str, Any] = {}
    action_type: AutomationAction
    action_config: dict[str, Any] = {}
    status: AutomationStatus = "draft"
    execution_count: ReadOnly[int] = 0
    last_executed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class LeadScoringRule(TenantRow, Base):
    """What it is worth when something is true of a contact."""

    __tablename__ = "lead_scoring_rules"
    __table_args__ = tenant_table(
        one_of("operator", Operator),
        one_of("type", ScoringType),
        CheckConstraint("points BETWEEN -100 AND 100", name="points_range"),
        CheckConstraint("priority >= 0", name="priority_positive"),
        Index("ix_lead_scoring_rules_created", "workspace_id", "created_at", "id"),
        Index("ix_lead_scoring_rules_priority", "workspace_id", "priority", "id"),
    )

    name: Mapped[str]
    field: Mapped[str]
    operator: Mapped[str]
    value: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    points: Mapped[int]
    type: Mapped[str] = mapped_column(default="demographic", server_default="demographic")
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    priority: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class LeadScoringRuleView(View, kw_only=True):
    """A lead scoring rule: its ``points`` (-100 to 100) count for every contact of whom it is true.

    A contact's ``leadScore`` is the sum, no less than 0 and no more than 100, so ``priority`` only orders the list.
    """

    id: ReadOnly[uuid.UUID]
    name: str
    field: Annotated[str, msgspec.Meta(description=_FIELD_SAID, examples=["jobTitle"])]
    operator: Annotated[Operator, msgspec.Meta(examples=["contains"])]
    value: Annotated[Any, msgspec.Meta(description=_VALUE_SAID, examples=["chief"])] = None
    points: int
    type: ScoringType = "demographic"
    is_active: bool = True
    priority: int = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class LeadRoutingRule(TenantRow, Base):
    """Whose a contact becomes when certain things are true of it: one member's, or the next one's in turn."""

    __tablename__ = "lead_routing_rules"
    __table_args__ = tenant_table(
        refers_to_member("assign_to", assigns=True),
        CheckConstraint("NOT is_active OR round_robin OR assign_to IS NOT NULL", name="assign_to_somebody"),
        CheckConstraint("priority >= 0", name="priority_positive"),
        Index("ix_lead_routing_rules_created", "workspace_id", "created_at", "id"),
        Index("ix_lead_routing_rules_priority", "workspace_id", "priority", "id"),
    )

    name: Mapped[str]
    conditions: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    assign_to: Mapped[uuid.UUID | None]
    round_robin: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    round_robin_users: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    last_assigned_to: Mapped[uuid.UUID | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    priority: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class LeadRoutingRuleView(View, kw_only=True):
    """A lead routing rule. The first active one, by ``priority`` and then age, whose conditions are all true decides.

    Without conditions it is true of every contact. It assigns to ``assignTo``, or with ``roundRobin`` to the active
    ones of ``roundRobinUsers`` in turn; ``lastAssignedTo`` had the last.
    """

    id: ReadOnly[uuid.UUID]
    name: str
    conditions: list[Condition] = []
    assign_to: Annotated[uuid.UUID, msgspec.Meta(examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"])] | None = None
    round_robin: bool = False
    round_robin_users: list[uuid.UUID] = []
    last_assigned_to: ReadOnly[uuid.UUID | None] = None
    is_active: bool = True
    priority: int = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
