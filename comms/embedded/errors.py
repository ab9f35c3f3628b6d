"""Why the built-in PostgreSQL cannot be used; each message says what was wrong and what to do.

EmbeddedUnavailable
├── ProgramsMissing          no PostgreSQL 18 came with the installation
├── AccountUnusable          we are root and no other account can run it
├── DataDirectoryUnusable    the data folder is not ours to write, or not of this version
│   └── DiskFull             there is no room left
├── StartFailed              PostgreSQL ended while starting
└── StartTimedOut            it did not answer in time
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ELSEWHERE = "or choose another folder with COMMS_DATA_DIR"


class EmbeddedUnavailable(Exception):
    """The built-in PostgreSQL cannot be used."""


class ProgramsMissing(EmbeddedUnavailable):
    """The installation brings no PostgreSQL 18 for this machine."""


class AccountUnusable(EmbeddedUnavailable):
    """PostgreSQL refuses to run as root, and no other account can run it."""


class DataDirectoryUnusable(EmbeddedUnavailable):
    """The data folder cannot be written, or was written by something we do not understand."""


class DiskFull(DataDirectoryUnusable):
    """The disk that holds the data folder is full."""


class StartFailed(EmbeddedUnavailable):
    """PostgreSQL ended while starting."""


class StartTimedOut(EmbeddedUnavailable):
    """PostgreSQL did not answer in time."""


def disk_full(data_dir: Path) -> DiskFull:
    """The error for a full disk."""
    return DiskFull(f"The disk that holds {data_dir} is full: free some space, {ELSEWHERE}.")


def tells_of_a_full_disk(said: str) -> bool:
    """Whether PostgreSQL's words mean that; a write cut short is how it often learns it."""
    return "No space left on device" in said or "Check free disk space" in said or ": wrote only " in said


@contextmanager
def explained(data_dir: Path) -> Iterator[None]:
    """Whatever the operating system refuses in ``data_dir`` is told as one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or data_dir
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                raise disk_full(data_dir) from error
            case errno.EACCES | errno.EPERM | errno.EROFS:
                raise DataDirectoryUnusable(
                    f"comms may not write {where} ({error.strerror}): give it to the user who runs comms, {ELSEWHERE}."
                ) from error
            case _:
                raise DataDirectoryUnusable(
                    f"{where} cannot be used ({error.strerror}): repair it, {ELSEWHERE}."
                ) from error
