"""Outbound webhooks: endpoints and their secrets, what waits for them in line, and what came of it.

Whoever reads the log begins where it stands when a workspace has its first endpoint.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from models import tenancy

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

TABLES = (
    "webhook_progress",
    "webhook_endpoints",
    "webhook_signing_secrets",
    "webhook_deliveries",
    "webhook_attempts",
    "webhook_lines",
    "webhook_replays",
)


def upgrade() -> None:
    op.create_table(
        "webhook_progress",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("placed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_webhook_progress_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_webhook_progress")),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("on_behalf_of", sa.Uuid(), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)",
            name=op.f("ck_webhook_endpoints_disabled_reason_and_time"),
        ),
        sa.CheckConstraint(
            "(failures > 0) = (failing_since IS NOT NULL)",
            name=op.f("ck_webhook_endpoints_failing_since_first_failure"),
        ),
        sa.CheckConstraint(
            "NOT (is_active AND disabled_at IS NOT NULL)", name=op.f("ck_webhook_endpoints_disabled_is_inactive")
        ),
        sa.CheckConstraint("length(url) BETWEEN 1 AND 2000", name=op.f("ck_webhook_endpoints_url_length")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "on_behalf_of"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_webhook_endpoints_workspace_id_on_behalf_of"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_webhook_endpoints_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index("ix_webhook_endpoints_created", "webhook_endpoints", ["workspace_id", "created_at", "id"])
    op.create_index(
        "ix_webhook_endpoints_failing",
        "webhook_endpoints",
        ["failing_since"],
        postgresql_where=sa.text("is_active AND failures > 0"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("is_replay", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'waiting') = (settled_at IS NULL)", name=op.f("ck_webhook_deliveries_settled_with_time")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "endpoint_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_workspace_id_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index("ix_webhook_deliveries_created", "webhook_deliveries", ["workspace_id", "created_at", "id"])
    op.create_index(
        "ix_webhook_deliveries_endpoint", "webhook_deliveries", ["workspace_id", "endpoint_id", "created_at", "id"]
    )
    op.create_index(
        "ix_webhook_deliveries_line",
        "webhook_deliveries",
        ["workspace_id", "endpoint_id", "line_id", "place"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_webhook_deliveries_old", "webhook_deliveries", ["created_at"], postgresql_using="brin")
    op.create_index(
        "ix_webhook_deliveries_undelivered",
        "webhook_deliveries",
        ["workspace_id", "created_at", "id"],
        postgresql_where=sa.text("state <> 'delivered'"),
    )
    op.create_index(
        "uq_webhook_deliveries_event",
        "webhook_deliveries",
        ["workspace_id", "endpoint_id", "seq"],
        unique=True,
        postgresql_where=sa.text("NOT is_replay"),
    )
    op.create_table(
        "webhook_lines",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_taken", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("taken", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "endpoint_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_lines_workspace_id_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "endpoint_id", "line_id", name=op.f("pk_webhook_lines")),
    )
    op.create_index("ix_webhook_lines_due", "webhook_lines", ["workspace_id", "endpoint_id", "next_attempt_at"])
    op.create_table(
        "webhook_replays",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_webhook_replays_state_known")),
        sa.CheckConstraint("from_at <= until_at", name=op.f("ck_webhook_replays_from_before_until")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "asked_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_webhook_replays_workspace_id_asked_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "endpoint_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_replays_workspace_id_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_webhook_replays_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_replays")),
    )
    op.create_index("ix_webhook_replays_created", "webhook_replays", ["workspace_id", "created_at", "id"])
    op.create_index("ix_webhook_replays_endpoint", "webhook_replays", ["workspace_id", "endpoint_id"])
    op.create_index(
        "ix_webhook_replays_running", "webhook_replays", ["workspace_id"], postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "webhook_signing_secrets",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=False),
        sa.Column("iv", sa.LargeBinary(), nullable=False),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=False),
        sa.Column("encryption_key_id", sa.Text(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "endpoint_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_signing_secrets_workspace_id_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_webhook_signing_secrets_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_signing_secrets")),
    )
    op.create_index(
        "ix_webhook_signing_secrets_created", "webhook_signing_secrets", ["workspace_id", "created_at", "id"]
    )
    op.create_index("ix_webhook_signing_secrets_endpoint", "webhook_signing_secrets", ["workspace_id", "endpoint_id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "delivery_id"],
            ["webhook_deliveries.workspace_id", "webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_workspace_id_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index("ix_webhook_attempts_created", "webhook_attempts", ["workspace_id", "created_at", "id"])
    op.create_index("ix_webhook_attempts_delivery", "webhook_attempts", ["workspace_id", "delivery_id"])

    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
