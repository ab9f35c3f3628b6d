"""The schema's way up and down."""

import asyncio
import importlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from comms import migrations
from comms.database import Database, Urls, as_role
from comms.embedded import Embedded
from comms.migrations import SchemaUnusable
from comms.service import Service
from comms.settings import Secret, Settings
from handlers.app import create_app
from models import Base
from models.migrations import versions
from models.tenancy import WEB, WORKER
from tests.grounds import urls_of
from tests.handlers.descriptions import api
from tests.make import people

pytestmark = pytest.mark.alters_the_schema


@pytest.fixture
async def empty(postgres: Embedded) -> AsyncIterator[Urls]:
    """A database without a schema."""
    name = f"test_{uuid.uuid4().hex}"
    server = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
    await server.execute(f"CREATE DATABASE {name}")
    yield urls_of(postgres, name)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


async def test_the_migrated_schema_is_the_one_the_models_declare(urls: Urls) -> None:
    async def connect() -> Any:
        return await asyncpg.connect(urls.owner.plain)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), Base.metadata)
        )
    await engine.dispose()
    assert differences == []


async def test_all_the_way_down_and_up_again(urls: Urls, database: Database) -> None:
    assert await migrations.downgrade(urls, "base") == "base"
    assert await migrations.upgrade(urls) == migrations.head()
    assert await migrations.is_current(database)


async def test_two_that_migrate_at_once_migrate_once(empty: Urls) -> None:
    assert await asyncio.gather(*(migrations.upgrade(empty) for _ in range(3))) == [migrations.head()] * 3


async def test_who_has_waited_too_long_for_another_that_migrates_is_told_in_a_sentence(
    urls: Urls, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE_SECONDS", 1)
    await admin.execute("SELECT pg_advisory_lock($1)", 0x636F6D6D73)
    with pytest.raises(SchemaUnusable, match="another comms"):
        await migrations.upgrade(urls)
    await admin.execute("SELECT pg_advisory_unlock($1)", 0x636F6D6D73)
    assert await migrations.upgrade(urls) == migrations.head()


async def test_a_migration_that_fails_leaves_nothing(empty: Urls) -> None:
    admin = await asyncpg.connect(empty.owner.plain)
    await admin.execute("CREATE TABLE webhook_receipts ()")  # in the way of the migration, late in its course
    with pytest.raises(Exception, match="webhook_receipts"):
        await migrations.upgrade(empty)
    left = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    await admin.close()
    assert [row[0] for row in left] == ["webhook_receipts"]


async def test_a_schema_of_a_newer_comms_is_refused_in_a_sentence(urls: Urls, admin: Any) -> None:
    await admin.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaUnusable, match="newer comms"):
        await migrations.upgrade(urls)


async def test_an_address_written_in_two_ways_goes_to_who_had_it_first(urls: Urls, admin: Any) -> None:
    [found] = Path(versions.__file__).parent.glob("*_one_address.py")  # whatever its number is by now
    migration = importlib.import_module(f"{versions.__name__}.{found.stem}")
    await migrations.downgrade(urls, migration.down_revision)
    workspace, first, second = (uuid.uuid4() for _ in range(3))
    at = "2026-01-01T00:00:00Z"
    await admin.execute(
        "INSERT INTO workspaces (id, name, slug, created_at, updated_at)"
        f" VALUES ('{workspace}', 'A', 'a', '{at}', '{at}')"
    )
    for place, (contact, email) in enumerate([(first, "Jane@x.example"), (second, "jane@x.example")]):
        await admin.execute(
            "INSERT INTO contacts (workspace_id, id, email, created_at, updated_at)"
            f" VALUES ('{workspace}', '{contact}', '{email}', '{at}', '{at}')"
        )
        for value, is_primary in ((email, True), (f"second{place}@x.example", False)):
            await admin.execute(
                "INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at,"
                f" updated_at) VALUES ('{workspace}', '{uuid.uuid4()}', '{contact}', 'email', '{value}', {is_primary},"
                f" '{at}'::timestamptz + interval '{place} hours', '{at}')"
            )
    await migrations.upgrade(urls)
    kept = await admin.fetch("SELECT id, email, custom_fields->>'duplicateEmail' AS was FROM contacts")
    assert {tuple(row) for row in kept} == {
        (first, "Jane@x.example", None),
        (second, "second1@x.example", "jane@x.example"),
    }
    points = await admin.fetch("SELECT contact_id, value, is_primary FROM contact_points")
    assert {tuple(row) for row in points} == {
        (first, "Jane@x.example", True),
        (first, "second0@x.example", False),
        (second, "second1@x.example", True),
    }


