"""Row security, proved on every tenant table the database knows, not on a list of ours."""

import re
import uuid
from typing import Any

import asyncpg
import pytest
from sqlalchemy import CheckConstraint, Table
from sqlalchemy.dialects import postgresql

from comms import jobs
from comms.database import Urls
from models import Base
from models.base import new_id, now
from models.tenancy import RIGHTS
from tests.make.rows import is_back

TENANT_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped)
    ORDER BY 1
"""

SPELT: dict[str, Any] = {
    "phone_number": lambda: "+14155550100",
    "slug": lambda: f"slug-{uuid.uuid4()}",
    "currency": lambda: "USD",
    "price": lambda: 0,
    "answer_within_seconds": lambda: 3600,
    "steps": lambda: "[]",
    "asked": lambda: "[]",
    "refused": lambda: "[]",
    "failures": lambda: 0,
}
"""Columns that do not take just anything of their type."""

LEFT_OUT = {
    ("agent_pending_actions", "passed_alone"),
    ("agent_pending_actions", "performed_by"),
    ("conversations", "assigned_to"),
    ("conversations", "agent_id"),
    ("conversation_handoffs", "target_user_id"),
    ("conversation_handoffs", "target_agent_id"),
    ("team_channels", "first_user_id"),
    ("team_channels", "second_user_id"),
    ("team_message_links", "contact_id"),
    ("team_message_links", "deal_id"),
}
"""Columns that must be empty in an ordinary row."""

ONE_OF = {
    "team_message_links": ("conversation_id", "contact_id", "deal_id"),
    "conversation_handoffs": ("target_user_id", "target_agent_id", "target_team_id"),
    "conversations": ("assigned_to", "agent_id", "waiting_since"),
}
"""Columns of which one alone has a value."""

ALONG = {("conversations", "agent_id"): "lease_expires_at = now()"}
"""What a column with a value takes besides."""


def _value(table: Table, name: str, made: dict[tuple[str, str], Any], workspace_id: uuid.UUID) -> Any:
    """Something the column takes: what it refers to, the first value its check allows, or anything of its type."""
    column = table.c[name]
    if name == "workspace_id":
        return workspace_id
    if (table.name, name) in LEFT_OUT:
        return None
    for key in column.foreign_keys:
        if is_back(key):
            continue
        other = key.column
        if other.table.name == table.name and column.nullable:
            return None
        return made[other.table.name, other.name]
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            allowed = re.match(rf"{name} IN \('([^']*)'", str(constraint.sqltext))
            if allowed:
                return allowed[1]
    if column.nullable and name != "contact_id":
        return None
    kind = str(column.type.compile(postgresql.dialect())).upper()
    if name in SPELT:
        return SPELT[name]()
    values: dict[str, Any] = {
        "TEXT": f"text {uuid.uuid4()}",
        "UUID": new_id(),
        "BOOLEAN": True,
        "JSONB": "{}",
        "JSON": "{}",
        "TEXT[]": [],
        "UUID[]": [],
        "BYTEA": b"x",
        "DATE": now().date(),
        "TIMESTAMP WITH TIME ZONE": now(),
        "BIGINT": 1,
        "INTEGER": 1,
        "NUMERIC(14, 2)": 1,
        "TSVECTOR": "",
    }
    return values[kind]


async def _fill(admin: Any, workspace_id: uuid.UUID) -> None:
    """One row in every table, for one workspace."""
    made: dict[tuple[str, str], Any] = {("workspaces", "id"): workspace_id}
    for table in Base.metadata.sorted_tables:
        row = {
            column.name: _value(table, column.name, made, workspace_id)
            for column in table.columns
            if column.computed is None
        }
        if table.name == "workspaces":
            row["id"] = workspace_id
        for name in [name for name, value in row.items() if value is None]:
            del row[name]
        names = ", ".join(row)
        marks = ", ".join(f"${position}" for position in range(1, len(row) + 1))
        inserted = await admin.fetchrow(
            f"INSERT INTO {table.name} ({names}) VALUES ({marks}) RETURNING *", *row.values()
        )
        made |= {(table.name, name): value for name, value in inserted.items()}


@pytest.fixture
async def two_workspaces(admin: Any) -> tuple[uuid.UUID, uuid.UUID]:
    """Every table holds one row of ours and one of theirs."""
    ours, theirs = new_id(), new_id()
    for workspace_id in (ours, theirs):
        async with admin.transaction():
            await _fill(admin, workspace_id)
    return ours, theirs


@pytest.fixture
async def tables(admin: Any) -> list[str]:
    return [row[0] for row in await admin.fetch(TENANT_TABLES)]


@pytest.fixture
async def web(urls: Urls) -> Any:
    connection = await asyncpg.connect(urls.web.plain)
    yield connection
    await connection.close()


async def _as(web: Any, workspace_id: uuid.UUID | None) -> None:
    await web.execute("SELECT set_config('app.workspace_id', $1, true)", str(workspace_id or ""))


async def test_the_web_role_owns_nothing_and_is_no_superuser(admin: Any) -> None:
    roles = await admin.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname LIKE 'comms%'"
    )
    assert {row["rolname"] for row in roles} == {"comms_web", "comms_worker"}
    assert not any(row["rolsuper"] or row["rolbypassrls"] or row["rolcreaterole"] for row in roles)
    assert not await admin.fetch("SELECT FROM pg_tables WHERE tableowner LIKE 'comms%'")


async def test_every_tenant_table_has_row_security_forced(admin: Any, tables: list[str]) -> None:
    assert len(tables) >= 18
    for table in [*tables, "workspaces", "users"]:
        enabled, forced = await admin.fetchrow(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = $1::regclass", table
        )
        assert enabled, table
        assert forced, table


async def test_keys_of_every_tenant_table_begin_with_the_workspace(admin: Any, tables: list[str]) -> None:
    rows = await admin.fetch(
        """
        SELECT c.conname, c.contype, t.relname, f.relname AS referred, (
            SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, ord)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum) AS columns
        FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_class f ON f.oid = c.confrelid
        WHERE t.relname = ANY($1) AND c.contype IN ('p', 'u', 'f')
        """,
        tables,
    )
    for row in rows:
        if row["referred"] == "users":  # global; a member's own row is the only one that refers to it
            assert row["relname"] == "workspace_members"
            continue
        assert row["columns"][0] == "workspace_id", row["conname"]
    unique = await admin.fetch(
        """
        SELECT i.indexrelid::regclass::text AS name, a.attname AS first FROM pg_index i
        JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indisunique AND t.relname = ANY($1)
        """,
        tables,
    )
    for row in unique:
        assert row["first"] == "workspace_id", row["name"]


async def test_without_a_workspace_nothing_is_seen(web: Any, two_workspaces: Any, tables: list[str]) -> None:
    for table in [*tables, "workspaces", "users"]:
        assert await web.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_only_the_own_workspace_is_seen(
    web: Any, admin: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID], tables: list[str]
) -> None:
    ours, _ = two_workspaces
    for table in tables:
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 2, f"{table} has no row to be seen"
        async with web.transaction():
            await _as(web, ours)
            seen = await web.fetch(f"SELECT workspace_id FROM {table}")
        assert [row[0] for row in seen] == [ours], table
    async with web.transaction():
        await _as(web, ours)
        assert await web.fetchval("SELECT array_agg(id) FROM workspaces") == [ours]
        assert await web.fetchval("SELECT count(*) FROM users") == 1


async def test_nothing_of_another_workspace_can_be_changed_or_deleted(
    web: Any, admin: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID], tables: list[str]
) -> None:
    ours, theirs = two_workspaces
    for table in tables:
        before = await admin.fetch(f"SELECT * FROM {table} WHERE workspace_id = $1", theirs)
        for statement in (f"UPDATE {table} SET workspace_id = workspace_id", f"DELETE FROM {table}"):
            transaction = web.transaction()
            await transaction.start()
            await _as(web, ours)
            try:
                done = await web.execute(f"{statement} WHERE workspace_id = $1", theirs)
                assert done.endswith(" 0"), (table, statement)
            except asyncpg.InsufficientPrivilegeError:
                assert "UPDATE" not in RIGHTS.get(table, "UPDATE"), f"{table} is not append-only"
            await transaction.rollback()
        assert await admin.fetch(f"SELECT * FROM {table} WHERE workspace_id = $1", theirs) == before


async def test_no_row_can_be_written_into_another_workspace(
    web: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID], tables: list[str]
) -> None:
    ours, theirs = two_workspaces
    for table in tables:
        rows = Base.metadata.tables[table]
        names = ", ".join(column.name for column in rows.columns if column.computed is None)
        copied = ", ".join(
            "$1::uuid" if column.name == "workspace_id" else column.name
            for column in rows.columns
            if column.computed is None
        )
        transaction = web.transaction()
        await transaction.start()
        await _as(web, ours)
        refusal = "row-level security" if "INSERT" in RIGHTS.get(table, "INSERT") else "permission denied"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=refusal):
            await web.execute(f"INSERT INTO {table} ({names}) SELECT {copied} FROM {table}", theirs)
        await transaction.rollback()


REFERENCES = """
    SELECT t.relname AS "table", f.relname AS referred_table, (
        SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, ord)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum) AS referring, (
        SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, ord)
        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.attnum) AS referred
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
    WHERE c.contype = 'f' AND t.relnamespace = 'public'::regnamespace
        AND (has_any_column_privilege('comms_web', t.oid, 'INSERT')
            OR has_any_column_privilege('comms_web', t.oid, 'UPDATE'))
    ORDER BY 1, 3
