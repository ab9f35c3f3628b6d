"""The built-in PostgreSQL, with real servers, real processes and real kills."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from comms.embedded import DataDirectoryUnusable, Embedded, StartFailed, locks, programs
from tests.conftest import short_folder

ROOT = Path(__file__).parents[2]
SMALL = {"shared_buffers": "16MB"}
ELSEWHERE = """
import os, sys
from pathlib import Path
from comms.embedded import Embedded, EmbeddedUnavailable
if "as-nobody" in sys.argv:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    server = Embedded(Path(sys.argv[1]), options={"shared_buffers": "16MB"}).start()
except EmbeddedUnavailable as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(server.pid, flush=True)
sys.stdin.read()
server.stop()
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that everybody may enter, unlike ``tmp_path``, which is root's alone."""
    folder = short_folder()
    yield folder
    for data_dir in folder.iterdir():
        kill_all(data_dir)
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(place: Path) -> Path:
    """Where nothing is yet."""
    return place / "data"


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The files of a database that was started once, and is never started again."""
    folder = short_folder()
    with Embedded(folder / "data", options=SMALL):
        pass
    yield folder / "data" / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def kept_dir(data_dir: Path, made: Path) -> Path:
    """Where a database was started before: to make one takes a second, and most rules are not about that."""
    data_dir.mkdir(mode=0o711)
    subprocess.run(["cp", "-Rp", made, data_dir], check=True)
    return data_dir


class Elsewhere:
    """Another process that starts the server, uses it until told to leave, or is killed."""

    def __init__(self, data_dir: Path, *more: str) -> None:
        command = [sys.executable, "-c", ELSEWHERE, data_dir, *more]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)

    def server_pid(self) -> int:
        return int(self.process.stdout.readline())

    def leave(self) -> str:
        return self.process.communicate(timeout=60)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def processes(data_dir: Path) -> dict[int, bool]:
    """The server's processes: pid, and whether it is the postmaster."""
    folders = Embedded(data_dir).folders
    if not folders.data.exists():
        return {}
    return dict(programs.processes_of(folders.mark, folders.data.stat().st_uid))


def kill_all(data_dir: Path) -> None:
    for pid in processes(data_dir):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: locks.is_free(data_dir / "running.lock"))


