"""Which version of a row a client has seen, and which it means to change (RFC 9110, 8.8.3 and 13.1).

Every answer that shows one row has an ``ETag``: a digest of what the database holds of it, as GET shows it. With
``If-Match`` only that version is changed, looked at under the row's lock; of two who change the same version at once,
one is told that it is stale. With ``If-None-Match`` a GET is answered 304 while nothing has changed.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import Request
from litestar.response import Response
from litestar.response.base import ASGIResponse
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid, Stale
from comms.events import encode
from handlers import shapes
from models.base import Base, View

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_HONOURED = "is not honoured here: this changes no row whose version can be checked"
_TAGS = re.compile(r'\s*(W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(,\s*(W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*)*')
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_EXPECTED = "if_match"


class _Versioned(msgspec.Struct, frozen=True):
    fields: tuple[str, ...]
    is_whole: bool


_VERSIONED: dict[type[View], _Versioned] = {}


def versioned(table: type[Base], view: type[View]) -> None:
    """Rows of ``table`` have versions, made of those fields of ``view`` that are kept, not computed when shown."""
    names = view.__struct_fields__
    kept = [name for name in names if shapes.column_of(table, name) is not None or _is_related(table, name)]
    _VERSIONED[view] = _Versioned(tuple(kept), len(kept) == len(names))


def etag_of(view: View) -> str:
    """The strong entity tag of a row that looks like this."""
    fields = _versioned_as(view).fields
    return f'"{hashlib.blake2b(encode([getattr(view, name) for name in fields]), digest_size=12).hexdigest()}"'


def _versioned_as(shown: Any) -> Any:
    return next((_VERSIONED[kind] for kind in type(shown).__mro__ if kind in _VERSIONED), None)


def has_version(shape: Any) -> bool:
    """Whether what looks so is one row, answered with its ``ETag``."""
    return any(kind in _VERSIONED for kind in getattr(shape, "__mro__", ()))


def _is_related(table: type[Base], name: str) -> bool:
    return name in table.__mapper__.relationships


class Expected:
    """What a request's ``If-Match`` says of the row that its address names."""

    def __init__(self, tags: frozenset[str], row_id: uuid.UUID | None) -> None:
        self.tags = tags
        self.row_id = row_id
        self.was_checked = False

    def check(self, view: View) -> None:
        """``Stale`` unless it looks as was meant. Only the first time: later it is our own change that shows."""
        if self.was_checked:
            return
        self.was_checked = True
        current = etag_of(view)
        if not self.tags & {current, "*"}:
            raise Stale(
                f"This has changed since: its ETag is now {current}. GET it again, see whether your change still"
                " makes sense, and send that ETag as If-Match.",
                current=current,
            )


@contextmanager
def expecting(db: AsyncSession, request: Request[Any, Any, Any]) -> Iterator[None]:
    """``db`` changes only what the request's ``If-Match`` means; ``Invalid`` if in here nobody looked at it."""
    if request.method in SAFE or "if-match" not in request.headers:
        yield
        return
    ids = [value for value in request.path_params.values() if isinstance(value, uuid.UUID)]
    expected = Expected(_tags(request, "If-Match"), ids[-1] if ids else None)
    db.info[_EXPECTED] = expected
    yield
    if not expected.was_checked:
        raise Invalid({"If-Match": NOT_HONOURED})


def check(db: AsyncSession, row_id: uuid.UUID, view: View) -> None:
    """The row, held and about to be changed, is of the version that the request means; raises ``Stale``."""
    expected: Expected | None = db.info.get(_EXPECTED)
    if expected is not None and expected.row_id == row_id:
        expected.check(view)


class Answer(Response[Any]):
    """What handlers return, as it is sent: one row with its ``ETag``, or 304 where the client has this version."""

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **more: Any) -> ASGIResponse:
        """The response, whose bytes and headers are also remembered for whoever asks the same again."""
        versioned = _versioned_as(self.content)
        if versioned is not None:
            etag = etag_of(self.content)
            self.headers["ETag"] = etag
            if versioned.is_whole and request.method == "GET" and "if-none-match" in request.headers:
                seen = {tag.removeprefix("W/") for tag in _tags(request, "If-None-Match")}
                if seen & {etag, "*"}:
                    return ASGIResponse(status_code=304, headers={"ETag": etag}, body=b"")
        response = super().to_asgi_response(app, request, **more)
        scope: Any = request.scope  # where whoever keeps answers finds it
        scope["comms.answer"] = response
        return response


def _tags(request: Request[Any, Any, Any], name: str) -> frozenset[str]:
    sent = ", ".join(request.headers.getall(name))
    if sent.strip() == "*":
        return frozenset({"*"})
    if not _TAGS.fullmatch(sent):
        raise Invalid({name: 'must be * or a list of entity tags, such as "5f0c…", as ETag shows them'})
    return frozenset(_TAG.findall(sent))
