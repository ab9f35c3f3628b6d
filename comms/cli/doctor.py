"""``comms doctor``: what is misconfigured, in words."""

import argparse
import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from comms import demo, migrations
from comms.cli.running import running_database, with_keys
from comms.database import Database, Urls
from comms.directory import Directory
from comms.embedded.errors import explained
from comms.hooks.leasing import DOWN_AFTER
from comms.repair import checkup
from comms.settings import ProviderSettings, Settings
from comms.vault import Vault

Finding = tuple[bool, str]


def examine(settings: Settings, chosen: argparse.Namespace) -> int:
    """Every check is printed; exits 1 when one of them failed."""
    with explained(settings.data_dir):
        is_there = settings.data_dir.exists()
    if settings.database.url is None and not is_there:
        print(f"     {settings.data_dir} is not there yet: `comms up` makes a database in it")
        return 0
    with running_database(settings) as (urls, _):
        findings = asyncio.run(_examine(_as_it_runs(with_keys(settings)), urls, fix=chosen.fix))
    for healthy, sentence in findings:
        print(f"{'ok  ' if healthy else 'FIX '} {sentence}")
    return 0 if all(healthy for healthy, _ in findings) else 1


def _as_it_runs(settings: Settings) -> Settings:
    """A demo is where it says; its providers are our own simulators there, unless the environment names others."""
    made = demo.read(settings.data_dir)
    if made is None:
        return settings
    place = urlsplit(made.base_url)
    server = msgspec.structs.replace(
        settings.server,
        host=place.hostname or settings.server.host,
        port=place.port or settings.server.port,
        public_url=made.public_url,
    )
    there = msgspec.structs.replace(settings, server=server)
    return demo.with_simulators(there) if settings.providers == ProviderSettings() else there


async def _examine(settings: Settings, urls: Urls, *, fix: bool) -> list[Finding]:
    return [
        *await _public_url(settings),
        *_media(settings),
        *[finding async for finding in _database(settings, urls, fix=fix)],
    ]


async def _public_url(settings: Settings) -> list[Finding]:
    url = settings.server.public_url
    parts = urlsplit(url)
    if parts.hostname in ("127.0.0.1", "localhost", "::1"):
        return [(True, f"PUBLIC_URL is {url}: good for simulators; real providers cannot reach it")]
    reached = await checkup.reaches(url)
    if parts.scheme != "https":
        return [(False, f"PUBLIC_URL is {url}: providers should post to https://"), _told(reached)]
    return [
        (True, f"PUBLIC_URL is {url}: configure webhooks at the providers with exactly this beginning"),
        _told(reached),
    ]


def _told(finding: checkup.Finding) -> Finding:
    return finding.healthy, finding.sentence


def _media(settings: Settings) -> list[Finding]:
    if settings.database.url is not None and settings.media.url.startswith("file:"):
        return [
            (
                False,
                f"attachments are kept in {settings.media.url}: other machines do not see them, set COMMS_MEDIA_URL",
            )
        ]
    return [(True, f"attachments are kept in {settings.media.url}")]


async def _database(settings: Settings, urls: Urls, *, fix: bool) -> AsyncIterator[Finding]:
    database = Database(urls, pool_size=1)
    try:
        try:
            async with database.everywhere() as db:
                version = await db.scalar(text("SHOW server_version"))
            yield True, f"the database answers: PostgreSQL {version}"
        except (SQLAlchemyError, OSError, asyncpg.PostgresError) as error:
            reason = getattr(error, "orig", None) or error
            yield (
                False,
                f"the database does not answer as comms_worker: {reason}. Is it up, and did `comms db upgrade` run?",
            )
            return
        try:
            current = await migrations.is_current(database)
        except SQLAlchemyError:
            current = False
        yield current, "the schema is current" if current else "the schema is not current: run `comms db upgrade`"
        if current:
            async for finding in _roles(database):
                yield finding
            async for finding in _connections(settings, database, fix=fix):
                yield finding
            async for finding in _standing(database):
                yield finding
            async for finding in endpoints(database):
                yield finding
    finally:
        with contextlib.suppress(Exception):
            await database.close()


async def _roles(database: Database) -> AsyncIterator[Finding]:
    async with database.everywhere() as db:
        rows = await db.execute(
            text(
                "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles"
                " WHERE rolname IN ('comms_web', 'comms_worker') ORDER BY 1"
            )
        )
        for role, above_the_law in rows:
            if above_the_law:
                yield False, f"{role} is a superuser or bypasses row security: tenants are not isolated"
            else:
                yield True, f"{role} is bound by row security"


