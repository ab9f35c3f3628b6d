"""Widgets are asked by pages of other origins: by those that they allow, and by no others."""

from collections.abc import Mapping
from typing import Any

from comms import metrics
from comms.chat import widgets
from comms.service import Service
from handlers.methods import Application, Receive, Scope, Send
from handlers.problems import MEDIA_TYPE, Problem, encoded

FOLDER = "chat"


def across_origins(ask: Application, service: Service) -> Application:
    """``ask`` for pages of the origins that a widget allows; to any other it is forbidden, and counted."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        origin = header_of(scope, b"origin")
        key = [*_parts(scope), ""][1]
        row = await widgets.find(service.database, key) if key else None
        if row is None or origin is None:
            await ask(scope, receive, send)
            return
        if not widgets.admits(row.allowed_origins, origin):
            metrics.CHAT_REFUSED.labels("origin").inc()
            await _refuse(send)
            return
        allowed = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and header_of(scope, b"access-control-request-method"):
            await _answer_preflight(send, allowed)
            return

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *allowed, (b"access-control-expose-headers", b"Retry-After")]
                message = {**message, "headers": headers}
            await send(message)

        scope["comms.widget"] = row
        await ask(scope, receive, answer)

    return app


def is_about_chat(scope: Scope) -> bool:
    """Whether a widget is asked for, in whatever spelling: the framework takes several slashes for one."""
    return _parts(scope)[:1] == [FOLDER]


def _parts(scope: Scope) -> list[str]:
    return [part for part in scope["path"].split("/") if part]


async def _answer_preflight(send: Send, allowed: list[tuple[bytes, bytes]]) -> None:
    headers = [
        *allowed,
        (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
        (b"access-control-allow-headers", b"Authorization, Content-Type"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send) -> None:
    body = encoded(Problem(403, detail="This page is not where this widget may be: see its allowedOrigins."))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"vary", b"Origin"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def header_of(scope: Mapping[str, Any], name: bytes) -> str | None:
    """What a header says, if it is there."""
    found = next((value for key, value in scope["headers"] if key.lower() == name), None)
    return None if found is None else found.decode("latin-1")
