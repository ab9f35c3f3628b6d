"""What the names of hosts mean: looked up on threads, since the system's own look-up waits.

A look-up cannot be called off: a name that nobody answers for has its thread for half a minute. So each name has one
thread at most, and how many there are is bounded, in all and for each workspace: one's names hold up no other's. Nobody
stands in line for one, whose time would count against whoever is asked: when there is none, that is said at once.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence

import msgspec

Lookup = Callable[[str, int | None], Sequence[str]]
"""From a host and a port to the addresses behind it; raises ``OSError``."""

THREADS = 200
MOST_EACH = 8
"""So many look-ups are under way for a workspace at most."""
SECONDS = 5.0
"""How long a name is waited for."""
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1_000


class Crowded(Exception):
    """So many names are being looked up that this one has to wait; nothing is known of it."""


class NotFound(Exception):
    """The name means nothing, as far as can be known now."""


class _Asking(msgspec.Struct, frozen=True):
    whose: uuid.UUID | None
    until: float
    found: asyncio.Future[Sequence[str]]


def look_up(host: str, port: int | None) -> Sequence[str]:
    """The addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Names:
    """Knows what names mean, for a few seconds; that one means nothing too."""

    def __init__(self, lookup: Lookup = look_up, *, seconds: float = SECONDS) -> None:
        self._lookup = lookup
        self._seconds = seconds
        self._known: dict[str, tuple[float, Sequence[str]]] = {}
        self._asking: dict[str, _Asking] = {}

    async def addresses_of(self, host: str, port: int | None, whose: uuid.UUID | None = None) -> Sequence[str]:
        """At least one; ``NotFound``, or ``Crowded`` when this workspace has too many names looked up as it is."""
        at, known = self._known.get(host, (0.0, ()))
        if not at or time.monotonic() - at > REMEMBERED_SECONDS:
            known = await self._found(host, port, whose)
        if not known:
            raise NotFound(host)
        return known

    async def _found(self, host: str, port: int | None, whose: uuid.UUID | None) -> Sequence[str]:
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        asking = self._asking.get(host) or self._ask(host, port, whose)
        try:
            # Whoever asks for a name that was waited for already does not wait for it again.
            async with asyncio.timeout_at(asking.until):
                return await asyncio.shield(asking.found)
        except TimeoutError:
            return ()

    def _ask(self, host: str, port: int | None, whose: uuid.UUID | None) -> _Asking:
        of_theirs = sum(one.whose == whose for one in self._asking.values())
        if len(self._asking) >= THREADS or (whose is not None and of_theirs >= MOST_EACH):
            raise Crowded(host)
        loop = asyncio.get_running_loop()
        asking = self._asking[host] = _Asking(whose, loop.time() + self._seconds, loop.create_future())

        def ask() -> None:
            found: Sequence[str] = ()
            try:
                found = self._lookup(host, port)
            except (OSError, ValueError):  # a name that cannot be written as one is a ValueError
                pass
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._learn, host, asking, found)

        # A daemon, not an executor's: a process that ends does not wait for a name.
        threading.Thread(target=ask, name="name", daemon=True).start()
        return asking

    def _learn(self, host: str, asking: _Asking, found: Sequence[str]) -> None:
        del self._asking[host]
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[host] = (time.monotonic(), found)
        if not asking.found.cancelled():
            asking.found.set_result(found)
