"""The stage: a database of its own on a real disk, workspaces for each who competes, and their servers."""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from bench import machine
from bench.machine import Cores
from bench.webhooks import Line
from comms import connections, credentials, migrations, settings, workspaces
from comms.cli.running import with_keys
from comms.database import Database, Urls, as_role
from comms.embedded import Embedded
from comms.settings import Secret
from comms.vault import Vault
from models.communications import WorkspacePhoneNumber
from models.tenancy import WEB, WORKER

CONTACTS = 2_000  # of a town, evenly in its workspaces
FIRST_ID = 100_000_000_000  # ids end in twelve digits counted from here, so that whoever needs one computes it
FIRST_PHONE = 14_152_000_000
OUR_NUMBER = "+14155550100"
ACCOUNT = "AC" + "b" * 32
PUBLIC_URL = "https://bench.example"
TOKEN = secrets.token_hex(16)


class Town(msgspec.Struct, frozen=True):
    """The workspaces of one who competes, each with a connection, a number, and contacts that have all written before.

    The nth workspace, its connection and its number share one id.
    """

    ids: list[uuid.UUID]
    lines: list[Line]
    access_tokens: list[str]

    @property
    def id_begins(self) -> str:
        """What all its ids begin with: ``FIRST_ID + n`` follows."""
        return str(self.ids[0])[:24]

    @property
    def contacts_each(self) -> int:
        """How many contacts a workspace has."""
        return CONTACTS // len(self.ids)


class Server(msgspec.Struct, frozen=True):
    """A web process under test."""

    pid: int
    port: int


class Stage:
    """What everything happens on; ``towns`` are named after who competes."""

    def __init__(self, folder: Path, cores: Cores, embedded: Embedded, admin: Any) -> None:
        self.folder = folder
        self.cores = cores
        self.embedded = embedded
        self.admin = admin
        self.towns: dict[str, Town] = {}

    async def build(self, towns: Mapping[str, int]) -> None:
        """Each of ``towns`` exists with so many workspaces."""
        read = with_keys(settings.read({"COMMS_DATA_DIR": str(self.folder)}))
        urls = self.urls()
        await migrations.upgrade(urls)
        database = Database(urls, pool_size=2)
        try:
            for place, (name, size) in enumerate(towns.items(), start=1):
                self.towns[name] = await _found(database, Vault(read.security), name, place, size)
                await self.admin.execute(_contacts(self.towns[name]))
        finally:
            await database.close()
        await self.settle()

    async def settle(self) -> None:
        """The planner knows the tables, and what was written is on the disk."""
        await self.admin.execute("VACUUM ANALYZE")
        await self.admin.execute("CHECKPOINT")

    async def presend(self, name: str, run: str, count: int) -> None:
        """``count`` messages of that town wait for their delivery reports."""
        await self.admin.execute(_SENT, self.towns[name].ids, run, count)

    @contextmanager
    def service(self) -> Iterator[Server]:
        """comms as in production: one web process, the worker elsewhere."""
        port = free_port()
        command = [sys.executable, "-c", "from comms.cli import main; main()", "serve", "--port", str(port)]
        environment = {"COMMS_DATA_DIR": str(self.folder), "PUBLIC_URL": PUBLIC_URL, "COMMS_WORKER": "separate"}
        with self.process(command, self.cores.service, "listening", environment) as process:
            yield Server(process.pid, port)

    @contextmanager
    def naive(self) -> Iterator[Server]:
        """The ordinary handler, under the same server on the same core."""
        port = free_port()
        command = [sys.executable, "-m", "bench.naive", str(port), self.embedded.url(WORKER), TOKEN]
        with self.process(command, self.cores.service, "listening") as process:
            yield Server(process.pid, port)

    @contextmanager
    def process(
        self, command: list[str], core: int, ready: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A process on ``core`` that has said ``ready``; ended, by SIGTERM, with the block."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COMMS_", "DATABASE_"))}
        log = (self.folder / "servers.log").open("a")
        with machine.pinned(core):
            process = subprocess.Popen(
                command,
                env=inherited | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            await_line(process, ready)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()

    def urls(self) -> Urls:
        """The database's addresses."""
        owner = Secret(self.embedded.dsn())
        return Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER))


