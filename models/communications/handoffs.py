"""Conversations handed on: to whom, with what is known, until when, and what happens then."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

HandoffStatus = Literal["open", "accepted", "taken", "rejected", "expired", "withdrawn"]
Sentiment = Literal["positive", "neutral", "negative"]

MOST_SKILLS = 20
MOST_STEPS = 10
LONGEST_WAIT_SECONDS = 7 * 24 * 3600

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Skill = Annotated[str, msgspec.Meta(min_length=1, max_length=100, examples=["billing"])]
Skills = Annotated[
    list[Skill],
    msgspec.Meta(max_length=MOST_SKILLS, description="What whoever takes it must know.", examples=[["billing"]]),
]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_WAIT_SECONDS)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, examples=["A colleague will be with you shortly."])]


class PacketLink(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A row of the CRM that the matter is about."""

    resource: Annotated[
        Literal["contacts", "deals", "prospects", "customers", "projects", "invoices", "crm-interactions"],
        msgspec.Meta(description="The resource, as its address names it.", examples=["deals"]),
    ]
    id: uuid.UUID


class Packet(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What whoever takes over has to know, so that the contact need not say it again."""

    summary: Annotated[
        str,
        msgspec.Meta(max_length=10_000, description="What it is about.", examples=["Was charged twice in March."]),
    ] = ""
    facts: Annotated[
        dict[str, Any], msgspec.Meta(description="What was found out.", examples=[{"orderNumber": "A-17"}])
    ] = {}
    tried: Annotated[
        list[Line],
        msgspec.Meta(max_length=50, description="What was tried.", examples=[["Looked for the second charge"]]),
    ] = []
    open_questions: Annotated[
        list[Line],
        msgspec.Meta(max_length=50, description="What is not known yet.", examples=[["Which card was it?"]]),
    ] = []
    language: Annotated[str | None, msgspec.Meta(description="The contact's language, as a tag.", examples=["en"])] = (
        None
    )
    sentiment: Annotated[Sentiment | None, msgspec.Meta(description="The contact's mood.", examples=["negative"])] = (
        None
    )
    links: Annotated[
        list[PacketLink], msgspec.Meta(max_length=50, description="Rows of the CRM it is about.", examples=[[]])
    ] = []


class Target(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """To whom: one member, one agent or one team, with the skills it takes; or skills alone, whoever has them."""

    user_id: Annotated[uuid.UUID | None, msgspec.Meta(description="A member.")] = None
    agent_id: Annotated[uuid.UUID | None, msgspec.Meta(description="An agent.")] = None
    team_id: Annotated[uuid.UUID | None, msgspec.Meta(description="A team of members.")] = None
    needed_skills: Skills = []


class Callback(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A call that somebody owes the contact: an interaction that is scheduled."""

    in_seconds: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_WAIT_SECONDS, description="How long from then.")] = 3600
    subject: Annotated[
        Annotated[str, msgspec.Meta(max_length=500)] | None,
        msgspec.Meta(description="What it is about; null is the packet's summary.", examples=["Double charge"]),
    ] = None


