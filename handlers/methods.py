"""HEAD and OPTIONS, which mean the same at every address (RFC 9110): the framework leaves them to each route."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NONE = "NONE"  # a method that no route has: the refusal of it says which ones there are


def completed(api: Application) -> Application:
    """``api`` that answers HEAD wherever it answers GET, and OPTIONS everywhere, to anyone, with ``Allow``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        is_head, is_question = method == "HEAD", method == "OPTIONS"
        answers_question = False

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal answers_question
            if message["type"] == "http.response.start":
                answers_question = is_question and message["status"] == 405
                headers = [_allowing(header) for header in message["headers"]]
                if answers_question:
                    message = {**message, "status": 204}
                    headers = [header for header in headers if header[0] == b"allow"]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body" and (is_head or answers_question):
                message = {**message, "body": b""}
            await send(message)

        asked = "GET" if is_head else _NONE if is_question else method
        await api({**scope, "method": asked} if asked != method else scope, receive, answer)

    return app


def _allowing(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name != b"allow":
        return header
    methods = {method.strip() for method in value.decode().split(",")} | {"OPTIONS"}
    methods |= {"HEAD"} if "GET" in methods else set()
    return name, ", ".join(sorted(methods)).encode()
