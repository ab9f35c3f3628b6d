"""An e-mail address is one however it is capitalised; a closed deal and a decided prospect are as likely as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UNIQUE = "uq_contact_points_workspace_id_kind_value"
KEY = "CASE kind WHEN 'email'::text THEN lower((value COLLATE \"C\")) ELSE value END"

# Of one address written in several ways the first stays; a contact whose own it was keeps how it was written among its
# custom fields, and has its next address for its own.
_SPARE = f"""
CREATE TEMP TABLE spare ON COMMIT DROP AS
SELECT workspace_id, id, contact_id, value, is_primary FROM (
    SELECT p.*, row_number() OVER (PARTITION BY workspace_id, kind, {KEY} ORDER BY created_at, id) AS place
    FROM contact_points p WHERE kind = 'email'
) x WHERE place > 1
"""
_KEEP_WRITTEN = """
UPDATE contacts c SET custom_fields = custom_fields || jsonb_build_object('duplicateEmail', s.value)
FROM spare s WHERE s.workspace_id = c.workspace_id AND s.contact_id = c.id AND s.is_primary
"""
_REMOVE = "DELETE FROM contact_points p USING spare s WHERE p.workspace_id = s.workspace_id AND p.id = s.id"
_PROMOTE = """
UPDATE contact_points p SET is_primary = true WHERE p.id IN (
    SELECT DISTINCT ON (q.workspace_id, q.contact_id) q.id FROM contact_points q
    JOIN spare s ON s.workspace_id = q.workspace_id AND s.contact_id = q.contact_id AND s.is_primary
    WHERE q.kind = 'email' AND NOT EXISTS (SELECT FROM contact_points r WHERE r.workspace_id = q.workspace_id
        AND r.contact_id = q.contact_id AND r.kind = 'email' AND r.is_primary)
    ORDER BY q.workspace_id, q.contact_id, q.created_at, q.id)
"""
_FOLLOW = """
UPDATE contacts c SET email = (SELECT p.value FROM contact_points p WHERE p.workspace_id = c.workspace_id
    AND p.contact_id = c.id AND p.kind = 'email' AND p.is_primary)
FROM spare s WHERE s.workspace_id = c.workspace_id AND s.contact_id = c.id AND s.is_primary
"""

CERTAIN = {
    "deals": "CASE stage WHEN 'closed_won' THEN probability = 100 WHEN 'closed_lost' THEN probability = 0 ELSE true END",
    "prospects": "CASE stage WHEN 'won' THEN probability = 100 WHEN 'lost' THEN probability = 0 ELSE true END",
}
_DECIDE = {
    "deals": "UPDATE deals SET probability = CASE stage WHEN 'closed_won' THEN 100 ELSE 0 END"
    " WHERE stage IN ('closed_won', 'closed_lost')",
    "prospects": "UPDATE prospects SET probability = CASE stage WHEN 'won' THEN 100 ELSE 0 END"
    " WHERE stage IN ('won', 'lost')",
}


def upgrade() -> None:
    owned = ("contacts", "contact_points", *CERTAIN)
    for table in owned:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for statement in (_SPARE, _KEEP_WRITTEN, _REMOVE, _PROMOTE, _FOLLOW, *_DECIDE.values()):
        op.execute(statement)
    # Whose contact is checked at the end is checked now: a table with checks to come cannot be altered.
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in owned:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.add_column(
        "contact_points",
        sa.Column("value_key", sa.Text(collation="C"), sa.Computed(KEY, persisted=True), nullable=False),
    )
    op.drop_constraint(UNIQUE, "contact_points", type_="unique")
    op.create_unique_constraint(f"{UNIQUE}_key", "contact_points", ["workspace_id", "kind", "value_key"])
    # Nothing is known of a new column until then, and an address would be looked for among all rows by age.
    op.execute("ANALYZE contact_points")
    for table, law in CERTAIN.items():
        op.create_check_constraint(op.f(f"ck_{table}_probability_certain"), table, law)


def downgrade() -> None:
    for table in CERTAIN:
        op.drop_constraint(op.f(f"ck_{table}_probability_certain"), table, type_="check")
    op.drop_constraint(f"{UNIQUE}_key", "contact_points", type_="unique")
    op.create_unique_constraint(UNIQUE, "contact_points", ["workspace_id", "kind", "value"])
    op.drop_column("contact_points", "value_key")
