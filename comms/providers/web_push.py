"""Web push: a message for one browser, sealed for it alone, and signed by us (RFC 8030, RFC 8291, RFC 8292)."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

Urgency = Literal["very-low", "low", "normal", "high"]

LARGEST = 3_000
"""Bytes of what is said: push services take 4,096 at least, with what sealing adds (RFC 8291, 4)."""

_VALID_SECONDS = 12 * 3600  # at most 24 hours (RFC 8292, 2)


class Device(msgspec.Struct, frozen=True):
    """Where a browser is reached, and what is sealed for it with: its key and its secret, in base64url."""

    endpoint: str
    p256dh: str
    auth: str


class Push(msgspec.Struct, frozen=True):
    """A request to the push service: POST this."""

    headers: Mapping[str, str]
    body: bytes


def new_key() -> bytes:
    """A private key that pushes are signed with, as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_of(key: bytes) -> str:
    """What browsers subscribe with as ``applicationServerKey``: the point in base64url."""
    private = serialization.load_pem_private_key(key, None)
    point = private.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return urlsafe_b64encode(point).decode().rstrip("=")


def push_of(
    device: Device, said: bytes, *, key: bytes, contact: str, at: int, ttl: int, urgency: Urgency, topic: str
) -> Push:
    """``said`` for this device. A later one of the same ``topic`` takes the place of one that was not delivered yet.

    ``contact`` is whom the push service may complain to (``mailto:`` or ``https:``), ``at`` the time in seconds; the
    push service gives up after ``ttl`` seconds.
    """
    # A third of a second to import, and only the worker pushes.
    from py_vapid import Vapid02
    from pywebpush import WebPusher

    pusher = WebPusher({"endpoint": device.endpoint, "keys": {"p256dh": device.p256dh, "auth": device.auth}})
    body: bytes = pusher.encode(said, "aes128gcm")["body"]
    parts = urlsplit(device.endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": at + _VALID_SECONDS, "sub": contact}
    signed = Vapid02.from_pem(key).sign(claims)
    return Push(
        headers={
            "Authorization": signed["Authorization"],
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(ttl),
            "Urgency": urgency,
            "Topic": topic,
        },
        body=body,
    )
