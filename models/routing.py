"""Which person a waiting conversation is for: rules, what people can take, the queues, and how it was decided."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import (
    Base,
    ReadOnly,
    TenantRow,
    View,
    one_of,
    refers,
    refers_to_member,
    tenant_table,
    workspace_reference,
)
from models.communications import ConversationChannel
from models.marketing import Condition

RoutingMode = Literal["least_busy", "round_robin"]
WhenClosed = Literal["wait", "skip"]
Availability = Literal["available", "away"]
Verdict = Literal[
    "chosen",
    "knows_them_less",
    "busier",
    "later_turn",
    "full",
    "on_call",
    "lacks_skills",
    "let_it_go",
    "refused",
    "away",
    "offline",
]

DEFAULT_CAPACITY = 5
MOST_CAPACITY = 1_000
MOST_STICKY_DAYS = 365

_Hours = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="When its people are given conversations: `schedule`, `holidays` and `timezone`, as in a number's"
        " voice flow; null is always.",
        examples=[{"schedule": {"mon": [{"from": "09:00", "to": "17:00"}]}, "timezone": "Europe/Berlin"}],
    ),
]
_Skills = Annotated[
    list[str],
    msgspec.Meta(description="Words of your own, in small letters; all of them count.", examples=[["billing"]]),
]


class RoutingRule(TenantRow, Base):
    """Where a conversation goes that nobody owns, if certain things are true of it."""

    __tablename__ = "routing_rules"
    __table_args__ = tenant_table(
        refers("team_id", "teams"),
        one_of("mode", RoutingMode),
        one_of("when_closed", WhenClosed),
        CheckConstraint("position >= 0", name="position_positive"),
        CheckConstraint(f"sticky_days BETWEEN 1 AND {MOST_STICKY_DAYS}", name="sticky_days_range"),
        Index("ix_routing_rules_created", "workspace_id", "created_at", "id"),
        Index("ix_routing_rules_position", "workspace_id", "position", "id"),
        Index("ix_routing_rules_team", "workspace_id", "team_id"),
    )

    name: Mapped[str]
    position: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    channels: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    phone_number_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    conditions: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    hours: Mapped[dict[str, Any] | None]
    when_closed: Mapped[str] = mapped_column(default="wait", server_default="wait")
    team_id: Mapped[uuid.UUID]
    skills: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    mode: Mapped[str] = mapped_column(default="least_busy", server_default="least_busy")
    sticky_days: Mapped[int | None]


class RoutingRuleView(View, kw_only=True):
    """A rule about conversations that nobody owns. The first active one, by ``position`` and age, that is true decides.

    ``channels``, ``phoneNumberIds`` and ``tags`` are true of a conversation that has one of them, or of every one when
    they are empty; the ``conditions`` must all be true of its contact. Where its hours are over, the conversation waits
    for them, or with ``whenClosed`` ``skip`` for the next rule that is true, if there is one.
    """

    id: ReadOnly[uuid.UUID]
    name: Annotated[str, msgspec.Meta(examples=["Billing"])]
    position: Annotated[int, msgspec.Meta(description="Rules are asked in this order.", examples=[10])] = 0
    is_active: Annotated[
        bool,
        msgspec.Meta(
            description="Whether it is asked. One that is must be one that somebody can serve.", examples=[False]
        ),
    ] = True
    channels: Annotated[
        list[ConversationChannel], msgspec.Meta(description="The channels it is about.", examples=[["sms"]])
    ] = []
    phone_number_ids: Annotated[
        list[uuid.UUID], msgspec.Meta(description="The numbers it is about, by which replies leave.", examples=[[]])
    ] = []
    tags: Annotated[
        list[str], msgspec.Meta(description="The tags of conversations it is about.", examples=[["vip"]])
    ] = []
    conditions: list[Condition] = []
    hours: _Hours | None = None
    when_closed: Annotated[
        WhenClosed, msgspec.Meta(description="What becomes of what comes in when its hours are over.")
    ] = "wait"
    team_id: Annotated[uuid.UUID, msgspec.Meta(description="The team one of whose members is to have it.")]
    skills: _Skills = []
    mode: Annotated[
        RoutingMode,
        msgspec.Meta(
            description="Whether it is for whoever has the fewest open conversations, or for whoever was given one"
            " longest ago."
        ),
    ] = "least_busy"
    sticky_days: Annotated[
        int | None,
        msgspec.Meta(
            description="Whoever had the contact last, within so many days, has them again if they can; null: no matter"
            " who.",
            examples=[30],
        ),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class RoutingProfile(TenantRow, Base):
    """What somebody can take: how many conversations at once, and which."""

    __tablename__ = "routing_profiles"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "user_id"),
        refers_to_member("user_id"),
        one_of("availability", Availability),
        CheckConstraint(f"capacity BETWEEN 0 AND {MOST_CAPACITY}", name="capacity_range"),
        Index("ix_routing_profiles_created", "workspace_id", "created_at", "id"),
    )

    user_id: Mapped[uuid.UUID]
    availability: Mapped[str] = mapped_column(default="available", server_default="available")
    needs_presence: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    skills: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    capacity: Mapped[int] = mapped_column(default=DEFAULT_CAPACITY, server_default=text(str(DEFAULT_CAPACITY)))
    channel_capacity: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class RoutingProfileView(View, kw_only=True):
    """What a member can take. Who has no profile is available, has no skills, and takes five at once."""

    id: ReadOnly[uuid.UUID]
    user_id: uuid.UUID
    availability: Annotated[
        ReadOnly[Availability],
        msgspec.Meta(description="What they say of themselves: `PUT /api/v1/me/availability`."),
    ] = "available"
    needs_presence: Annotated[
        bool, msgspec.Meta(description="Whether they are given conversations only while they are online.")
    ] = False
    skills: _Skills = []
    capacity: Annotated[
        int, msgspec.Meta(description="How many active conversations they are given at once.", examples=[5])
    ] = DEFAULT_CAPACITY
    channel_capacity: Annotated[
        dict[ConversationChannel, Annotated[int, msgspec.Meta(ge=0, le=MOST_CAPACITY)]],
        msgspec.Meta(description="How many of these on one channel.", examples=[{"live_chat": 2}]),
    ] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class RoutingQueue(TenantRow, Base):
    """Where conversations wait for the same people: a rule's, or those that were handed over to a team or a skill."""

    __tablename__ = "routing_queues"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "key"),
        refers("rule_id", "routing_rules", on_delete="SET NULL"),
        refers("team_id", "teams", on_delete="CASCADE"),
        one_of("channel", ConversationChannel),
        Index("ix_routing_queues_created", "workspace_id", "created_at", "id"),
        Index("ix_routing_queues_rule", "workspace_id", "rule_id"),
        Index("ix_routing_queues_team", "workspace_id", "team_id"),
    )

    key: Mapped[str]
    rule_id: Mapped[uuid.UUID | None]
    team_id: Mapped[uuid.UUID | None]
    channel: Mapped[str]
    skills: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    held_up: Mapped[str | None]


