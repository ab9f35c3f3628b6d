"""What members are told about, how they like to be told, and what of it has gone out by mail and push."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, synonym

from models.base import (
    Base,
    ReadOnly,
    Stamped,
    TenantRow,
    View,
    now,
    one_of,
    refers,
    refers_to_member,
    tenant_table,
    workspace_reference,
)

NotificationType = Literal["info", "success", "warning", "error", "mention", "assignment", "reminder"]
NotificationKind = Literal[
    "assignment", "mention", "message", "handoff", "approval", "missed_call", "failed_send", "reminder"
]
DigestRhythm = Literal["never", "immediately", "hourly", "daily"]
DigestState = Literal["sending", "sent", "failed", "unclear"]


class Notification(TenantRow, Base):
    """Something one member is told about.

    What belongs together is one notice while it is unread: it has a ``group_key``, and counts. ``seq`` is the last
    event of the log that it speaks of: an event that is read again changes nothing.
    """

    large = True
    __tablename__ = "notifications"
    __table_args__ = tenant_table(
        refers_to_member("user_id"),
        refers("digest_id", "notification_digests", on_delete="SET NULL"),
        one_of("type", NotificationType),
        one_of("kind", NotificationKind),
        CheckConstraint("count > 0", name="count_range"),
        # The law of grouping, whatever happens at once.
        Index(
            "uq_notifications_unread",
            "workspace_id",
            "user_id",
            "group_key",
            unique=True,
            postgresql_where=text("NOT is_read"),
        ),
        Index("uq_notifications_event", "workspace_id", "user_id", "group_key", "seq", unique=True),
        Index("ix_notifications_user", "workspace_id", "user_id", "created_at", "id"),
        Index("ix_notifications_created", "workspace_id", "created_at", "id"),
        Index("ix_notifications_subject", "workspace_id", "subject_id"),
        Index("ix_notifications_old", "created_at"),
        Index(
            "ix_notifications_mail_due",
            "email_due_at",
            postgresql_where=text("email_due_at IS NOT NULL AND NOT is_read"),
        ),
        Index("ix_notifications_digest", "workspace_id", "digest_id", postgresql_where=text("digest_id IS NOT NULL")),
    )

    user_id: Mapped[uuid.UUID]
    type: Mapped[str] = mapped_column(default="info", server_default="info")
    kind: Mapped[str]
    title: Mapped[str]
    message: Mapped[str | None]
    link: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    subject_type: Mapped[str | None]
    subject_id: Mapped[uuid.UUID | None]
    count: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    happened_at: Mapped[datetime] = mapped_column(default=now)
    is_read: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    read_at: Mapped[datetime | None]
    group_key: Mapped[str]
    seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    # One that is only mailed or pushed is shown nowhere and not counted.
    in_app: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    email_due_at: Mapped[datetime | None]
    digest_id: Mapped[uuid.UUID | None]
    pushed_at: Mapped[datetime | None]


class NotificationView(View, kw_only=True):
    """A notification of the member who asks. While it is unread, more of the same is counted in it."""

    id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    type: ReadOnly[NotificationType]
    kind: ReadOnly[NotificationKind]
    title: ReadOnly[str]
    message: ReadOnly[str | None] = None
    link: ReadOnly[str | None] = None
    data: ReadOnly[dict[str, Any]] = {}
    subject_type: ReadOnly[str | None] = None
    subject_id: ReadOnly[uuid.UUID | None] = None
    count: ReadOnly[
        Annotated[int, msgspec.Meta(description="How many times it has happened since it was first unread.")]
    ] = 1
    happened_at: ReadOnly[
        Annotated[datetime, msgspec.Meta(description="When it last happened.", examples=["2026-03-01T12:00:00Z"])]
    ]
    is_read: bool = False
    read_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class NotificationReadState(TenantRow, Base):
    """How many unread notifications a member has; it goes by the member's own id.

    Whoever changes notifications of a member holds this row first, so that the count is right at every commit.
    """

    __tablename__ = "notification_read_states"
    __table_args__ = tenant_table(
        refers_to_member("id"), CheckConstraint("unread_count >= 0", name="unread_count_range")
    )

    id: Mapped[uuid.UUID]
    unread_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    user_id: Mapped[uuid.UUID] = synonym("id")


class NotificationReadStateView(View, kw_only=True):
    """How many notifications the member who asks has not read."""

    user_id: ReadOnly[uuid.UUID]
    unread_count: ReadOnly[int] = 0


class NotificationPreference(TenantRow, Base):
    """How a member of this workspace wants to be told; it goes by the member's own id."""

    __tablename__ = "notification_preferences"
    __table_args__ = tenant_table(
        refers_to_member("id"),
        one_of("digest", DigestRhythm),
        CheckConstraint("digest_hour BETWEEN 0 AND 23", name="digest_hour_range"),
        CheckConstraint("(quiet_start IS NULL) = (quiet_end IS NULL)", name="quiet_start_and_end"),
    )

    id: Mapped[uuid.UUID]
    # By kind: whether they are told of it in the app, by mail and by push. What is not said is as by default.
    kinds: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    digest: Mapped[str] = mapped_column(default="hourly", server_default="hourly")
    digest_hour: Mapped[int] = mapped_column(default=8, server_default=text("8"))
    quiet_start: Mapped[str | None]
    quiet_end: Mapped[str | None]
    user_id: Mapped[uuid.UUID] = synonym("id")


