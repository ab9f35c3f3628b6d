"""Processes of comms as an operator starts them, on free ports; whoever starts one ends it, however the test went."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from comms.cli import main
from comms.cli import running as running_command
from comms.embedded import Embedded, locks, programs
from tests.journeys.waiting import until_now

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
OURS = ("COMMS_", "DATABASE_", "PUBLIC_URL", "PG")

FORKING = multiprocessing.get_context("forkserver")
APPLICATION = "tests.journeys.application"
FORKING.set_forkserver_preload([__name__, "comms.cli.running", APPLICATION])
"""One process has imported everything and forks the others: by itself each start would take five seconds for that."""


class Process:
    """A running ``comms``."""

    def __init__(self, child: multiprocessing.process.BaseProcess, port: int, output: Path) -> None:
        self.child = child
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.screen_url = f"ws://127.0.0.1:{port}/ws"
        self._output = output

    @property
    def said(self) -> str:
        """All that it has printed and logged."""
        return self._output.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    @property
    def is_alive(self) -> bool:
        return self.child.is_alive()

    def kill(self) -> None:
        """It is gone without a word, as after ``kill -9``."""
        self.child.kill()
        self.child.join()

    def ask_to_stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """It is told to stop, and goes on for as long as it needs."""
        os.kill(self.pid, how)

    def stopped(self, *, within: float = 15) -> int:
        """What it exits with."""
        self.child.join(within)
        if self.child.exitcode is None:
            raise TimeoutError(f"comms has not stopped within {within} s:\n{self.said}")
        return self.child.exitcode

    def end(self) -> None:
        """It has stopped, politely if it can."""
        if self.is_alive:
            self.ask_to_stop()
            try:
                self.stopped()
            except TimeoutError:
                self.kill()

    def await_start(self) -> None:
        """It serves; a process that ends instead, or never comes up, fails with what it said."""
        deadline = time.monotonic() + START_SECONDS
        while "comms is " not in self.said:
            assert self.is_alive, f"comms ended with {self.child.exitcode}:\n{self.said}"
            assert time.monotonic() < deadline, f"comms has not started:\n{self.said}"
            time.sleep(0.02)


def begin(*arguments: str | Path, folder: Path, port: int | None = None, **variables: str) -> Process:
    """``comms ARGUMENTS --port …`` is starting; its output goes to a file in ``folder``."""
    port = port or free_port()
    output = folder / f"comms-{port}.log"
    output.touch()
    words = [*map(str, arguments), "--port", str(port)]
    child = FORKING.Process(target=_be_comms, args=(words, output, _environment(variables)))
    child.start()
    return Process(child, port, output)


@contextmanager
def running(*arguments: str | Path, folder: Path, port: int | None = None, **variables: str) -> Iterator[Process]:
    """A started process, ended when the block is left."""
    process = begin(*arguments, folder=folder, port=port, **variables)
    try:
        process.await_start()
        yield process
    finally:
        process.end()


def comms(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    words = list(map(str, arguments))
    with tempfile.TemporaryDirectory(prefix="comms-") as folder:
        said, complained = Path(folder, "said"), Path(folder, "complained")
        child = FORKING.Process(target=_be_comms, args=(words, said, _environment(variables), complained))
        child.start()
        child.join(START_SECONDS)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(words, START_SECONDS)
        return subprocess.CompletedProcess(words, child.exitcode, said.read_text(), complained.read_text())


def run(command: tuple[str | Path, ...], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=_environment(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def _be_comms(words: list[str], output: Path, environment: Mapping[str, str], complaints: Path | None = None) -> None:
    """This process is ``comms WORDS``, and what it says goes to that file, or to those two."""
    for stream, path in ((sys.stdout, output), (sys.stderr, complaints or output)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    running_command._APPLICATION = f"{APPLICATION}:create_app"
    main(words)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What is configured for this machine is not configured for a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | dict(variables)


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


def postmaster(data_dir: Path) -> int:
    """The process id of the PostgreSQL over ``data_dir``."""
    return next(pid for pid, is_postmaster in processes_over(data_dir) if is_postmaster)


def processes_over(data_dir: Path) -> list[tuple[int, bool]]:
    """Every process of the PostgreSQL over ``data_dir``, and whether it is the postmaster."""
    folders = Embedded(data_dir).folders
    try:
        owner = folders.data.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return []
    return list(programs.processes_of(folders.mark, owner))


@contextmanager
def held_still(data_dir: Path) -> Iterator[None]:
    """The PostgreSQL over ``data_dir`` neither answers nor refuses: all its processes are stopped."""
    pids = [pid for pid, _ in sorted(processes_over(data_dir), key=lambda process: not process[1])]
    _signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(pids, signal.SIGCONT)


def end_postgres(data_dir: Path) -> None:
    """No PostgreSQL is left over ``data_dir``, which is about to be removed."""
    running_lock = data_dir / "running.lock"
    _signal_all([pid for pid, _ in processes_over(data_dir)], signal.SIGKILL)
    until_now(lambda: locks.is_free(running_lock), within=20)


def _signal_all(pids: list[int], how: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, how)
