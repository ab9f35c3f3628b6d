"""What the dialects share: forms, JSON, signature headers, and the ports a URL may have been signed with."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from comms.providers.base import Forged, Opened, Request, Unreadable

Pairs = list[tuple[str, str]]

MOST_FIELDS = 1000  # no provider sends a hundred; an unproven sender does not get to make us sort a million

LONGEST_ID = 255  # of providers' ids and words that we index: PostgreSQL's indexes hold no more than 2,704 bytes

_OWN_PORT = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_URL = re.compile(r"(?P<scheme>\w+)://(?P<host>(?:[^/?#@]*@)?(?:\[[^\]/]*\]|[^/?#:@]*))(?::(?P<port>\d+))?(?P<rest>.*)")


def signature_in(headers: Mapping[str, str], *names: str) -> bytes:
    """The first of these headers that is present; ``Forged`` when there is none, or it cannot be a signature."""
    value = next((headers[name] for name in names if name in headers), "")
    if not value or not value.isascii():
        raise Forged("the request carries no readable signature")
    return value.encode()


def agrees(signature: bytes, candidates: Iterable[bytes]) -> bool:
    """Whether one of them is the signature; all are compared, whichever it is."""
    verdicts = [hmac.compare_digest(candidate, signature) for candidate in candidates]
    return any(verdicts)


def signable(text: str) -> bytes:
    """The UTF-8 of what is signed; a URL whose bytes were no text cannot be."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Forged("the URL is not text") from error


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether the body is a url-encoded form, whatever its charset parameter says."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def form_of(body: bytes) -> Pairs:
    """The form's names and values in the order they came; bytes that are no UTF-8 become U+FFFD, as the SDKs do."""
    pairs = _pairs_of(body.decode("utf-8", "replace"))
    if body and not any(name or value for name, value in pairs):
        raise Forged("a body that adds nothing to what is signed")  # else a signature over the URL alone proves it
    return pairs


def reopened(request: Request) -> Opened:
    """A request that was proven genuine when it came, parsed again: its keys may have been rotated since."""
    if request.method == "GET":
        return Opened(first_of_each(query_of(request.url)))
    if is_form(request.headers):
        return Opened(first_of_each(form_of(request.body)))
    document = json_of(request.body)
    return Opened(scalars_of(document), document)


def query_of(url: str) -> Pairs:
    """The parameters in the URL's query."""
    return _pairs_of(url.partition("?")[2].partition("#")[0])


def _pairs_of(text: str) -> Pairs:
    """``parse_qsl(text, keep_blank_values=True)`` in half the time (12 µs an SMS): few values need decoding."""
    if text.count("&") >= MOST_FIELDS:
        raise Forged("more fields than any provider sends")
    return [
        (name if name.isalnum() else unquote_plus(name), value if value.isalnum() else unquote_plus(value))
        for name, _, value in [item.partition("=") for item in text.split("&") if item]
    ]


def first_of_each(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """One value a name, the first: an injected repetition verifies with Twilio and must not win."""
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else dict(reversed(pairs))


def scalars_of(document: Any) -> dict[str, str]:
    """The members of a JSON object as a form would have carried them; nested ones are left out."""
    if not isinstance(document, dict):
        return {}
    texts = {name: text_of(value) for name, value in document.items()}
    return {name: text for name, text in texts.items() if text is not None}


def text_of(value: Any) -> str | None:
    """A JSON scalar as text, null as blank; None for anything nested."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode() if isinstance(value, (int, float)) else None


def body_hash_matches(url: str, body: bytes) -> bool:
    """Whether the query's ``bodySHA256`` (the first, should it repeat) is the hash of these bytes."""
    claim = next((value for name, value in query_of(url) if name == "bodySHA256" and value), "")
    return hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), claim.encode("utf-8", "replace"))


def json_of(body: bytes) -> Any:
    """The JSON document without NUL characters, which PostgreSQL cannot hold; ``Unreadable`` when it is not JSON."""
    try:
        document = _decoded(body)
        return stripped(document) if rb"\u0000" in body else document
    except (ValueError, RecursionError) as error:
        raise Unreadable("the body is not JSON") from error


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        if rb"\ud" not in body.lower():
            raise
        # An emoji cut in half leaves a lone surrogate, which is JSON but not text: it becomes a question mark.
        return msgspec.json.decode(json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace"))


def stripped(value: Any) -> Any:
    """The same JSON value without NUL characters, at any depth."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if isinstance(value, dict):
        return {stripped(name): stripped(item) for name, item in value.items()}
    return value


def without_nul(fields: Mapping[str, str]) -> Mapping[str, str]:
    """The same fields, their values without NUL characters."""
    if "\0" not in "".join(fields.values()):
        return fields
    return {name: value.replace("\0", "") for name, value in fields.items()}


def known_as(said: str) -> str:
    """What something is known by that a provider names so: the name, or of one longer than any provider's its hash."""
    return said if len(said) <= LONGEST_ID else f"sha256:{hashlib.sha256(said.encode()).hexdigest()}"


def with_known_ids(fields: Mapping[str, str]) -> Mapping[str, str]:
    """The same fields, each ``…Sid`` as what it is known by."""
    if not any(len(value) > LONGEST_ID for value in fields.values()):
        return fields
    return {name: known_as(value) if name.endswith("Sid") else value for name, value in fields.items()}


def port_variants(url: str) -> list[str]:
    """The URL as it is, then with its scheme's own port added or left out; any other port stays."""
    parts = _URL.fullmatch(url)
    own = _OWN_PORT.get(parts["scheme"].lower()) if parts else None
    if parts is None or own is None or parts["port"] not in (None, own):
        return [url]
    port = "" if parts["port"] else f":{own}"
    return [url, f"{parts['scheme']}://{parts['host']}{port}{parts['rest']}"]


def instant_of(text: Any) -> datetime | None:
    """A time as the providers write it, RFC 2822 or ISO 8601, in UTC; None for what is none that can be kept."""
    if not isinstance(text, str):
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(text)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
