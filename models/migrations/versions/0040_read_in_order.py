"""Words that many rows have are read in the order asked for, a conversation's in its own; mails are found as mails."""

import importlib

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

# If more of a bucket's rows have the words, the first are met sooner by reading the rows in order than by looking up all
# that have them to sort those: so many are read as are wanted, divided by the share that has the words.
_COMMON = "sqrt(most * 20000.0)::int"
# A conversation of so many messages is read; of a longer one as many first, and all if the words are not RARE.
READ, RARE = 1_000, 150

_HERE = f"here uuid := nullif(current_setting('{tenancy.WORKSPACE_SETTING}', true), '')::uuid;"
_SETTINGS = """SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan"""
_FOUND = importlib.import_module("models.migrations.versions.0037_bounded_search")
_FIRST = importlib.import_module("models.migrations.versions.0038_first_rows")

# What is said in a private team channel is found by those who belong to it; without ``me`` nobody in particular asks.
_MAY_SEE = """(me IS NULL OR d.channel_id IS NULL OR EXISTS (
            SELECT FROM team_channels c WHERE c.workspace_id = here AND c.id = d.channel_id
            AND (NOT c.is_private OR EXISTS (
                SELECT FROM team_channel_members m
                WHERE m.workspace_id = here AND m.channel_id = c.id AND m.user_id = me
            ))
        ))"""


def _in_order(rows: str) -> str:
    """The ids and times of the first of ``rows``, from the newest on or from the oldest: an index knows both orders."""

    def from_(newest: bool) -> str:
        sign, way = ("<", "DESC") if newest else (">", "ASC")
        return f"""SELECT array_agg(h.subject_id), array_agg(h.at) INTO ids, times FROM (
            SELECT d.subject_id, d.at FROM {rows.format(way=way, behind=f"(d.at, d.subject_id) {sign} (edge_at, edge_id)")}
            ORDER BY d.at {way}, d.subject_id {way} LIMIT most
        ) AS h;"""

    return f"""IF newest THEN
        {from_(True)}
    ELSE
        {from_(False)}
    END IF;"""


# ``IS TRUE`` hides the words from the planner: it would look up in their own index what is to be read in order.
_OF_BUCKET = _in_order(
    f"""search_documents d
            WHERE d.workspace_id = here AND d.kind = sort AND d.bucket = place AND {{behind}}
                AND (d.words @@ asked) IS TRUE AND (beside IS NULL OR d.words @@ beside) IS TRUE
                AND {_MAY_SEE}"""
)
_HAS_ALL = "d.kind = sort AND (d.words @@ whole[d.bucket + 1]) IS TRUE"
_OF_CONVERSATION = _in_order(
    f"""search_documents d
            WHERE d.workspace_id = here AND d.conversation_id = within AND {{behind}} AND {_HAS_ALL}"""
)
_NEAREST_OF_CONVERSATION = _in_order(
    f"""(
                SELECT * FROM search_documents d
                WHERE d.workspace_id = here AND d.conversation_id = within AND {{behind}}
                ORDER BY d.at {{way}}, d.subject_id {{way}} LIMIT {READ}
            ) d
            WHERE {_HAS_ALL}"""
)

# The first rows of a kind in one bucket that have the words, behind an edge: their ids and times; and how many rows of
# the bucket have the words, about. Of a conversation ``within`` it says nothing true if those are more than RARE.
BUCKET = f"""
CREATE FUNCTION search_bucket(
    here uuid, sort text, place int, asked tsquery, beside tsquery, within uuid, newest boolean, edge_at timestamptz,
    edge_id uuid, most int, me uuid, OUT met int, OUT ids uuid[], OUT times timestamptz[]
)
LANGUAGE plpgsql STABLE
{_SETTINGS}
AS $$
#variable_conflict use_variable
DECLARE
    bound int := CASE WHEN within IS NULL THEN {_COMMON} ELSE {RARE} END;
BEGIN
    WITH has AS MATERIALIZED (SELECT * FROM search_documents d WHERE d.words @@ asked LIMIT bound + 1)
    SELECT (SELECT count(*) FROM has), array_agg(h.subject_id), array_agg(h.at) INTO met, ids, times FROM (
        SELECT d.subject_id, d.at FROM has d
        WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
            AND d.workspace_id = here AND d.bucket = place AND d.kind = sort
            AND CASE
                WHEN newest THEN (d.at, d.subject_id) < (edge_at, edge_id)
                ELSE (d.at, d.subject_id) > (edge_at, edge_id)
            END
            AND (within IS NULL OR d.conversation_id = within)
            AND {_MAY_SEE}
        ORDER BY CASE WHEN newest THEN d.at END DESC, CASE WHEN newest THEN d.subject_id END DESC, d.at, d.subject_id
        LIMIT most
    ) AS h;
    IF met <= bound OR within IS NOT NULL THEN
        RETURN;
    END IF;
    {_OF_BUCKET}
END
$$
"""

