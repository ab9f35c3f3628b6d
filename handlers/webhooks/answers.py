"""What a provider is told. Never text/plain: Twilio would send it to the customer."""

from http import HTTPStatus
from typing import Any

import msgspec


class Answer:
    """A response, ready to be sent: the two ASGI messages are made once and reused."""

    __slots__ = ("body", "start", "status")

    def __init__(self, status: int, body: bytes = b"", content_type: str | None = None, **headers: str) -> None:
        named = {
            "content-length": str(len(body)),
            **({"content-type": content_type} if content_type else {}),
            **headers,
        }
        self.status = status
        self.start: dict[str, Any] = {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        }
        self.body: dict[str, Any] = {"type": "http.response.body", "body": body}


EMPTY_TWIML = Answer(200, b'<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml")
NOTED = Answer(204)
DONE = Answer(200)
# A messaging SWML request wants a document: this one keeps the message and does nothing more.
EMPTY_SWML = Answer(200, b'{"version":"1.0.0","sections":{"main":[{"receive":{}}]}}', "application/json")

_DETAILS = {
    400: "The request cannot be read.",
    403: "The signature does not belong to this connection. Check its secret and that PUBLIC_URL is what you configured"
    " at the provider.",
    404: "There is no such webhook address.",
    405: "This address does not take that method.",
    408: "The body has not come in time. Send it again.",
    409: "The schedule is switched off, or its agent does not run.",
    413: "The request is larger than this address takes.",
    503: "It cannot be kept right now. Try again.",
}


def _problem(status: int, **headers: str) -> Answer:
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": _DETAILS[status]}
    return Answer(status, msgspec.json.encode(document), "application/problem+json", **headers)


_REFUSED = {status: _problem(status) for status in _DETAILS} | {
    408: _problem(408, connection="close"),
    503: _problem(503, retry_after="2"),
}


def refused(status: int, **headers: str) -> Answer:
    """The problem document of that status."""
    return _problem(status, **headers) if headers else _REFUSED[status]
