"""One request to an endpoint, and what is kept of its answer: enough to see what happened, bounded, and no secrets."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from comms.hooks import places
from comms.outside import Crowded, Outside, Unasked, host_of, parsed
from comms.settings import WebhookSettings

TIMEOUT = httpx.Timeout(10, connect=5)
TOTAL_SECONDS = 15.0
REDIRECTS = 3
READ_BYTES = 64 * 1024
KEPT_CHARACTERS = 2_000
LONGEST_WAIT_SECONDS = 3600.0
SHOWN_HEADERS = ("content-type", "content-length", "date", "retry-after", "server", "x-request-id")
"""Headers of an answer that say what happened and hold nothing secret."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one request: delivered, when there is no ``error``.

    ``is_gone`` says that the endpoint wants to hear nothing any more, ``wait`` how many seconds it wants to be left
    alone. ``is_final`` says that no other try would come to more, whatever the endpoint does: it was not even asked.
    """

    url: str
    milliseconds: int = 0
    status: int | None = None
    headers: Mapping[str, str] = {}
    body: str | None = None
    error: str | None = None
    is_gone: bool = False
    is_final: bool = False
    wait: float = 0.0


async def ask(
    outside: Outside,
    settings: WebhookSettings,
    address: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    total_seconds: float = TOTAL_SECONDS,
    whose: uuid.UUID | None = None,
) -> Answer:
    """The body was posted to the address, or it is said why not. Every address on the way was looked at.

    ``whose`` is the workspace that has named it. Raises ``Crowded`` when its turn has not come.
    """
    began = time.perf_counter()
    try:
        async with asyncio.timeout(total_seconds):
            answer = await _follow(outside, settings, address, headers, body, whose)
    except Crowded:
        raise
    except Unasked as error:
        answer = Answer(url=shown(address), error=str(error))
    except TimeoutError:
        answer = Answer(url=shown(address), error=f"it has not answered for {total_seconds:g} seconds")
    except httpx.TimeoutException:
        answer = Answer(url=shown(address), error="it takes too long to answer")
    except httpx.TransportError as error:
        answer = Answer(url=shown(address), error=f"the connection broke ({type(error).__name__})")
    return msgspec.structs.replace(answer, milliseconds=round((time.perf_counter() - began) * 1000))


def shown(address: str) -> str:
    """The address as a log may have it: its query may be secret."""
    return address.partition("?")[0][:KEPT_CHARACTERS]


async def _follow(
    outside: Outside,
    settings: WebhookSettings,
    address: str,
    headers: Mapping[str, str],
    body: bytes,
    whose: uuid.UUID | None,
) -> Answer:
    url = parsed(address)
    for _ in range(REDIRECTS + 1):
        reason = places.refusal_of(str(url), settings)
        if reason is not None:
            return Answer(url=shown(str(url)), error=f"{host_of(url) or 'the address'} {reason}")
        async with outside.ask(
            "POST",
            url,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity", **headers},
            content=body,
            patience=TIMEOUT,
            may_be_private=places.may_be_private(url, settings),
            whose=whose,
        ) as response:
            location = response.headers.get("location")
            # The other redirects would have us come back with a GET, and without what there is to tell.
            if response.status_code not in (307, 308) or location is None:
                return await _understood(url, response)
            url = parsed(location, url)
    return Answer(url=shown(str(url)), error=f"it is redirected more than {REDIRECTS} times")


async def _understood(url: httpx.URL, response: httpx.Response) -> Answer:
    status = response.status_code
    is_delivered = 200 <= status < 300
    return Answer(
        url=shown(str(url)),
        status=status,
        headers=_kept(response.headers),
        body=await _read(response),
        error=None if is_delivered else _why(status),
        is_gone=status == 410,
        wait=0.0 if is_delivered else _wait(response.headers.get("retry-after", "")),
    )


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"it answered {status}, a redirect that cannot be followed with a POST: give its new address"
    return f"it answered {status}"


def _kept(headers: httpx.Headers) -> dict[str, str]:
    return {name: _plain(headers[name])[:200] for name in SHOWN_HEADERS if name in headers}


async def _read(response: httpx.Response) -> str | None:
    """The beginning of the answer; the rest is read too, if it is not much, so that the connection can be kept."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_raw():
        pieces.append(piece)
        size += len(piece)
        if size > READ_BYTES:
            break
    return _plain(b"".join(pieces)[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace"))[:KEPT_CHARACTERS] or None


def _plain(words: str) -> str:
    return words.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _wait(after: str) -> float:
    """The seconds of a ``Retry-After``, which may say a time instead (RFC 9110, 10.2.3)."""
    if after.isascii() and after.isdecimal():
        seconds = float(after)
    else:
        try:
            at = parsedate_to_datetime(after)
        except ValueError:
            return 0.0
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return max(0.0, min(seconds, LONGEST_WAIT_SECONDS))


class Told(msgspec.Struct, rename="camel", omit_defaults=False):
    """The body of a delivery: the event as the log and the websocket have it, in the Standard Webhooks' order."""

    type: str
    timestamp: Any
    data: msgspec.Raw
    seq: int
    workspace_id: Any
    subject_type: str
    subject_id: Any
    conversation_id: Any
    actor_type: str
    actor_id: Any
    changes: msgspec.Raw


def body_of(workspace_id: Any, seq: int, event: Mapping[str, Any]) -> bytes:
    """What is posted of an entry of the log, the same bytes each time."""
    return msgspec.json.encode(
        Told(
            type=event["event"],
            timestamp=event["at"],
            data=msgspec.Raw(event["data"].encode()),
            seq=seq,
            workspace_id=workspace_id,
            subject_type=event["subject_type"],
            subject_id=event["subject_id"],
            conversation_id=event["conversation_id"],
            actor_type=event["actor_type"],
            actor_id=event["actor_id"],
            changes=msgspec.Raw((event["changes"] or "null").encode()),
        )
    )
