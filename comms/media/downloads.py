"""Bytes from the providers' servers: redirects by hand, credentials for Twilio's API only, never too much."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import httpx

from comms.media.sources import Delayed, Failed, Refused, Sources, addresses_of
from comms.providers.twilio import TwilioCredentials
from comms.settings import MediaSettings

REDIRECTS = 5
CHUNK = 64 * 1024
TIMEOUT = httpx.Timeout(20, connect=5)
TRY_AGAIN = frozenset(
    {401, 403, 404, 408, 425, 429}
)  # a new item may be missing for a while; credentials get corrected


class Downloads:
    """Fetches media under the rules of ``sources``."""

    def __init__(self, settings: MediaSettings) -> None:
        self.sources = Sources(settings)
        self._max_bytes = settings.max_bytes

    @asynccontextmanager
    async def open(self, provider: str, source_url: str, credentials: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content at ``source_url``; raises ``Unfetched``, here or while it is read."""
        try:
            response = await self._follow(provider, _parsed(source_url), credentials)
            try:
                yield self._content(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise Delayed(f"the connection broke ({type(error).__name__})") from error

    async def _follow(self, provider: str, url: httpx.URL, credentials: Any) -> httpx.Response:
        for hop in range(REDIRECTS + 1):
            self.sources.check(provider, url, redirected=hop > 0)
            response = await self._get(url, credentials if self.sources.is_twilio(url) else None)
            if response.status_code == 200:
                return response
            location = response.headers.get("location")
            await response.aclose()
            if not response.is_redirect or location is None:
                raise _refusal(url.host, response.status_code)
            url = _parsed(location, url)
        raise Failed(f"it is redirected more than {REDIRECTS} times")

    async def _get(self, url: httpx.URL, credentials: Any) -> httpx.Response:
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "comms",
            "Accept": "*/*",
            "Accept-Encoding": "identity",  # what is kept is what was sent, and cannot unfold into gigabytes
        }
        if isinstance(credentials, TwilioCredentials):
            headers["Authorization"] = _authorization(credentials)
        unreachable: httpx.TransportError | None = None
        for address in await addresses_of(url, may_be_private=self.sources.may_be_private(url)):
            request = httpx.Request(
                "GET",
                url.copy_with(host=address),
                headers=headers,
                extensions={"timeout": TIMEOUT.as_dict(), "sni_hostname": url.host},
            )
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable = error
        raise Delayed(f"{url.host} cannot be reached") from unreachable

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Not a client: that keeps cookies, reads proxies and .netrc, and logs whole URLs, signatures included.
        # No connection is kept: it belongs to an address, and the next name at that address has not proven itself.
        return httpx.AsyncHTTPTransport(
            verify=httpx.create_ssl_context(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def _content(self, response: httpx.Response) -> AsyncIterator[bytes]:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Failed("it came compressed, which was not asked for")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()
        size = 0
        async for chunk in response.aiter_raw(CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> Failed:
        return Failed(f"it is larger than {self._max_bytes} bytes")


def _parsed(address: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        return httpx.URL(address) if base is None else base.join(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused("its address cannot be read") from error


def _refusal(host: str, status: int) -> Failed | Delayed:
    if status in (401, 403):
        return Delayed(f"{host} answered {status}: are the connection's credentials right?")
    return (Delayed if status in TRY_AGAIN or status >= 500 else Failed)(f"{host} answered {status}")


def _authorization(credentials: TwilioCredentials) -> str:
    if credentials.api_key_sid and credentials.api_key_secret:
        pair = f"{credentials.api_key_sid}:{credentials.api_key_secret}"
    else:
        pair = f"{credentials.account_sid}:{credentials.auth_token}"
    return f"Basic {b64encode(pair.encode()).decode()}"
