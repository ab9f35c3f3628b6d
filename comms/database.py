"""The one place that opens transactions and commits them.

    async with database.workspace(workspace_id) as db: …     one tenant's rows, and no others whatever the query says
    async with database.everywhere() as db: …                all tenants: provider look-up, queues, sweeps

Leaving the block commits; an exception rolls back. Both happen before a response is sent.
"""

import hashlib
import hmac
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec
from sqlalchemy import Row, Select, event, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import await_

from comms import events
from comms.events import Actor, Told
from comms.search import keeping as search
from comms.settings import DatabaseSettings, Secret
from models.tenancy import WEB, WORKER, WORKSPACE_SETTING

FROZEN_MS = "60000"
"""A transaction in which nothing happens for so long is rolled back: who hangs must not hold rows for ever."""
IDLE_SECONDS = 5.0
"""After so long unused a connection is asked whether it still is one; a network may forget it without a word."""
# How many rows a workspace has, and which values are rare, is known only for the values at hand: a plan for any value
# walks through a million rows where one for this value would not.
_PLANNED_EACH_TIME = "SET LOCAL plan_cache_mode = force_custom_plan"
# Who asks for rows by their keys alone, as whoever waits on the telephone does, and an agent at work, needs no plan for
# the values at hand. Planning that anew each time was a third to a half of the database's work; a plan that is kept
# must not be one for tables that are still empty (comms/groups.py).
_PLANNED_ONCE = (
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off"
)
_NOTHING = text("SELECT")


class Urls(msgspec.Struct, frozen=True):
    """The same database as its three users: who owns the tables, and the two roles that use them."""

    owner: Secret
    web: Secret
    worker: Secret


def urls_of(settings: DatabaseSettings) -> Urls:
    """The three addresses of a configured database; the roles' default from the owner's."""
    if settings.url is None:
        raise ValueError("no DATABASE_URL: ask the embedded database")
    owner = _credentials_first(settings.url)
    return Urls(
        owner=owner,
        web=settings.web_url or as_role(owner, WEB),
        worker=settings.worker_url or as_role(owner, WORKER),
    )


def _credentials_first(url: Secret) -> Secret:
    """The address with what its query says of user and password before the host, where those of the roles are put."""
    parts = urlsplit(url.plain)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    said = [quote(asked.pop(name, ""), safe="") for name in ("user", "password")]
    if not any(said):
        return url
    named, _, host = parts.netloc.rpartition("@")
    user, _, password = named.partition(":")
    netloc = f"{user or said[0]}:{password or said[1]}@{host}"
    return Secret(urlunsplit(parts._replace(netloc=netloc, query=urlencode(asked))))


def as_role(owner: Secret, role: str) -> Secret:
    """The owner's address with another role and that role's password."""
    parts = urlsplit(owner.plain)
    host = parts.netloc.rpartition("@")[2]
    password = role_password(owner, role)
    user = role if password is None else f"{role}:{quote(password)}"
    return Secret(urlunsplit(parts._replace(netloc=f"{user}@{host}")))


def role_password(owner: Secret, role: str) -> str | None:
    """What ``comms db upgrade`` gives a role as its password: derived from the owner's, so that nothing is configured.

    None when the owner has none (a socket that only we can open).
    """
    password = urlsplit(owner.plain).password
    if not password:
        return None
    return hmac.new(password.encode(), f"comms role {role}".encode(), hashlib.sha256).hexdigest()


def _no_name() -> str:
    return ""


def _expect_alive(connection: Any, record: Any, _fairy: Any) -> None:
    """A connection that is gone is replaced before anybody uses it, and so are all others of its age."""
    if connection.driver_connection.is_closed():
        raise exc.InvalidatePoolError
    if time.monotonic() - record.info.get("used", 0.0) >= IDLE_SECONDS:
        _ask(connection)


def _always_ask(connection: Any, record: Any, _fairy: Any) -> None:
    """The same for who has no second try: a job that fails for its connection's sake has failed."""
    if "used" in record.info:  # and not just made
        _ask(connection)


def _ask(connection: Any) -> None:
    try:
        # One round trip. SQLAlchemy's own ping makes three, and every request to the API would wait for them.
        await_(connection.driver_connection.execute("SELECT"))
    except Exception as error:
        raise exc.InvalidatePoolError from error


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _note_loss(context: Any) -> None:
    """A connection on which the server has just said its last word is lost, not in use by somebody else."""
    if isinstance(getattr(context.original_exception, "__cause__", None), asyncpg.InternalClientError):
        context.is_disconnect = True


def afterwards(db: AsyncSession, follow: Callable[[], None]) -> None:
    """``follow`` is called once ``db`` has committed, and not at all if it does not."""
    db.info.setdefault("afterwards", []).append(follow)


@asynccontextmanager
async def attempt(db: AsyncSession) -> AsyncIterator[None]:
    """What fails in here leaves neither rows nor facts behind, and the unit of work can go on."""
    already = len(db.info.get("facts", ()))
    try:
        async with db.begin_nested():
            yield
    except BaseException:
        del db.info.get("facts", [])[already:]
        raise


