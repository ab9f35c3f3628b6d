"""PostgreSQL's log: appended to by the server itself, kept from growing for ever, quoted when a start fails."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

LARGE = 10_000_000  # bytes


def opened(log: Path) -> int:
    """A file descriptor to hand to the server."""
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def shorten(log: Path) -> None:
    """A large log is kept once as ``postgres.log.1``; the server appends, so its file is emptied in place."""
    with suppress(OSError):
        if log.stat().st_size > LARGE:
            shutil.copy(log, f"{log}.1")
            os.truncate(log, 0)


def since(log: Path, begins: int) -> str:
    """The last lines written after the first ``begins`` bytes."""
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(begins)
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-15:])
    return ""
