"""Mail: the addresses people write to, what a message was as a mail, and what became of those we sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PROVIDERS = ("workspace_api_keys", "webhook_receipts")
AUTOMATIC = "automatic IN ('bounce', 'auto_reply', 'generated', 'list', 'bulk', 'own')"
THREADED_BY = "threaded_by IN ('token', 'reference', 'contact', 'new')"
EVENT_KINDS = (
    "kind IN ('processed', 'deferred', 'delivered', 'bounced', 'blocked', 'dropped', 'opened', 'opened_by_machine',"
    " 'clicked', 'complained', 'unsubscribed', 'resubscribed', 'account_status_changed', 'unknown')"
)


def upgrade() -> None:
    for table in PROVIDERS:
        name = op.f(f"ck_{table}_provider_known")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, "provider IN ('twilio', 'signalwire', 'sendgrid', 'smtp')")
    name = op.f("ck_webhook_receipts_state_known")
    op.drop_constraint(name, "webhook_receipts")
    op.create_check_constraint(name, "webhook_receipts", "state IN ('processed', 'unmapped', 'failed', 'unreadable')")
    op.add_column("webhook_receipts", sa.Column("storage_key", sa.Text(), nullable=True))
    for column in ("file_name", "content_id"):
        op.add_column("message_attachments", sa.Column(column, sa.Text(), nullable=True))

    op.create_table(
        "workspace_mail_addresses",
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("inbound_address", sa.Text(), nullable=True),
        sa.Column(
            "route_key",
            sa.Text(),
            sa.Computed("lower(COALESCE(inbound_address, address))", persisted=True),
            nullable=False,
        ),
        sa.Column("friendly_name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        *_row(),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_workspace_mail_addresses_status_known")),
        _refers("workspace_mail_addresses", "connection_id", "workspace_api_keys", "SET NULL (connection_id)"),
        _workspace("workspace_mail_addresses"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_workspace_mail_addresses")),
        sa.UniqueConstraint("workspace_id", "address", name=op.f("uq_workspace_mail_addresses_workspace_id_address")),
        sa.UniqueConstraint(
            "workspace_id", "route_key", name=op.f("uq_workspace_mail_addresses_workspace_id_route_key")
        ),
    )
    op.create_index(
        "ix_workspace_mail_addresses_created", "workspace_mail_addresses", ["workspace_id", "created_at", "id"]
    )

    op.create_table(
        "mails",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("mail_address_id", sa.Uuid(), nullable=True),
        sa.Column("rfc_message_id", sa.Text(), nullable=True),
        sa.Column("in_reply_to", sa.Text(), nullable=True),
        _texts("reference_ids"),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=True),
        sa.Column("sender_address", sa.Text(), nullable=True),
        _texts("to_addresses"),
        _texts("cc_addresses"),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("quoted", sa.Text(), nullable=True),
        sa.Column("has_remote_images", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_cut", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=True),
        sa.Column("spf", sa.Text(), nullable=True),
        sa.Column("dkim", sa.Text(), nullable=True),
        sa.Column("automatic", sa.Text(), nullable=True),
        sa.Column("threaded_by", sa.Text(), nullable=True),
        sa.Column("sender_differs", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("spam_score", sa.Float(), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        *_row(),
        sa.CheckConstraint(AUTOMATIC, name=op.f("ck_mails_automatic_known")),
        sa.CheckConstraint(THREADED_BY, name=op.f("ck_mails_threaded_by_known")),
        _refers("mails", "message_id", "conversation_messages", "CASCADE"),
        _refers("mails", "mail_address_id", "workspace_mail_addresses", "SET NULL (mail_address_id)"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_mails")),
        sa.UniqueConstraint("workspace_id", "message_id", name=op.f("uq_mails_workspace_id_message_id")),
    )
    op.create_index(
        "ix_mails_rfc_message_id",
        "mails",
        ["workspace_id", "rfc_message_id"],
        postgresql_where=sa.text("rfc_message_id IS NOT NULL"),
    )
    op.create_index("ix_mails_created", "mails", ["workspace_id", "created_at", "id"])

    op.create_table(
        "mail_events",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("provider_event_id", sa.Text(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        *_row(),
        sa.CheckConstraint(EVENT_KINDS, name=op.f("ck_mail_events_kind_known")),
        _refers("mail_events", "connection_id", "workspace_api_keys", "RESTRICT"),
        _refers("mail_events", "message_id", "conversation_messages", "CASCADE"),
        _workspace("mail_events"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_mail_events")),
        sa.UniqueConstraint(
            "workspace_id",
            "connection_id",
            "provider_event_id",
            name=op.f("uq_mail_events_workspace_id_connection_id_provider_event_id"),
        ),
    )
    op.create_index("ix_mail_events_created", "mail_events", ["workspace_id", "created_at", "id"])
    op.create_index("ix_mail_events_message", "mail_events", ["workspace_id", "message_id"])
    op.create_index(
        "ix_mail_events_parked",
        "mail_events",
        ["created_at"],
        postgresql_where=sa.text("message_id IS NULL AND provider_message_id IS NOT NULL"),
    )
    for table in ("workspace_mail_addresses", "mails", "mail_events"):
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    for table in ("mail_events", "mails", "workspace_mail_addresses"):
        op.drop_table(table)
    for column in ("content_id", "file_name"):
        op.drop_column("message_attachments", column)
    # What the version before does not know: a mail's body is not in its receipt, and nobody speaks SMTP.
    for table in ("webhook_receipts", "workspace_api_keys"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE webhook_receipts SET state = 'unmapped' WHERE state = 'unreadable'")
    op.execute("DELETE FROM workspace_api_keys WHERE provider = 'smtp'")
    for table in ("webhook_receipts", "workspace_api_keys"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.drop_column("webhook_receipts", "storage_key")
    name = op.f("ck_webhook_receipts_state_known")
    op.drop_constraint(name, "webhook_receipts")
    op.create_check_constraint(name, "webhook_receipts", "state IN ('processed', 'unmapped', 'failed')")
    for table in PROVIDERS:
        name = op.f(f"ck_{table}_provider_known")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, "provider IN ('twilio', 'signalwire', 'sendgrid')")


def _row() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )


def _texts(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)


def _workspace(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{table}_workspace_id"), ondelete="CASCADE"
    )


def _refers(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{target}.workspace_id", f"{target}.id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
        ondelete=on_delete,
    )
