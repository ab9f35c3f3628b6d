"""Outbound webhooks: where a workspace wants to be told what happens, and what came of telling it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import (
    Base,
    ReadOnly,
    TenantRow,
    View,
    one_of,
    part_of_tenant,
    refers,
    refers_to_member,
    tenant_table,
    workspace_reference,
)

DeliveryState = Literal["waiting", "delivered", "failed"]
ReplayState = Literal["running", "done"]

LONGEST_URL = 2_000


class WebhookEndpoint(TenantRow, Base):
    """An address that is told what happens. It hears what ``on_behalf_of`` may hear, from after ``after_seq`` on.

    ``failures`` counts those in a row, whatever they were about; ``paused_until`` is when an endpoint that answers
    nobody is asked again.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = tenant_table(
        refers_to_member("on_behalf_of"),
        CheckConstraint(f"length(url) BETWEEN 1 AND {LONGEST_URL}", name="url_length"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_reason_and_time"),
        CheckConstraint("NOT (is_active AND disabled_at IS NOT NULL)", name="disabled_is_inactive"),
        CheckConstraint("(failures > 0) = (failing_since IS NOT NULL)", name="failing_since_first_failure"),
        Index("ix_webhook_endpoints_created", "workspace_id", "created_at", "id"),
        Index("ix_webhook_endpoints_failing", "failing_since", postgresql_where=text("is_active AND failures > 0")),
    )

    name: Mapped[str]
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    on_behalf_of: Mapped[uuid.UUID]
    after_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    failing_since: Mapped[datetime | None]
    last_error: Mapped[str | None]
    paused_until: Mapped[datetime | None]


class WebhookEndpointView(View, kw_only=True):
    """An address of yours that is told what happens, signed, and in order."""

    id: ReadOnly[uuid.UUID]
    name: Annotated[str, msgspec.Meta(examples=["CRM sync"])]
    url: Annotated[
        str,
        msgspec.Meta(
            description="Where events are posted: an `https://` address that all the world can reach.",
            examples=["https://example.com/comms-events"],
            extra={"law": True},
        ),
    ]
    events: Annotated[
        list[str],
        msgspec.Meta(
            description="Kinds of events it is told: `deal.updated`, or `deal.` for all about deals. None: everything.",
            examples=[["message.received", "conversation."]],
        ),
    ] = []
    is_active: bool = True
    on_behalf_of: ReadOnly[
        Annotated[
            uuid.UUID,
            msgspec.Meta(
                description="Who switched it on, or last changed its address or events: it hears what they may."
            ),
        ]
    ]
    disabled_at: ReadOnly[
        Annotated[datetime | None, msgspec.Meta(description="When we switched it off; null when we have not.")]
    ] = None
    disabled_reason: ReadOnly[
        Annotated[
            str | None, msgspec.Meta(description="Why we did.", examples=["It has answered nothing for five days."])
        ]
    ] = None
    failures: ReadOnly[
        Annotated[int, msgspec.Meta(description="How many deliveries in a row have failed.", examples=[0])]
    ] = 0
    failing_since: ReadOnly[
        Annotated[datetime | None, msgspec.Meta(description="When the first of them did; null while all is well.")]
    ] = None
    last_error: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="What was wrong with the last.", examples=["it answered 503"])]
    ] = None
    paused_until: ReadOnly[
        Annotated[datetime | None, msgspec.Meta(description="When an endpoint that is down is tried again.")]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WebhookSigningSecret(TenantRow, Base):
    """A secret of an endpoint, sealed: each delivery is signed with every one there is."""

    __tablename__ = "webhook_signing_secrets"
    __table_args__ = tenant_table(
        refers("endpoint_id", "webhook_endpoints", on_delete="CASCADE"),
        Index("ix_webhook_signing_secrets_endpoint", "workspace_id", "endpoint_id"),
        Index("ix_webhook_signing_secrets_created", "workspace_id", "created_at", "id"),
    )

    endpoint_id: Mapped[uuid.UUID]
    encrypted_key: Mapped[bytes]
    iv: Mapped[bytes]
    auth_tag: Mapped[bytes]
    encryption_key_id: Mapped[str]
    last_four: Mapped[str]


class WebhookSigningSecretView(View, kw_only=True):
    """A secret that deliveries to an endpoint are signed with, without the secret itself."""

    id: ReadOnly[uuid.UUID]
    endpoint_id: uuid.UUID
    last_four: ReadOnly[str]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WebhookDelivery(TenantRow, Base):
    """An event of the log on its way to an endpoint: after those of its line with a smaller ``place``, once each."""

    large = True
    __tablename__ = "webhook_deliveries"
    __table_args__ = part_of_tenant(
        refers("endpoint_id", "webhook_endpoints", on_delete="CASCADE"),
        refers("replay_id", "webhook_replays", on_delete="SET NULL"),
        one_of("state", DeliveryState),
        CheckConstraint("(state = 'waiting') = (settled_at IS NULL)", name="settled_with_time"),
        # The law of once: however often the log is read, an event is one delivery, but for those asked for again.
        Index(
            "uq_webhook_deliveries_event",
            "workspace_id",
            "endpoint_id",
            "seq",
            unique=True,
            postgresql_where=text("NOT is_replay"),
        ),
        Index(
            "ix_webhook_deliveries_line",
            "workspace_id",
            "endpoint_id",
            "line_id",
            "place",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_webhook_deliveries_endpoint", "workspace_id", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_deliveries_created", "workspace_id", "created_at", "id"),
        Index(
            "ix_webhook_deliveries_undelivered",
            "workspace_id",
            "created_at",
            "id",
            postgresql_where=text("state <> 'delivered'"),
        ),
        Index("ix_webhook_deliveries_old", "created_at", postgresql_using="brin"),
        Index(
            "ix_webhook_deliveries_replay",
            "workspace_id",
            "replay_id",
            postgresql_where=text("replay_id IS NOT NULL"),
        ),
    )

    endpoint_id: Mapped[uuid.UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    event: Mapped[str]
    line_id: Mapped[uuid.UUID]
    place: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default="waiting", server_default="waiting")
    is_replay: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    replay_id: Mapped[uuid.UUID | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    settled_at: Mapped[datetime | None]


class WebhookDeliveryView(View, kw_only=True):
    """An event on its way to an endpoint, or what came of it."""

    id: ReadOnly[uuid.UUID]
    endpoint_id: ReadOnly[uuid.UUID]
    seq: ReadOnly[Annotated[int, msgspec.Meta(description="The event's place in the log.", examples=[4711])]]
    event: ReadOnly[Annotated[str, msgspec.Meta(description="What happened.", examples=["message.received"])]]
    line_id: ReadOnly[
        Annotated[
            uuid.UUID,
            msgspec.Meta(description="The conversation, or else the thing it is about: its events arrive in order."),
        ]
    ]
    state: ReadOnly[DeliveryState]
    is_replay: ReadOnly[Annotated[bool, msgspec.Meta(description="Whether somebody asked for it again.")]] = False
    replay_id: ReadOnly[
        Annotated[uuid.UUID | None, msgspec.Meta(description="The stretch of time with which it was asked for again.")]
    ] = None
    attempts: ReadOnly[Annotated[int, msgspec.Meta(description="How often it was tried.", examples=[1])]] = 0
    last_status: ReadOnly[
        Annotated[int | None, msgspec.Meta(description="The HTTP status of the last answer.", examples=[200])]
    ] = None
    last_error: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="What was wrong the last time.", examples=["it answered 503"])]
    ] = None
    settled_at: ReadOnly[
        Annotated[datetime | None, msgspec.Meta(description="When it was delivered, or given up.")]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WebhookAttempt(TenantRow, Base):
    """One try: where it went, and what was answered; as much of it as explains what happened."""

    large = True
    __tablename__ = "webhook_attempts"
    __table_args__ = part_of_tenant(
        refers("delivery_id", "webhook_deliveries", on_delete="CASCADE"),
        Index("ix_webhook_attempts_delivery", "workspace_id", "delivery_id"),
        Index("ix_webhook_attempts_created", "workspace_id", "created_at", "id"),
    )

    delivery_id: Mapped[uuid.UUID]
    url: Mapped[str]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    body: Mapped[str | None]
    error: Mapped[str | None]
    milliseconds: Mapped[int]


class WebhookAttemptView(View, kw_only=True):
    """One try to deliver an event. What was sent is at `GET /webhook-deliveries/{id}/request`."""

    id: ReadOnly[uuid.UUID]
    delivery_id: ReadOnly[uuid.UUID]
    url: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="Where it went, in the end if it was redirected; without its query, which may be secret.",
                examples=["https://example.com/comms-events"],
            ),
        ]
    ]
    status: ReadOnly[
        Annotated[int | None, msgspec.Meta(description="The HTTP status; null when nothing was answered.")]
    ] = None
    headers: ReadOnly[
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="Headers of the answer that are no secret.", examples=[{"content-type": "text/plain"}]
            ),
        ]
    ] = {}
    body: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(description="What was answered, its first 2,000 characters.", examples=["thank you"]),
        ]
    ] = None
    error: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="Why it does not count as delivered; null if it does.")]
    ] = None
    milliseconds: ReadOnly[Annotated[int, msgspec.Meta(description="How long it took.", examples=[42])]]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WebhookReplay(TenantRow, Base):
    """What happened in a stretch of time is told an endpoint again: so far the events up to ``after_seq``."""

    __tablename__ = "webhook_replays"
    __table_args__ = tenant_table(
        refers("endpoint_id", "webhook_endpoints", on_delete="CASCADE"),
        refers_to_member("asked_by"),
        one_of("state", ReplayState),
        CheckConstraint("from_at <= until_at", name="from_before_until"),
        Index("ix_webhook_replays_created", "workspace_id", "created_at", "id"),
        Index("ix_webhook_replays_endpoint", "workspace_id", "endpoint_id"),
        Index("ix_webhook_replays_running", "workspace_id", postgresql_where=text("state = 'running'")),
        # Asked for twice at once, it is told again once.
        Index(
            "uq_webhook_replays_stretch",
            "workspace_id",
            "endpoint_id",
            "from_at",
            "until_at",
            unique=True,
            postgresql_where=text("state = 'running'"),
        ),
    )

    endpoint_id: Mapped[uuid.UUID]
    asked_by: Mapped[uuid.UUID]
    from_at: Mapped[datetime]
    until_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="running", server_default="running")
    count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    after_seq: Mapped[int | None] = mapped_column(BigInteger)
    last_seq: Mapped[int | None] = mapped_column(BigInteger)