async def test_an_international_domain_is_spelt_in_one_way_and_the_newest_word_counts(urls: Urls, admin: Any) -> None:
    [found] = Path(versions.__file__).parent.glob("*_one_spelling.py")
    migration = importlib.import_module(f"{versions.__name__}.{found.stem}")
    await migrations.downgrade(urls, migration.down_revision)
    own, dns = "Jane@exämple.com", "Jane@xn--exmple-cua.com"
    workspace, first, second, third = (uuid.uuid4() for _ in range(4))
    at = "'2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'"
    await admin.execute(
        f"INSERT INTO workspaces (id, name, slug, created_at, updated_at) VALUES ('{workspace}', 'A', 'a', {at})"
    )
    await admin.execute(f"INSERT INTO users (id, email, created_at, updated_at) VALUES ('{first}', '{own}', {at})")
    for contact, email in ((first, own), (second, dns), (third, "joe@Exämple.com")):
        await admin.execute(
            "INSERT INTO contacts (workspace_id, id, email, created_at, updated_at)"
            f" VALUES ('{workspace}', '{contact}', '{email}', {at})"
        )
        await admin.execute(
            "INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)"
            f" VALUES ('{workspace}', '{contact}', '{contact}', 'email', '{email}', true, {at})"
        )
    words = [(own, "*", "opted_out", 2), (dns, "*", "opted_in", 1), (own, "a@b.c", "opted_in", 1)]
    for address, sender, state, hour in words:
        await admin.execute(
            "INSERT INTO consents (workspace_id, id, address, sender, state, source, channel, since, heard_at,"
            f" entry_id, created_at, updated_at) VALUES ('{workspace}', '{uuid.uuid4()}', '{address}', '{sender}',"
            f" '{state}', 'person', 'email', now(), '2026-01-01T0{hour}:00:00Z', '{uuid.uuid4()}', {at})"
        )
    async with admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")  # whatever else belongs to a mail
        await admin.execute(
            "INSERT INTO mails (workspace_id, id, message_id, sender_address, created_at, updated_at)"
            f" VALUES ('{workspace}', '{first}', '{first}', '{own}', {at})"
        )
    await migrations.upgrade(urls)
    assert await admin.fetchval("SELECT sender_key FROM mails") == dns.lower()
    assert await admin.fetchval("SELECT email FROM users") == dns
    for query in ("SELECT id, email FROM contacts", "SELECT contact_id, value FROM contact_points"):
        theirs = {tuple(row) for row in await admin.fetch(query)}
        assert theirs == {(first, own), (second, dns), (third, dns.lower().replace("jane", "joe"))}
    kept = await admin.fetch("SELECT address, sender, state FROM consents")
    assert {tuple(row) for row in kept} == {(dns, "*", "opted_out"), (dns, "a@b.c", "opted_in")}


