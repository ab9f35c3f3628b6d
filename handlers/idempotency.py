"""``Idempotency-Key``: a POST that is sent again under its key does nothing and is answered as the first time.

The unit of work claims the key before the handler runs, and keeps the answer before it commits: either both are there
afterwards or neither. What failed is not kept, and may be tried again under the same key.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.response import Response
from sqlalchemy.ext.asyncio import AsyncSession

from comms import idempotency
from comms.credentials import Identity
from comms.errors import Invalid
from comms.idempotency import Answer, Question
from comms.vault import Vault
from handlers.preconditions import NOT_HONOURED, SAFE
from models.idempotency import LONGEST_KEY

HEADER = "Idempotency-Key"
REPEATED = ("content-type", "etag", "location")
"""The headers of an answer that are told again."""


class Repeated(Exception):
    """This was asked and answered before; ends the request with that answer."""

    def __init__(self, told: Answer) -> None:
        self.told = told


@asynccontextmanager
async def once(
    db: AsyncSession, request: Request[Any, Any, Any], identity: Identity, vault: Vault
) -> AsyncIterator[None]:
    """What ``db`` does in here is done once per key, if the request has one; raises ``Repeated``, ``Reused``."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        yield
        return
    claim = await idempotency.claim(db, vault, identity, await _question(request, key))
    if isinstance(claim, Answer):
        raise Repeated(claim)
    yield
    sent: Any = request.scope.get("comms.answer")
    if sent is None:  # a stream or a file: we do not know what it says
        raise Invalid({HEADER: "is not honoured here: what this answers cannot be told again"})
    headers = {
        name.decode(): value.decode("latin-1") for name, value in sent.encode_headers() if name.decode() in REPEATED
    }
    await idempotency.keep(db, vault, identity, claim, Answer(sent.status_code, headers, sent.body))


async def _question(request: Request[Any, Any, Any], key: str) -> Question:
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise Invalid({HEADER: f"must be 1 to {LONGEST_KEY} printable characters"})
    query = request.url.query
    address = f"{request.method} {request.url.path}{'?' if query else ''}{query}"
    return Question(key, address, await request.body())


def repeat(_: Request[Any, Any, Any], error: Repeated) -> Response[bytes]:
    """The answer of the first time, marked as such."""
    headers = dict(error.told.headers)
    media_type = headers.pop("content-type", "application/json")
    return Response(
        error.told.body,
        status_code=error.told.status,
        media_type=media_type,
        headers=headers | {"Idempotency-Replayed": "true"},
    )


async def promises_are_kept(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A route with a unit of work of its own refuses the headers that it cannot honour, rather than ignore them."""
    if connection.scope.get("method") in SAFE or "db" in handler.parsed_fn_signature.parameters:
        return
    if HEADER in connection.headers and connection.scope.get("method") == "POST":
        raise Invalid({HEADER: "is not honoured here: look whether it was done before you send it again"})
    if "If-Match" in connection.headers:
        raise Invalid({"If-Match": NOT_HONOURED})
