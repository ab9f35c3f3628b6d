"""Of the rows that have some words, those that a list shows first are looked for first."""

from alembic import op

from models import tenancy

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

# The ids of rows of a kind that have the words, in the order they were made in, behind the one seen: all, or the first.
#
# A bucket holds what was indexed in the same period, and so what was made in about the same time, but nothing promises
# that. They are looked into by the time of their nearest row, until enough is found that is nearer than all the others.
#
# Of a conversation ``within`` which they are to be, they are only worth looking for where the words are rare: else NULL,
# and its messages are better asked, one after another.
#
# Planned once for any words, which PostgreSQL takes to be in one of two hundred rows, it might join those that have
# them with all rows of the workspace; ``OFFSET 0`` leaves it no choice (0037). Nor may it take most workspaces, which
# have a few rows, for this one, and read all of them to sort them: a bucket's ends stand in their index. (Where it has
# to sort, that is dear now on paper, which is no reason to compile anything.)
COMMON = 600
FIRST = f"""
CREATE FUNCTION search_first(
    sort text, wanted text, filtered text, within uuid, newest boolean, seen_at timestamptz, seen_id uuid, most int
) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    here uuid := nullif(current_setting('{tenancy.WORKSPACE_SETTING}', true), '')::uuid;
    ids uuid[] := ARRAY[]::uuid[];
    times timestamptz[] := ARRAY[]::timestamptz[];
    place record;
    more record;
    asked tsquery;
    beside tsquery;
    is_rare boolean := false;
BEGIN
    FOR place IN
        SELECT b AS bucket, CASE WHEN newest THEN latest ELSE earliest END AS nearest
        FROM generate_series(0, coalesce((SELECT p.bucket FROM search_progress p WHERE p.workspace_id = here), 0)) AS b
        CROSS JOIN LATERAL (
            SELECT d.at AS earliest FROM search_documents d
            WHERE d.workspace_id = here AND d.kind = sort AND d.bucket = b ORDER BY d.at LIMIT 1
        ) AS first
        CROSS JOIN LATERAL (
            SELECT d.at AS latest FROM search_documents d
            WHERE d.workspace_id = here AND d.kind = sort AND d.bucket = b ORDER BY d.at DESC LIMIT 1
        ) AS last
        WHERE seen_at IS NULL OR CASE WHEN newest THEN earliest <= seen_at ELSE latest >= seen_at END
        ORDER BY CASE WHEN newest THEN latest END DESC, earliest
    LOOP
        EXIT WHEN cardinality(ids) >= most AND (
            SELECT count(*) FROM unnest(times) AS t
            WHERE CASE WHEN newest THEN t > place.nearest ELSE t < place.nearest END
        ) >= most;
        asked := replace(wanted, chr(1), search_tag(here, sort, place.bucket))::tsquery;
        beside := replace(filtered, chr(1), search_tag(here, sort, place.bucket))::tsquery;
        IF within IS NOT NULL AND NOT is_rare THEN
            PERFORM FROM search_documents d WHERE d.words @@ asked OFFSET {COMMON} LIMIT 1;
            IF FOUND THEN
                RETURN NULL;
            END IF;
            is_rare := true;
        END IF;
        SELECT array_agg(h.subject_id) AS ids, array_agg(h.at) AS times INTO more FROM (
            SELECT d.subject_id, d.at FROM (SELECT * FROM search_documents d WHERE d.words @@ asked OFFSET 0) d
            WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place.bucket AND d.kind = sort
                AND (seen_at IS NULL OR CASE
                    WHEN newest THEN (d.at, d.subject_id) < (seen_at, seen_id)
                    ELSE (d.at, d.subject_id) > (seen_at, seen_id)
                END)
                AND (within IS NULL OR within = (
                    SELECT m.conversation_id FROM conversation_messages m
                    WHERE m.workspace_id = here AND m.id = d.subject_id
                ))
            ORDER BY CASE WHEN newest THEN d.at END DESC, CASE WHEN newest THEN d.subject_id END DESC, d.at, d.subject_id
            LIMIT most
        ) AS h;
        ids := ids || more.ids;
        times := times || more.times;
    END LOOP;
    RETURN ARRAY(
        SELECT f.id FROM unnest(ids, times) AS f (id, at)
        ORDER BY CASE WHEN newest THEN f.at END DESC, CASE WHEN newest THEN f.id END DESC, f.at, f.id
        LIMIT most
    );
END
$$
"""
SIGNATURE = "search_first(text, text, text, uuid, boolean, timestamptz, uuid, int)"


def upgrade() -> None:
    op.create_index("ix_search_documents_bucket", "search_documents", ["workspace_id", "kind", "bucket", "at"])
    op.execute(FIRST)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO {tenancy.WEB}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    op.drop_index("ix_search_documents_bucket", "search_documents")
