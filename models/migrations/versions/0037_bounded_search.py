"""What a search asks of the index is asked of nothing else, and two filters by what few rows have are read from one."""

import importlib

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

# Name, table, columns, and of which rows.
FILTERED = (
    ("ix_contacts_tagged", "contacts", ["workspace_id", "created_at", "id"], "tags <> '{}'"),
    ("ix_conversations_phone_number", "conversations", ["workspace_id", "phone_number_id"], None),
)

# Both functions are planned once for any words, and PostgreSQL thinks that any words are in one of two hundred rows.
# By that it may join the rows that have them with *all* rows of the workspace, a million of them for each bucket.
# ``OFFSET 0`` leaves it no choice: the index of words first, and all other conditions of what that gave.
_WITH_ALL = "(SELECT * FROM search_documents d WHERE d.words @@ asked OFFSET 0) d"

FOUND = f"""
CREATE OR REPLACE FUNCTION search_found(
    kinds text[], wanted text, filtered text, from_bucket int, before_at timestamptz, before_id uuid, most int,
    budget interval, me uuid
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
            SELECT d.subject_id, d.kind, d.bucket, d.at FROM {_WITH_ALL}
            WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = ANY (kinds)
                AND (before_at IS NULL OR place < from_bucket OR (d.at, d.subject_id) < (before_at, before_id))
                AND (d.channel_id IS NULL OR EXISTS (
                    SELECT FROM team_channels c WHERE c.workspace_id = here AND c.id = d.channel_id
                    AND (NOT c.is_private OR EXISTS (
                        SELECT FROM team_channel_members m
                        WHERE m.workspace_id = here AND m.channel_id = c.id AND m.user_id = me
                    ))
                ))
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

AMONG = f"""
CREATE OR REPLACE FUNCTION search_among(kind text, wanted text, filtered text, most int) RETURNS uuid[]
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
            SELECT d.subject_id FROM {_WITH_ALL}
            WHERE (beside IS NULL OR d.words @@ beside) IS TRUE
                AND d.workspace_id = here AND d.bucket = place AND d.kind = sort
            LIMIT most - cardinality(found)
        );
        place := place - 1;
    END LOOP;
    RETURN found;
END
$$
"""


def upgrade() -> None:
    for name, table, columns, only in FILTERED:
        op.create_index(name, table, columns, postgresql_where=sa.text(only) if only else None)
    op.execute(FOUND)
    op.execute(AMONG)


def downgrade() -> None:
    for module, function in (("0009_search", "AMONG"), ("0022_team_channels", "FOUND")):
        before = getattr(importlib.import_module(f"models.migrations.versions.{module}"), function)
        op.execute(before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    for name, table, *_ in FILTERED:
        op.drop_index(name, table)
