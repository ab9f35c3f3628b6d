"""Where the providers keep media: Twilio's behind a password and a redirect, SignalWire's public but unguessable."""

import hmac
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from comms.simulators.wire import png, wav

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CHUNK = 64 * 1024


class Kept(msgspec.Struct):
    """What one media id serves; ``size`` pads the content, ``missing`` is how many times it is a 404 first."""

    content: bytes = msgspec.field(default_factory=png)
    content_type: str = "image/png"
    size: int | None = None
    missing: int = 0


class Seen(msgspec.Struct, frozen=True):
    """One request the server got: what it answered, and whether somebody sent it a password."""

    host: str
    path: str
    authorization: str | None
    status: int


def media_server(account_sid: str, auth_token: str, *, cdn_base: str, prefix: str = "") -> "MediaServer":
    """A plain ASGI application; ``cdn_base`` is this server under another host name, ``prefix`` where it is mounted."""
    return MediaServer(account_sid, auth_token, cdn_base.rstrip("/"), prefix)


class MediaServer:
    """Serves a small PNG for any id that ``kept`` says nothing about; ``seen`` lists the requests."""

    def __init__(self, account_sid: str, auth_token: str, cdn_base: str, prefix: str) -> None:
        self.account_sid = account_sid
        self.password = b"Basic " + b64encode(f"{account_sid}:{auth_token}".encode())
        self.cdn_base = cdn_base
        self.prefix = prefix
        self.kept: dict[str, Kept] = {}
        self.seen: list[Seen] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(self.prefix)
        authorization = headers.get(b"authorization")
        status, extra, media = self._verdict(scope["method"], path.strip("/").split("/"), authorization)
        self.seen.append(
            Seen(
                host=headers.get(b"host", b"").decode("latin-1"),
                path=path,
                authorization=None if authorization is None else authorization.decode("latin-1"),
                status=status,
            )
        )
        length = 0 if media is None else max(media.size or 0, len(media.content))
        start = [*extra, (b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": status, "headers": start})
        if media is not None and scope["method"] == "GET":
            await _stream(media, length, send)
        await send({"type": "http.response.body", "body": b""})

    def _verdict(
        self, method: str, path: list[str], authorization: bytes | None
    ) -> tuple[int, list[tuple[bytes, bytes]], Kept | None]:
        if method not in ("GET", "HEAD"):
            return 405, [], None
        match path:
            case ["2010-04-01", "Accounts", account, "Messages", _, "Media", media_id]:
                if account != self.account_sid or not hmac.compare_digest(authorization or b"", self.password):
                    return 401, [(b"www-authenticate", b'Basic realm="Twilio API"')], None
                if self._is_missing(media_id):
                    return 404, [], None
                return 307, [(b"location", f"{self.cdn_base}/cdn/{media_id}".encode())], None
            case ["2010-04-01", "Accounts", account, "Recordings", recording_id]:
                if account != self.account_sid or not hmac.compare_digest(authorization or b"", self.password):
                    return 401, [(b"www-authenticate", b'Basic realm="Twilio API"')], None
                return self._serve(recording_id, Kept(wav(), "audio/x-wav"))
            case ["cdn", _] if authorization is not None:
                return 400, [], None  # as the storage behind Twilio answers a password that was carried over
            case ["cdn", media_id]:
                return self._serve(media_id)
            case ["files", media_id]:
                return (404, [], None) if self._is_missing(media_id) else self._serve(media_id)
            case _:
                return 404, [], None

    def _is_missing(self, media_id: str) -> bool:
        media = self.kept.get(media_id)
        if media is None or media.missing == 0:
            return False
        media.missing -= 1
        return True

    def _serve(self, media_id: str, usual: Kept | None = None) -> tuple[int, list[tuple[bytes, bytes]], Kept]:
        media = self.kept.get(media_id) or usual or Kept()
        return 200, [(b"content-type", media.content_type.encode())], media


async def _stream(media: Kept, length: int, send: Send) -> None:
    await send({"type": "http.response.body", "body": media.content, "more_body": True})
    for sent in range(len(media.content), length, CHUNK):
        padding = bytes(min(CHUNK, length - sent))
        await send({"type": "http.response.body", "body": padding, "more_body": True})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