class Step(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What happens when nobody has taken the conversation in time: any of these, or all."""

    target: Annotated[Target | None, msgspec.Meta(description="Who is asked next, for `withinSeconds` more.")] = None
    within_seconds: Annotated[
        Seconds | None, msgspec.Meta(description="How long until the next step; null is as long as before.")
    ] = None
    tell_contact: Annotated[Words | None, msgspec.Meta(description="What the contact is told then.")] = None
    callback: Annotated[Callback | None, msgspec.Meta(description="A call that is put into the calendar.")] = None


class ConversationHandoff(TenantRow, Base):
    """A conversation that waits for somebody in particular, until a deadline; one at a time.

    ``fence`` is the conversation's since it was handed on: whoever had it before writes under another.
    """

    __tablename__ = "conversation_handoffs"
    __table_args__ = tenant_table(
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers_to_member("from_user_id"),
        refers("from_agent_id", "agents"),
        refers_to_member("target_user_id"),
        refers("target_agent_id", "agents"),
        refers("target_team_id", "teams"),
        refers_to_member("taken_by_user_id"),
        refers("taken_by_agent_id", "agents"),
        one_of("status", HandoffStatus),
        CheckConstraint("num_nonnulls(target_user_id, target_agent_id, target_team_id) <= 1", name="target_one"),
        CheckConstraint(
            "num_nonnulls(target_user_id, target_agent_id, target_team_id) = 1 OR needed_skills <> '{}'",
            name="target_or_skills",
        ),
        CheckConstraint("(status = 'open') = (settled_at IS NULL)", name="settled_at_of_settled"),
        CheckConstraint("steps_taken >= 0", name="steps_taken_range"),
        CheckConstraint("jsonb_typeof(steps) = 'array'", name="steps_list"),
        CheckConstraint("jsonb_typeof(asked) = 'array'", name="asked_list"),
        CheckConstraint("jsonb_typeof(refused) = 'array'", name="refused_list"),
        CheckConstraint(f"cardinality(needed_skills) <= {MOST_SKILLS}", name="needed_skills_range"),
        Index(
            "uq_conversation_handoffs_open",
            "workspace_id",
            "conversation_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_conversation_handoffs_deadline", "deadline_at", postgresql_where=text("status = 'open'")),
        Index("ix_conversation_handoffs_conversation", "workspace_id", "conversation_id", "created_at", "id"),
        Index("ix_conversation_handoffs_created", "workspace_id", "created_at", "id"),
    )

    conversation_id: Mapped[uuid.UUID]
    fence: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    from_user_id: Mapped[uuid.UUID | None]
    from_agent_id: Mapped[uuid.UUID | None]
    reason: Mapped[str]
    packet: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    target_user_id: Mapped[uuid.UUID | None]
    target_agent_id: Mapped[uuid.UUID | None]
    target_team_id: Mapped[uuid.UUID | None]
    needed_skills: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    asked: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    refused: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    deadline_at: Mapped[datetime]
    within_seconds: Mapped[int] = mapped_column(default=300, server_default=text("300"))
    steps: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    steps_taken: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    contact_told_at: Mapped[datetime | None]
    untold_because: Mapped[str | None]
    taken_by_user_id: Mapped[uuid.UUID | None]
    taken_by_agent_id: Mapped[uuid.UUID | None]
    settled_at: Mapped[datetime | None]
    settled_because: Mapped[str | None]


class ConversationHandoffView(View, kw_only=True):
    """A handoff. It is `open` until somebody takes the conversation, or until its last step has passed.

    `accepted` means that who it was for has it, `taken` that somebody else has; `withdrawn` that it is over without.
    """

    id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID]
    fence: ReadOnly[
        Annotated[int, msgspec.Meta(description="The conversation's fence since it was handed on.", examples=[3])]
    ] = 0
    status: ReadOnly[HandoffStatus] = "open"
    from_user_id: ReadOnly[
        Annotated[uuid.UUID | None, msgspec.Meta(description="The member who had it, or handed it on.")]
    ] = None
    from_agent_id: ReadOnly[Annotated[uuid.UUID | None, msgspec.Meta(description="The agent that had it.")]] = None
    reason: ReadOnly[Annotated[str, msgspec.Meta(description="Why.", examples=["The customer asks for a person"])]]
    packet: ReadOnly[Packet] = msgspec.field(default_factory=Packet)
    target_user_id: ReadOnly[Annotated[uuid.UUID | None, msgspec.Meta(description="The member who is asked.")]] = None
    target_agent_id: ReadOnly[Annotated[uuid.UUID | None, msgspec.Meta(description="The agent that is asked.")]] = None
    target_team_id: ReadOnly[Annotated[uuid.UUID | None, msgspec.Meta(description="The team that is asked.")]] = None
    needed_skills: ReadOnly[Skills] = []
    asked: ReadOnly[
        Annotated[
            list[Target],
            msgspec.Meta(
                description="Everybody who was asked so far, the first of them first.",
                examples=[[{"neededSkills": ["billing"]}]],
            ),
        ]
    ] = []
    refused: ReadOnly[
        Annotated[
            list[Target],
            msgspec.Meta(
                description="Who has refused it, and is not asked again by its steps: whom it asked, and which member"
                " said so.",
                examples=[[{"teamId": "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"}]],
            ),
        ]
    ] = []
    deadline_at: ReadOnly[
        Annotated[datetime, msgspec.Meta(description="Until when it may be taken; then the next of `steps` follows.")]
    ]
    within_seconds: ReadOnly[
        Annotated[int, msgspec.Meta(description="How long who is asked now is given.", examples=[300])]
    ] = 300
    steps: ReadOnly[
        Annotated[list[Step], msgspec.Meta(description="What follows when nobody takes it, one after the other.")]
    ] = []
    steps_taken: ReadOnly[Annotated[int, msgspec.Meta(description="How many of `steps` have been.", examples=[0])]] = 0
    contact_told_at: ReadOnly[
        Annotated[datetime | None, msgspec.Meta(description="When the contact was last told of it.")]
    ] = None
    untold_because: ReadOnly[Annotated[str | None, msgspec.Meta(description="Why the contact could not be told.")]] = (
        None
    )
    taken_by_user_id: ReadOnly[
        Annotated[uuid.UUID | None, msgspec.Meta(description="The member who has taken it.")]
    ] = None
    taken_by_agent_id: ReadOnly[
        Annotated[uuid.UUID | None, msgspec.Meta(description="The agent that has taken it.")]
    ] = None
    settled_at: ReadOnly[Annotated[datetime | None, msgspec.Meta(description="When it was over.")]] = None
    settled_because: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="Why it ended so.", examples=["I am not in today"])]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
