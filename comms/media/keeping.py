"""The object store: a folder, or a bucket at S3, Google or Azure."""

from collections.abc import AsyncIterable, AsyncIterator
from functools import cached_property
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from comms.errors import Missing

IN_ONE_PIECE = 4 * 1024 * 1024
"""Up to here a file is one request to the store; beyond, parts of this size."""

CHUNK = 256 * 1024


class NotKept(Missing):
    """The content of this attachment is not here."""


class Unkept(Exception):
    """The store did not take something."""


class Store:
    """Keeps bytes under a key. Types, sizes and checksums belong in the row: a folder cannot hold them."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def keep(self, key: str, content: AsyncIterator[bytes]) -> None:
        """``content`` is under ``key``, all of it or nothing; what reading it raises is passed on."""
        head = bytearray()
        async for chunk in content:
            head += chunk
            if len(head) > IN_ONE_PIECE:
                await self._put(key, _joined(bytes(head), content))
                return
        await self._put(key, bytes(head))

    async def open(self, key: str, within: tuple[int, int] | None = None) -> AsyncIterator[bytes]:
        """What is under ``key``, in pieces; ``within`` two places of it, if given. ``NotKept`` if nothing is."""
        try:
            found = await obstore.get_async(self._store, key, options={"range": within} if within else {})
        except (FileNotFoundError, NotFoundError) as error:
            raise NotKept from error
        return _pieces(found.stream(min_chunk_size=CHUNK))

    async def remove(self, key: str) -> None:
        """Nothing is under ``key``."""
        try:
            await obstore.delete_async(self._store, key)
        except (FileNotFoundError, NotFoundError):
            return

    async def _put(self, key: str, content: bytes | AsyncIterator[bytes]) -> None:
        try:
            await obstore.put_async(self._store, key, content, chunk_size=IN_ONE_PIECE, max_concurrency=1)
        except (BaseError, OSError) as error:
            raise Unkept(type(error).__name__) from error

    @cached_property
    def _store(self) -> ObjectStore:
        return from_url(self._url, mkdir=True) if self._url.startswith("file:") else from_url(self._url)


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk


async def _pieces(stream: AsyncIterable[Any]) -> AsyncIterator[bytes]:
    async for piece in stream:
        yield bytes(piece)