class RoutingQueueView(View, kw_only=True):
    """A queue: what comes in by one rule (or by handoff, where ``ruleId`` is null) on one channel, for one team."""

    id: ReadOnly[uuid.UUID]
    rule_id: ReadOnly[uuid.UUID | None] = None
    team_id: Annotated[
        ReadOnly[uuid.UUID | None],
        msgspec.Meta(description="The team that serves it; null is any that has the skills."),
    ] = None
    channel: ReadOnly[ConversationChannel]
    skills: ReadOnly[_Skills] = []
    held_up: Annotated[
        ReadOnly[str | None],
        msgspec.Meta(
            description="Why nobody was given what waits here when that was looked at last; null if somebody was.",
            examples=["nobody is free: 3 full, 1 away"],
        ),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class RoutingPlace(TenantRow, Base):
    """A conversation's place in a queue: who has waited longest is next."""

    large = True
    __tablename__ = "routing_places"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "conversation_id"),
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("queue_id", "routing_queues", on_delete="CASCADE"),
        refers_to_member("let_go_by"),
        Index("ix_routing_places_created", "workspace_id", "created_at", "id"),
        Index("ix_routing_places_waiting", "workspace_id", "waiting_since", "id"),
        Index("ix_routing_places_queue", "workspace_id", "queue_id", "waiting_since", "id"),
        Index("ix_routing_places_stale", "workspace_id", "id", postgresql_where=text("is_stale")),
    )

    conversation_id: Mapped[uuid.UUID]
    queue_id: Mapped[uuid.UUID]
    waiting_since: Mapped[datetime]
    let_go_by: Mapped[uuid.UUID | None]
    is_stale: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class RoutingPlaceView(View, kw_only=True):
    """A conversation that waits for a person, and since when: ``sort=waitingSince`` lists whoever is next first."""

    id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID]
    queue_id: Annotated[ReadOnly[uuid.UUID], msgspec.Meta(description="The queue it waits in.")]
    waiting_since: Annotated[
        ReadOnly[datetime],
        msgspec.Meta(description="Since when nobody has owned the conversation.", examples=["2026-03-01T12:00:00Z"]),
    ]
    let_go_by: Annotated[
        ReadOnly[uuid.UUID | None],
        msgspec.Meta(description="Who has just given it back, and is not given it again.", examples=[None]),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class RoutingDecision(TenantRow, Base):
    """Who was given a conversation, and why: kept as it was seen when it was decided."""

    large = True
    __tablename__ = "routing_decisions"
    __table_args__ = tenant_table(
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("rule_id", "routing_rules", on_delete="SET NULL"),
        refers("team_id", "teams", on_delete="SET NULL"),
        refers_to_member("user_id"),
        one_of("mode", RoutingMode),
        Index("ix_routing_decisions_created", "workspace_id", "created_at", "id"),
        Index("ix_routing_decisions_conversation", "workspace_id", "conversation_id", "created_at", "id"),
        Index("ix_routing_decisions_user", "workspace_id", "user_id", "created_at", "id"),
        Index("ix_routing_decisions_rule", "workspace_id", "rule_id", "created_at", "id"),
        Index("ix_routing_decisions_team", "workspace_id", "team_id", "created_at", "id"),
    )

    conversation_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    rule_id: Mapped[uuid.UUID | None]
    team_id: Mapped[uuid.UUID | None]
    mode: Mapped[str]
    waiting_since: Mapped[datetime]
    reason: Mapped[str]
    considered: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    others: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class Considered(msgspec.Struct, rename="camel", frozen=True):
    """Why one member was chosen, or was not."""

    user_id: uuid.UUID
    verdict: Annotated[Verdict, msgspec.Meta(description="What decided it for them.")]
    because: Annotated[str, msgspec.Meta(description="The same in words.", examples=["2 of 2 places taken"])]
    open: Annotated[int, msgspec.Meta(description="How many active conversations they had.", examples=[2])]
    capacity: Annotated[int, msgspec.Meta(description="How many they can have.", examples=[2])]


class RoutingDecisionView(View, kw_only=True):
    """A decision of the rules: who was given the conversation, why, and why not each of the others."""

    id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    rule_id: ReadOnly[uuid.UUID | None] = None
    team_id: ReadOnly[uuid.UUID | None] = None
    mode: Annotated[ReadOnly[RoutingMode], msgspec.Meta(description="How it was decided among those who were free.")]
    waiting_since: Annotated[
        ReadOnly[datetime],
        msgspec.Meta(description="Since when nobody had owned the conversation.", examples=["2026-03-01T12:00:00Z"]),
    ]
    reason: Annotated[
        ReadOnly[str],
        msgspec.Meta(
            description="Why it is theirs, in words.",
            examples=["the fewest open conversations of 3 who were free: 1 of 5 places taken"],
        ),
    ]
    considered: Annotated[
        ReadOnly[list[Considered]],
        msgspec.Meta(description="Those of the team who were nearest to be chosen, at most 50; the chosen one first."),
    ] = []
    others: Annotated[
        ReadOnly[dict[Verdict, list[uuid.UUID]]],
        msgspec.Meta(description="In a large team those who were further from it, by their verdict.", examples=[{}]),
    ] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class RoutingTurn(Base):
    """When somebody was given a conversation last, and until when they are believed to be online."""

    __tablename__ = "routing_turns"
    __table_args__ = (refers_to_member("user_id"),)

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    user_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    given_at: Mapped[datetime | None]
    online_until: Mapped[datetime | None]


class RoutingBond(Base):
    """Whose a contact was last."""

    __tablename__ = "routing_bonds"
    __table_args__ = (
        refers("contact_id", "contacts", on_delete="CASCADE"),
        refers_to_member("user_id"),
    )

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    contact_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    since: Mapped[datetime]


class RoutingProgress(Base):
    """How far the log was read for what waits; whoever holds the row decides for the workspace.

    Until it ``has_begun`` what was handed over before is not queued.
    """

    __tablename__ = "routing_progress"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger)
    has_begun: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
