"""Requests to addresses that somebody else has named: none of them ever reaches our own network.

What a name means is looked up and looked at, and the connection is made to an address that was, so that a name which
means something else a moment later (rebinding) leads nowhere. Whoever follows a redirect asks here again.

Unasked
├── Refused    it lies where we do not ask
└── Delayed    it could not be asked now
    └── Crowded    because of us: nothing is known of it
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import httpx

from comms import names
from comms.authorities import trusted
from comms.names import Lookup, Names, look_up

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS: Mapping[str, int] = {"https": 443, "http": 80}
KEPT_SECONDS = 4.0
"""How long a connection is kept for the next request to the same host: less than servers commonly keep theirs."""
MOST_KEPT = 64
_WORLD = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Global by Python's tables, and yet nobody's in the world: RFC 6890 and RFC 9637; and 168.63.129.16 is what each of
# Azure's machines asks about itself: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
_NOBODYS = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")))
_LABEL = r"[a-z0-9_-]{1,63}"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_LONGEST_NAME = 254


class Unasked(Exception):
    """Nobody was asked; the message says why, and names no more of the address than the host."""


class Refused(Unasked):
    """It lies where we do not ask."""


class Delayed(Unasked):
    """It could not be asked now."""


class Crowded(Delayed):
    """It could not be asked now because of us: nothing is known of it."""


def host_of(url: httpx.URL) -> str:
    """The host of a URL as it is asked for, in ASCII: ``url.host`` reads it for people, and fails where none could."""
    return url.raw_host.decode("ascii")


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL."""
    return url.scheme, host_of(url), url.port or PORTS.get(url.scheme)


def is_listed(url: httpx.URL, hosts: Any) -> bool:
    """Whether ``host:port`` of this URL is among those that the operator has named."""
    return url.scheme in PORTS and f"{host_of(url)}:{url.port or PORTS[url.scheme]}" in hosts


def address_in(host: str) -> str | None:
    """The IP address that a host is written as, None if it is a name: 127.0.0.1 can be written 2130706433 or 0x7f.1."""
    host = host.partition("%")[0].rstrip(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    with contextlib.suppress(OSError, UnicodeError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return None


def is_public(address: str) -> bool:
    """Whether an IP address, and the IPv4 address it may wrap, is reachable by all the world."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _WORLD:  # RFC 4291, 2.4: local, wrapped in yet another way, or nobody's
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOBODYS)


def lies_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address, or the IPv4 address it maps, lies in one of these networks."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in networks)


class Outside:
    """Asks. With ``keep`` connections are kept a few seconds, for further requests to the same host and address.

    ``networks`` are those of ours that may be asked all the same.
    """

    def __init__(self, *, keep: bool = False, networks: Sequence[Network] = (), lookup: Lookup = look_up) -> None:
        self._keep = keep
        self._networks = networks
        self._names = Names(lookup)
        self._transports: dict[tuple[str, str, int | None], _Kept] = {}

    async def addresses_of(
        self, url: httpx.URL, *, may_be_private: bool = False, whose: uuid.UUID | None = None
    ) -> Sequence[str]:
        """The addresses of the URL's host; ``Refused`` when one is not public and must be, ``Delayed`` if none.

        ``whose`` is the workspace that has named it.
        """
        return await self.addresses_at(host_of(url), origin_of(url)[2], may_be_private=may_be_private, whose=whose)

    async def addresses_at(
        self, host: str, port: int | None, *, may_be_private: bool = False, whose: uuid.UUID | None = None
    ) -> Sequence[str]:
        """The same of a host by its name, for what is no URL."""
        try:
            found = await self._names.addresses_of(host, port, whose)
        except names.NotFound as error:
            raise Delayed(f"{host} was not found") from error
        except names.Crowded as error:
            raise Crowded(f"{host} could not be looked up yet") from error
        if not may_be_private and not all(is_public(one) or lies_in(one, self._networks) for one in found):
            raise Refused(f"{host} lies in a private network")
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
        whose: uuid.UUID | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """The answer of the first address behind the URL's host that can be reached, closed with the block.

        ``whose`` is the workspace that has named it. No redirect is followed. Raises ``Refused``, ``Delayed``, or what
        httpx raises of a connection that breaks.
        """
        kept = self._transport_to(url)
        kept.users += 1
        try:
            addresses = await self.addresses_of(url, may_be_private=may_be_private, whose=whose)
            response = await self._answer(kept.transport, addresses, method, url, headers, patience, content)
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

    async def _answer(
        self,
        transport: httpx.AsyncHTTPTransport,
        addresses: Sequence[str],
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        patience: httpx.Timeout,
        content: bytes | None,
    ) -> httpx.Response:
        unreachable: httpx.TransportError | None = None
        for address in addresses:
            request = httpx.Request(
                method,
                url.copy_with(host=address),
                headers={"Host": url.netloc.decode("ascii"), "User-Agent": "comms", **headers},
                content=content,
                extensions={"timeout": patience.as_dict(), "sni_hostname": host_of(url).rstrip(".")},
            )
            try:
                return await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable = error
        raise Delayed(f"{host_of(url)} cannot be reached") from unreachable

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


class _Kept:
    __slots__ = ("transport", "used_at", "users")

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.users = 0
        self.used_at = 0.0


def parsed(address: str, base: httpx.URL | None = None) -> httpx.URL:
    """The address as a URL, relative to ``base`` if it is; ``Refused`` if it is none, or no host can be called so."""
    with contextlib.suppress(httpx.InvalidURL, ValueError):
        url = httpx.URL(address) if base is None else base.join(address)
        host = host_of(url)
        if not host or address_in(host) is not None or _can_be_found(host):
            return url
    raise Refused("its address cannot be read")


def _can_be_found(name: str) -> bool:
    """Whether a name can be asked for (RFC 1035, 2.3.4); raises ``ValueError`` if what it stands for is no Unicode."""
    for label in name.split("."):
        if label.startswith("xn--"):
            label[4:].encode().decode("punycode")
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None