"""


async def _theirs(admin: Any, table: str, column: str, workspace_id: uuid.UUID) -> Any:
    """What a column says in a row of that workspace; a user is its member."""
    if table == "users":
        return await admin.fetchval("SELECT user_id FROM workspace_members WHERE workspace_id = $1", workspace_id)
    of = "id" if table == "workspaces" else "workspace_id"
    return await admin.fetchval(f"SELECT {column} FROM {table} WHERE {of} = $1", workspace_id)


async def test_no_row_can_refer_to_one_of_another_workspace(
    web: Any, admin: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID]
) -> None:
    ours, theirs = two_workspaces
    tried = set()
    for key in await admin.fetch(REFERENCES):
        table, referring, referred = key["table"], key["referring"][:2][-1], key["referred"][:2][-1]
        foreign = await _theirs(admin, key["referred_table"], referred, theirs)
        assert foreign is not None, (table, referring)
        transaction = web.transaction()
        await transaction.start()
        await _as(web, ours)
        await web.execute("SET CONSTRAINTS ALL IMMEDIATE")
        others = set(ONE_OF.get(table, ())) - {referring} if referring in ONE_OF.get(table, ()) else ()
        cleared = [f"{name} = NULL" for name in others]
        cleared += [ALONG[table, referring]] if (table, referring) in ALONG else []
        try:
            done = await web.execute(f"UPDATE {table} SET {', '.join([f'{referring} = $1', *cleared])}", foreign)
        except (asyncpg.ForeignKeyViolationError, asyncpg.InsufficientPrivilegeError):
            done = "refused"
        assert done == "refused", (table, referring)
        await transaction.rollback()
        tried.add((table, referring))
    assert len(tried) > 150
    assert {("workspace_members", "user_id"), ("agent_packs", "author_id")} <= tried


async def test_nobody_becomes_a_member_or_is_seen_because_the_web_role_says_so(
    web: Any, admin: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID]
) -> None:
    ours, theirs = two_workspaces
    user = await _theirs(admin, "users", "id", theirs)
    for statement in (
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, created_at, updated_at)"
        f" VALUES ('{ours}', gen_random_uuid(), $1, 'member', now(), now())",
        "UPDATE workspace_members SET user_id = $1",
    ):
        transaction = web.transaction()
        await transaction.start()
        await _as(web, ours)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await web.execute(statement, user)
        await transaction.rollback()


async def test_no_bell_can_be_rung_for_another_workspace(
    urls: Urls, web: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID]
) -> None:
    ours, theirs = two_workspaces
    for payload in ({"workspaceId": ours, "x": theirs}, {"storageKey": f"{ours}/file"}, {}):
        async with web.transaction():
            await _as(web, ours)
            await jobs.enqueue(web, "bell", [payload])
    for payload in ({"workspaceId": theirs}, {"storageKey": f"{theirs}/file"}):
        transaction = web.transaction()
        await transaction.start()
        await _as(web, ours)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await jobs.enqueue(web, "bell", [payload])
        await transaction.rollback()
    worker = await asyncpg.connect(urls.worker.plain)
    assert await worker.fetchval("SELECT count(*) FROM jobs.pgqueuer WHERE entrypoint = 'bell'") == 3
    await worker.close()


async def test_the_worker_role_sees_every_workspace_by_a_policy_of_its_own(
    urls: Urls, two_workspaces: tuple[uuid.UUID, uuid.UUID], tables: list[str]
) -> None:
    worker = await asyncpg.connect(urls.worker.plain)
    for table in tables:
        assert await worker.fetchval(f"SELECT count(*) FROM {table}") == 2, table
    await worker.close()


async def test_the_web_role_reads_nobodys_jobs_and_changes_nobody(
    web: Any, two_workspaces: tuple[uuid.UUID, uuid.UUID]
) -> None:
    ours, _ = two_workspaces
    for statement in (
        "SELECT payload FROM jobs.pgqueuer",
        "SELECT * FROM jobs.pgqueuer_log",
        "DELETE FROM jobs.pgqueuer",
        "UPDATE users SET first_name = 'x'",
        "DELETE FROM users",
    ):
        transaction = web.transaction()
        await transaction.start()
        await _as(web, ours)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await web.execute(statement)
        await transaction.rollback()
