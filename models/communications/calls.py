"""Calls: their lines, and whom they were offered to."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import ARRAY, CheckConstraint, Index, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, now, one_of, refers, refers_to_member, tenant_table
from models.communications.conversations import MessageDirection
from models.communications.numbers import NumberProvider

CallStatus = Literal[
    "queued", "initiated", "ringing", "in_progress", "completed", "busy", "no_answer", "failed", "canceled"
]
CallOutcome = Literal["answered", "voicemail", "missed", "after_hours", "unreached"]
LegRole = Literal["caller", "agent", "contact", "consulted"]
OfferState = Literal["offered", "accepted", "expired", "withdrawn"]
OfferOrigin = Literal["ring", "queue", "transfer"]

ENDED = ("completed", "busy", "no_answer", "failed", "canceled")
"""The statuses after which nothing more happens on a line."""


class Call(TenantRow, Base):
    """A call between a contact and the business. What was said of it stands in its conversation.

    ``state`` is where it is in the ``flow`` it began with, ``answer`` what the provider was last told for the request
    numbered ``turn``: a repeated request is told the same again.
    """

    large = True
    __tablename__ = "calls"
    __table_args__ = tenant_table(
        refers("conversation_id", "conversations", on_delete="SET NULL"),
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        refers("text_back_id", "conversation_messages", on_delete="SET NULL"),
        refers_to_member("placed_by"),
        refers_to_member("answered_by"),
        one_of("provider", NumberProvider),
        one_of("direction", MessageDirection),
        one_of("status", CallStatus),
        one_of("outcome", CallOutcome),
        CheckConstraint("duration_seconds >= 0", name="duration_seconds_range"),
        CheckConstraint("ended_at IS NULL OR queue IS NULL", name="queue_of_the_living"),
        Index("ix_calls_created", "workspace_id", "created_at", "id"),
        Index("ix_calls_conversation", "workspace_id", "conversation_id", "created_at", "id"),
        Index("ix_calls_contact", "workspace_id", "contact_id", "created_at", "id"),
        Index(
            "ix_calls_waiting",
            "workspace_id",
            "phone_number_id",
            "queue",
            "waiting_since",
            postgresql_where=text("queue IS NOT NULL"),
        ),
        Index("ix_calls_live", "updated_at", postgresql_where=text("ended_at IS NULL")),
    )

    conversation_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    phone_number_id: Mapped[uuid.UUID | None]
    connection_id: Mapped[uuid.UUID | None]
    provider: Mapped[str]
    direction: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued", server_default="queued")
    outcome: Mapped[str | None]
    from_address: Mapped[str | None]
    to_address: Mapped[str | None]
    caller_name: Mapped[str | None]
    forwarded_from: Mapped[str | None]
    placed_by: Mapped[uuid.UUID | None]
    answered_by: Mapped[uuid.UUID | None]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    duration_seconds: Mapped[int | None]
    queue: Mapped[str | None]
    waiting_since: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    flow: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    state: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    turn: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    answer: Mapped[str | None]
    text_back_id: Mapped[uuid.UUID | None]


class CallView(View, kw_only=True):
    """A call. ``status`` is the contact's line; ``outcome`` what came of the call in the end.

    ``queue`` is there while the caller waits for somebody, since ``waitingSince``.
    """

    id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID | None] = None
    contact_id: ReadOnly[uuid.UUID | None] = None
    phone_number_id: ReadOnly[uuid.UUID | None] = None
    connection_id: ReadOnly[uuid.UUID | None] = None
    provider: ReadOnly[NumberProvider]
    direction: ReadOnly[MessageDirection]
    status: ReadOnly[CallStatus] = "queued"
    outcome: ReadOnly[CallOutcome | None] = None
    from_address: ReadOnly[str | None] = None
    to_address: ReadOnly[str | None] = None
    caller_name: ReadOnly[str | None] = None
    forwarded_from: Annotated[
        ReadOnly[str | None], msgspec.Meta(description="The number it was forwarded by.", examples=["+14155550188"])
    ] = None
    placed_by: ReadOnly[uuid.UUID | None] = None
    answered_by: ReadOnly[uuid.UUID | None] = None
    answered_at: ReadOnly[datetime | None] = None
    ended_at: ReadOnly[datetime | None] = None
    duration_seconds: ReadOnly[int | None] = None
    queue: Annotated[
        ReadOnly[str | None],
        msgspec.Meta(description="The step of the flow where the caller waits.", examples=["sales"]),
    ] = None
    waiting_since: ReadOnly[
        Annotated[
            datetime,
            msgspec.Meta(description="Since when the caller has waited.", examples=["2026-03-01T12:00:00Z"]),
        ]
        | None
    ] = None
    text_back_id: ReadOnly[uuid.UUID | None] = None
    meta: ReadOnly[dict[str, Any]] = msgspec.field(name="metadata", default_factory=dict)
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class CallOffer(TenantRow, Base):
    """Some members are rung for a call; the first who presses the key has it. What is decided here is decided once."""

    __tablename__ = "call_offers"
    __table_args__ = tenant_table(
        refers("call_id", "calls", on_delete="CASCADE"),
        refers_to_member("accepted_by"),
        one_of("state", OfferState),
        one_of("origin", OfferOrigin),
        CheckConstraint("seconds > 0", name="seconds_range"),
        CheckConstraint("(state = 'accepted') = (accepted_at IS NOT NULL)", name="accepted_at_of_accepted"),
        # A caller is offered once at a time, whatever happens at once.
        Index(
            "uq_call_offers_open", "workspace_id", "call_id", unique=True, postgresql_where=text("state = 'offered'")
        ),
        Index("ix_call_offers_created", "workspace_id", "created_at", "id"),
        Index("ix_call_offers_call", "workspace_id", "call_id", "created_at", "id"),
        Index("ix_call_offers_due", "expires_at", postgresql_where=text("state = 'offered'")),
    )

    call_id: Mapped[uuid.UUID]
    origin: Mapped[str] = mapped_column(default="ring", server_default="ring")
    state: Mapped[str] = mapped_column(default="offered", server_default="offered")
    round: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    user_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    seconds: Mapped[int] = mapped_column(default=20, server_default=text("20"))
    expires_at: Mapped[datetime] = mapped_column(default=now)
    token: Mapped[str]
    accepted_by: Mapped[uuid.UUID | None]
    accepted_at: Mapped[datetime | None]


class CallOfferView(View, kw_only=True):
    """A call offered to members: their phones ring until ``expiresAt``, or one of them accepts by a key."""

    id: ReadOnly[uuid.UUID]
    call_id: ReadOnly[uuid.UUID]
    origin: ReadOnly[
        Annotated[OfferOrigin, msgspec.Meta(description="What the members are rung for.", examples=["ring"])]
    ]
    state: ReadOnly[OfferState]
    round: ReadOnly[Annotated[int, msgspec.Meta(description="The how-manieth offer of this call it is.", examples=[1])]]
    user_ids: ReadOnly[Annotated[list[uuid.UUID], msgspec.Meta(description="The members whose phones ring.")]]
    seconds: ReadOnly[Annotated[int, msgspec.Meta(description="How long their phones ring.", examples=[20])]]
    expires_at: ReadOnly[datetime]
    accepted_by: ReadOnly[uuid.UUID | None] = None
    accepted_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class CallLeg(TenantRow, Base):
    """One line of a call: the caller's, a member's whose phone was rung, somebody's who was consulted.

    ``dialled_at`` is set before a provider is asked to dial: a leg that has it and no id was perhaps dialled, and the
    provider's log is looked at before it is dialled again.
    """

    large = True
    __tablename__ = "call_legs"
    __table_args__ = tenant_table(
        refers("call_id", "calls", on_delete="CASCADE"),
        refers("offer_id", "call_offers", on_delete="SET NULL"),
        refers_to_member("user_id"),
        one_of("role", LegRole),
        one_of("status", CallStatus),
        Index(
            "uq_call_legs_provider_id",
            "workspace_id",
            "provider",
            "provider_call_id",
            unique=True,
            postgresql_where=text("provider_call_id IS NOT NULL"),
        ),
        Index("ix_call_legs_created", "workspace_id", "created_at", "id"),
        Index("ix_call_legs_call", "workspace_id", "call_id", "created_at", "id"),
        Index("ix_call_legs_offer", "workspace_id", "offer_id", postgresql_where=text("offer_id IS NOT NULL")),
        Index(
            "ix_call_legs_busy",
            "workspace_id",
            "user_id",
            postgresql_where=text("ended_at IS NULL AND user_id IS NOT NULL"),
        ),
    )

    call_id: Mapped[uuid.UUID]
    offer_id: Mapped[uuid.UUID | None]
    user_id: Mapped[uuid.UUID | None]
    role: Mapped[str]
    provider: Mapped[str]
    provider_call_id: Mapped[str | None]
    to_address: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="queued", server_default="queued")
    sequence: Mapped[int] = mapped_column(default=-1, server_default=text("-1"))
    detected: Mapped[str | None]
    error_code: Mapped[str | None]
    dialled_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    duration_seconds: Mapped[int | None]


class CallLegView(View, kw_only=True):
    """One line of a call."""

    id: ReadOnly[uuid.UUID]
    call_id: ReadOnly[uuid.UUID]
    offer_id: ReadOnly[uuid.UUID | None] = None
    user_id: ReadOnly[uuid.UUID | None] = None
    role: ReadOnly[Annotated[LegRole, msgspec.Meta(description="Whose line it is.", examples=["agent"])]]
    provider: ReadOnly[str]
    provider_call_id: Annotated[
        ReadOnly[str | None],
        msgspec.Meta(description="The provider's own id of the line.", examples=["CA3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d"]),
    ] = None
    to_address: ReadOnly[str | None] = None
    status: ReadOnly[CallStatus]
    detected: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(description="Who or what picked up, as the provider has heard it.", examples=["human"]),
        ]
        | None
    ] = None
    error_code: ReadOnly[str | None] = None
    dialled_at: ReadOnly[datetime | None] = None
    answered_at: ReadOnly[datetime | None] = None
    ended_at: ReadOnly[datetime | None] = None
    duration_seconds: ReadOnly[int | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
