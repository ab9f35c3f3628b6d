"""Requests to addresses that somebody else has named: none of them ever reaches our own network.

What a name means is looked up and looked at, and the connection is made to an address that was, so that a name which
means something else a moment later (rebinding) leads nowhere. Whoever follows a redirect asks here again.

Unasked
├── Refused    it lies where we do not ask
└── Delayed    it could not be asked now
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import httpx

from comms.authorities import trusted

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int | None], Sequence[str]]
"""From a host and a port to the addresses behind it; raises ``OSError``."""

PORTS: Mapping[str, int] = {"https": 443, "http": 80}
THREADS = 32
"""Names are looked up on threads of our own, each name by one: a name that never answers holds up no other."""
LOOKUP_SECONDS = 5.0
REMEMBERED_SECONDS = 5.0
KEPT_SECONDS = 4.0
"""How long a connection is kept for the next request to the same host: less than servers commonly keep theirs."""
MOST_KEPT = 64
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Unasked(Exception):
    """Nobody was asked; the message says why, and names no more of the address than the host."""


class Refused(Unasked):
    """It lies where we do not ask."""


class Delayed(Unasked):
    """It could not be asked now."""


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL."""
    return url.scheme, url.host, url.port or PORTS.get(url.scheme)


def is_listed(url: httpx.URL, hosts: Any) -> bool:
    """Whether ``host:port`` of this URL is among those that the operator has named."""
    return url.scheme in PORTS and f"{url.host}:{url.port or PORTS[url.scheme]}" in hosts


def is_public(address: str) -> bool:
    """Whether an IP address, and the IPv4 address it may wrap, is reachable by all the world."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def lies_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address, or the IPv4 address it maps, lies in one of these networks."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in networks)


def look_up(host: str, port: int | None) -> Sequence[str]:
    """The addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Outside:
    """Asks. With ``keep`` connections are kept a few seconds, for further requests to the same host and address.

    ``networks`` are those of ours that may be asked all the same.
    """

    def __init__(self, *, keep: bool = False, networks: Sequence[Network] = (), lookup: Lookup = look_up) -> None:
        self._keep = keep
        self._networks = networks
        self._lookup = lookup
        self._known: dict[tuple[str, int | None], tuple[float, Sequence[str] | None]] = {}
        self._asking: dict[tuple[str, int | None], asyncio.Future[Sequence[str]]] = {}
        self._transports: dict[tuple[str, str, int | None], _Kept] = {}

    async def addresses_of(self, url: httpx.URL, *, may_be_private: bool = False) -> Sequence[str]:
        """The addresses of the URL's host; ``Refused`` when one is not public and must be, ``Delayed`` if none."""
        found = await self._resolved(url.host, origin_of(url)[2])
        if not may_be_private and not all(is_public(one) or lies_in(one, self._networks) for one in found):
            raise Refused(f"{url.host} lies in a private network")
        return found

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        patience: httpx.Timeout,
        content: bytes | None = None,
        may_be_private: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """The answer of the first address behind the URL's host that can be reached, closed with the block.

        No redirect is followed. Raises ``Refused``, ``Delayed``, or what httpx raises of a connection that breaks.
        """
        kept = self._transport_to(url)
        kept.users += 1
        try:
            response = await self._answer(kept.transport, method, url, headers, patience, content, may_be_private)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            kept.users -= 1
            kept.used_at = time.monotonic()

    async def close(self) -> None:
        """No connection is kept any more."""
        for kept in self._transports.values():
            await kept.transport.aclose()
        self._transports.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self,
        transport: httpx.AsyncHTTPTransport,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        patience: httpx.Timeout,
        content: bytes | None,
        may_be_private: bool,
    ) -> httpx.Response:
        unreachable: httpx.TransportError | None = None
        for address in await self.addresses_of(url, may_be_private=may_be_private):
            request = httpx.Request(
                method,
                url.copy_with(host=address),
                headers={"Host": url.netloc.decode("ascii"), "User-Agent": "comms", **headers},
                content=content,
                extensions={"timeout": patience.as_dict(), "sni_hostname": url.host},
            )
            try:
                return await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable = error
        raise Delayed(f"{url.host} cannot be reached") from unreachable

    async def _resolved(self, host: str, port: int | None) -> Sequence[str]:
        """What the host means: asked once by all who want to know, remembered a few seconds if connections are."""
        key = (host, port)
        at, known = self._known.get(key, (0.0, None))
        if not self._keep or time.monotonic() - at > REMEMBERED_SECONDS:
            asking = self._asking.get(key)
            if asking is None:
                loop = asyncio.get_running_loop()
                asking = self._asking[key] = loop.run_in_executor(self._threads, self._lookup, host, port)
                asking.add_done_callback(lambda done: self._learn(key, done))
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    known = await asyncio.shield(asking)
            except (OSError, UnicodeError) as error:  # a time-out is an OSError
                raise Delayed(f"{host} was not found") from error
        if not known:
            raise Delayed(f"{host} was not found")
        return known

    def _learn(self, key: tuple[str, int | None], done: "asyncio.Future[Sequence[str]]") -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            if len(self._known) > 1_000:
                self._known.clear()
            self._known[key] = (time.monotonic(), None if done.exception() is not None else done.result())

    def _transport_to(self, url: httpx.URL) -> "_Kept":
        """Whatever keeps connections to this host and no other: the next name at its address has proven nothing."""
        if not self._keep:
            return _Kept(self._lone)
        origin = origin_of(url)
        kept = self._transports.pop(origin, None)
        if kept is None:
            limits = httpx.Limits(max_keepalive_connections=16, keepalive_expiry=KEPT_SECONDS)
            kept = _Kept(httpx.AsyncHTTPTransport(verify=trusted(), trust_env=False, limits=limits))
            self._let_go()
        self._transports[origin] = kept  # the one used last stands last
        return kept

    def _let_go(self) -> None:
        idle = [origin for origin, kept in self._transports.items() if not kept.users]
        for origin in idle[: max(0, len(self._transports) - MOST_KEPT)]:
            closing = asyncio.ensure_future(self._transports.pop(origin).transport.aclose())
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Not a client: that keeps cookies, reads proxies and .netrc, and logs whole URLs, signatures included.
    @cached_property
    def _lone(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncHTTPTransport(verify=trusted(), trust_env=False, limits=limits)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, thread_name_prefix="names")


class _Kept:
    __slots__ = ("transport", "used_at", "users")

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.users = 0
        self.used_at = 0.0


def parsed(address: str, base: httpx.URL | None = None) -> httpx.URL:
    """The address as a URL, relative to ``base`` if it is; ``Refused`` if it is none."""
    with contextlib.suppress(httpx.InvalidURL, ValueError):
        return httpx.URL(address) if base is None else base.join(address)
    raise Refused("its address cannot be read")