def await_line(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line the process prints that has ``words`` in it."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line
    raise RuntimeError(f"{process.args!r} ended with {process.wait()} before it said {words!r}")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def stage(runner: asyncio.Runner, towns: Mapping[str, int], on: Path | None = None) -> Iterator[Stage]:
    """A stage that is gone afterwards. ``on`` names the folder whose disk is used."""
    folder = Path(tempfile.mkdtemp(prefix="comms-bench-", dir=on or _on_disk()))
    folder.chmod(0o711)  # PostgreSQL refuses root and runs as somebody else, who must get through
    cores = machine.cores()
    embedded = Embedded(folder)
    try:
        with machine.pinned(cores.database):
            embedded.start()
        admin = runner.run(asyncpg.connect(embedded.dsn()))
        built = Stage(folder, cores, embedded, admin)
        try:
            runner.run(built.build(towns))
            yield built
        finally:
            runner.run(admin.close())
    finally:
        embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _on_disk() -> Path | None:
    """/tmp is memory on many machines, and a commit there costs nothing."""
    folder = Path("/var/tmp")
    return folder if os.access(folder, os.W_OK) else None


async def _found(database: Database, vault: Vault, name: str, place: int, size: int) -> Town:
    ids = [uuid.UUID(f"{place:08d}-0000-7000-8000-{FIRST_ID + n}") for n in range(size)]
    tokens, lines = [], []
    async with database.everywhere() as db:
        for id_ in ids:
            slug = f"{name}-{id_.hex[-3:]}"
            _, member = await workspaces.found(
                db, name=slug, slug=slug, email=f"owner@{slug}.example", workspace_id=id_
            )
            _, token = await credentials.issue(db, member, "bench")
            tokens.append(token)
            secret = {"accountSid": ACCOUNT, "authToken": TOKEN}
            await connections.connect(db, vault, workspace_id=id_, provider="twilio", name=slug, secret=secret, id=id_)
            db.add(
                WorkspacePhoneNumber(
                    workspace_id=id_, id=id_, connection_id=id_, phone_number=OUR_NUMBER, provider="twilio"
                )
            )
            lines.append(Line(PUBLIC_URL, str(id_), ACCOUNT, TOKEN, OUR_NUMBER, f"+{FIRST_PHONE}", CONTACTS // size))
    return Town(ids, lines, tokens)


def _contacts(town: Town) -> str:
    size = len(town.ids)
    return f"""
        CREATE TEMP TABLE people AS
        SELECT ('{town.id_begins}' || {FIRST_ID} + n % {size})::uuid AS workspace_id,
            ('00000000-0000-7000-8000-' || {FIRST_ID} + n / {size})::uuid AS id,
            '+' || {FIRST_PHONE} + n / {size} AS phone, now() AS at
        FROM generate_series(0, {CONTACTS - 1}) AS n;
        INSERT INTO contacts (workspace_id, id, phone, source, created_at, updated_at)
        SELECT workspace_id, id, phone, 'inbound_sms', at, at FROM people;
        INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)
        SELECT workspace_id, id, id, 'phone', phone, true, at, at FROM people;
        INSERT INTO conversations (workspace_id, id, contact_id, channel, last_message_at, created_at, updated_at)
        SELECT workspace_id, id, id, 'sms', at, at, at FROM people;
        DROP TABLE people"""


# The nth message belongs to the workspace that ``webhooks.requests`` signs the nth report for.
_SENT = f"""
WITH sent AS (
    SELECT n, ($1::uuid[])[1 + n % cardinality($1)] AS place,
        n / cardinality($1) % ({CONTACTS} / cardinality($1)) AS who
    FROM generate_series(0, $3::int - 1) AS n
)
INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type, status, provider,
    provider_message_id, connection_id, phone_number_id, from_address, to_address, created_at, updated_at)
SELECT place, uuidv7(), ('00000000-0000-7000-8000-' || {FIRST_ID} + who)::uuid, 'outbound',
    'Your table for two is booked for 7pm. See you tonight!', 'system', 'queued', 'twilio',
    'SM' || md5($2 || ':' || n), place, place, '{OUR_NUMBER}', '+' || {FIRST_PHONE} + who, now(), now()
FROM sent
"""
