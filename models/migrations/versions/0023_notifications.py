"""Notifications are made of events, grouped, counted, mailed and pushed, as each member wants it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from models import tenancy

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

KINDS = "'assignment', 'mention', 'message', 'handoff', 'approval', 'missed_call', 'failed_send', 'reminder'"
UNREAD = sa.text("NOT is_read")
MAIL_DUE = sa.text("email_due_at IS NOT NULL AND NOT is_read")
DUE = sa.text("completed_at IS NULL AND user_id IS NOT NULL AND scheduled_at > coalesce(reminded_at, created_at)")
TABLES = (
    "notification_digests",
    "notification_read_states",
    "notification_preferences",
    "push_subscriptions",
    "push_messages",
    "notification_progress",
)
READ_BY_ALL = ("notifications", "crm_interactions", "event_counters", "notification_progress")


def _time(name: str, **more: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=bool(more.get("nullable", True)))


def _tenant(table: str, *items: sa.schema.SchemaItem) -> None:
    op.create_table(
        table,
        *[item for item in items if isinstance(item, sa.Column)],
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=f"fk_{table}_workspace_id", ondelete="CASCADE"
        ),
        *[item for item in items if not isinstance(item, sa.Column)],
    )


def _member(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        ["workspace_members.workspace_id", "workspace_members.user_id"],
        name=f"fk_{table}_workspace_id_{column}",
        ondelete="RESTRICT",
    )


def upgrade() -> None:
    _tenant(
        "notification_digests",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="sending", nullable=False),
        sa.Column("error", sa.Text()),
        _time("sent_at"),
        _member("notification_digests", "user_id"),
        sa.CheckConstraint(
            "state IN ('sending', 'sent', 'failed', 'unclear')", name=op.f("ck_notification_digests_state_known")
        ),
    )
    op.create_index("ix_notification_digests_created", "notification_digests", ["workspace_id", "created_at", "id"])
    op.create_index("ix_notification_digests_old", "notification_digests", ["created_at"])
    _tenant(
        "notification_read_states",
        sa.Column("unread_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _member("notification_read_states", "id"),
        sa.CheckConstraint("unread_count >= 0", name=op.f("ck_notification_read_states_unread_count_range")),
    )
    _tenant(
        "notification_preferences",
        sa.Column("kinds", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("digest", sa.Text(), server_default="hourly", nullable=False),
        sa.Column("digest_hour", sa.Integer(), server_default=sa.text("8"), nullable=False),
        sa.Column("quiet_start", sa.Text()),
        sa.Column("quiet_end", sa.Text()),
        _member("notification_preferences", "id"),
        sa.CheckConstraint(
            "digest IN ('never', 'immediately', 'hourly', 'daily')",
            name=op.f("ck_notification_preferences_digest_known"),
        ),
        sa.CheckConstraint("digest_hour BETWEEN 0 AND 23", name=op.f("ck_notification_preferences_digest_hour_range")),
        sa.CheckConstraint(
            "(quiet_start IS NULL) = (quiet_end IS NULL)", name=op.f("ck_notification_preferences_quiet_start_and_end")
        ),
    )
    _tenant(
        "push_subscriptions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.Text(), nullable=False),
        sa.Column("auth", sa.Text(), nullable=False),
        _time("expires_at"),
        _time("last_used_at"),
        _member("push_subscriptions", "user_id"),
        sa.UniqueConstraint("workspace_id", "endpoint", name="uq_push_subscriptions_workspace_id_endpoint"),
        sa.CheckConstraint("length(endpoint) <= 1000", name=op.f("ck_push_subscriptions_endpoint_length")),
    )
    op.create_index("ix_push_subscriptions_user", "push_subscriptions", ["workspace_id", "user_id", "created_at", "id"])
    op.create_index("ix_push_subscriptions_created", "push_subscriptions", ["workspace_id", "created_at", "id"])
    _more_of_notifications()
    _tenant(
        "push_messages",
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        _time("due_at", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.UniqueConstraint(
            "workspace_id",
            "notification_id",
            "subscription_id",
            name="uq_push_messages_workspace_id_notification_id_subscription_id",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "notification_id"],
            ["notifications.workspace_id", "notifications.id"],
            name="fk_push_messages_workspace_id_notification_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "subscription_id"],
            ["push_subscriptions.workspace_id", "push_subscriptions.id"],
            name="fk_push_messages_workspace_id_subscription_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_push_messages_due", "push_messages", ["due_at"])
    op.create_index("ix_push_messages_subscription", "push_messages", ["workspace_id", "subscription_id"])
    op.create_table(
        "notification_progress",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_notification_progress"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_notification_progress_workspace_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "installation_keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=False),
        sa.Column("iv", sa.LargeBinary(), nullable=False),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=False),
        sa.Column("encryption_key_id", sa.Text(), nullable=False),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation_keys"),
    )
    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)
    for statement in tenancy.hidden("installation_keys"):
        op.execute(statement)
    op.add_column("crm_interactions", sa.Column("reminded_at", sa.DateTime(timezone=True)))
    _begin_here()
    op.create_index("ix_crm_interactions_due", "crm_interactions", ["scheduled_at"], postgresql_where=DUE)


def _more_of_notifications() -> None:
    for column in (
        sa.Column("kind", sa.Text()),
        sa.Column("subject_type", sa.Text()),
        sa.Column("subject_id", sa.Uuid()),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        _time("happened_at"),
        sa.Column("group_key", sa.Text()),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("in_app", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _time("email_due_at"),
        sa.Column("digest_id", sa.Uuid()),
        _time("pushed_at"),
    ):
        op.add_column("notifications", column)


def _begin_here() -> None:
    """What was told is each a group of its own; what the log says already was told; what is past is not due."""
    for table in READ_BY_ALL:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE notifications SET happened_at = created_at, group_key = 'before:' || id,
            kind = CASE WHEN type IN ('mention', 'assignment', 'reminder') THEN type ELSE 'message' END,
            subject_type = CASE WHEN data ? 'conversationId' THEN 'conversation'
                WHEN data ? 'channelId' THEN 'team_channel' END,
            subject_id = coalesce(data->>'conversationId', data->>'channelId')::uuid
        """
    )
    op.execute("INSERT INTO notification_progress (workspace_id, seq) SELECT workspace_id, seq FROM event_counters")
    op.execute("ALTER TABLE notification_read_states NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        INSERT INTO notification_read_states (workspace_id, id, unread_count, created_at, updated_at)
        SELECT workspace_id, user_id, count(*) FILTER (WHERE NOT is_read), now(), now()
        FROM notifications GROUP BY workspace_id, user_id
        """
    )
    op.execute("ALTER TABLE notification_read_states FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE crm_interactions SET reminded_at = now() WHERE scheduled_at <= now()")
    for table in READ_BY_ALL:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    for name in ("kind", "group_key", "happened_at"):
        op.alter_column("notifications", name, nullable=False)
    op.create_check_constraint(op.f("ck_notifications_kind_known"), "notifications", f"kind IN ({KINDS})")
    op.create_check_constraint(op.f("ck_notifications_count_range"), "notifications", "count > 0")
    op.create_foreign_key(
        "fk_notifications_workspace_id_digest_id",
        "notifications",
        "notification_digests",
        ["workspace_id", "digest_id"],
        ["workspace_id", "id"],
        ondelete="SET NULL (digest_id)",
    )
    group = ["workspace_id", "user_id", "group_key"]
    op.create_index("uq_notifications_unread", "notifications", group, unique=True, postgresql_where=UNREAD)
    op.create_index("uq_notifications_event", "notifications", [*group, "seq"], unique=True)
    op.create_index("ix_notifications_subject", "notifications", ["workspace_id", "subject_id"])
    op.create_index("ix_notifications_old", "notifications", ["created_at"])
    op.create_index("ix_notifications_mail_due", "notifications", ["email_due_at"], postgresql_where=MAIL_DUE)
    op.create_index(
        "ix_notifications_digest",
        "notifications",
        ["workspace_id", "digest_id"],
        postgresql_where=sa.text("digest_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_crm_interactions_due", "crm_interactions")
    op.drop_index("ix_notifications_old", "notifications")
    op.drop_column("crm_interactions", "reminded_at")
    for table in ("push_messages", "push_subscriptions", "notification_preferences", "notification_read_states"):
        op.drop_table(table)
    op.drop_table("notification_progress")
    op.drop_table("installation_keys")
    for name in (
        "kind",
        "subject_type",
        "subject_id",
        "count",
        "happened_at",
        "group_key",
        "seq",
        "in_app",
        "email_due_at",
        "digest_id",
        "pushed_at",
    ):
        op.drop_column("notifications", name)
    op.drop_table("notification_digests")
