"""An international mail domain is kept as DNS writes it, wherever it had been kept in its own letters."""

import idna
import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

COLUMNS = (
    ("users", "email"),
    ("workspace_invitations", "email"),
    ("contact_points", "value"),
    ("contacts", "email"),
    ("customers", "email"),
    ("visitors", "email"),
    ("visitors", "continues_to"),
    ("workspace_mail_addresses", "address"),
    ("workspace_mail_addresses", "inbound_address"),
    ("mails", "reply_to"),
    ("conversation_messages", "to_address"),
    ("consent_entries", "address"),
    ("consent_entries", "sender"),
    ("opt_out_reviews", "address"),
    ("opt_out_reviews", "sender"),
    ("consents", "address"),
    ("consents", "sender"),
)
# A contact shows the address of one of its points.
IS_THEIRS = """ AND EXISTS (
    SELECT FROM contact_points p WHERE p.workspace_id = contacts.workspace_id AND p.contact_id = contacts.id
    AND p.value = :new
)"""
# Where both spellings have an entry, the word that was heard last counts for the one that is left.
OUTDATED = """
DELETE FROM consents o USING consents n
WHERE n.workspace_id = o.workspace_id AND n.id <> o.id
    AND (replace(n.address, :old, :new), replace(n.sender, :old, :new))
        = (replace(o.address, :old, :new), replace(o.sender, :old, :new))
    AND :old IN (o.address, o.sender, n.address, n.sender)
    AND (n.heard_at, n.id) > (o.heard_at, o.id)
"""


def upgrade() -> None:
    connection = op.get_bind()
    for table in {table for table, _ in COLUMNS} - {"users"}:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for table, column in COLUMNS:
        query = f"SELECT DISTINCT {column} FROM {table} WHERE octet_length({column}) <> char_length({column})"
        for (old,) in connection.execute(sa.text(query)).all():
            new = _spelt(old)
            if new == old:
                continue
            if table == "consents":
                connection.execute(sa.text(OUTDATED), {"old": old, "new": new})
            # Somebody else may have the other spelling already: then both stay as they are, for a person to unite.
            update = f"UPDATE {table} SET {column} = :new WHERE id = :id{IS_THEIRS if table == 'contacts' else ''}"
            ids = connection.execute(sa.text(f"SELECT id FROM {table} WHERE {column} = :old"), {"old": old}).scalars()
            for id_ in ids.all():
                try:
                    with connection.begin_nested():
                        connection.execute(sa.text(update), {"new": new, "id": id_})
                except sa.exc.IntegrityError:
                    continue
    for table in {table for table, _ in COLUMNS} - {"users"}:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    """What DNS writes is right in the version before, too."""


def _spelt(email: str) -> str:
    local, at, domain = email.rpartition("@")
    try:
        return f"{local}{at}{idna.encode(domain.strip('.').lower(), uts46=True).decode('ascii')}" if at else email
    except UnicodeError:
        return email
