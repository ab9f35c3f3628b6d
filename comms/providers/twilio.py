"""Twilio's dialect: how it proves itself, and what it says.

    signature = base64(HMAC-SHA1(auth token, url + every name + value, sorted by name, repeated values once and sorted))

Twilio's own validator takes 110 µs a request, for it always computes both port variants. The text that is nearly always
signed, over the URL as configured, is therefore tried first (9 µs); what that does not accept, the official validator
decides. Two holes it leaves open are closed here: a body that nothing signs, and a header that chooses the algorithm.

https://www.twilio.com/docs/usage/security
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Literal

from twilio.request_validator import RequestValidator

from comms.providers import parameters, wire
from comms.providers.base import DeliveryReport, Forged, InboundMessage, Opened, Request, Secrets
from comms.providers.rest import Account, resource

SIGNATURE = "x-twilio-signature"
SETTINGS = "x-twilio-webhooks-signature-settings"

RETRIES = "#rc=3&rp=4xx,5xx,ct,rt"
"""The end of an address at which Twilio tries again whatever goes wrong; by itself, once, when it cannot connect.

https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
"""

Algorithm = Literal["HMAC_SHA1", "HMAC_SHA256"]
_DIGESTS: dict[Algorithm, str] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


class SharedKey(Secrets, frozen=True):
    """A key of Twilio's webhook configuration API; the algorithm is ours to pin, the header naming it is unsigned."""

    secret: str
    algorithm: Algorithm = "HMAC_SHA256"


class TwilioCredentials(Secrets, frozen=True):
    """One account's secrets; ``next_auth_token`` is accepted as well while a token is being rotated."""

    account_sid: str
    auth_token: str
    next_auth_token: str | None = None
    api_key_sid: str | None = None
    api_key_secret: str | None = None
    shared_keys: dict[str, SharedKey] = {}


def account_at(credentials: TwilioCredentials, base: str) -> Account:
    """The account in Twilio's REST API: an API key proves it where there is one, else its token."""
    known = (credentials.api_key_sid, credentials.api_key_secret)
    basic = (known[0], known[1]) if known[0] and known[1] else (credentials.account_sid, credentials.auth_token)
    return Account(resource(base, credentials.account_sid), basic)


class Twilio:
    """Twilio messages and statuses: form by POST, query by GET, JSON with its hash in the URL, websocket handshakes.

    A handshake is a GET whose ``url`` is the ``wss://`` address it was made for.
    """

    name = "twilio"

    @staticmethod
    def open(request: Request, credentials: TwilioCredentials) -> Opened:
        """The parsed request, proven to be signed for this account; raises ``Forged`` or ``Unreadable``."""
        if request.method == "GET" and not request.body:
            _prove(request, [], credentials)
            return Opened(wire.first_of_each(wire.query_of(request.url)))
        if request.method != "POST":
            raise Forged("only GET without a body and POST are signed")
        if wire.is_form(request.headers):
            pairs = wire.form_of(request.body)
            _prove(request, pairs, credentials)
            return Opened(wire.first_of_each(pairs))
        # Only the URL of such a request is signed: its body is proven by the hash in that URL, or not at all.
        if request.body and not wire.body_hash_matches(request.url, request.body):
            raise Forged("the body is not the one whose hash is in the URL")
        _prove(request, [], credentials)
        if not request.body or "json" not in request.headers.get("content-type", "").lower():
            return Opened({})
        document = wire.json_of(request.body)
        return Opened(wire.scalars_of(document), document)

    @staticmethod
    def message_of(opened: Opened) -> InboundMessage:
        """The inbound message; ``Forged`` when a mandatory name is missing."""
        return parameters.message_in("twilio", opened.fields)

    @staticmethod
    def report_of(opened: Opened) -> DeliveryReport:
        """The delivery report; ``Forged`` when a mandatory name is missing."""
        return parameters.report_in("twilio", opened.fields)


def _prove(request: Request, pairs: wire.Pairs, credentials: TwilioCredentials) -> None:
    signature = wire.signature_in(request.headers, SIGNATURE)
    secrets, algorithm = _secrets_for(request.headers, credentials)
    urls = _urls(request.url)
    # Sorted by name, then by value, each pair once: exactly the order in which Twilio concatenates.
    suffix = "".join(chain.from_iterable(sorted(set(pairs))))
    messages = [wire.signable(url + suffix) for url in urls]
    digest = _DIGESTS[algorithm]
    digests = [hmac.digest(secret.encode(), message, digest) for secret in secrets for message in messages]
    if wire.agrees(signature, map(b64encode, digests)):
        return
    fields = _Repeated.of(pairs)
    verdicts = [_officially(secret, url, fields, algorithm, signature) for secret in secrets for url in urls]
    if not any(verdicts):
        raise Forged("the signature is not this account's")


def _secrets_for(headers: Mapping[str, str], credentials: TwilioCredentials) -> tuple[list[str], Algorithm]:
    """The account's tokens or, if the request says it used a shared key, that key and the algorithm pinned to it."""
    settings = headers.get(SETTINGS)
    if settings is None:
        # A blank token would be a key that everybody knows.
        return [token for token in (credentials.auth_token, credentials.next_auth_token) if token], "HMAC_SHA1"
    named = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in settings.split(","))}
    key = credentials.shared_keys.get(named.get("key", ""))
    if key is None or not key.secret or named.get("algorithm", key.algorithm).upper() != key.algorithm:
        raise Forged("the request names a shared key or an algorithm that is not configured")
    return [key.secret], key.algorithm


def _urls(url: str) -> list[str]:
    """The URL as configured; for a handshake also with a trailing slash and the scheme's port, as Twilio documents."""
    if not url.startswith(("wss://", "ws://")):
        return [url]
    return [*wire.port_variants(url), *wire.port_variants(f"{url}/")]


def _officially(secret: str, url: str, fields: "_Repeated", algorithm: Algorithm, signature: bytes) -> bool:
    try:
        return bool(RequestValidator(secret).validate(url, fields, signature.decode(), algorithm))
    except ValueError:  # a URL that urlparse refuses
        return False


class _Repeated(dict[str, list[str]]):
    """The form as the official validator wants it where names repeat."""

    getall = dict.__getitem__

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "_Repeated":
        fields = cls()
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        return fields
