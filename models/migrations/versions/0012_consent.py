"""Who wants to hear from us, where each address stands, what a person has to look at; and what sweeps have found."""

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_CHANNELS = "channel IN ('email', 'sms', 'call', 'whatsapp', 'social', 'live_chat')"
_SOURCES = (
    "source IN ('keyword', 'provider', 'review', 'carrier', 'unsubscribe', 'resubscribe', 'complaint', 'bounce',"
    " 'person')"
)


def upgrade() -> None:
    op.add_column("contacts", sa.Column("timezone", sa.Text(), nullable=True))
    op.add_column("workspace_phone_numbers", sa.Column("messaging_service_sid", sa.Text(), nullable=True))

    op.create_table(
        "consents",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        *_stamped(),
        sa.CheckConstraint(_CHANNELS, name=op.f("ck_consents_channel_known")),
        sa.CheckConstraint(_SOURCES, name=op.f("ck_consents_source_known")),
        sa.CheckConstraint("state IN ('opted_in', 'opted_out')", name=op.f("ck_consents_state_known")),
        _workspace("consents"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_consents")),
        sa.UniqueConstraint("workspace_id", "address", "sender", name=op.f("uq_consents_workspace_id_address_sender")),
    )
    op.create_index("ix_consents_created", "consents", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_consents_state", "consents", ["workspace_id", "state", "created_at", "id"], unique=False)

    op.create_table(
        "consent_entries",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("words", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("provider_answered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("answer_message_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_by", sa.Uuid(), nullable=True),
        *_stamped(),
        sa.CheckConstraint(_CHANNELS, name=op.f("ck_consent_entries_channel_known")),
        sa.CheckConstraint(_SOURCES, name=op.f("ck_consent_entries_source_known")),
        sa.CheckConstraint("says IN ('stop', 'start', 'help')", name=op.f("ck_consent_entries_says_known")),
        sa.CheckConstraint(
            "source <> 'person' OR (reason IS NOT NULL AND recorded_by IS NOT NULL)",
            name=op.f("ck_consent_entries_reason_given"),
        ),
        sa.CheckConstraint(
            "NOT provider_answered OR answer_message_id IS NULL", name=op.f("ck_consent_entries_answered_once")
        ),
        _member("consent_entries", "recorded_by"),
        _workspace("consent_entries"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_consent_entries")),
        sa.UniqueConstraint("workspace_id", "proof", name=op.f("uq_consent_entries_workspace_id_proof")),
    )
    op.create_index("ix_consent_entries_created", "consent_entries", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_consent_entries_address", "consent_entries", ["workspace_id", "address", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_consent_entries_answer",
        "consent_entries",
        ["workspace_id", "answer_message_id"],
        unique=False,
        postgresql_where=sa.text("answer_message_id IS NOT NULL"),
    )

    op.create_table(
        "opt_out_reviews",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        *_stamped(),
        sa.CheckConstraint(_CHANNELS, name=op.f("ck_opt_out_reviews_channel_known")),
        sa.CheckConstraint("state IN ('open', 'confirmed', 'dismissed')", name=op.f("ck_opt_out_reviews_state_known")),
        sa.CheckConstraint(
            "(state = 'open') = (decided_at IS NULL)", name=op.f("ck_opt_out_reviews_decided_at_of_decided")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "message_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_opt_out_reviews_workspace_id_message_id"),
            ondelete="CASCADE",
        ),
        _member("opt_out_reviews", "decided_by"),
        _workspace("opt_out_reviews"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_opt_out_reviews")),
        sa.UniqueConstraint("workspace_id", "message_id", name=op.f("uq_opt_out_reviews_workspace_id_message_id")),
    )
    op.create_index("ix_opt_out_reviews_created", "opt_out_reviews", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_opt_out_reviews_open",
        "opt_out_reviews",
        ["workspace_id", "address"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "number_sweeps",
        sa.Column("phone_number_id", sa.Uuid(), nullable=False),
        sa.Column("swept_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("compared", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("missing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("back_filled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_back_filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_sweep_at", sa.DateTime(timezone=True), nullable=False),
        *_stamped(),
        sa.CheckConstraint(
            "missing >= 0 AND compared >= 0 AND back_filled >= 0", name=op.f("ck_number_sweeps_counts_range")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_number_sweeps_workspace_id_phone_number_id"),
            ondelete="CASCADE",
        ),
        _workspace("number_sweeps"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_number_sweeps")),
        sa.UniqueConstraint(
            "workspace_id", "phone_number_id", name=op.f("uq_number_sweeps_workspace_id_phone_number_id")
        ),
    )
    op.create_index("ix_number_sweeps_created", "number_sweeps", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_number_sweeps_due", "number_sweeps", ["next_sweep_at"], unique=False)
    for table in ("consents", "consent_entries", "opt_out_reviews", "number_sweeps"):
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_table("number_sweeps")
    op.drop_table("opt_out_reviews")
    op.drop_table("consent_entries")
    op.drop_table("consents")
    op.drop_column("workspace_phone_numbers", "messaging_service_sid")
    op.drop_column("contacts", "timezone")


def _stamped() -> list[sa.Column[object]]:
    return [
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _workspace(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{table}_workspace_id"), ondelete="CASCADE"
    )


def _member(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        ["workspace_members.workspace_id", "workspace_members.user_id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
        ondelete="RESTRICT",
    )