async def _connections(settings: Settings, database: Database, *, fix: bool) -> AsyncIterator[Finding]:
    directory = Directory(database, Vault(settings.security))
    await directory.load()
    for connection in directory.all():
        if connection.credentials is None:
            yield (
                False,
                f"the secret of connection {connection.id} does not open: is an older COMMS_SECRET_KEY missing?",
            )
    numbers, domains = await _numbers(database), await _domains(database)
    looks = checkup.Checkup(settings.providers, settings.server.public_url, fix=fix)
    for connection in directory.all():
        if connection.credentials is not None:
            async for finding in looks.examine(
                connection, numbers.get(connection.id, []), domains.get(connection.id, ())
            ):
                yield _told(finding)
    await looks.close()
    async with database.everywhere() as db:
        rows = await db.execute(
            text(
                "SELECT n.phone_number FROM workspace_phone_numbers n WHERE n.status = 'active' AND NOT EXISTS"
                " (SELECT FROM workspace_api_keys k WHERE k.workspace_id = n.workspace_id AND k.is_active"
                "  AND (k.id = n.connection_id OR n.connection_id IS NULL AND k.provider = n.provider))"
            )
        )
        for (number,) in rows:
            yield False, f"{number} has no active connection to its provider"


async def _domains(database: Database) -> dict[uuid.UUID, set[str]]:
    """By connection to SendGrid, the domains that its workspace's mail comes in by, but for those of another one."""
    domains: dict[uuid.UUID, set[str]] = {}
    async with database.everywhere() as db:
        rows = await db.execute(
            text(
                "SELECT k.id, lower(split_part(coalesce(a.inbound_address, a.address), '@', 2)) AS domain"
                " FROM workspace_mail_addresses a JOIN workspace_api_keys k"
                "  ON k.workspace_id = a.workspace_id AND k.provider = 'sendgrid' AND k.is_active"
                " WHERE a.status = 'active' AND NOT EXISTS (SELECT FROM workspace_api_keys other"
                "  WHERE other.workspace_id = a.workspace_id AND other.id = a.connection_id AND other.id <> k.id"
                "  AND other.provider = 'sendgrid')"
            )
        )
        for row in rows:
            domains.setdefault(row.id, set()).add(row.domain)
    return domains


_STANDING = text(
    "SELECT n.phone_number, s.missing, s.error FROM number_sweeps s JOIN workspace_phone_numbers n"
    " ON n.workspace_id = s.workspace_id AND n.id = s.phone_number_id"
    " WHERE n.status = 'active' AND (s.missing > 0 OR s.error IS NOT NULL) ORDER BY n.phone_number"
)


async def _standing(database: Database) -> AsyncIterator[Finding]:
    """The numbers of which we may not have all that their providers have."""
    async with database.everywhere() as db:
        for row in await db.execute(_STANDING):
            if row.missing:
                yield False, f"{row.phone_number}: {row.missing} of the provider's messages and calls are not here"
            if row.error is not None:
                yield False, f"{row.phone_number} could not be compared with its provider's log: {row.error}"


_ENDPOINTS = text(
    "SELECT w.slug, e.name, e.disabled_reason, e.failing_since, e.failures, e.last_error"
    " FROM webhook_endpoints e JOIN workspaces w ON w.id = e.workspace_id"
    " WHERE e.disabled_at IS NOT NULL OR (e.is_active AND e.failures >= :most) ORDER BY w.slug, e.name"
)


async def endpoints(database: Database) -> AsyncIterator[Finding]:
    """The outbound webhooks that reach nobody."""
    async with database.everywhere() as db:
        for row in await db.execute(_ENDPOINTS, {"most": DOWN_AFTER}):
            name = f"the webhook endpoint {row.name!r} of {row.slug}"
            if row.disabled_reason is not None:
                yield False, f"{name} was switched off: {row.disabled_reason}"
            else:
                yield False, f"{name} takes nothing since {row.failing_since:%Y-%m-%d %H:%M} UTC: {row.last_error}"


_NUMBERS = text(
    "SELECT n.phone_number, n.messaging_service_sid, coalesce(n.capabilities->>'sms', 'true') <> 'false' AS sms,"
    " n.phone_number LIKE '+%' AND coalesce(n.capabilities->>'voice', 'true') <> 'false' AS voice,"
    " coalesce(n.connection_id, (SELECT k.id FROM workspace_api_keys k WHERE k.workspace_id = n.workspace_id"
    "  AND k.provider = n.provider AND k.is_active ORDER BY k.created_at, k.id LIMIT 1)) AS connection_id"
    " FROM workspace_phone_numbers n WHERE n.status = 'active' AND n.phone_number ~ '^[+0-9]' ORDER BY n.phone_number"
)


async def _numbers(database: Database) -> dict[uuid.UUID, list[checkup.Ours]]:
    """The phone numbers that belong to each connection; a messenger's has no address of its own."""
    async with database.everywhere() as db:
        rows = (await db.execute(_NUMBERS)).all()
    numbers: dict[uuid.UUID, list[checkup.Ours]] = {}
    for row in rows:
        ours = checkup.Ours(row.phone_number, row.sms, row.voice, row.messaging_service_sid)
        numbers.setdefault(row.connection_id, []).append(ours)
    return numbers
