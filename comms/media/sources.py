"""Where media may come from. What a webhook says is signed, but what it points to is still checked, hop by hop.

Beside what ``comms.outside`` says of an address nobody was asked at, there is ``Failed``: it can never be fetched.
"""

from collections.abc import Mapping

import httpx
import msgspec

from comms.outside import Refused, Unasked, host_of, is_listed, origin_of
from comms.settings import MediaSettings


class Failed(Unasked):
    """It can never be fetched."""


class Allowed(msgspec.Struct, frozen=True):
    """A host by its name, or by ``.suffix`` all below it; ``path`` is how the path must begin."""

    host: str
    path: str = "/"
    only_redirected: bool = False

    def covers(self, url: httpx.URL, *, redirected: bool) -> bool:
        """Whether this URL is one of them."""
        host = host_of(url)
        is_host = host.endswith(self.host) if self.host.startswith(".") else host == self.host
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


class Sources:
    """The hosts we fetch from: the providers' own, and those the operator has listed."""

    def __init__(self, settings: MediaSettings) -> None:
        self._twilio = origin_of(httpx.URL(settings.twilio_url))
        self._listed = frozenset(name if ":" in name else f"{name}:443" for name in settings.extra_hosts)

    def check(self, provider: str, url: httpx.URL, *, redirected: bool = False) -> None:
        """``url`` may be fetched for a message of this provider; else ``Refused`` says why not."""
        host = host_of(url)
        if url.userinfo:
            raise Refused(f"the address at {host} carries a user name")
        if self._is_listed(url) or (provider == "twilio" and self.is_twilio(url)):
            return
        if url.scheme != "https":
            raise Refused(f"{host or 'the address'} is not asked by https://")
        if url.port is not None:
            raise Refused(f"{host}:{url.port} is not a host that media of {provider} come from")
        if not any(place.covers(url, redirected=redirected) for place in PLACES.get(provider, ())):
            raise Refused(f"{host} is not a host that media of {provider} come from")

    def is_twilio(self, url: httpx.URL) -> bool:
        """Whether this is Twilio's API as configured: the only place that gets our credentials."""
        return origin_of(url) == self._twilio

    def may_be_private(self, url: httpx.URL) -> bool:
        """Whether the operator has named this host, so that it may lie in a network of their own."""
        return self._is_listed(url) or self.is_twilio(url)

    def _is_listed(self, url: httpx.URL) -> bool:
        return is_listed(url, self._listed)