class WebhookReplayView(View, kw_only=True):
    """What happened in a stretch of time, told an endpoint again: whatever it wants to hear of now."""

    id: ReadOnly[uuid.UUID]
    endpoint_id: uuid.UUID
    from_at: Annotated[
        datetime, msgspec.Meta(description="Events that happened then or later.", examples=["2026-01-15T09:00:00Z"])
    ]
    until_at: Annotated[
        datetime, msgspec.Meta(description="And before this time, which has passed.", examples=["2026-01-15T10:30:00Z"])
    ]
    asked_by: ReadOnly[Annotated[uuid.UUID, msgspec.Meta(description="The member who asked for it.")]]
    state: ReadOnly[ReplayState]
    count: ReadOnly[Annotated[int, msgspec.Meta(description="How many events were put in line.", examples=[120])]] = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WebhookLine(Base):
    """What waits for an endpoint of one conversation (or thing): whoever has leased it sends it, one after the other.

    The row is there as long as something waits. ``next_attempt_at`` is when it may be taken next; while it is, that is
    when whoever has it has lost it, and ``taken`` tells whoever has it from who had it before. ``attempts`` are those
    of what comes first that failed while the endpoint answered others.
    """

    __tablename__ = "webhook_lines"
    __table_args__ = (
        PrimaryKeyConstraint("workspace_id", "endpoint_id", "line_id"),
        ForeignKeyConstraint(
            ["workspace_id", "endpoint_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            ondelete="CASCADE",
        ),
        # For the workers, which go through all endpoints of all workspaces.
        Index("ix_webhook_lines_due", "workspace_id", "endpoint_id", "next_attempt_at"),
    )

    workspace_id: Mapped[uuid.UUID]
    endpoint_id: Mapped[uuid.UUID]
    line_id: Mapped[uuid.UUID]
    next_attempt_at: Mapped[datetime]
    is_taken: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    taken: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class WebhookProgress(Base):
    """How far the log of a workspace that has endpoints was read, and the last place that was given in a line."""

    __tablename__ = "webhook_progress"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    placed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
