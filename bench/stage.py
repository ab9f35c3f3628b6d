"""The stage: a database of its own on a real disk, a workspace for each who competes, and their servers."""

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

CONTACTS = 2_000
FIRST_ID = 100_000_000_000  # the last twelve digits of the first contact's id, and of its conversation's
FIRST_PHONE = "+14152000000"
ACCOUNT = "AC" + "b" * 32
PUBLIC_URL = "https://bench.example"
START_SECONDS = 60


class House(msgspec.Struct, frozen=True):
    """A workspace with a connection, a number, and contacts that have all written before."""

    workspace_id: uuid.UUID
    connection_id: uuid.UUID
    number_id: uuid.UUID
    user_id: uuid.UUID
    line: Line
    access_token: str


class Server(msgspec.Struct, frozen=True):
    """A web process under test."""

    pid: int
    port: int


class Stage:
    """What everything happens on; ``houses`` are named after who lives there."""

    def __init__(self, folder: Path, cores: Cores, embedded: Embedded, admin: Any) -> None:
        self.folder = folder
        self.cores = cores
        self.embedded = embedded
        self.admin = admin
        self.houses: dict[str, House] = {}

    async def build(self, *names: str) -> None:
        """Each of ``names`` has a house."""
        read = with_keys(settings.read({"COMMS_DATA_DIR": str(self.folder)}))
        urls = self._urls()
        await migrations.upgrade(urls)
        database = Database(urls, pool_size=2)
        try:
            for name in names:
                self.houses[name] = await _found(database, Vault(read.security), name)
                await self.admin.execute(_CONTACTS.format(workspace=self.houses[name].workspace_id, **_SEED))
        finally:
            await database.close()
        await self.settle()

    async def settle(self) -> None:
        """The planner knows the tables, and what was written is on the disk."""
        await self.admin.execute("VACUUM ANALYZE")
        await self.admin.execute("CHECKPOINT")

    async def presend(self, house: House, run: str, count: int) -> None:
        """``count`` messages of the house wait for their delivery reports."""
        await self.admin.execute(_SENT, house.workspace_id, run, count, house.connection_id, house.number_id)

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
        house = self.houses["naive"]
        command = [sys.executable, "-m", "bench.naive", str(port), self.embedded.dsn(WORKER), house.line.token]
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
                command, env=inherited | dict(environment or {}), stdout=subprocess.PIPE, stderr=log, text=True
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

    def _urls(self) -> Urls:
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
def stage(runner: asyncio.Runner, *houses: str, on: Path | None = None) -> Iterator[Stage]:
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
            runner.run(built.build(*houses))
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


async def _found(database: Database, vault: Vault, name: str) -> House:
    token = secrets.token_hex(16)
    async with database.everywhere() as db:
        workspace, member = await workspaces.found(db, name=name.title(), slug=name, email=f"owner@{name}.example")
        _, access_token = await credentials.issue(db, member, "bench")
        connection = await connections.connect(
            db,
            vault,
            workspace_id=workspace.id,
            provider="twilio",
            name=name,
            secret={"accountSid": ACCOUNT, "authToken": token},
        )
        number = WorkspacePhoneNumber(
            workspace_id=workspace.id, connection_id=connection.id, phone_number="+14155550100", provider="twilio"
        )
        db.add(number)
        await db.flush()
    return House(
        workspace_id=workspace.id,
        connection_id=connection.id,
        number_id=number.id,
        user_id=member.user_id,
        line=Line(PUBLIC_URL, str(connection.id), ACCOUNT, token, number.phone_number, FIRST_PHONE, CONTACTS),
        access_token=access_token,
    )


_SEED = {"first_id": FIRST_ID, "first_phone": FIRST_PHONE.removeprefix("+"), "last": CONTACTS - 1}
_CONTACTS = """
CREATE TEMP TABLE people AS
SELECT '{workspace}'::uuid AS workspace_id, ('00000000-0000-7000-8000-' || {first_id} + n)::uuid AS id,
    '+' || {first_phone} + n AS phone, now() AS at
FROM generate_series(0, {last}) AS n;
INSERT INTO contacts (workspace_id, id, phone, source, created_at, updated_at)
SELECT workspace_id, id, phone, 'inbound_sms', at, at FROM people;
INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)
SELECT workspace_id, id, id, 'phone', phone, true, at, at FROM people;
INSERT INTO conversations (workspace_id, id, contact_id, channel, last_message_at, created_at, updated_at)
SELECT workspace_id, id, id, 'sms', at, at, at FROM people;
DROP TABLE people;
"""

_SENT = f"""
INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type, status, provider,
    provider_message_id, connection_id, phone_number_id, from_address, to_address, created_at, updated_at)
SELECT $1, uuidv7(), ('00000000-0000-7000-8000-' || {FIRST_ID} + n % {CONTACTS})::uuid, 'outbound',
    'Your table for two is booked for 7pm. See you tonight!', 'system', 'queued', 'twilio',
    'SM' || md5($2 || ':' || n), $4, $5, '+14155550100', '+' || {FIRST_PHONE.removeprefix("+")} + n % {CONTACTS},
    now(), now()
FROM generate_series(0, $3::int - 1) AS n
"""