def is_passing(error: BaseException) -> bool:
    """Whether the database is to blame for it, and the same may go well another time: it was away, or in contention."""
    if isinstance(error, exc.DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        is_away = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
        return is_away or state == "55P03" or state.startswith(("08", "25", "40", "53", "57", "58"))
    return isinstance(
        error,
        OSError | TimeoutError | exc.TimeoutError | exc.PendingRollbackError | asyncpg.PostgresConnectionError
        | asyncpg.InterfaceError,
    )  # fmt: skip


class _Connection(asyncpg.Connection):
    """One whose next transaction opens with more than BEGIN: that takes no round trip of its own."""

    opening = ""

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        if self.opening and query.startswith("BEGIN"):
            query, self.opening = f"{query} {self.opening}", ""
        return await super().execute(query, *args, **options)


class _Session(Session):
    """A unit of work, which begins with its first statement."""


@event.listens_for(_Session, "after_begin")
def _open(session: _Session, _transaction: Any, connection: Any) -> None:
    if not connection.in_nested_transaction():
        connection.connection.driver_connection.opening = session.info.get("opening", "")


async def driver_of(db: AsyncSession) -> Any:
    """The asyncpg connection of a unit of work, which has begun: for stories that groups run."""
    connection = (await (await db.connection()).get_raw_connection()).driver_connection
    assert connection is not None
    if not connection.is_in_transaction():
        await db.execute(_NOTHING)
    return connection


class Database:
    """The two roles' connections to one database."""

    def __init__(self, urls: Urls, *, pool_size: int = 10, pgbouncer: bool = False) -> None:
        self.urls = urls
        self.on_told: Callable[[Told], None] = lambda told: None  # set by whoever wakes the readers of the log
        self.pgbouncer = pgbouncer
        self._engines = {
            WEB: self._engine(urls.web, pool_size),
            WORKER: self._engine(urls.worker, max(2, pool_size // 2), always_asks=True),
        }
        # A pooler finds the server of a statement that was prepared in the same transaction alone.
        self._looks = self._engine(urls.worker, max(2, pool_size // 2), begins=pgbouncer)
        self._sessions = {
            role: async_sessionmaker(engine, sync_session_class=_Session, expire_on_commit=False, autoflush=False)
            for role, engine in self._engines.items()
        }

    def _engine(self, url: Secret, pool_size: int, *, always_asks: bool = False, begins: bool = True) -> AsyncEngine:
        async def connect() -> Any:
            return await self.connect(url)

        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=5,
            isolation_level=None if begins else "AUTOCOMMIT",
            # A pooler's next transaction may run on a server that has never heard of our statements.
            connect_args={"prepared_statement_cache_size": 0, "prepared_statement_name_func": _no_name}
            if self.pgbouncer
            else {},
        )
        event.listen(engine.sync_engine, "checkout", _always_ask if always_asks else _expect_alive)
        event.listen(engine.sync_engine, "checkin", _note_use)
        if not always_asks:
            event.listen(engine.sync_engine, "handle_error", _note_loss)
        return engine

    async def connect(self, url: Secret | None = None, *, command_timeout: float = 15) -> Any:
        """A connection of its own, as ``comms_worker`` unless told otherwise; the caller closes it."""
        options: dict[str, Any] = {"server_settings": {"idle_in_transaction_session_timeout": FROZEN_MS}}
        if self.pgbouncer:
            options = {"statement_cache_size": 0}  # it takes no settings, which would be everybody's
        return await asyncpg.connect(
            (url or self.urls.worker).plain,
            connection_class=_Connection,
            timeout=5,
            command_timeout=command_timeout,
            **options,
        )

    @asynccontextmanager
    async def workspace(
        self, workspace_id: uuid.UUID, actor: Actor | None = None, *, is_urgent: bool = False, by_keys: bool = False
    ) -> AsyncIterator[AsyncSession]:
        """One unit of work in one workspace, done by ``actor``.

        ``by_keys`` is one that asks for rows by their keys alone; an urgent one does too, and what it writes is found
        by its words later.
        """
        async with self._unit_of_work(WEB, actor, is_indexed=not is_urgent) as session:
            session.info["workspace_id"] = workspace_id
            planned = _PLANNED_ONCE if is_urgent or by_keys else _PLANNED_EACH_TIME
            session.info["opening"] = f"SET LOCAL {WORKSPACE_SETTING} = '{workspace_id.hex}'; {planned}"
            yield session

    @asynccontextmanager
    async def everywhere(self, actor: Actor | None = None) -> AsyncIterator[AsyncSession]:
        """One unit of work across workspaces, for what belongs to none or to all."""
        async with self._unit_of_work(WORKER, actor) as session:
            yield session

    async def look_up(self, query: Select[Any], values: Mapping[str, Any]) -> Row[Any] | None:
        """The one row that ``query`` finds across workspaces, if it finds one; a single round trip.

        For what every request asks. The query is made once, with its ``values`` named by ``bindparam``.
        """
        async with self._looks.connect() as connection:
            row: Row[Any] | None = (await connection.execute(query, values)).one_or_none()
            return row

    @asynccontextmanager
    async def _unit_of_work(
        self, role: str, actor: Actor | None, *, is_indexed: bool = True
    ) -> AsyncIterator[AsyncSession]:
        async with self._sessions[role].begin() as session:
            session.info["actor"] = actor or Actor()
            yield session
            if is_indexed:
                await search.take_in(session)
            told = await events.write_recorded(session)
        if told:
            self.on_told(told)
        for follow in session.info.get("afterwards", ()):
            follow()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        """One unit of work on an asyncpg connection of its own, across workspaces: for stories that groups run."""
        connection = await self.connect()
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    async def close(self) -> None:
        """All connections of the two roles are closed."""
        for engine in (*self._engines.values(), self._looks):
            await engine.dispose()