FIRST = f"""
CREATE OR REPLACE FUNCTION search_first(
    sort text, wanted text, filtered text, within uuid, newest boolean, seen_at timestamptz, seen_id uuid, most int
) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
{_SETTINGS}
AS $$
#variable_conflict use_variable
DECLARE
    {_HERE}
    edge_at timestamptz := coalesce(seen_at, CASE WHEN newest THEN 'infinity' ELSE '-infinity' END::timestamptz);
    edge_id uuid := coalesce(seen_id, '00000000-0000-0000-0000-000000000000');
    last int := coalesce((SELECT p.bucket FROM search_progress p WHERE p.workspace_id = here), 0);
    all_ids uuid[] := ARRAY[]::uuid[];
    all_times timestamptz[] := ARRAY[]::timestamptz[];
    ids uuid[];
    times timestamptz[];
    place record;
    more record;
    whole tsquery[];
BEGIN
    IF within IS NOT NULL THEN
        whole := ARRAY(
            SELECT replace(concat_ws(' & ', wanted, filtered), chr(1), search_tag(here, sort, b))::tsquery
            FROM generate_series(0, last + 1) AS b ORDER BY b
        );
        {_NEAREST_OF_CONVERSATION}
        IF cardinality(ids) >= most THEN
            RETURN ids;
        END IF;
        PERFORM FROM search_documents d WHERE d.workspace_id = here AND d.conversation_id = within OFFSET {READ}
            LIMIT 1;
        IF NOT FOUND THEN
            RETURN coalesce(ids, all_ids);
        END IF;
    END IF;
    FOR place IN
        SELECT b AS bucket, CASE WHEN newest THEN latest ELSE earliest END AS nearest
        FROM generate_series(0, last) AS b
        CROSS JOIN LATERAL (
            SELECT d.at AS earliest FROM search_documents d
            WHERE d.workspace_id = here AND d.kind = sort AND d.bucket = b ORDER BY d.at, d.subject_id LIMIT 1
        ) AS first
        CROSS JOIN LATERAL (
            SELECT d.at AS latest FROM search_documents d
            WHERE d.workspace_id = here AND d.kind = sort AND d.bucket = b ORDER BY d.at DESC, d.subject_id DESC LIMIT 1
        ) AS last
        WHERE CASE WHEN newest THEN earliest <= edge_at ELSE latest >= edge_at END
        ORDER BY CASE WHEN newest THEN latest END DESC, earliest
    LOOP
        EXIT WHEN cardinality(all_ids) >= most AND (
            SELECT count(*) FROM unnest(all_times) AS t
            WHERE CASE WHEN newest THEN t > place.nearest ELSE t < place.nearest END
        ) >= most;
        more := search_bucket(
            here, sort, place.bucket, replace(wanted, chr(1), search_tag(here, sort, place.bucket))::tsquery,
            replace(filtered, chr(1), search_tag(here, sort, place.bucket))::tsquery,
            within, newest, edge_at, edge_id, most, NULL
        );
        IF within IS NOT NULL AND more.met > {RARE} THEN
            {_OF_CONVERSATION}
            RETURN coalesce(ids, ARRAY[]::uuid[]);
        END IF;
        all_ids := all_ids || more.ids;
        all_times := all_times || more.times;
    END LOOP;
    RETURN ARRAY(
        SELECT f.id FROM unnest(all_ids, all_times) AS f (id, at)
        ORDER BY CASE WHEN newest THEN f.at END DESC, CASE WHEN newest THEN f.id END DESC, f.at, f.id
        LIMIT most
    );
END
$$
"""

