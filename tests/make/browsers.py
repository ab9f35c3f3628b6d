"""Browsers that are pushed to, and the push service in between: it keeps what it is sent, and answers as it is told."""

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import http_ece
import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.screens import serving


class Pushed(msgspec.Struct):
    """What the push service was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


class PushService:
    """Whose ``answers`` come first, then 201; while it ``is_silent`` nobody learns that it has what it was sent."""

    def __init__(self) -> None:
        self.pushed: list[Pushed] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.host = ""
        self.is_silent = False
        self.answers_after: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.pushed.append(Pushed(scope["path"], headers, body))
        if self.is_silent:
            await receive()  # until whoever asked is gone
            return
        if self.answers_after is not None:
            await self.answers_after.wait()
        status, more = self.answers.pop(0) if self.answers else (201, {})
        answered = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": answered})
        await send({"type": "http.response.body", "body": b"x" * 100})


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """A push service on loopback."""
    service = PushService()
    async with serving(service) as url:
        service.host = url.removeprefix("ws://").removesuffix("/ws")
        yield service


class Browser:
    """One that has subscribed at ``host``."""

    def __init__(self, host: str, name: str = "one", scheme: str = "http") -> None:
        self.endpoint = f"{scheme}://{host}/send/{name}"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = b"sixteen bytes..!"
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.keys = {"p256dh": text_of(point), "auth": text_of(self._auth)}

    def subscription(self) -> dict[str, Any]:
        """What ``JSON.stringify(subscription)`` says."""
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": self.keys}

    def shows(self, pushed: Pushed, public_key: str) -> dict[str, Any]:
        """What it is told, opened as a browser does (RFC 8291); fails unless the owner of ``public_key`` has signed."""
        scheme, _, parameters = pushed.headers["authorization"].partition(" ")
        assert scheme == "vapid"
        proof = dict(part.strip().split("=", 1) for part in parameters.split(","))
        assert proof["k"] == public_key
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes_of(public_key))
        audience = self.endpoint.partition("/send/")[0]
        claims = jwt.decode(proof["t"], point, algorithms=["ES256"], audience=audience)
        assert claims["sub"].startswith("mailto:")
        assert pushed.headers["content-encoding"] == "aes128gcm"
        opened = http_ece.decrypt(pushed.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        shown: dict[str, Any] = json.loads(opened)
        return shown


def text_of(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
