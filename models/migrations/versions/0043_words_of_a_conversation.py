"""Words of one conversation are looked up among its own messages, however many others have them."""

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_BEFORE = importlib.import_module("models.migrations.versions.0040_read_in_order")
_COMMON = "sqrt(most * 20000.0)::int"
# A conversation of so many messages is read; of a longer one the nearest, which are enough if most of them are meant.
READ, NEAREST = 1_000, 200
# If more messages in a bucket have the whole words, it is worth looking up too what begins as the last one does.
PLENTY = 100

# Whose messages these are, as the index of words knows it beside the words. No other index does, and so none is taken
# instead by a plan that is made without knowing the words.
_IS_WITHIN = "ARRAY[d.conversation_id] @> ARRAY[within]"


def _having(which: str) -> str:
    """The first rows that have the words, behind the edge, and how many have them at all, as far as is counted."""
    return f"""WITH has AS MATERIALIZED (
            SELECT * FROM search_documents d WHERE {which} LIMIT bound + 1
        )
        SELECT (SELECT count(*) FROM has), array_agg(h.subject_id), array_agg(h.at) INTO met, ids, times FROM (
            SELECT d.subject_id, d.at FROM has d
            WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = sort
                AND (within IS NULL OR d.conversation_id = within)
                AND CASE
                    WHEN newest THEN (d.at, d.subject_id) < (edge_at, edge_id)
                    ELSE (d.at, d.subject_id) > (edge_at, edge_id)
                END
                AND {_BEFORE._MAY_SEE}
            ORDER BY
                CASE WHEN newest THEN d.at END DESC, CASE WHEN newest THEN d.subject_id END DESC, d.at, d.subject_id
            LIMIT most
        ) AS h;"""


# The first rows of a kind in one bucket that have the words, behind an edge: their ids and times; and how many rows of
# the bucket have the words, about. Of a conversation ``within`` it says nothing true if those are more than are counted.
# It is planned with the settings of the two that call it: setting them for each bucket took longer than most look-ups.
BUCKET = f"""
CREATE OR REPLACE FUNCTION search_bucket(
    here uuid, sort text, place int, asked tsquery, beside tsquery, within uuid, newest boolean, edge_at timestamptz,
    edge_id uuid, most int, me uuid, OUT met int, OUT ids uuid[], OUT times timestamptz[]
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_variable
DECLARE
    bound int := {_COMMON};
BEGIN
    IF within IS NOT NULL THEN
        {_having(f"d.words @@ asked AND {_IS_WITHIN}")}
        RETURN;
    END IF;
    {_having("d.words @@ asked")}
    IF met <= bound THEN
        RETURN;
    END IF;
    {_BEFORE._OF_BUCKET}
END
$$
"""

_NEAREST_OF_CONVERSATION = _BEFORE._in_order(
    f"""(
                SELECT * FROM search_documents d
                WHERE d.workspace_id = here AND d.conversation_id = within AND {{behind}}
                ORDER BY d.at {{way}}, d.subject_id {{way}} LIMIT CASE WHEN is_long THEN {NEAREST} ELSE {READ} END
            ) d
            WHERE {_BEFORE._HAS_ALL}"""
)

FIRST = f"""
CREATE OR REPLACE FUNCTION search_first(
    sort text, wanted text, filtered text, within uuid, newest boolean, seen_at timestamptz, seen_id uuid, most int
) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
{_BEFORE._SETTINGS}
AS $$
#variable_conflict use_variable
DECLARE
    {_BEFORE._HERE}
    edge_at timestamptz := coalesce(seen_at, CASE WHEN newest THEN 'infinity' ELSE '-infinity' END::timestamptz);
    edge_id uuid := coalesce(seen_id, '00000000-0000-0000-0000-000000000000');
    last int := coalesce((SELECT p.bucket FROM search_progress p WHERE p.workspace_id = here), 0);
    all_ids uuid[] := ARRAY[]::uuid[];
    all_times timestamptz[] := ARRAY[]::timestamptz[];
    ids uuid[];
    times timestamptz[];
    is_long boolean;
    place record;
    more record;
    whole tsquery[];
BEGIN
    IF within IS NOT NULL THEN
        whole := ARRAY(
            SELECT replace(concat_ws(' & ', wanted, filtered), chr(1), search_tag(here, sort, b))::tsquery
            FROM generate_series(0, last + 1) AS b ORDER BY b
        );
        PERFORM FROM search_documents d WHERE d.workspace_id = here AND d.conversation_id = within OFFSET {READ}
            LIMIT 1;
        is_long := FOUND;
        {_NEAREST_OF_CONVERSATION}
        IF cardinality(ids) >= most OR NOT is_long THEN
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
        IF within IS NOT NULL AND filtered IS NOT NULL AND more.met > {PLENTY} THEN
            wanted := concat_ws(' & ', wanted, filtered);
            filtered := NULL;
            IF more.met > {_COMMON} THEN
                more := search_bucket(
                    here, sort, place.bucket, replace(wanted, chr(1), search_tag(here, sort, place.bucket))::tsquery,
                    NULL, within, newest, edge_at, edge_id, most, NULL
                );
            END IF;
        END IF;
        IF within IS NOT NULL AND more.met > {_COMMON} THEN
            {_BEFORE._OF_CONVERSATION}
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
WORDS = "ix_search_documents_words"


def upgrade() -> None:
    _index("words", sa.text("(ARRAY[conversation_id])"))
    op.execute(BUCKET)
    op.execute(FIRST)


def downgrade() -> None:
    for function in (_BEFORE.BUCKET, _BEFORE.FIRST):
        op.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    _index("words")


def _index(*columns: str | sa.TextClause) -> None:
    op.drop_index(WORDS, "search_documents")
    op.create_index(
        WORDS,
        "search_documents",
        list(columns),
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 256},
    )