async def test_channels_and_what_was_said_in_them_are_as_they_must_be_from_now_on(urls: Urls, admin: Any) -> None:
    [found] = Path(versions.__file__).parent.glob("*_team_channels.py")
    migration = importlib.import_module(f"{versions.__name__}.{found.stem}")
    await migrations.downgrade(urls, migration.down_revision)
    workspace, *people = sorted(uuid.uuid4() for _ in range(4))
    times = "now(), now()"
    await admin.execute(
        f"INSERT INTO workspaces (id, name, slug, created_at, updated_at) VALUES ('{workspace}', 'A', 'a', {times})"
    )
    for person in people:
        await admin.execute(
            f"INSERT INTO users (id, email, created_at, updated_at) VALUES ('{person}', '{person}@x.example', {times})"
        )
        await admin.execute(
            "INSERT INTO workspace_members (workspace_id, id, user_id, role, created_at, updated_at)"
            f" VALUES ('{workspace}', '{uuid.uuid4()}', '{person}', 'member', {times})"
        )

    async def channel(kind: str, many: int, *, is_private: bool = False) -> uuid.UUID:
        identity = uuid.uuid4()
        await admin.execute(
            "INSERT INTO team_channels (workspace_id, id, name, type, is_private, member_count, created_at, updated_at)"
            f" VALUES ('{workspace}', '{identity}', 'x', '{kind}', {is_private}, {many}, clock_timestamp(), now())"
        )
        for person in people[:many]:
            await admin.execute(
                "INSERT INTO team_channel_members (workspace_id, id, channel_id, user_id, created_at, updated_at)"
                f" VALUES ('{workspace}', '{uuid.uuid4()}', '{identity}', '{person}', {times})"
            )
        return identity

    first, second, alone, crowd = [await channel("direct", many) for many in (2, 2, 1, 3)]
    closed = await channel("general", 2, is_private=True)
    said: list[uuid.UUID] = []
    for _ in range(3):  # each answers the one before
        said.append(uuid.uuid4())
        parent = f"'{said[-2]}'" if len(said) > 1 else "NULL"
        await admin.execute(
            "INSERT INTO team_messages (workspace_id, id, channel_id, sender_id, content, parent_message_id,"
            " thread_count, created_at, updated_at) VALUES"
            f" ('{workspace}', '{said[-1]}', '{first}', '{people[0]}', 'x', {parent}, 1, clock_timestamp(), now())"
        )
    await migrations.upgrade(urls)
    kinds = {row["id"]: tuple(row)[1:] for row in await admin.fetch("SELECT id, type, is_private FROM team_channels")}
    assert kinds[first] == ("direct", True)
    assert {kinds[one] for one in (second, alone, crowd, closed)} == {("group", True)}
    messages = await admin.fetch("SELECT id, position, parent_message_id, thread_count FROM team_messages ORDER BY 2")
    assert [tuple(row) for row in messages] == [
        (said[0], 1, None, 2),
        (said[1], 2, said[0], 0),
        (said[2], 3, said[0], 0),
    ]
    readings = await admin.fetch("SELECT read_position FROM team_channel_readings WHERE channel_id = $1", first)
    assert [row[0] for row in readings] == [3, 3]
    assert await migrations.downgrade(urls, migration.down_revision) == migration.down_revision
    await migrations.upgrade(urls)


