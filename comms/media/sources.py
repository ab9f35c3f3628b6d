"""Where media may come from. What a webhook says is signed, but what it points to is still checked, hop by hop.

Unfetched
├── Refused    it lies where we do not fetch from
├── Failed     it can never be fetched
└── Delayed    it could not be fetched now
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping

import httpx
import msgspec

from comms.settings import MediaSettings


class Unfetched(Exception):
    """An attachment was not fetched; the message says why, and names no more of its address than the host."""


class Refused(Unfetched):
    """It lies where we do not fetch from."""


class Failed(Unfetched):
    """It can never be fetched."""


class Delayed(Unfetched):
    """It could not be fetched now."""


class Allowed(msgspec.Struct, frozen=True):
    """A host by its name, or by ``.suffix`` all below it; ``path`` is how the path must begin."""

    host: str
    path: str = "/"
    only_redirected: bool = False

    def covers(self, url: httpx.URL, *, redirected: bool) -> bool:
        """Whether this URL is one of them."""
        is_host = url.host.endswith(self.host) if self.host.startswith(".") else url.host == self.host
        return is_host and url.path.startswith(self.path) and (redirected or not self.only_redirected)


# Twilio: a message names https://api.twilio.com (settings.twilio_url, always allowed). That redirects to
# mms.twiliocdn.com, or where authentication is not enforced to s3-external-1.amazonaws.com/media.twiliocdn.com/…:
# anybody may have a bucket at amazonaws.com, so only this one of Twilio's is allowed.
# https://www.twilio.com/docs/messaging/api/media-resource, and Twilio's help center, article 223183748 ("Protect Media
# Access with HTTP Basic Authentication for Programmable Messaging").
# SignalWire: files.signalwire.com, and the space's own name. https://developer.signalwire.com/
PLACES: Mapping[str, tuple[Allowed, ...]] = {
    "twilio": (
        Allowed(".twiliocdn.com"),
        Allowed("s3-external-1.amazonaws.com", "/media.twiliocdn.com/", only_redirected=True),
        Allowed("media.twiliocdn.com.s3-external-1.amazonaws.com", only_redirected=True),
    ),
    "signalwire": (Allowed(".signalwire.com"),),
}

_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Sources:
    """The hosts we fetch from: the providers' own, and those the operator has listed."""

    def __init__(self, settings: MediaSettings) -> None:
        self._twilio = origin_of(httpx.URL(settings.twilio_url))
        self._listed = frozenset(name if ":" in name else f"{name}:443" for name in settings.extra_hosts)

    def check(self, provider: str, url: httpx.URL, *, redirected: bool = False) -> None:
        """``url`` may be fetched for a message of this provider; else ``Refused`` says why not."""
        if url.userinfo:
            raise Refused(f"the address at {url.host} carries a user name")
        if self._is_listed(url) or (provider == "twilio" and self.is_twilio(url)):
            return
        if url.scheme != "https":
            raise Refused(f"{url.host or 'the address'} is not asked by https://")
        if url.port is not None:
            raise Refused(f"{url.host}:{url.port} is not a host that media of {provider} come from")
        if not any(place.covers(url, redirected=redirected) for place in PLACES.get(provider, ())):
            raise Refused(f"{url.host} is not a host that media of {provider} come from")

    def is_twilio(self, url: httpx.URL) -> bool:
        """Whether this is Twilio's API as configured: the only place that gets our credentials."""
        return origin_of(url) == self._twilio

    def may_be_private(self, url: httpx.URL) -> bool:
        """Whether the operator has named this host, so that it may lie in a network of their own."""
        return self._is_listed(url) or self.is_twilio(url)

    def _is_listed(self, url: httpx.URL) -> bool:
        return url.scheme in _PORTS and f"{url.host}:{url.port or _PORTS[url.scheme]}" in self._listed


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL."""
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


async def addresses_of(url: httpx.URL, *, may_be_private: bool) -> list[str]:
    """The addresses of the URL's host; ``Refused`` when one is not public and must be, ``Delayed`` when there is none.

    The connection is made to one of these and not to the name, which might mean something else a moment later.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, origin_of(url)[2], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Delayed(f"{url.host} was not found") from error
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    if not may_be_private and not all(is_public(address) for address in addresses):
        raise Refused(f"{url.host} lies in a private network")
    return addresses


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
