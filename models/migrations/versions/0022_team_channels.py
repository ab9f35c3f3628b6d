"""Team channels whole: pairs and posters in the database, places, reading, revisions, reactions, links, files, search."""

import importlib
from typing import Any

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NEW = (
    "team_channel_readings",
    "team_message_attachments",
    "team_message_reactions",
    "team_message_revisions",
    "team_thread_followings",
    "team_message_links",
)
# What the steps below read and write whole; the owner, if no superuser, is kept from it by its own rows' security.
ALTERED = ("team_channels", "team_channel_members", "team_messages", "search_progress")

# A direct channel of two stays one, the oldest of each pair; any other becomes a private group of who is in it.
PAIRS = """
WITH two AS (
    SELECT c.workspace_id, c.id, min(m.user_id::text)::uuid AS first, max(m.user_id::text)::uuid AS second, c.created_at
    FROM team_channels c JOIN team_channel_members m ON m.workspace_id = c.workspace_id AND m.channel_id = c.id
    WHERE c.type = 'direct' GROUP BY c.workspace_id, c.id, c.created_at HAVING count(*) = 2
),
pairs AS (
    SELECT DISTINCT ON (workspace_id, first, second) * FROM two ORDER BY workspace_id, first, second, created_at, id
)
UPDATE team_channels c SET is_private = true, first_user_id = pairs.first, second_user_id = pairs.second,
    type = CASE WHEN pairs.id IS NULL THEN 'group' ELSE 'direct' END
FROM team_channels o LEFT JOIN pairs ON pairs.workspace_id = o.workspace_id AND pairs.id = o.id
WHERE o.workspace_id = c.workspace_id AND o.id = c.id AND c.type = 'direct'
"""
SEATS = """
UPDATE team_channel_members m SET channel_type = c.type,
    seat = CASE m.user_id WHEN c.first_user_id THEN 1 WHEN c.second_user_id THEN 2 END
FROM team_channels c WHERE c.workspace_id = m.workspace_id AND c.id = m.channel_id
"""
PLACES = """
UPDATE team_messages m SET position = n.position
FROM (
    SELECT workspace_id, id, row_number() OVER (PARTITION BY workspace_id, channel_id ORDER BY created_at, id) AS position
    FROM team_messages
) n WHERE n.workspace_id = m.workspace_id AND n.id = m.id
"""
LAST_PLACES = """
UPDATE team_channels c SET last_position = n.last
FROM (SELECT workspace_id, channel_id, max(position) AS last FROM team_messages GROUP BY 1, 2) n
WHERE n.workspace_id = c.workspace_id AND n.channel_id = c.id
"""
# What answered an answer answers the message that began the thread.
ROOTS = """
WITH RECURSIVE up AS (
    SELECT workspace_id, id, parent_message_id AS root FROM team_messages WHERE parent_message_id IS NOT NULL
    UNION ALL
    SELECT up.workspace_id, up.id, p.parent_message_id FROM up
    JOIN team_messages p ON p.workspace_id = up.workspace_id AND p.id = up.root WHERE p.parent_message_id IS NOT NULL
)
UPDATE team_messages m SET parent_message_id = up.root
FROM up JOIN team_messages p ON p.workspace_id = up.workspace_id AND p.id = up.root
WHERE p.parent_message_id IS NULL AND m.workspace_id = up.workspace_id AND m.id = up.id
    AND m.parent_message_id <> up.root
"""
COUNTS = """
UPDATE team_messages m SET thread_count = n.answers
FROM (
    SELECT p.workspace_id, p.id, count(a.id) AS answers
    FROM team_messages p LEFT JOIN team_messages a ON a.workspace_id = p.workspace_id AND a.parent_message_id = p.id
    GROUP BY 1, 2
) n WHERE n.workspace_id = m.workspace_id AND n.id = m.id AND m.thread_count <> n.answers
"""
READ = """
INSERT INTO team_channel_readings (workspace_id, id, channel_id, user_id, read_position, created_at, updated_at)
SELECT m.workspace_id, gen_random_uuid(), m.channel_id, m.user_id, c.last_position, now(), now()
FROM team_channel_members m JOIN team_channels c ON c.workspace_id = m.workspace_id AND c.id = m.channel_id
"""

