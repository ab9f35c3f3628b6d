"""One PostgreSQL beside the data, shared by every process that opens the same folder.

Three lock files tell the truth, and the kernel keeps them through any kill -9:

- ``start.lock`` is held by whoever is joining, starting or leaving, so those happen one at a time;
- ``running.lock`` is inherited by PostgreSQL and all its children, so it is free exactly when none of them lives;
- ``users.lock`` is held shared by every process that uses the server; who can have it alone is the last to leave.

A server whose users were all killed stays, and the next to start joins it: nothing has to be repaired.
"""

import asyncio
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Never, Self
from urllib.parse import quote

from comms.embedded import cluster, journal, locks, probe, programs
from comms.embedded.accounts import Account, account_for
from comms.embedded.errors import (
    DataDirectoryUnusable,
    EmbeddedUnavailable,
    StartFailed,
    StartTimedOut,
    disk_full,
    explained,
    tells_of_a_full_disk,
)
from comms.embedded.folders import Folders

START_SECONDS = 60
RECOVERY_SECONDS = 300  # while it says that it is starting up
ORPHANS_SECONDS = 3  # for children of a killed server to finish what they do
SHUTDOWN_SECONDS = 30
LEAVING_SECONDS = 10
TRY_AGAIN_SECONDS = 5

OPTIONS: Mapping[str, str] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log tells of the server's life. Statements and row values are the application's, and may be personal.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

log = logging.getLogger(__name__)


