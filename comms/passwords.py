"""Passwords: argon2id, in threads, and only so many at a time that a flood of them cannot eat the memory."""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from comms.errors import TooMany

T = TypeVar("T")

SHORTEST, LONGEST = 10, 200
AT_ONCE = 2
WAITING = 32  # behind those: a third of a second each, so whoever waits longer has given up
MEMORY_KIB = 47_104  # OWASP's first choice: 46 MiB, one pass, one lane; so 92 MiB at most


class Passwords:
    """Hashes and compares; whoever comes when too many wait is sent away with ``TooMany``."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._hasher = _hasher(memory_kib)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._most = at_once + waiting
        self._under_way = 0
        self._nobodys = _nobodys(memory_kib)

    async def hash(self, plain: str) -> str:
        """What to keep of a password."""
        return await self._run(lambda: self._hasher.hash(_written(plain)))

    async def matches(self, kept: str | None, plain: str) -> bool:
        """Whether ``plain`` is the password of which this was kept; as slow when nothing was."""
        matches = await self._run(lambda: self._compare(kept or self._nobodys, plain))
        return matches and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether this was kept with other parameters than ours now."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """No thread is left."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compare(self, kept: str, plain: str) -> bool:
        try:
            return self._hasher.verify(kept, _written(plain))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._most:
            raise TooMany(1)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def _written(plain: str) -> bytes:
    """The same bytes from every keyboard: an é is one character or two, depending on who sends it."""
    return unicodedata.normalize("NFC", plain).encode("utf-8", "surrogatepass")


def _hasher(memory_kib: int) -> PasswordHasher:
    return PasswordHasher(time_cost=1, memory_cost=memory_kib, parallelism=1)


@cache
def _nobodys(memory_kib: int) -> str:
    """What is compared with when there is no such user: made once a process, for it takes as long as any."""
    return _hasher(memory_kib).hash("nobody has this password")