# Who may speak is decided when they speak, so no key can hold it: what a policy does not admit is not written.
SPEAKS = f"""
CREATE POLICY speaks ON team_messages AS RESTRICTIVE FOR INSERT TO {tenancy.WEB}, {tenancy.WORKER} WITH CHECK (EXISTS (
    SELECT FROM team_channels c WHERE c.workspace_id = team_messages.workspace_id AND c.id = team_messages.channel_id
    AND (NOT c.is_private OR EXISTS (
        SELECT FROM team_channel_members m WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id
            AND m.user_id = team_messages.sender_id
    ))
    AND (c.type <> 'announcement' OR EXISTS (
        SELECT FROM workspace_members w WHERE w.workspace_id = c.workspace_id AND w.user_id = team_messages.sender_id
            AND w.is_active AND w.role IN ('owner', 'admin')
    ) OR EXISTS (
        SELECT FROM team_channel_members m WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id
            AND m.user_id = team_messages.sender_id AND m.is_poster
    ))
))
"""

# As before, but of what was said in private channels it finds only what ``me`` may see: a page that left it out
# afterwards would be short by what is hidden, and so tell of it.
FOUND = f"""
CREATE FUNCTION search_found(
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
            SELECT d.subject_id, d.kind, d.bucket, d.at FROM search_documents d
            WHERE d.words @@ asked AND (beside IS NULL OR d.words @@ beside) IS TRUE
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
BEFORE = "search_found(text[], text, text, int, timestamptz, uuid, int, interval)"
AFTER = "search_found(text[], text, text, int, timestamptz, uuid, int, interval, uuid)"
FINDS_IN = ("team_channels", "team_channel_members")


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{other}.workspace_id", f"{other}.id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
        ondelete="CASCADE",
    )


def _member(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "user_id"],
        ["workspace_members.workspace_id", "workspace_members.user_id"],
        name=op.f(f"fk_{table}_workspace_id_user_id"),
        ondelete="RESTRICT",
    )


def _table(name: str, *items: Any) -> None:
    op.create_table(
        name,
        *items,
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{name}_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f(f"pk_{name}")),
    )


def _find_by(before: str, function: str, after: str) -> None:
    op.execute(f"DROP FUNCTION {before}")
    op.execute(function)
    op.execute(f"REVOKE ALL ON FUNCTION {after} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {after} TO {tenancy.WEB}")


def upgrade() -> None:
    for table in ALTERED:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    _channels()
    _messages()
    _tables()
    op.execute(READ)
    for table in NEW:
        for statement in tenancy.secured(table):
            op.execute(statement)
    op.execute(SPEAKS)
    op.add_column("uploads", sa.Column("is_private", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    _search()
    for table in ALTERED:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _channels() -> None:
    op.add_column("team_channels", sa.Column("last_position", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("team_channels", sa.Column("first_user_id", sa.Uuid(), nullable=True))
    op.add_column("team_channels", sa.Column("second_user_id", sa.Uuid(), nullable=True))
    group = sa.Column("channel_type", sa.Text(), server_default="group", nullable=False)
    op.add_column("team_channel_members", group)
    op.add_column("team_channel_members", sa.Column("seat", sa.Integer(), nullable=True))
    op.add_column(
        "team_channel_members", sa.Column("is_poster", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.execute(PAIRS)
    op.execute("UPDATE team_channels SET type = 'group' WHERE type = 'general' AND is_private")
    op.execute(SEATS)
    pair = "uq_team_channels_workspace_id_first_user_id_second_user_id"
    op.create_unique_constraint(op.f(pair), "team_channels", ["workspace_id", "first_user_id", "second_user_id"])
    op.create_unique_constraint(
        op.f("uq_team_channels_workspace_id_id_type"), "team_channels", ["workspace_id", "id", "type"]
    )
    for name, law in CHANNEL_LAWS.items():
        op.create_check_constraint(op.f(f"ck_team_channels_{name}"), "team_channels", law)
    for name, law in MEMBER_LAWS.items():
        op.create_check_constraint(op.f(f"ck_team_channel_members_{name}"), "team_channel_members", law)
    op.create_unique_constraint(
        op.f("uq_team_channel_members_workspace_id_channel_id_seat"),
        "team_channel_members",
        ["workspace_id", "channel_id", "seat"],
    )
    op.drop_constraint("fk_team_channel_members_workspace_id_channel_id", "team_channel_members", type_="foreignkey")
    op.create_foreign_key(
        "fk_team_channel_members_channel",
        "team_channel_members",
        "team_channels",
        ["workspace_id", "channel_id", "channel_type"],
        ["workspace_id", "id", "type"],
        onupdate="CASCADE",
        ondelete="CASCADE",
    )
    for column in ("first_user_id", "second_user_id"):
        op.create_foreign_key(
            f"fk_team_channels_{column}_belongs",
            "team_channels",
            "team_channel_members",
            ["workspace_id", "id", column],
            ["workspace_id", "channel_id", "user_id"],
            initially="DEFERRED",
            deferrable=True,
        )


CHANNEL_LAWS = {
    "last_position_range": "last_position >= 0",
    "is_private_general": "type <> 'general' OR NOT is_private",
    "is_private_direct": "type <> 'direct' OR is_private",
    "first_user_id_pair": "first_user_id < second_user_id",
    "type_pair": (
        "CASE WHEN type = 'direct' THEN num_nulls(first_user_id, second_user_id) = 0"
        " ELSE num_nonnulls(first_user_id, second_user_id) = 0 END"
    ),
}
MEMBER_LAWS = {
    "seat_range": "seat BETWEEN 1 AND 2",
    "seat_direct": "(channel_type = 'direct') = (seat IS NOT NULL)",
}
MESSAGE_LAWS = {
    "position_range": "position > 0",
    "deleted_at_empty": (
        "deleted_at IS NULL OR (content = '' AND attachments = '[]' AND mentions = '{}' AND NOT mentions_channel"
        " AND NOT is_pinned)"
    ),
}
# Of those that an expression makes: it, and whether there is always a value.
MADE = (
    ("is_answer", sa.Boolean(), "parent_message_id IS NOT NULL", False),
    ("parent_channel_id", sa.Uuid(), "CASE WHEN parent_message_id IS NOT NULL THEN channel_id END", True),
    ("parent_is_answer", sa.Boolean(), "CASE WHEN parent_message_id IS NOT NULL THEN false END", True),
)
# Name, columns, and of which rows.
MESSAGE_INDEXES = (
    ("calling", ("position",), "mentions_channel OR mentions <> '{}'"),
    ("deleted", ("position",), "deleted_at IS NOT NULL"),
    ("pinned", ("created_at", "id"), "is_pinned"),
    ("sender", ("sender_id", "position"), None),
)


def _messages() -> None:
    op.add_column("team_messages", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(PLACES)
    op.execute(LAST_PLACES)
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")  # no table is altered of which something is still to be checked
    op.execute(ROOTS)
    op.execute(COUNTS)
    op.alter_column("team_messages", "position", nullable=False)
    op.add_column(
        "team_messages", sa.Column("mentions_channel", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("team_messages", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    for name, kind, law, is_nullable in MADE:
        op.add_column("team_messages", sa.Column(name, kind, sa.Computed(law, persisted=True), nullable=is_nullable))
    for name, law in MESSAGE_LAWS.items():
        op.create_check_constraint(op.f(f"ck_team_messages_{name}"), "team_messages", law)
    for name, columns, only in MESSAGE_INDEXES:
        where = None if only is None else sa.text(only)
        op.create_index(
            f"ix_team_messages_{name}",
            "team_messages",
            ["workspace_id", "channel_id", *columns],
            postgresql_where=where,
        )
    place = ["workspace_id", "id", "channel_id", "is_answer"]
    op.create_unique_constraint("uq_team_messages_place", "team_messages", place)
    op.create_unique_constraint(
        op.f("uq_team_messages_workspace_id_channel_id_position"),
        "team_messages",
        ["workspace_id", "channel_id", "position"],
    )
    op.drop_constraint("fk_team_messages_workspace_id_parent_message_id", "team_messages", type_="foreignkey")
    op.create_foreign_key(
        "fk_team_messages_thread",
        "team_messages",
        "team_messages",
        ["workspace_id", "parent_message_id", "parent_channel_id", "parent_is_answer"],
        place,
        ondelete="CASCADE",
    )


def _tables() -> None:
    _table(
        "team_channel_readings",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("read_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("read_position >= 0", name=op.f("ck_team_channel_readings_read_position_range")),
        _refers("team_channel_readings", "channel_id", "team_channels"),
        _member("team_channel_readings"),
        sa.UniqueConstraint(
            "workspace_id",
            "channel_id",
            "user_id",
            name=op.f("uq_team_channel_readings_workspace_id_channel_id_user_id"),
        ),
    )
    op.create_index(
        "ix_team_channel_readings_user",
        "team_channel_readings",
        ["workspace_id", "user_id", "created_at", "id"],
        unique=False,
    )
    _table(
        "team_message_attachments",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.CheckConstraint("size > 0", name=op.f("ck_team_message_attachments_size_range")),
        _refers("team_message_attachments", "message_id", "team_messages"),
    )
    op.create_index(
        "ix_team_message_attachments_message", "team_message_attachments", ["workspace_id", "message_id"], unique=False
    )
    op.create_index(
        "ix_team_message_attachments_storage_key", "team_message_attachments", ["storage_key"], unique=False
    )
    _table(
        "team_message_reactions",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("emoji", sa.Text(), nullable=False),
        _refers("team_message_reactions", "channel_id", "team_channels"),
        _refers("team_message_reactions", "message_id", "team_messages"),
        _member("team_message_reactions"),
        sa.UniqueConstraint(
            "workspace_id",
            "message_id",
            "user_id",
            "emoji",
            name=op.f("uq_team_message_reactions_workspace_id_message_id_user_id_emoji"),
        ),
    )
    op.create_index(
        "ix_team_message_reactions_created",
        "team_message_reactions",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    _table(
        "team_message_revisions",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), server_default="text", nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('text', 'html', 'media', 'system')",
            name=op.f("ck_team_message_revisions_content_type_known"),
        ),
        sa.CheckConstraint("number > 0", name=op.f("ck_team_message_revisions_number_range")),
        _refers("team_message_revisions", "channel_id", "team_channels"),
        _refers("team_message_revisions", "message_id", "team_messages"),
        sa.UniqueConstraint(
            "workspace_id",
            "message_id",
            "number",
            name=op.f("uq_team_message_revisions_workspace_id_message_id_number"),
        ),
    )
    op.create_index(
        "ix_team_message_revisions_created",
        "team_message_revisions",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    _table(
        "team_thread_followings",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("is_following", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _refers("team_thread_followings", "channel_id", "team_channels"),
        _refers("team_thread_followings", "message_id", "team_messages"),
        _member("team_thread_followings"),
        sa.UniqueConstraint(
            "workspace_id",
            "message_id",
            "user_id",
            name=op.f("uq_team_thread_followings_workspace_id_message_id_user_id"),
        ),
    )
    op.create_index(
        "ix_team_thread_followings_user",
        "team_thread_followings",
        ["workspace_id", "user_id", "created_at", "id"],
        unique=False,
    )
    _table(
        "team_message_links",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("deal_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "num_nonnulls(conversation_id, contact_id, deal_id) = 1",
            name=op.f("ck_team_message_links_message_id_one_thing"),
        ),
        _refers("team_message_links", "contact_id", "contacts"),
        _refers("team_message_links", "conversation_id", "conversations"),
        _refers("team_message_links", "deal_id", "deals"),
        _refers("team_message_links", "message_id", "team_messages"),
    )
    op.create_index(
        "ix_team_message_links_contact",
        "team_message_links",
        ["workspace_id", "contact_id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_index(
        "ix_team_message_links_conversation",
        "team_message_links",
        ["workspace_id", "conversation_id"],
        unique=False,
        postgresql_where=sa.text("conversation_id IS NOT NULL"),
    )
    op.create_index(
        "ix_team_message_links_deal",
        "team_message_links",
        ["workspace_id", "deal_id"],
        unique=False,
        postgresql_where=sa.text("deal_id IS NOT NULL"),
    )
    op.create_index("ix_team_message_links_message", "team_message_links", ["workspace_id", "message_id"], unique=False)
    for table in ("team_message_reactions", "team_message_revisions", "team_thread_followings"):
        op.create_index(f"ix_{table}_channel", table, ["workspace_id", "channel_id"])
    op.create_index("ix_team_thread_followings_created", "team_thread_followings", ["workspace_id", "created_at", "id"])


def _search() -> None:
    op.add_column("search_documents", sa.Column("channel_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_search_documents_channel",
        "search_documents",
        ["workspace_id", "channel_id"],
        postgresql_where=sa.text("channel_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_search_documents_workspace_id_channel_id"),
        "search_documents",
        "team_channels",
        ["workspace_id", "channel_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    # For the function, where the owner is no superuser.
    for table in FINDS_IN:
        op.execute(f"CREATE POLICY finder ON {table} FOR SELECT TO CURRENT_USER USING (true)")
    _find_by(BEFORE, FOUND, AFTER)
    # What was said already is taken in by the worker, after whatever else it has to take in.
    op.execute("UPDATE search_progress SET backfill = 'team_message', backfill_after = NULL WHERE backfill IS NULL")


def downgrade() -> None:
    before = importlib.import_module("models.migrations.versions.0009_search")
    _find_by(AFTER, before.FOUND, BEFORE)
    for table in FINDS_IN:
        op.execute(f"DROP POLICY finder ON {table}")
    op.execute("DROP POLICY speaks ON team_messages")
    for table in ("search_progress", "search_documents", "team_messages"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE search_progress SET backfill = NULL, backfill_after = NULL WHERE backfill = 'team_message'")
    op.execute("DELETE FROM search_documents WHERE kind = 'team_message'")
    op.drop_column("search_documents", "channel_id")
    op.drop_column("uploads", "is_private")
    for table in reversed(NEW):
        op.drop_table(table)
    op.drop_constraint("fk_team_messages_thread", "team_messages", type_="foreignkey")
    for name, *_ in MADE:
        op.drop_column("team_messages", name)
    op.execute("DELETE FROM team_messages WHERE deleted_at IS NOT NULL AND thread_count = 0")
    for name in ("position", "mentions_channel", "deleted_at"):
        op.drop_column("team_messages", name)
    op.drop_index("ix_team_messages_pinned", "team_messages")
    op.create_foreign_key(
        op.f("fk_team_messages_workspace_id_parent_message_id"),
        "team_messages",
        "team_messages",
        ["workspace_id", "parent_message_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    for column in ("first_user_id", "second_user_id"):
        op.drop_constraint(f"fk_team_channels_{column}_belongs", "team_channels", type_="foreignkey")
    op.drop_constraint("fk_team_channel_members_channel", "team_channel_members", type_="foreignkey")
    for name in ("channel_type", "seat", "is_poster"):
        op.drop_column("team_channel_members", name)
    op.create_foreign_key(
        op.f("fk_team_channel_members_workspace_id_channel_id"),
        "team_channel_members",
        "team_channels",
        ["workspace_id", "channel_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    for name in ("is_private_general", "is_private_direct"):
        op.drop_constraint(op.f(f"ck_team_channels_{name}"), "team_channels", type_="check")
    op.drop_constraint(op.f("uq_team_channels_workspace_id_id_type"), "team_channels", type_="unique")
    for name in ("last_position", "first_user_id", "second_user_id"):
        op.drop_column("team_channels", name)
    for table in ("search_progress", "search_documents", "team_messages"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