class Embedded:
    """The PostgreSQL over ``data_dir``.

    ``options`` are PostgreSQL settings over ours. ``user`` is the account that runs it when we are root (default:
    COMMS_POSTGRES_USER, the data's owner, postgres or nobody). ``restarts`` counts how often this process has
    brought a killed server back; over all processes they add up to the true number.
    """

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] | None = None, user: str | None = None) -> None:
        self.folders = Folders(data_dir)
        self.restarts = 0
        self._options = {**OPTIONS, **(options or {})}
        self._user = user or os.environ.get("COMMS_POSTGRES_USER")
        self._share: int | None = None  # of users.lock
        self._child: subprocess.Popen[str] | None = None
        self._pid: int | None = None
        self._one_at_a_time = threading.RLock()
        self._leaving = threading.Event()

    def start(self) -> Self:
        """The server accepts connections and stays at least until we ``stop``; whether we started it or joined it."""
        with self._one_at_a_time:
            self._leaving.clear()
            if self._share is not None and not self._is_gone():
                return self
            self.folders.open()
            try:
                with explained(self.data_dir), self._start_lock():
                    self.folders.must_be_known()
                    if self._share is None:
                        self._share = locks.take(self.folders.users, shared=True)
                    self._bring_up()
            except StartTimedOut:
                self._leave()  # and let it be: a recovery that is ended begins again
                raise
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """We no longer use the server; if nobody else does, it has ended."""
        self._leaving.set()
        with self._one_at_a_time:
            if self._share is None:
                return
            try:
                starting = self._take_start_lock(LEAVING_SECONDS)
            except FileNotFoundError:  # the data folder was removed: nobody can join any more
                self._leave()
                self._shut_down()
                return
            self._leave()
            if starting is None:
                return  # somebody is just starting: then we are not the last
            try:
                if (alone := locks.take(self.folders.users)) is not None:
                    os.close(alone)
                    self._shut_down()
            finally:
                os.close(starting)

    async def watch(self, on_return: Callable[[], None] | None = None, *, every_seconds: float = 0.15) -> Never:
        """As long as it runs, a server that is gone comes back; of several processes exactly one restarts it.

        ``on_return`` is called when it is back, whoever brought it. What cannot be repaired is logged and tried again.
        """
        pause = every_seconds
        while True:
            await asyncio.sleep(pause)
            pause = every_seconds
            journal.shorten(self.folders.log)
            try:
                back = self._is_gone() and await asyncio.to_thread(self._restart)
            except (EmbeddedUnavailable, OSError) as error:  # the latter when we are out of file descriptors
                log.error("PostgreSQL cannot be watched or restarted: %s", error)
                pause = TRY_AGAIN_SECONDS
            else:
                if back and on_return:
                    on_return()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The folder with everything of ours, resolved."""
        return self.folders.data_dir

    @property
    def socket_dir(self) -> Path:
        """The 0700 folder of the unix socket, which is the only door."""
        return self.folders.socket_dir

    @property
    def pg_bin(self) -> Path:
        """The folder with ``psql``, ``pg_dump``, ``pgbench`` and the rest."""
        return programs.folder()

    @property
    def pid(self) -> int | None:
        """The process id of the server this process knows, if it can be seen."""
        return self._pid

    def dsn(self, user: str = "postgres", database: str = cluster.DATABASE) -> str:
        """A URL for asyncpg and libpq programs; the port is spelt out because PGPORT would win otherwise."""
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self.socket_dir))}&port=5432"

    def url(self, role: str = "postgres", database: str = cluster.DATABASE) -> str:
        """The same for SQLAlchemy with asyncpg."""
        return self.dsn(role, database).replace("postgresql://", "postgresql+asyncpg://", 1)

    # Joining and starting: everything below is done by the holder of start.lock.

    def _bring_up(self) -> bool:
        """The server answers; whether we had to launch it."""
        run_lock = self._run_lock_unless_answered()
        if run_lock is None:
            self.folders.open_socket_dir(account_for(self.folders.data, None))  # nobody else's socket is trusted
            self._child, self._pid = None, self._postmaster()
            return False
        try:
            account = account_for(self.folders.data, self._user)
            self.folders.must_be_open_to(account, self.pg_bin)
            self.folders.open_socket_dir(account)
            cluster.ready(self.folders, account, run_lock)
            log_begins = self._launch(account, run_lock)
        finally:
            os.close(run_lock)
        self._await_answer(log_begins)
        return True

    def _run_lock_unless_answered(self) -> int | None:
        """The lock of a server that is no more, or None because one answers.

        A lock held in silence is a server coming up after its starter was killed, one going down, or children of a
        killed one.
        """
        patience = probe.Patience(START_SECONDS, RECOVERY_SECONDS)
        orphans_since: float | None = None
        while (run_lock := locks.take(self.folders.running)) is None:
            answer = probe.ask(self.folders.socket)
            if answer is probe.Answer.READY:
                return None
            if answer is probe.Answer.SILENT and self._has_orphans():
                orphans_since = orphans_since or time.monotonic()
                self._hurry_orphans(time.monotonic() - orphans_since)
            if patience.is_over(answer):
                raise StartTimedOut(
                    f"A PostgreSQL (process {self._postmaster() or 'unseen'}) holds {self.folders.data} and has not "
                    f"answered for {patience.seconds} s: end it and start comms again; its log is {self.folders.log}."
                )
            self._pause(0.05)
        return run_lock

    def _launch(self, account: Account, run_lock: int) -> int:
        """PostgreSQL has been started; the size its log had before."""
        settings = self._options | {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folders.socket_dir),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "cluster_name": self.folders.mark,
            "logging_collector": "off",
        }
        command = [str(self.pg_bin / "postgres"), "-D", str(self.folders.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        journal.shorten(self.folders.log)
        with explained(self.data_dir):
            output = journal.opened(self.folders.log)
        try:
            begins = os.fstat(output).st_size
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            self._child = programs.start(command, account, run_lock, **streams)
        finally:
            os.close(output)
        self._pid = self._child.pid
        return begins

    def _await_answer(self, log_begins: int) -> None:
        patience = probe.Patience(START_SECONDS, RECOVERY_SECONDS)
        while (answer := probe.ask(self.folders.socket)) is not probe.Answer.READY:
            if self._child is not None and self._child.poll() is not None:
                said = journal.since(self.folders.log, log_begins)
                if tells_of_a_full_disk(said):
                    raise disk_full(self.data_dir)
                raise StartFailed(f"PostgreSQL ended while starting (see {self.folders.log}); it said:\n{said}")
            if patience.is_over(answer):
                raise StartTimedOut(
                    f"PostgreSQL has not answered for {patience.seconds} s and goes on starting: "
                    f"start comms again to wait on; it said:\n{journal.since(self.folders.log, log_begins)}"
                )
            self._pause(0.02)

    # A killed server leaves children that finish what they do: they hold the lock and must be gone before the next.

    def _has_orphans(self) -> bool:
        kinds = [is_postmaster for _, is_postmaster in self._processes()]
        return bool(kinds) and not any(kinds)

    def _hurry_orphans(self, waited_seconds: float) -> None:
        if waited_seconds < ORPHANS_SECONDS:
            return
        how = signal.SIGQUIT if waited_seconds < 2 * ORPHANS_SECONDS else signal.SIGKILL
        for pid, is_postmaster in self._processes():
            if not is_postmaster:
                _signal(pid, how)

    def _processes(self) -> list[tuple[int, bool]]:
        try:
            owner = self.folders.data.stat().st_uid
        except OSError:
            return []
        return list(programs.processes_of(self.folders.mark, owner))

    def _postmaster(self) -> int | None:
        """The server's process, as its pid file says and its command line proves."""
        try:
            pid = int((self.folders.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if (pid, True) in self._processes() else None

    # Noticing and repairing.

    def _is_gone(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            return True
        return not _lives(self._pid) or locks.is_free(self.folders.running)

    def _restart(self) -> bool:
        """A server that was gone is back; False when nothing had to be done."""
        with self._one_at_a_time:
            if self._share is None or self._leaving.is_set() or not self._is_gone():
                return False
            if not (self.folders.data / "PG_VERSION").exists():  # an empty database is no repair
                raise DataDirectoryUnusable(f"{self.folders.data} has been removed: restore it and start comms again.")
            try:
                with explained(self.data_dir), self._start_lock():
                    if self._bring_up():
                        self.restarts += 1
                        log.warning("PostgreSQL had ended and was restarted (%d times by us)", self.restarts)
            except _Leaving:
                return False
            return True

    # Leaving.

    def _leave(self) -> None:
        if self._share is not None:
            os.close(self._share)
            self._share = None

    def _shut_down(self) -> None:
        """The server has ended: with a fast shutdown, which rolls back what is open, or at last as in a crash."""
        for how, seconds in ((signal.SIGINT, SHUTDOWN_SECONDS), (signal.SIGQUIT, LEAVING_SECONDS)):
            server = self._child.pid if self._child and self._child.poll() is None else self._postmaster()
            if server is not None:
                _signal(server, how)
            deadline = time.monotonic() + (seconds if server is not None else 1)
            while time.monotonic() < deadline:
                reaped = self._child is None or self._child.poll() is not None
                if reaped and locks.is_free(self.folders.running):
                    self._child, self._pid = None, None
                    return
                time.sleep(0.02)  # stopping blocks by contract, and the lock file sends no signal
        log.warning("PostgreSQL over %s could not be ended; the next start joins it", self.folders.data)

    # Waiting, which stop() cuts short.

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        lock = self._take_start_lock(START_SECONDS + RECOVERY_SECONDS, waiting=self._pause)
        if lock is None:
            raise StartTimedOut(
                f"Another comms has been starting PostgreSQL over {self.data_dir} for "
                f"{START_SECONDS + RECOVERY_SECONDS} s: end it and start again."
            )
        try:
            yield
        finally:
            os.close(lock)

    def _take_start_lock(self, seconds: float, *, waiting: Callable[[float], None] = time.sleep) -> int | None:
        deadline = time.monotonic() + seconds
        while (lock := locks.take(self.folders.starting)) is None and time.monotonic() < deadline:
            waiting(0.02)
        return lock

    def _pause(self, seconds: float) -> None:
        if self._leaving.wait(seconds):
            raise _Leaving("stop() was called while PostgreSQL was starting.")


class _Leaving(EmbeddedUnavailable):
    """``stop()`` was called meanwhile."""


def _lives(pid: int | None) -> bool:
    """Whether the process lives; one we cannot see is given the benefit of the doubt."""
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
