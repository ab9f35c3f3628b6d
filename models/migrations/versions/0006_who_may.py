"""Who may: invitations, passwords, sessions; permissions with a law; a connection's next secret and last check."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PERMISSIONS_KNOWN = "permissions - ARRAY['agents', 'packs', 'billing', 'members'] = '{}'::jsonb AND coalesce(permissions->>'agents', 'none') IN ('none', 'read', 'write') AND coalesce(permissions->>'packs', 'none') IN ('none', 'read', 'write') AND coalesce(permissions->>'billing', 'none') IN ('none', 'read', 'write') AND coalesce(permissions->>'members', 'none') IN ('none', 'read', 'write')"


def upgrade() -> None:
    op.create_check_constraint(op.f("ck_workspace_members_permissions_known"), "workspace_members", PERMISSIONS_KNOWN)
    op.create_table(
        "sign_in_limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_limits")),
    )
    op.create_index("ix_sign_in_limits_until", "sign_in_limits", ["until"], unique=False)
    op.create_table(
        "user_passwords",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_passwords_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_passwords")),
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_sessions_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_sessions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("workspace_id", "token_hash", name=op.f("uq_sessions_workspace_id_token_hash")),
    )
    op.create_index("ix_sessions_token_hash", "sessions", ["token_hash"], unique=False)
    op.create_index("ix_sessions_user", "sessions", ["workspace_id", "user_id", "created_at", "id"], unique=False)
    op.create_table(
        "workspace_invitations",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="member", nullable=False),
        sa.Column("permissions", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(PERMISSIONS_KNOWN, name=op.f("ck_workspace_invitations_permissions_known")),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_workspace_invitations_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "invited_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_workspace_invitations_workspace_id_invited_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_workspace_invitations_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_workspace_invitations")),
        sa.UniqueConstraint(
            "workspace_id", "token_hash", name=op.f("uq_workspace_invitations_workspace_id_token_hash")
        ),
    )
    op.create_index(
        "ix_workspace_invitations_created", "workspace_invitations", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_workspace_invitations_token_hash", "workspace_invitations", ["token_hash"], unique=False)
    op.create_index(
        "uq_workspace_invitations_open",
        "workspace_invitations",
        ["workspace_id", sa.literal_column("lower(email)")],
        unique=True,
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    op.create_index("ix_access_tokens_created", "access_tokens", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_access_tokens_user", "access_tokens", ["workspace_id", "user_id"], unique=False)
    op.add_column("workspace_api_keys", sa.Column("next_last_four", sa.Text(), nullable=True))
    op.add_column("workspace_api_keys", sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("workspace_api_keys", sa.Column("check_passed", sa.Boolean(), nullable=True))
    op.add_column("workspace_api_keys", sa.Column("check_detail", sa.Text(), nullable=True))
    op.create_index(
        "ix_workspace_api_keys_created", "workspace_api_keys", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_workspace_members_created", "workspace_members", ["workspace_id", "created_at", "id"], unique=False
    )
    op.add_column("ws_tickets", sa.Column("session_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_ws_tickets_workspace_id_session_id"),
        "ws_tickets",
        "sessions",
        ["workspace_id", "session_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    for table in ("sessions", "workspace_invitations"):
        for statement in tenancy.secured(table):
            op.execute(statement)
    for table in ("user_passwords", "sign_in_limits"):
        for statement in tenancy.hidden(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_constraint(op.f("fk_ws_tickets_workspace_id_session_id"), "ws_tickets", type_="foreignkey")
    op.drop_column("ws_tickets", "session_id")
    op.drop_index("ix_workspace_members_created", table_name="workspace_members")
    op.drop_index("ix_workspace_api_keys_created", table_name="workspace_api_keys")
    op.drop_column("workspace_api_keys", "check_detail")
    op.drop_column("workspace_api_keys", "check_passed")
    op.drop_column("workspace_api_keys", "checked_at")
    op.drop_column("workspace_api_keys", "next_last_four")
    op.drop_index("ix_access_tokens_user", table_name="access_tokens")
    op.drop_index("ix_access_tokens_created", table_name="access_tokens")
    op.drop_index(
        "uq_workspace_invitations_open",
        table_name="workspace_invitations",
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    op.drop_index("ix_workspace_invitations_token_hash", table_name="workspace_invitations")
    op.drop_index("ix_workspace_invitations_created", table_name="workspace_invitations")
    op.drop_table("workspace_invitations")
    op.drop_index("ix_sessions_user", table_name="sessions")
    op.drop_index("ix_sessions_token_hash", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("user_passwords")
    op.drop_index("ix_sign_in_limits_until", table_name="sign_in_limits")
    op.drop_table("sign_in_limits")
    op.drop_constraint(op.f("ck_workspace_members_permissions_known"), "workspace_members", type_="check")
