"""A webhook's body on its way in: small ones in memory, large ones on the disk, hashed as they come."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, Self, cast

IN_MEMORY = 1024 * 1024
CHUNK = 256 * 1024


class Spool:
    """The body of one request, whole; gone when it is closed."""

    def __init__(self, *hashes: Any) -> None:
        self.size = 0
        self.hashes = hashes
        self.file = cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, chunk: bytes) -> None:
        """These bytes are the next ones."""
        self.size += len(chunk)
        for one in self.hashes:
            one.update(chunk)
        self.file.write(chunk)

    async def content(self) -> AsyncIterator[bytes]:
        """All of it, some at a time."""
        place = 0
        while place < self.size:
            self.file.seek(place)
            chunk = self.file.read(CHUNK)
            place += len(chunk)
            yield chunk


def sha256(*begin: bytes) -> Any:
    """A hash that has begun with these."""
    return hashlib.sha256(b"".join(begin))
