"""The data folder of a server: made whole or not at all, and only opened if it is of our version."""

import os
import shutil
import subprocess
from pathlib import Path

from comms.embedded import programs
from comms.embedded.accounts import Account, give
from comms.embedded.errors import (
    AccountUnusable,
    DataDirectoryUnusable,
    StartFailed,
    disk_full,
    explained,
    tells_of_a_full_disk,
)
from comms.embedded.folders import Folders

DATABASE = "comms"


def ready(folders: Folders, account: Account, run_lock: int) -> None:
    """A cluster of our version stands in ``folders.data``, belongs to ``account`` and has a database ``comms``.

    To be called by the holder of ``run_lock``: no server is alive over this folder.
    """
    if not _stands(folders.data):
        _make(folders, account, run_lock)
    with explained(folders.data):
        if folders.data.stat().st_uid != account.uid and not _may_give():
            raise DataDirectoryUnusable(
                f"{folders.data} belongs to user {folders.data.stat().st_uid} and comms runs as {account.name}: "
                f"run comms as that user, give the folder away with `chown -R {account.name} {folders.data_dir}`, "
                "or choose another folder with COMMS_DATA_DIR."
            )
        give(folders.data, account)  # a restored backup belongs to root
        # A killed server leaves these with pids that may since be anybody's, and PostgreSQL would believe them.
        # The lock knows better; two servers over one folder are still kept apart by their shared memory.
        for stale in (folders.data / "postmaster.pid", folders.socket, Path(f"{folders.socket}.lock")):
            stale.unlink(missing_ok=True)


def _stands(data: Path) -> bool:
    with explained(data):
        if not data.exists() or not any(data.iterdir()):
            return False
        version = data / "PG_VERSION"
        if not version.exists():
            raise DataDirectoryUnusable(
                f"{data} holds files but no PostgreSQL data: move them away, "
                "or choose another folder with COMMS_DATA_DIR."
            )
        written_by = version.read_text().strip()
    if written_by != str(programs.MAJOR):
        raise DataDirectoryUnusable(
            f"{data} was written by PostgreSQL {written_by[:20]} and this comms brings {programs.MAJOR}: dump it with "
            "the comms that wrote it and load it into a new folder, or choose another folder with COMMS_DATA_DIR."
        )
    return True


def _make(folders: Folders, account: Account, run_lock: int) -> None:
    if not account.is_known:
        raise AccountUnusable(
            f"The user {account.name} has no name on this machine, which PostgreSQL's initdb insists on: "
            "add a line for it to /etc/passwd, or run comms as a user that has one."
        )
    draft = folders.draft
    with explained(folders.data_dir):
        if draft.exists():  # somebody was killed while making it
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        give(draft, account)
    bin_folder = programs.folder()
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    access = ("--username=postgres", "--auth-local=trust", "--auth-host=reject")
    _run(folders, account, run_lock, bin_folder / "initdb", "-D", draft, *locale, *access, "--data-checksums")
    create = f"CREATE DATABASE {DATABASE} TEMPLATE template0\n"
    _run(folders, account, run_lock, bin_folder / "postgres", "--single", "-D", draft, "postgres", say=create)
    with explained(folders.data_dir):
        draft.rename(folders.data)
        _sync(folders.data_dir)


def _run(folders: Folders, account: Account, run_lock: int, *command: str | Path, say: str = "") -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with programs.start(command, account, run_lock, **pipes) as process:
        try:
            said, _ = process.communicate(say)
        except BaseException:
            process.kill()
            raise
    if process.returncode and tells_of_a_full_disk(said):
        raise disk_full(folders.data_dir)
    if process.returncode or "ERROR:" in said or "FATAL:" in said:  # a single-user server ends with 0 all the same
        tail = "\n".join(said.splitlines()[-10:])
        raise StartFailed(f"{Path(command[0]).name} could not make {folders.data}; it said:\n{tail}")


def _may_give() -> bool:
    return os.geteuid() == 0


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
