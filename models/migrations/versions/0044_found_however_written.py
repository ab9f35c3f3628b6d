"""Customers, mails and what became of mails are found by an e-mail address however it is capitalised, by an index."""

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

# Name of the index, its table, the address, its key, and what comes after it.
FOUND: tuple[tuple[str, str, str, str, list[str]], ...] = (
    ("ix_customers_email", "customers", "email", "email_key", []),
    ("ix_mails_sender", "mails", "sender_address", "sender_key", ["created_at", "id"]),
    ("ix_mail_events_address", "mail_events", "address", "address_key", ["created_at", "id"]),
)
_spelt = importlib.import_module("models.migrations.versions.0042_one_spelling")._spelt


def upgrade() -> None:
    _respell_senders()
    op.drop_index("ix_customers_email", "customers")
    for name, table, column, key, more in FOUND:
        computed = sa.Computed(f'lower(("left"({column}, 320) COLLATE "C"))', persisted=True)
        op.add_column(table, sa.Column(key, sa.Text(collation="C"), computed, nullable=True))
        op.create_index(name, table, ["workspace_id", key, *more])
        # Nothing is known of a new column until then, and an address would be looked for among all rows by age.
        op.execute(f"ANALYZE {table}")


def downgrade() -> None:
    for name, table, _, key, _ in FOUND:
        op.drop_index(name, table)
        op.drop_column(table, key)
    op.create_index("ix_customers_email", "customers", ["workspace_id", "email"])


def _respell_senders() -> None:
    """Whoever wrote from an international domain is kept as they are looked for, as everybody else's since 0042."""
    connection = op.get_bind()
    op.execute("ALTER TABLE mails NO FORCE ROW LEVEL SECURITY")
    query = (
        "SELECT DISTINCT sender_address FROM mails WHERE octet_length(sender_address) <> char_length(sender_address)"
    )
    for (old,) in connection.execute(sa.text(query)).all():
        update = sa.text("UPDATE mails SET sender_address = :new WHERE sender_address = :old")
        connection.execute(update, {"old": old, "new": _spelt(old)})
    op.execute("ALTER TABLE mails FORCE ROW LEVEL SECURITY")
