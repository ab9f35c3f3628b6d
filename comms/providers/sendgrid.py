"""SendGrid's dialect: an ECDSA signature over the timestamp and the raw body, the same for events and inbound mail.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from comms.providers import wire
from comms.providers.base import Forged, Request, Secrets, Unreadable

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

OLDEST = timedelta(hours=25)  # SendGrid retries for 24 hours and may do so under the first timestamp
NEWEST = timedelta(minutes=5)


class SendGridCredentials(Secrets, frozen=True):
    """One account's keys as base64 DER; the private ones exist only in the demo, whose SendGrid is simulated."""

    event_public_key: str
    next_event_public_key: str | None = None
    parse_public_key: str | None = None
    next_parse_public_key: str | None = None
    event_private_key: str | None = None
    parse_private_key: str | None = None
    api_key: str | None = None


def open_events(request: Request, credentials: SendGridCredentials, now: datetime) -> list[Any]:
    """The events of a batch in the order they came, proven genuine; an element may be anything.

    Raises ``Forged``, or ``Unreadable`` when the body is no JSON array.
    """
    _prove(request, (credentials.event_public_key, credentials.next_event_public_key), now)
    events = wire.json_of(request.body)
    if not isinstance(events, list):
        raise Unreadable("the events are not an array")
    return events


def open_inbound(request: Request, credentials: SendGridCredentials, now: datetime) -> bytes:
    """The raw multipart body of an inbound mail, proven genuine; raises ``Forged``."""
    signed = inbound_hash(request.headers)
    signed.update(request.body)
    prove_inbound(request, signed.digest(), credentials, now)
    return request.body


def proves_inbound(credentials: SendGridCredentials) -> bool:
    """Whether there is a key by which an inbound mail could be proven genuine."""
    return any((credentials.parse_public_key, credentials.next_parse_public_key))


def inbound_hash(headers: Mapping[str, str]) -> Any:
    """The hash that is signed, begun: the body is to follow, however many pieces it comes in."""
    return sha256(headers.get(TIMESTAMP, "").encode("latin-1", "replace"))


def prove_inbound(request: Request, digest: bytes, credentials: SendGridCredentials, now: datetime) -> None:
    """The mail whose ``inbound_hash`` this is comes from this account; else ``Forged``.

    SendGrid signs inbound mail only under a security policy: without its public key nothing is provable.
    """
    _prove_hash(request, digest, (credentials.parse_public_key, credentials.next_parse_public_key), now)


def _prove(request: Request, keys: Iterable[str | None], now: datetime) -> None:
    signed = inbound_hash(request.headers)
    signed.update(request.body)
    _prove_hash(request, signed.digest(), keys, now)


def _prove_hash(request: Request, digest: bytes, keys: Iterable[str | None], now: datetime) -> None:
    if request.method != "POST":
        raise Forged("only a POST is signed")
    timestamp = wire.signature_in(request.headers, TIMESTAMP)
    signature = _der(wire.signature_in(request.headers, SIGNATURE))
    verdicts = [_signed_by(key, signature, digest) for key in keys if key]
    if not any(verdicts):
        raise Forged("the signature is not this account's")
    if not timestamp.isdigit() or len(timestamp) > 12:
        raise Forged("the timestamp is not in seconds")
    age = timedelta(seconds=now.timestamp() - int(timestamp))
    if not -NEWEST <= age <= OLDEST:
        raise Forged("the timestamp is too old or in the future")


def _der(signature: bytes) -> bytes:
    try:
        return b64decode(signature, validate=True)
    except ValueError as error:
        raise Forged("the signature is not base64") from error


def _signed_by(key: str, signature: bytes, digest: bytes) -> bool:
    public = _public_key(key)
    if public is None:
        return False
    try:
        public.verify(signature, digest, ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1024)
def _public_key(key: str) -> EllipticCurvePublicKey | None:
    """The P-256 key; None when what was configured is not one, which then proves nothing."""
    try:
        public = load_der_public_key(b64decode(key, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return public if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1) else None
