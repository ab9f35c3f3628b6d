"""Calls: their legs, offers, recordings, transfers and reports; what a number's caller hears, and members' phones."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("calls", "call_offers", "call_legs", "recordings", "call_transfers", "call_reports")
KINDS = ("messages", "message-status", "inbound", "events")
VOICE = ("voice", "voice-status", "voice-recording", "voice-transcription", "voice-amd", "voice-conference")


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("phone_number_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("from_address", sa.Text(), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=True),
        sa.Column("caller_name", sa.Text(), nullable=True),
        sa.Column("forwarded_from", sa.Text(), nullable=True),
        sa.Column("placed_by", sa.Uuid(), nullable=True),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("flow", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("turn", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("text_back_id", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("direction IN ('inbound', 'outbound')", name=op.f("ck_calls_direction_known")),
        sa.CheckConstraint(
            "outcome IN ('answered', 'voicemail', 'missed', 'after_hours', 'unreached')",
            name=op.f("ck_calls_outcome_known"),
        ),
        sa.CheckConstraint("provider IN ('signalwire', 'twilio')", name=op.f("ck_calls_provider_known")),
        sa.CheckConstraint(
            "status IN ('queued', 'initiated', 'ringing', 'in_progress', 'completed', 'busy', 'no_answer', 'failed', 'canceled')",
            name=op.f("ck_calls_status_known"),
        ),
        sa.CheckConstraint("duration_seconds >= 0", name=op.f("ck_calls_duration_seconds_range")),
        sa.CheckConstraint("ended_at IS NULL OR queue IS NULL", name=op.f("ck_calls_queue_of_the_living")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "answered_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_calls_workspace_id_answered_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_calls_workspace_id_connection_id"),
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_calls_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_calls_workspace_id_conversation_id"),
            ondelete="SET NULL (conversation_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_calls_workspace_id_phone_number_id"),
            ondelete="SET NULL (phone_number_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "placed_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_calls_workspace_id_placed_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "text_back_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_calls_workspace_id_text_back_id"),
            ondelete="SET NULL (text_back_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_calls_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_contact", "calls", ["workspace_id", "contact_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_calls_conversation", "calls", ["workspace_id", "conversation_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_calls_created", "calls", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_calls_live", "calls", ["updated_at"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "ix_calls_waiting",
        "calls",
        ["workspace_id", "phone_number_id", "queue", "waiting_since"],
        unique=False,
        postgresql_where=sa.text("queue IS NOT NULL"),
    )
    op.create_table(
        "call_offers",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.Text(), server_default="ring", nullable=False),
        sa.Column("state", sa.Text(), server_default="offered", nullable=False),
        sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("user_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("seconds", sa.Integer(), server_default=sa.text("20"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("accepted_by", sa.Uuid(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'accepted') = (accepted_at IS NOT NULL)", name=op.f("ck_call_offers_accepted_at_of_accepted")
        ),
        sa.CheckConstraint("origin IN ('ring', 'queue', 'transfer')", name=op.f("ck_call_offers_origin_known")),
        sa.CheckConstraint(
            "state IN ('offered', 'accepted', 'expired', 'withdrawn')", name=op.f("ck_call_offers_state_known")
        ),
        sa.CheckConstraint("seconds > 0", name=op.f("ck_call_offers_seconds_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "accepted_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_call_offers_workspace_id_accepted_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "call_id"],
            ["calls.workspace_id", "calls.id"],
            name=op.f("fk_call_offers_workspace_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_call_offers_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_call_offers")),
    )
    op.create_index("ix_call_offers_call", "call_offers", ["workspace_id", "call_id", "created_at", "id"], unique=False)
    op.create_index("ix_call_offers_created", "call_offers", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_call_offers_due", "call_offers", ["expires_at"], unique=False, postgresql_where=sa.text("state = 'offered'")
    )
    op.create_index(
        "uq_call_offers_open",
        "call_offers",
        ["workspace_id", "call_id"],
        unique=True,
        postgresql_where=sa.text("state = 'offered'"),
    )
    op.create_table(
        "call_transfers",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("to_user_id", sa.Uuid(), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('blind', 'warm')", name=op.f("ck_call_transfers_kind_known")),
        sa.CheckConstraint(
            "state IN ('ringing', 'consulting', 'completed', 'canceled')", name=op.f("ck_call_transfers_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "call_id"],
            ["calls.workspace_id", "calls.id"],
            name=op.f("fk_call_transfers_workspace_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "requested_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_call_transfers_workspace_id_requested_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "to_user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_call_transfers_workspace_id_to_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_call_transfers_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_call_transfers")),
    )
    op.create_index("ix_call_transfers_created", "call_transfers", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "uq_call_transfers_open",
        "call_transfers",
        ["workspace_id", "call_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('ringing', 'consulting')"),
    )
    op.create_table(
        "recordings",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_recording_id", sa.Text(), nullable=False),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.Column("transcription_status", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('voicemail', 'call')", name=op.f("ck_recordings_kind_known")),
        sa.CheckConstraint(
            "state IN ('in_progress', 'paused', 'completed', 'absent', 'failed')",
            name=op.f("ck_recordings_state_known"),
        ),
        sa.CheckConstraint(
            "transcription_status IN ('pending', 'completed', 'failed')",
            name=op.f("ck_recordings_transcription_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "call_id"],
            ["calls.workspace_id", "calls.id"],
            name=op.f("fk_recordings_workspace_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "message_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_recordings_workspace_id_message_id"),
            ondelete="SET NULL (message_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_recordings_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_recordings")),
        sa.UniqueConstraint(
            "workspace_id",
            "provider",
            "provider_recording_id",
            name=op.f("uq_recordings_workspace_id_provider_provider_recording_id"),
        ),
    )
    op.create_index("ix_recordings_call", "recordings", ["workspace_id", "call_id", "created_at", "id"], unique=False)
    op.create_index("ix_recordings_created", "recordings", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "call_legs",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_call_id", sa.Text(), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("-1"), nullable=False),
        sa.Column("detected", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("dialled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('caller', 'agent', 'contact', 'consulted')", name=op.f("ck_call_legs_role_known")),
        sa.CheckConstraint(
            "status IN ('queued', 'initiated', 'ringing', 'in_progress', 'completed', 'busy', 'no_answer', 'failed', 'canceled')",
            name=op.f("ck_call_legs_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "call_id"],
            ["calls.workspace_id", "calls.id"],
            name=op.f("fk_call_legs_workspace_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "offer_id"],
            ["call_offers.workspace_id", "call_offers.id"],
            name=op.f("fk_call_legs_workspace_id_offer_id"),
            ondelete="SET NULL (offer_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_call_legs_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_call_legs_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_call_legs")),
    )
    op.create_index(
        "ix_call_legs_busy",
        "call_legs",
        ["workspace_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL AND user_id IS NOT NULL"),
    )
    op.create_index("ix_call_legs_call", "call_legs", ["workspace_id", "call_id", "created_at", "id"], unique=False)
    op.create_index("ix_call_legs_created", "call_legs", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_call_legs_offer",
        "call_legs",
        ["workspace_id", "offer_id"],
        unique=False,
        postgresql_where=sa.text("offer_id IS NOT NULL"),
    )
    op.create_index(
        "uq_call_legs_provider_id",
        "call_legs",
        ["workspace_id", "provider", "provider_call_id"],
        unique=True,
        postgresql_where=sa.text("provider_call_id IS NOT NULL"),
    )
    op.create_table(
        "call_reports",
        sa.Column("leg_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_call_id", sa.Text(), nullable=False),
        sa.Column("reported", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("-1"), nullable=False),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "leg_id"],
            ["call_legs.workspace_id", "call_legs.id"],
            name=op.f("fk_call_reports_workspace_id_leg_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_call_reports_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_call_reports")),
        sa.UniqueConstraint(
            "workspace_id", "provider", "provider_call_id", "reported", "sequence", name="uq_call_reports_once"
        ),
    )
    op.create_index("ix_call_reports_created", "call_reports", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_call_reports_leg", "call_reports", ["workspace_id", "leg_id"], unique=False)
    op.create_index(
        "ix_call_reports_parked",
        "call_reports",
        ["workspace_id", "provider", "provider_call_id"],
        unique=False,
        postgresql_where=sa.text("leg_id IS NULL"),
    )
    op.add_column("workspace_members", sa.Column("phone", sa.Text(), nullable=True))
    op.add_column(
        "workspace_phone_numbers", sa.Column("voice_flow", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    know_kinds((*KINDS, *VOICE))
    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE webhook_receipts NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM webhook_receipts WHERE kind LIKE 'voice%'")
    op.execute("ALTER TABLE webhook_receipts FORCE ROW LEVEL SECURITY")
    know_kinds(KINDS)
    op.drop_column("workspace_phone_numbers", "voice_flow")
    op.drop_column("workspace_members", "phone")
    op.drop_table("call_reports")
    op.drop_table("call_legs")
    op.drop_table("recordings")
    op.drop_table("call_transfers")
    op.drop_table("call_offers")
    op.drop_table("calls")


def know_kinds(kinds: tuple[str, ...]) -> None:
    """Webhooks of these kinds are kept, and of no others."""
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint(op.f("ck_webhook_receipts_kind_known"), "webhook_receipts")
    op.create_check_constraint(op.f("ck_webhook_receipts_kind_known"), "webhook_receipts", f"kind IN ({listed})")
