"""The headers that operations understand without declaring them: versions of a row, and keys against doing it twice."""

from collections.abc import Iterator
from typing import Any

from litestar.handlers import HTTPRouteHandler

from handlers.idempotency import HEADER
from handlers.preconditions import has_version
from models.idempotency import LONGEST_KEY

Schema = dict[str, Any]

TAG = '"5f0c1a2b3c4d5e6f708192a3"'
ETAG: Schema = {"description": "The version of the row.", "schema": {"type": "string", "examples": [TAG]}}
_TAGS: Schema = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*")$'}
_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": r"^[!-~]+$"}


def asked(handler: HTTPRouteHandler, answer: Any, *, names_a_row: bool) -> Iterator[Schema]:
    """The header parameters of an operation that answers so."""
    methods, has_unit = handler.http_methods, "db" in handler.parsed_fn_signature.parameters
    if "GET" in methods and has_version(answer):
        said = "Answer 304 if the row still has this `ETag`."
        yield {"name": "If-None-Match", "in": "header", "description": said, "schema": _TAGS, "example": TAG}
    if methods & {"PATCH", "PUT", "DELETE"} and has_unit and names_a_row and handler.opt.get("versioned", True):
        said = "Only if the row still has the `ETag` that was read; otherwise 412."
        yield {"name": "If-Match", "in": "header", "description": said, "schema": _TAGS, "example": TAG}
    if "POST" in methods and has_unit:
        said = "A key of your own: what is sent again under it is done once, and answered as the first time."
        yield {"name": HEADER, "in": "header", "description": said, "schema": _KEY, "example": "order-4711-confirmed"}


def told(handler: HTTPRouteHandler, answer: Any) -> Schema:
    """The headers of the answer to a success."""
    headers: Schema = {"ETag": ETAG} if has_version(answer) else {}
    if "POST" in handler.http_methods and "db" in handler.parsed_fn_signature.parameters:
        said = f"`true` where this is the answer of the first time, told again for the `{HEADER}`."
        headers["Idempotency-Replayed"] = {"description": said, "schema": {"type": "string", "examples": ["true"]}}
    return headers
