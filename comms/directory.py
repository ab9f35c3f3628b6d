"""The connections webhooks are posted to, held in memory so that a webhook is known, or not, without asking anybody."""

import asyncio
import contextlib
import re
import uuid
from typing import Any

import msgspec
import structlog

from comms.database import Database
from comms.providers import read_credentials
from comms.vault import Sealed, Unsealable, Vault

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 5.0  # a secret rotated by another process is known here after this at most
STALE_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.5
LOAD_SECONDS = 5.0
NOTE_SECONDS = 60.0

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as our addresses are written
_ALL = (
    "SELECT k.id, k.workspace_id, k.provider, k.encryption_key_id, k.iv, k.encrypted_key, k.auth_tag"
    " FROM workspace_api_keys k JOIN workspaces w ON w.id = k.workspace_id"
    " WHERE k.is_active AND w.is_active"
)
_ONE = f"{_ALL} AND k.id = $1"

# Noted when the directory is refreshed anyway. The last condition is for the other processes; nobody waits for a mark.
_NOTE_USE = """
UPDATE workspace_api_keys SET last_used_at = now() WHERE id IN (
    SELECT id FROM workspace_api_keys
    WHERE id = ANY($1::uuid[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
    FOR NO KEY UPDATE SKIP LOCKED
)
"""


class Connection(msgspec.Struct, frozen=True):
    """A workspace's account at a provider. ``credentials`` is None when its secret does not open."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    provider: str
    credentials: Any


class DirectoryUnknown(Exception):
    """Which connections exist is not known: the database has not answered for too long."""


class Directory:
    """All active connections by the text their URLs carry; refreshed when one changes, and now and then."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._connections: dict[str, Connection] = {}
        self._begun = self._seen = 0
        self._unsealed: dict[uuid.UUID, tuple[Sealed, Any]] = {}
        self._used: set[uuid.UUID] = set()
        self._noted: dict[uuid.UUID, float] = {}
        self._known_at: float | None = None
        self._stale = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._failed = True
        self._task: asyncio.Task[None] | None = None

    async def look_up(self, connection_id: str) -> Connection | None:
        """The active connection of that id, or None; raises ``DirectoryUnknown`` if that cannot be said.

        What this process has just written is known. One that another process made is asked for by its id: one row, at
        most once a second, however many unknown ids come.
        """
        found = self._connections.get(connection_id)
        if self._stale.is_set():
            # A database that does not answer must not make the unknown wait.
            await asyncio.wait([self._look()], timeout=LOOK_SECONDS)
            if self._stale.is_set():  # that look had begun before what made it stale
                await asyncio.wait([self._look()], timeout=LOOK_SECONDS)
            found = self._connections.get(connection_id)
        if found is None and _UUID.fullmatch(connection_id) and self._may_ask():
            found = await self._asked(connection_id)
        if found is None and not self._is_known():
            raise DirectoryUnknown
        return found

    def find(self, connection_id: str) -> Connection | None:
        """The connection, if it is known here and now."""
        return self._connections.get(connection_id)

    def used(self, connection: Connection) -> None:
        """A genuine webhook has come by this connection: its ``lastUsedAt`` will say so, to the minute."""
        self._used.add(connection.id)

    def all(self) -> list[Connection]:
        """Every active connection that is known."""
        return list(self._connections.values())

    def stale(self) -> None:
        """A connection was written, here or elsewhere: look again soon."""
        self._stale.set()

    async def load(self) -> None:
        """Every active connection is known as it stands in the database."""
        self._begun += 1
        mine = self._begun
        # No ORM: the rows are few columns of all tenants, read often.
        async with self._database.everywhere() as db:
            connection = await db.connection()
            rows = (await connection.exec_driver_sql(_ALL)).all()
            await self._note_use(connection)
        if mine < self._seen:
            return  # a look that began after this one has been taken in already
        connections = {}
        for row in rows:
            connections[str(row.id)] = self._connection_of(row)
        self._connections, self._seen = connections, mine
        self._known_at = asyncio.get_running_loop().time()

    def _connection_of(self, row: Any) -> Connection:
        return Connection(
            id=row.id, workspace_id=row.workspace_id, provider=row.provider, credentials=self._opened(row)
        )

    async def _note_use(self, db: Any) -> None:
        at = asyncio.get_running_loop().time()
        due = {one for one in self._used if at - self._noted.get(one, float("-inf")) >= NOTE_SECONDS}
        if due:
            await db.exec_driver_sql(_NOTE_USE, (list(due),))
            self._noted |= dict.fromkeys(due, at)
            self._used -= due

    async def start(self) -> None:
        """Connections are known, if the database answers, and kept known until ``stop``."""
        await asyncio.wait([self._look()])
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Nothing refreshes any more."""
        for task in (self._task, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), 0.5 if self._failed else REFRESH_SECONDS)
            await asyncio.wait([self._look()])

    def _look(self) -> "asyncio.Task[None]":
        """The look at the database that is under way, or a new one."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._refresh())
        return self._looking

    def _may_ask(self) -> bool:
        at = asyncio.get_running_loop().time()
        if not self._is_known() or at - self._asked_at <= LOOK_AGAIN_SECONDS:
            return False
        self._asked_at = at
        return True

    async def _asked(self, connection_id: str) -> Connection | None:
        """The connection that another process has made since we looked; None too when the database is slow to say."""
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._database.everywhere() as db:
                connection = await db.connection()
                row = (await connection.exec_driver_sql(_ONE, (uuid.UUID(connection_id),))).one_or_none()
        except Exception as error:
            log.warning("directory.not_asked", error=type(error).__name__)
            return None
        if row is None:
            return None
        self._connections[connection_id] = found = self._connection_of(row)
        return found

    async def _refresh(self) -> None:
        self._stale.clear()
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await self.load()
            self._failed = False
        except Exception as error:  # the database is away: what is known stays known for a while
            self._failed = True
            log.warning("directory.not_refreshed", error=type(error).__name__)

    def _is_known(self) -> bool:
        if self._known_at is None:
            return False
        return asyncio.get_running_loop().time() - self._known_at < STALE_SECONDS

    def _opened(self, row: Any) -> Any:
        """The credentials; those whose sealed form has not changed are not opened again."""
        sealed = Sealed(row.encryption_key_id, bytes(row.iv), bytes(row.encrypted_key), bytes(row.auth_tag))
        before = self._unsealed.get(row.id)
        if before is not None and before[0] == sealed:
            return before[1]
        try:
            credentials = read_credentials(row.provider, self._vault.open(sealed, row.workspace_id, row.id))
        except (Unsealable, msgspec.MsgspecError) as error:
            log.error("connection.unusable", connection_id=str(row.id), error=type(error).__name__)
            return None
        self._unsealed[row.id] = (sealed, credentials)
        return credentials
