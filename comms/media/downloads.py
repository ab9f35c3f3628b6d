"""Bytes from the providers' servers: redirects by hand, credentials for Twilio's API only, never too much."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from comms.media.sources import Failed, Sources
from comms.outside import Delayed, Outside, host_of, parsed
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
        self._outside = Outside()

    @asynccontextmanager
    async def open(self, provider: str, source_url: str, credentials: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content at ``source_url``; raises ``Unasked``, here or while it is read."""
        try:
            async with self._followed(provider, parsed(source_url), credentials) as response:
                yield self._content(response)
        except httpx.TransportError as error:
            raise Delayed(f"the connection broke ({type(error).__name__})") from error

    @asynccontextmanager
    async def _followed(self, provider: str, url: httpx.URL, credentials: Any) -> AsyncIterator[httpx.Response]:
        for hop in range(REDIRECTS + 1):
            self.sources.check(provider, url, redirected=hop > 0)
            async with self._outside.ask(
                "GET",
                url,
                headers=_headers(credentials if self.sources.is_twilio(url) else None),
                patience=TIMEOUT,
                may_be_private=self.sources.may_be_private(url),
            ) as response:
                if response.status_code == 200:
                    yield response
                    return
                location = response.headers.get("location")
                if not response.is_redirect or location is None:
                    raise _refusal(host_of(url), response.status_code)
                url = parsed(location, url)
        raise Failed(f"it is redirected more than {REDIRECTS} times")

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


def _headers(credentials: Any) -> dict[str, str]:
    # Identity: what is kept is what was sent, and cannot unfold into gigabytes.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if isinstance(credentials, TwilioCredentials):
        headers["Authorization"] = _authorization(credentials)
    return headers


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
