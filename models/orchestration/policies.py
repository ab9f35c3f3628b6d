"""What agents may do without asking, how long they wait for an answer, and which conversations they see."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

Reach = Literal["handed", "waiting", "workspace"]

MOST_PASSING = 50
SHORTEST_WAIT, LONGEST_WAIT = 60, 30 * 86_400


class AgentPolicy(TenantRow, Base):
    """What one agent may, or without an agent every one that has no policy of its own."""

    __tablename__ = "agent_policies"
    __table_args__ = tenant_table(
        refers("agent_id", "agents", on_delete="CASCADE"),
        one_of("reach", Reach),
        CheckConstraint(f"cardinality(pass_alone) <= {MOST_PASSING}", name="pass_alone_range"),
        CheckConstraint(
            f"answer_within_seconds BETWEEN {SHORTEST_WAIT} AND {LONGEST_WAIT}", name="answer_within_seconds_range"
        ),
        # No agent is a scope of its own: there too is one policy at most.
        Index(
            "uq_agent_policies_agent_id", "workspace_id", "agent_id", unique=True, postgresql_nulls_not_distinct=True
        ),
        Index("ix_agent_policies_created", "workspace_id", "created_at", "id"),
    )

    agent_id: Mapped[uuid.UUID | None]
    description: Mapped[str | None]
    pass_alone: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    answer_within_seconds: Mapped[int] = mapped_column(default=86_400, server_default=text("86400"))
    reach: Mapped[str] = mapped_column(default="waiting", server_default="waiting")


class AgentPolicyView(View, kw_only=True):
    """What one agent may; without ``agentId``, every agent that has no policy of its own.

    Only actions of low risk ever pass without a person, and none that takes a conversation from one. ``reach`` is
    which conversations an agent sees: its own and those ``handed`` to it, those ``waiting`` for anybody besides, or the
    whole ``workspace``'s. It claims only what waits.
    """

    id: ReadOnly[uuid.UUID]
    agent_id: uuid.UUID | None = None
    description: (
        Annotated[str, msgspec.Meta(description="Why it is so.", examples=["It only ever adds contacts."])] | None
    ) = None
    pass_alone: Annotated[
        list[str],
        msgspec.Meta(
            description="The action types that need no person when their risk is low; `*` for all of them.",
            examples=[["create_record", "update_record"]],
        ),
    ] = []
    answer_within_seconds: Annotated[
        int,
        msgspec.Meta(
            description="After how long an action expires that says nothing of it.",
            examples=[86_400],
        ),
    ] = 86_400
    reach: Annotated[Reach, msgspec.Meta(description="Which conversations it sees.", examples=["waiting"])] = "waiting"
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
