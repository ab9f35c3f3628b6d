"""Search: words in buckets beside the tables, the function that finds them, and indexes for what lists sort by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# What large lists sort by; each is (workspace_id, column, id).
SORTED = (
    ("ix_contacts_updated", "contacts", "updated_at"),
    ("ix_contacts_last_name", "contacts", "last_name_key"),
    ("ix_contacts_company", "contacts", "company_key"),
    ("ix_contacts_last_contacted", "contacts", "last_contacted_at"),
    ("ix_contacts_lead_score", "contacts", "lead_score"),
    ("ix_contact_points_created", "contact_points", "created_at"),
    ("ix_notifications_created", "notifications", "created_at"),
)

# What large lists are filtered by, where few rows may match: name, table, columns, and of which rows.
FILTERED = (
    ("ix_contacts_email", "contacts", ["workspace_id", "email"], None),
    ("ix_contacts_phone", "contacts", ["workspace_id", "phone"], None),
    ("ix_contacts_owner", "contacts", ["workspace_id", "owner_id", "created_at"], None),
    (
        "ix_conversation_messages_automatic",
        "conversation_messages",
        ["workspace_id", "sender_type", "created_at", "id"],
        "sender_type IN ('agent', 'system')",
    ),
    ("ix_conversation_messages_read", "conversation_messages", ["workspace_id", "created_at", "id"], "is_read"),
)

# What alphabetical lists sort by: whatever the case, and never longer than an index takes.
KEYS = ("last_name", "company")

# What a word is marked with. ``comms.search.words`` says the same in Python.
TAG = """
CREATE FUNCTION search_tag(workspace uuid, kind text, bucket int) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN left(md5(workspace::text || '/' || kind || '/' || bucket::text), 8)
"""

# Row security keeps a search from its index: the match operator of text search may tell about rows it is not meant to
# see, so PostgreSQL asks the policy of every row first. This function is the owner's, looks only into the workspace the
# transaction has named, and returns ids, which are then read under the caller's own policy.
#
# It goes from the newest bucket to the oldest until it has ``most`` rows or its time is up; then a last row without an
# id says in which bucket to go on. ``filtered`` is a second condition that is not worth a look into the index.
FOUND = f"""
CREATE FUNCTION search_found(
    kinds text[], wanted text, filtered text, from_bucket int, before_at timestamptz, before_id uuid, most int,
    budget interval
) RETURNS TABLE (subject_id uuid, kind text, bucket int, at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    here uuid := nullif(current_setting('{tenancy.WORKSPACE_SETTING}', true), '')::uuid;
    ends timestamptz := clock_timestamp() + budget;
    place int := from_bucket;
    asked tsquery;
    beside tsquery;
    there int;
BEGIN
    IF place IS NULL THEN
        SELECT p.bucket INTO place FROM search_progress p WHERE p.workspace_id = here;
        place := coalesce(place, 0);
    END IF;
    WHILE place >= 0 AND most > 0 LOOP
        SELECT string_agg('(' || replace(wanted, chr(1), search_tag(here, k, place)) || ')', ' | ')::tsquery,
            string_agg('(' || replace(filtered, chr(1), search_tag(here, k, place)) || ')', ' | ')::tsquery
        INTO asked, beside FROM unnest(kinds) AS k;
        RETURN QUERY
            SELECT d.subject_id, d.kind, d.bucket, d.at FROM search_documents d
            WHERE d.words @@ asked AND (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = ANY (kinds)
                AND (before_at IS NULL OR place < from_bucket OR (d.at, d.subject_id) < (before_at, before_id))
            ORDER BY d.at DESC, d.subject_id DESC LIMIT most;
        GET DIAGNOSTICS there = ROW_COUNT;
        most := most - there;
        place := place - 1;
        IF most > 0 AND place >= 0 AND clock_timestamp() > ends THEN
            RETURN QUERY SELECT NULL::uuid, NULL::text, place, NULL::timestamptz;
            RETURN;
        END IF;
    END LOOP;
END
$$
"""

# The ids of all rows of a kind that are meant, in no order, but no more than ``most``: for lists, which have their own.
AMONG = f"""
CREATE FUNCTION search_among(kind text, wanted text, filtered text, most int) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    here uuid := nullif(current_setting('{tenancy.WORKSPACE_SETTING}', true), '')::uuid;
    sort text := kind;
    found uuid[] := ARRAY[]::uuid[];
    place int;
    asked tsquery;
    beside tsquery;
BEGIN
    SELECT p.bucket INTO place FROM search_progress p WHERE p.workspace_id = here;
    place := coalesce(place, 0);
    WHILE place >= 0 AND cardinality(found) < most LOOP
        asked := replace(wanted, chr(1), search_tag(here, sort, place))::tsquery;
        beside := replace(filtered, chr(1), search_tag(here, sort, place))::tsquery;
        found := found || ARRAY(
            SELECT d.subject_id FROM search_documents d
            WHERE d.words @@ asked AND (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = sort
            LIMIT most - cardinality(found)
        );
        place := place - 1;
    END LOOP;
    RETURN found;
END
$$
"""
FUNCTIONS = (
    "search_found(text[], text, text, int, timestamptz, uuid, int, interval)",
    "search_among(text, text, text, int)",
)


def upgrade() -> None:
    for name in KEYS:
        law = sa.Computed(f'lower("left"({name}, 100))', persisted=True)
        op.add_column("contacts", sa.Column(f"{name}_key", sa.Text(), law, nullable=True))
    for name, table, column in SORTED:
        op.create_index(name, table, ["workspace_id", column, "id"])
    for name, table, columns, only in FILTERED:
        op.create_index(name, table, columns, postgresql_where=sa.text(only) if only else None)
    op.create_table(
        "search_documents",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_search_documents_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_search_documents_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "subject_id", name=op.f("pk_search_documents")),
    )
    op.create_index(
        "ix_search_documents_words",
        "search_documents",
        ["words"],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 256},
    )
    op.create_index(
        "ix_search_documents_conversation",
        "search_documents",
        ["workspace_id", "conversation_id"],
        postgresql_where=sa.text("conversation_id IS NOT NULL"),
    )
    op.create_table(
        "search_progress",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("filled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("backfill", sa.Text(), nullable=True),
        sa.Column("backfill_after", sa.Uuid(), nullable=True),
        sa.CheckConstraint("bucket >= 0 AND filled >= 0", name=op.f("ck_search_progress_bucket_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_search_progress_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_search_progress")),
    )
    for table in ("search_documents", "search_progress"):
        for statement in tenancy.secured(table):
            op.execute(statement)
        # For the function below, where the owner is no superuser. Any condition here would be asked before the index.
        op.execute(f"CREATE POLICY finder ON {table} FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(TAG)
    op.execute(FOUND)
    op.execute(AMONG)
    for signature in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {tenancy.WEB}")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("search_progress")
    op.drop_table("search_documents")
    op.execute("DROP FUNCTION search_tag")
    for name, table, *_ in (*SORTED, *FILTERED):
        op.drop_index(name, table)
    for name in KEYS:
        op.drop_column("contacts", f"{name}_key")