async def test_what_members_were_told_before_is_counted_and_is_told_no_second_time(urls: Urls, admin: Any) -> None:
    [found] = Path(versions.__file__).parent.glob("*_notifications.py")
    migration = importlib.import_module(f"{versions.__name__}.{found.stem}")
    await migrations.downgrade(urls, migration.down_revision)
    workspace, user, talk = (uuid.uuid4() for _ in range(3))
    at = "'2026-01-01T00:00:00Z'"
    await admin.execute(
        f"""
        INSERT INTO workspaces (id, name, slug, created_at, updated_at) VALUES ('{workspace}', 'A', 'a', {at}, {at});
        INSERT INTO users (id, email, created_at, updated_at) VALUES ('{user}', 'a@x.example', {at}, {at});
        INSERT INTO workspace_members (workspace_id, id, user_id, role, created_at, updated_at)
            VALUES ('{workspace}', '{user}', '{user}', 'owner', {at}, {at});
        INSERT INTO event_counters (workspace_id, seq) VALUES ('{workspace}', 41);
        INSERT INTO notifications (workspace_id, id, user_id, type, title, data, is_read, created_at, updated_at)
            SELECT '{workspace}', gen_random_uuid(), '{user}', kind, 'Told', '{{"conversationId": "{talk}"}}', is_read,
                {at}, {at}
            FROM (VALUES ('mention', false), ('mention', false), ('assignment', true)) AS n (kind, is_read);
        """
    )
    await migrations.upgrade(urls)
    told = await admin.fetch("SELECT kind, subject_type, subject_id, count FROM notifications ORDER BY kind")
    assert [tuple(row) for row in told] == [
        (kind, "conversation", talk, 1) for kind in ("assignment", "mention", "mention")
    ]
    assert await admin.fetchval("SELECT unread_count FROM notification_read_states WHERE id = $1", user) == 2
    assert await admin.fetchval("SELECT seq FROM notification_progress") == 41


async def test_roles_with_addresses_of_their_own_are_left_alone(empty: Urls, postgres: Embedded) -> None:
    """An owner who is no superuser and may make no roles; somebody has made them, with passwords we do not know."""
    admin = await asyncpg.connect(empty.owner.plain)
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute("CREATE ROLE keeper LOGIN PASSWORD 'of-the-owner'")
    await admin.execute(f"ALTER DATABASE {name} OWNER TO keeper")
    before = await admin.fetch("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    host = empty.owner.plain.partition("@")[2]
    owner = Secret(f"postgresql://keeper:of-the-owner@{host}")
    try:
        own = Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER))
        with pytest.raises(SchemaUnusable, match="set DATABASE_WEB_URL and DATABASE_WORKER_URL"):
            await migrations.upgrade(own)
        assert await migrations.upgrade(Urls(owner=owner, web=empty.web, worker=empty.worker)) == migrations.head()
        assert await admin.fetch("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before
    finally:
        await admin.execute("REASSIGN OWNED BY keeper TO CURRENT_USER; DROP OWNED BY keeper; DROP ROLE keeper")
        await admin.close()


@pytest.mark.parametrize("revision", ["9999", "nope"])
async def test_a_revision_that_there_is_not_is_told_in_a_sentence(urls: Urls, revision: str) -> None:
    with pytest.raises(SchemaUnusable, match=revision):
        await migrations.upgrade(urls, revision)
    with pytest.raises(SchemaUnusable, match=revision):
        await migrations.downgrade(urls, revision)


async def test_a_database_without_our_schema_is_told_as_such(empty: Urls, shared_settings: Settings) -> None:
    service = Service(shared_settings, empty, worker=False)
    state = await service.readiness()
    assert (state["ready"], state["database"], state["migrations"]) == (False, True, False)
    app = create_app(service, api())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hooks.example.com") as client:
        refused = await client.get("/api/v1/contacts", headers={"Authorization": "Bearer ck_" + "a" * 43})
    assert refused.status_code == 503
    assert "comms db upgrade" in refused.json()["detail"]
    await service.database.close()


async def test_a_schema_without_a_function_we_call_is_told_as_such(
    urls: Urls, shared_settings: Settings, admin: Any
) -> None:
    workspace_id = await people.workspace(admin, "acme")
    _, token = await people.member(admin, workspace_id, "owner", "owner@acme.example")
    await migrations.downgrade(urls, "0045")
    service = Service(shared_settings, urls, worker=False)
    app = create_app(service, api())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hooks.example.com") as client:
        header = {"Authorization": f"Bearer {token}"}
        refused = await client.post("/api/v1/contacts", headers=header, json={"firstName": "Ada"})
    assert refused.status_code == 503, refused.text
    assert "comms db upgrade" in refused.json()["detail"]
    await service.database.close()
