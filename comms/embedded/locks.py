"""Files whose ``flock`` is the truth: the kernel frees it when the last holder is gone, however it went."""

import fcntl
import os
from pathlib import Path


def take(path: Path, *, shared: bool = False) -> int | None:
    """The file descriptor that holds the lock until its last copy is closed, or None when another holds it.

    Close it, never unlock it: unlocking would take the lock from the processes that inherited the descriptor too.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock exclusively; many may ask at once, for asking takes it shared."""
    try:
        lock = take(path, shared=True)
    except FileNotFoundError:
        return True
    if lock is None:
        return False
    os.close(lock)
    return True