FOUND = f"""
CREATE OR REPLACE FUNCTION search_found(
    kinds text[], wanted text, filtered text, from_bucket int, before_at timestamptz, before_id uuid, most int,
    budget interval, me uuid
) RETURNS TABLE (subject_id uuid, kind text, bucket int, at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
{_SETTINGS}
AS $$
#variable_conflict use_column
DECLARE
    {_HERE}
    ends timestamptz := clock_timestamp() + budget;
    place int := from_bucket;
    edge_at timestamptz := coalesce(before_at, 'infinity');
    edge_id uuid := coalesce(before_id, '00000000-0000-0000-0000-000000000000');
    asked tsquery;
    beside tsquery;
    bound int := {_COMMON};
    hits record;
    there int;
BEGIN
    me := coalesce(me, '00000000-0000-0000-0000-000000000000');
    IF place IS NULL THEN
        SELECT p.bucket INTO place FROM search_progress p WHERE p.workspace_id = here;
        place := coalesce(place, 0);
    END IF;
    -- Some kinds have no rows in the latest buckets.
    place := (
        SELECT max(b.bucket) FROM unnest(kinds) AS k CROSS JOIN LATERAL (
            SELECT d.bucket FROM search_documents d
            WHERE d.workspace_id = here AND d.kind = k AND d.bucket <= place
            ORDER BY d.bucket DESC, d.at DESC, d.subject_id DESC LIMIT 1
        ) AS b
    );
    IF place < from_bucket THEN
        edge_at := 'infinity';
    END IF;
    WHILE place >= 0 AND most > 0 LOOP
        SELECT string_agg('(' || replace(wanted, chr(1), search_tag(here, k, place)) || ')', ' | ')::tsquery,
            string_agg('(' || replace(filtered, chr(1), search_tag(here, k, place)) || ')', ' | ')::tsquery
        INTO asked, beside FROM unnest(kinds) AS k;
        WITH has AS MATERIALIZED (SELECT * FROM search_documents d WHERE d.words @@ asked LIMIT bound + 1)
        SELECT (SELECT count(*) FROM has) AS met, array_agg(h.subject_id) AS ids, array_agg(h.kind) AS sorts,
            array_agg(h.at) AS times
        INTO hits FROM (
            SELECT d.subject_id, d.kind, d.at FROM has d
            WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = ANY (kinds)
                AND (d.at, d.subject_id) < (edge_at, edge_id)
                AND {_MAY_SEE}
            ORDER BY d.at DESC, d.subject_id DESC LIMIT most
        ) AS h;
        IF hits.met <= bound THEN
            RETURN QUERY SELECT f.id, f.sort, place, f.at FROM unnest(hits.ids, hits.sorts, hits.times) AS f (id, sort, at);
        ELSE
            RETURN QUERY
                SELECT f.id, k, place, f.at FROM unnest(kinds) AS k
                CROSS JOIN LATERAL search_bucket(
                    here, k, place, replace(wanted, chr(1), search_tag(here, k, place))::tsquery,
                    replace(filtered, chr(1), search_tag(here, k, place))::tsquery,
                    NULL, true, edge_at, edge_id, most, me
                ) AS b
                CROSS JOIN LATERAL unnest(b.ids, b.times) AS f (id, at)
                ORDER BY f.at DESC, f.id DESC LIMIT most;
        END IF;
        GET DIAGNOSTICS there = ROW_COUNT;
        most := most - there;
        place := place - 1;
        edge_at := 'infinity';
        IF most > 0 AND place >= 0 AND clock_timestamp() > ends THEN
            RETURN QUERY SELECT NULL::uuid, NULL::text, place, NULL::timestamptz;
            RETURN;
        END IF;
    END LOOP;
END
$$
"""
SIGNATURE = "search_bucket(uuid, text, int, tsquery, tsquery, uuid, boolean, timestamptz, uuid, int, uuid)"
# Those of a bucket, and those of a conversation, in the order they are read in.
IN_ORDER = (
    ("ix_search_documents_bucket", ["workspace_id", "kind", "bucket", "at"], None),
    ("ix_search_documents_conversation", ["workspace_id", "conversation_id"], "conversation_id IS NOT NULL"),
)


def upgrade() -> None:
    for name, columns, only in IN_ORDER:
        op.drop_index(name, "search_documents")
        op.create_index(
            name,
            "search_documents",
            [*dict.fromkeys((*columns, "at", "subject_id"))],
            postgresql_where=sa.text(only) if only else None,
        )
    op.add_column("search_documents", sa.Column("mail_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_search_documents_workspace_id_mail_id"),
        "search_documents",
        "mails",
        ["workspace_id", "mail_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "ix_search_documents_mail",
        "search_documents",
        ["workspace_id", "mail_id"],
        postgresql_where=sa.text("mail_id IS NOT NULL"),
    )
    for function in (BUCKET, FIRST, FOUND):
        op.execute(function)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    # The mails there are already are taken in by the worker, after whatever else it has to take in.
    op.execute("ALTER TABLE search_progress NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE search_progress SET backfill = 'mail', backfill_after = NULL WHERE backfill IS NULL")
    op.execute("ALTER TABLE search_progress FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute(_FOUND.FOUND)
    op.execute(_FIRST.FIRST.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    for table in ("search_documents", "search_progress"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE search_progress SET backfill = NULL, backfill_after = NULL WHERE backfill = 'mail'")
    op.execute("DELETE FROM search_documents WHERE kind = 'mail'")
    for table in ("search_documents", "search_progress"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.drop_column("search_documents", "mail_id")
    for name, columns, only in IN_ORDER:
        op.drop_index(name, "search_documents")
        op.create_index(name, "search_documents", columns, postgresql_where=sa.text(only) if only else None)