class PushSubscription(TenantRow, Base):
    """A browser or device of a member, where its push service can be reached; as the W3C's Push API tells it."""

    __tablename__ = "push_subscriptions"
    __table_args__ = tenant_table(
        refers_to_member("user_id"),
        # A browser is one person's at a time: whoever signs in there next takes it over.
        UniqueConstraint("workspace_id", "endpoint"),
        CheckConstraint("length(endpoint) <= 1000", name="endpoint_length"),
        Index("ix_push_subscriptions_user", "workspace_id", "user_id", "created_at", "id"),
        Index("ix_push_subscriptions_created", "workspace_id", "created_at", "id"),
    )

    user_id: Mapped[uuid.UUID]
    endpoint: Mapped[str]
    p256dh: Mapped[str]
    auth: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class PushSubscriptionView(View, kw_only=True):
    """A device of the member who asks, without the keys that what is pushed to it is encrypted with."""

    id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    endpoint: ReadOnly[
        Annotated[
            str,
            msgspec.Meta(
                description="The device's address at its push service.",
                examples=["https://push.example.net/send/8c1d1f0a"],
            ),
        ]
    ]
    expires_at: ReadOnly[datetime | None] = None
    last_used_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class PushMessage(TenantRow, Base):
    """A notification that is to be pushed to a device; gone once it was. ``due_at`` is also until when it is leased."""

    __tablename__ = "push_messages"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "notification_id", "subscription_id"),
        refers("notification_id", "notifications", on_delete="CASCADE"),
        refers("subscription_id", "push_subscriptions", on_delete="CASCADE"),
        Index("ix_push_messages_due", "due_at"),
        Index("ix_push_messages_subscription", "workspace_id", "subscription_id"),
    )

    notification_id: Mapped[uuid.UUID]
    subscription_id: Mapped[uuid.UUID]
    due_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class NotificationDigest(TenantRow, Base):
    """A mail that tells a member of what they have not read. It exists before the mail does: none is sent twice."""

    __tablename__ = "notification_digests"
    __table_args__ = tenant_table(
        refers_to_member("user_id"),
        one_of("state", DigestState),
        Index("ix_notification_digests_created", "workspace_id", "created_at", "id"),
        Index("ix_notification_digests_old", "created_at"),
    )

    user_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(default="sending", server_default="sending")
    error: Mapped[str | None]
    sent_at: Mapped[datetime | None]


class NotificationProgress(Base):
    """How far a workspace's log has been read for what members are to be told."""

    __tablename__ = "notification_progress"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


class InstallationKey(Stamped, Base):
    """A key pair of the whole installation, made once; its private half is sealed as providers' secrets are."""

    __tablename__ = "installation_keys"

    name: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str]
    encrypted_key: Mapped[bytes]
    iv: Mapped[bytes]
    auth_tag: Mapped[bytes]
    encryption_key_id: Mapped[str]