def contents(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def wait_until(holds: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


async def eventually(holds: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def ask(server: Embedded, statement: str) -> Any:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def watched(server: Embedded, returns: list[Embedded]) -> AsyncIterator[None]:
    watch = asyncio.create_task(server.watch(lambda: returns.append(server)))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def test_a_first_start_makes_a_durable_utf8_database_behind_a_private_socket(data_dir: Path) -> None:
    with Embedded(data_dir) as server:
        shown = [
            await ask(server, f"SHOW {name}")
            for name in ("server_encoding", "data_checksums", "fsync", "synchronous_commit", "listen_addresses", "jit")
        ]
        rules = await ask(server, "SELECT array_agg(DISTINCT type || ' ' || auth_method) FROM pg_hba_file_rules")
        assert shown == ["UTF8", "on", "on", "on", "", "off"]
        assert sorted(rules) == ["host reject", "local trust"]
        assert await ask(server, "SELECT lower('ÄÖ')") == "äö"
        assert await ask(server, "SELECT current_database()") == "comms"
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert (server.pg_bin / "pgbench").exists()


async def test_options_override_ours_and_the_address_survives_odd_names(place: Path) -> None:
    with Embedded(place / "a b%20c", options={"max_connections": "33"} | SMALL) as server:
        assert await ask(server, "SHOW max_connections") == "33"


def test_starting_twice_is_starting_once(kept_dir: Path) -> None:
    with Embedded(kept_dir, options=SMALL) as server:
        first = server.pid
        assert server.start().pid == first
        assert server.folders.log.read_text().count("starting PostgreSQL") == 1


def test_our_ctrl_c_does_not_reach_postgres(kept_dir: Path) -> None:
    with Embedded(kept_dir, options=SMALL) as server:
        assert server.pid
        assert os.getpgid(server.pid) != os.getpgid(0)
        assert os.getsid(server.pid) != os.getsid(0)


async def test_a_killed_postgres_comes_back_with_what_was_committed(kept_dir: Path) -> None:
    returns: list[Embedded] = []
    with Embedded(kept_dir, options=SMALL) as server:
        async with watched(server, returns):
            await ask(server, "CREATE TABLE kept (id int)")
            await ask(server, "INSERT INTO kept SELECT generate_series(1, 1000)")
            os.kill(server.pid, signal.SIGKILL)
            await eventually(lambda: returns)
            assert await ask(server, "SELECT count(*) FROM kept") == 1000
            assert server.restarts == 1


async def test_a_killed_postgres_comes_back_though_a_busy_child_of_it_lives_on(kept_dir: Path) -> None:
    returns: list[Embedded] = []
    with Embedded(kept_dir, options=SMALL) as server:
        async with watched(server, returns):
            connection = await asyncpg.connect(server.dsn())
            busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"))
            await asyncio.sleep(0.2)
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(1)
            assert list(processes(kept_dir).values()) == [False]  # the child holds on, and the lock with it
            assert not locks.is_free(kept_dir / "running.lock")
            await eventually(lambda: returns)
            await asyncio.gather(busy, return_exceptions=True)
            assert await ask(server, "SELECT 1") == 1


async def test_exactly_one_of_several_watchers_restarts(kept_dir: Path) -> None:
    returns: list[Embedded] = []
    with Embedded(kept_dir, options=SMALL) as one, Embedded(kept_dir) as two, Embedded(kept_dir) as three:
        async with watched(one, returns), watched(two, returns), watched(three, returns):
            assert one.pid == two.pid == three.pid
            os.kill(one.pid, signal.SIGKILL)
            await eventually(lambda: len(returns) == 3)
            assert one.restarts + two.restarts + three.restarts == 1
            assert one.pid == two.pid == three.pid


def test_a_killed_starter_leaves_a_server_that_the_next_start_joins(kept_dir: Path) -> None:
    starter = Elsewhere(kept_dir)
    first = starter.server_pid()
    starter.kill()
    with Embedded(kept_dir) as server:
        assert server.pid == first
    assert processes(kept_dir) == {}


def test_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    several = [Elsewhere(data_dir) for _ in range(3)]
    assert len({one.server_pid() for one in several}) == 1
    assert (data_dir / "postgres.log").read_text().count("starting PostgreSQL") == 1
    assert [one.leave() for one in several] == ["", "", ""]
    assert processes(data_dir) == {}


async def test_the_last_user_stops_the_server(kept_dir: Path) -> None:
    other = Elsewhere(kept_dir)
    other.server_pid()
    server = Embedded(kept_dir).start()
    assert other.leave() == ""
    assert await ask(server, "SELECT 1") == 1
    server.stop()
    assert processes(kept_dir) == {}
    assert locks.is_free(kept_dir / "running.lock")


@pytest.mark.parametrize("whose", ["ours", "of the server's user"])
def test_a_stale_pid_that_somebody_else_has_now_does_not_block(kept_dir: Path, whose: str) -> None:
    with Embedded(kept_dir, options=SMALL) as server:
        kill_all(kept_dir)
        data = server.folders.data
        owner = data.stat()
        as_server = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        sleeper = subprocess.Popen(["sleep", "60"], **as_server)
        pid = os.getpid() if whose == "ours" else sleeper.pid
        for stale in (data / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"):
            lines = stale.read_text().splitlines(keepends=True)
            stale.write_text("".join([f"{pid}\n", *lines[1:]]))
        try:
            assert server.start().pid in processes(kept_dir)
        finally:
            sleeper.kill()
            sleeper.wait()


def test_a_killed_first_start_leaves_nothing_half_made(data_dir: Path) -> None:
    starter = Elsewhere(data_dir)
    draft = data_dir / "postgres.new"
    wait_until(lambda: (draft / "PG_VERSION").exists())
    starter.kill()
    assert not (data_dir / "postgres").exists()
    with Embedded(data_dir, options=SMALL) as server:
        assert server.pid in processes(data_dir)
        assert not draft.exists()


def test_a_failed_start_quotes_the_log_and_blocks_nothing(kept_dir: Path) -> None:
    with pytest.raises(StartFailed, match='invalid value for parameter "shared_buffers"'):
        Embedded(kept_dir, options={"shared_buffers": "plenty"}).start()
    with Embedded(kept_dir, options=SMALL) as server:
        assert server.pid in processes(kept_dir)


@pytest.mark.parametrize("major", ["16", "19"])
def test_data_of_another_postgres_is_refused_in_one_sentence(data_dir: Path, major: str) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text(f"{major}\n")
    with pytest.raises(DataDirectoryUnusable, match=f"written by PostgreSQL {major} and this comms brings 18: dump it"):
        Embedded(data_dir).start()


def test_data_of_a_newer_comms_is_refused_in_one_sentence(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "layout").write_text("2\n")
    with pytest.raises(DataDirectoryUnusable, match="was written by a newer comms"):
        Embedded(data_dir).start()


def test_a_folder_with_something_else_in_it_is_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "diary.txt").write_text("mine")
    with pytest.raises(DataDirectoryUnusable, match="holds files but no PostgreSQL data"):
        Embedded(data_dir).start()
    assert (data_dir / "postgres" / "diary.txt").read_text() == "mine"


def test_a_folder_we_may_not_write_is_refused_in_one_sentence(place: Path) -> None:
    place.chmod(0o555)
    said = Elsewhere(place / "data", *(["as-nobody"] if os.geteuid() == 0 else [])).leave()
    assert said.startswith(f"DataDirectoryUnusable: comms may not write {place}/data (Permission denied): give it to")
    assert "COMMS_DATA_DIR" in said
    place.chmod(0o755)


@only_root
def test_root_is_told_when_the_servers_user_may_not_enter_a_folder_on_the_way(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DataDirectoryUnusable, match=f"may not enter {closed}, where .* set COMMS_DATA_DIR"):
        Embedded(closed / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@only_root
def test_as_root_the_server_runs_as_the_user_asked_for_and_keeps_to_the_datas_owner(data_dir: Path) -> None:
    with Embedded(data_dir, options=SMALL, user="nobody") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    with Embedded(data_dir, options=SMALL) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert data_dir.stat().st_uid == 0


async def test_a_long_data_folder_gets_a_short_private_socket_folder(place: Path) -> None:
    with Embedded(place / ("long" * 30), options=SMALL) as server:
        assert server.socket_dir.parent == Path("/tmp")
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert await ask(server, "SELECT 1") == 1
    shutil.rmtree(server.socket_dir)


@only_root
def test_a_socket_folder_of_somebody_else_is_not_trusted(place: Path) -> None:
    server = Embedded(place / ("long" * 30), options=SMALL)
    server.socket_dir.mkdir(mode=0o700)
    try:
        os.chown(server.socket_dir, 12345, 12345)
        with pytest.raises(DataDirectoryUnusable, match="belongs to somebody else"):
            server.start()
    finally:
        server.socket_dir.rmdir()


async def test_a_removed_data_folder_is_not_replaced_by_an_empty_one(place: Path, kept_dir: Path) -> None:
    returns: list[Embedded] = []
    server = Embedded(kept_dir, options=SMALL).start()
    async with watched(server, returns):
        kill_all(kept_dir)
        shutil.rmtree(kept_dir)
        await asyncio.sleep(1)
    assert returns == []
    server.stop()
    assert contents(place) == []


def test_a_large_log_is_kept_once(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o711)
    (data_dir / "postgres.log").write_bytes(b"old\n" * 3_000_000)
    with Embedded(data_dir, options=SMALL):
        assert (data_dir / "postgres.log.1").stat().st_size == 12_000_000
        assert (data_dir / "postgres.log").read_bytes().count(b"old") == 0
