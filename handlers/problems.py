"""Every error as ``application/problem+json`` (RFC 9457): what is wrong and where, never how we are built."""

import logging
import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import ParameterKwarg
from sqlalchemy import Table, exc
from sqlalchemy.dialects import postgresql

from comms.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    Refused,
    Reused,
    Stale,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unsendable,
)
from comms.ownership import CurrentOwner, NotYours
from comms.reasons import reason_of
from handlers.shapes import msgspec_camel
from models.base import Base

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
MOST_ERRORS = 50
_MISSING = re.compile(r"Missing required \w+ parameter '(.*?)' for path ", re.DOTALL)


class FieldError(msgspec.Struct):
    """One field of the body or the query, and why it is refused."""

    field: str
    reason: str


class Problem(msgspec.Struct, omit_defaults=True, rename="camel"):
    """What went wrong (RFC 9457); ``conflictingId`` is the row in the way, ``requestId`` finds it in our log."""

    always: ClassVar[tuple[str, ...]] = ("type", "title", "status", "detail")

    status: Annotated[int, msgspec.Meta(description="The HTTP status.", examples=[400])]
    title: Annotated[str, msgspec.Meta(description="What the status means.", examples=["Bad Request"])] = ""
    detail: str = ""
    errors: list[FieldError] = []
    conflicting_id: uuid.UUID | None = None
    owner: Annotated[
        CurrentOwner | None, msgspec.Meta(description="Of a conversation that is somebody else's: whose it is now.")
    ] = None
    request_id: str | None = None
    type: Annotated[
        str, msgspec.Meta(description="A web address of this sort of problem.", examples=["about:blank"])
    ] = "about:blank"


def described(*statuses: int) -> dict[int, ResponseSpec]:
    """Problems with these statuses, for a route's description."""
    return {
        status: ResponseSpec(
            Problem, generate_examples=False, description=HTTPStatus(status).phrase, media_type=MEDIA_TYPE
        )
        for status in statuses
    }


TRIES = described(429)
"""What a route may answer besides that takes a password."""
SIGNING_IN = described(401, 403, 429)
"""The same where the password is the only proof: a wrong one is no valid credential, a right one may open nothing."""


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to whatever was raised."""
    if isinstance(error, ValidationException):
        error = Invalid(_of_litestar(error, request.route_handler))
    problem, headers = problem_of(error, request.method)
    if problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        most = request.route_handler.resolve_request_max_body_size()
        problem.detail = f"The body is too large: send {most // 1024**2 if most else 0} MiB at most."
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        problem.request_id = str(request.scope.get("comms.request_id") or uuid.uuid4().hex)
        log.error("request %s failed", problem.request_id, exc_info=error)
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("database unavailable: %s", type(error).__name__)
    return Response(encoded(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def encoded(problem: Problem) -> bytes:
    """The problem as it is sent."""
    status = HTTPStatus(problem.status)
    document: dict[str, Any] = {
        "type": problem.type,
        "title": problem.title or status.phrase,
        "status": problem.status,
        "detail": problem.detail or status.description or status.phrase,
    }
    if problem.errors:
        document["errors"] = problem.errors[:MOST_ERRORS]
    if problem.conflicting_id:
        document["conflictingId"] = problem.conflicting_id
    if problem.owner:
        document["owner"] = problem.owner
    if problem.request_id:
        document["requestId"] = problem.request_id
    return msgspec.json.encode(document)


def problem_of(error: BaseException, method: str = "GET") -> tuple[Problem, dict[str, str]]:
    """What went wrong in the client's terms, and the headers that go with it."""
    match error:
        case Invalid():
            return _invalid(error.errors), {}
        case Unauthenticated():
            return Problem(401, detail=error.detail), {"WWW-Authenticate": 'Bearer realm="comms"'}
        case NotYours():
            return Problem(409, detail=error.detail, owner=error.owner, conflicting_id=error.conflicting_id), {}
        case Conflict():
            named = [FieldError(name, "is taken") for name in error.fields]
            named += [FieldError(name, reason) for name, reason in error.named]
            return Problem(409, detail=error.detail, errors=named, conflicting_id=error.conflicting_id), {}
        case Stale():
            return Problem(412, detail=error.detail), {"ETag": error.current} if error.current else {}
        case TooMany():
            return Problem(429, detail=error.detail), {"Retry-After": str(error.retry_after)}
        case Unavailable():
            return Problem(503, detail=error.detail), {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case Refused():
            named = [FieldError(field, reason) for field, reason in error.named]
            return Problem(_REFUSED[_known(error)], detail=error.detail, errors=named), {}
        case HTTPException():
            detail = "" if error.status_code >= 500 else error.detail
            return Problem(error.status_code, detail=detail), dict(error.headers or {})
        case BaseExceptionGroup():
            return problem_of(error.exceptions[0], method)
        case exc.DBAPIError():
            return _of_database(error, method)
        case exc.TimeoutError() | ConnectionError() | TimeoutError() | asyncpg.PostgresConnectionError():
            return _unavailable()
        case asyncpg.CannotConnectNowError() | asyncpg.TooManyConnectionsError() | asyncpg.InterfaceError():
            return _unavailable()
        case asyncpg.InvalidAuthorizationSpecificationError():  # roles are made by the first migration
            return _behind()
        case OSError() if _is_from_asyncpg(error):
            return _unavailable()
    return Problem(500, detail="Something went wrong on our side; the request id finds it in our log."), {}


_REFUSED: Mapping[type[Refused], int] = {Forbidden: 403, Missing: 404, Reused: 422, Unsendable: 422}


def _known(error: Refused) -> type[Refused]:
    return next(kind for kind in type(error).__mro__ if kind in _REFUSED)


def _invalid(errors: Mapping[str, str]) -> Problem:
    named = [FieldError(field, reason) for field, reason in list(errors.items())[:MOST_ERRORS]]
    detail = "; ".join(f"{error.field} {error.reason}".strip() for error in named)
    return Problem(400, detail=detail, errors=[error for error in named if error.field])


def _of_litestar(error: ValidationException, handler: Any) -> dict[str, str]:
    """What is wrong with parameters of the address, by their names there."""
    if missing := _MISSING.match(error.detail):
        return {missing[1]: "is required"}
    errors: dict[str, str] = {}
    for item in error.extra if isinstance(error.extra, list) else []:
        key = str(item.get("key", ""))
        declared = handler.parsed_fn_signature.parameters.get(key)
        parameter = None if declared is None else declared.kwarg_definition
        if isinstance(parameter, ParameterKwarg):
            kind: Any = Annotated[declared.annotation, msgspec.Meta(ge=parameter.ge, le=parameter.le)]
            _, reason = reason_of(str(item.get("message", "")), kind)
            errors[parameter.name or key] = reason.removesuffix(" or null")  # said by leaving it out
        else:
            errors[key] = str(item.get("message", ""))
    return errors or {"": error.detail}


def _unavailable() -> tuple[Problem, dict[str, str]]:
    return (
        Problem(503, detail="The database cannot be reached right now: try again."),
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _behind() -> tuple[Problem, dict[str, str]]:
    detail = "The database has not the schema this comms needs: run `comms db upgrade`."
    return Problem(503, detail=detail), {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _of_database(error: exc.DBAPIError, method: str) -> tuple[Problem, dict[str, str]]:
    cause = error.orig.__cause__ if error.orig is not None else None
    state = getattr(cause, "sqlstate", None) or getattr(error.orig, "sqlstate", None) or ""
    table = Base.metadata.tables.get(getattr(cause, "table_name", None) or "")
    constraint = getattr(cause, "constraint_name", None) or ""
    match state:
        case "23505":
            return _taken(table, constraint), {}
        case "23001":
            return _in_use(table), {}
        case "23503" if method == "DELETE":
            return _in_use(table), {}
        case "23503":
            names = _fields_of(table, constraint) or [""]
            return _invalid(dict.fromkeys(names, "refers to nothing in this workspace")), {}
        case "23514":
            return _invalid({_checked(table, constraint): "is outside what is allowed"}), {}
        case "23502":
            return _invalid({msgspec_camel(getattr(cause, "column_name", None) or ""): "must not be null"}), {}
        case "42P01" | "42703" | "42883" | "3F000":  # no such table, column, function or schema
            return _behind()
        case "40001" | "40P01" | "55P03":
            return Problem(503, detail="Somebody changed the same rows: try again."), {"Retry-After": "1"}
    if state.startswith("22") or isinstance(cause, asyncpg.DataError):
        return _invalid({"": "a value is outside what can be stored"}), {}
    is_down = state.startswith(("08", "53", "57", "58")) or error.connection_invalidated
    if is_down or isinstance(error, exc.OperationalError | exc.InterfaceError):
        return _unavailable()
    return Problem(500, detail="Something went wrong on our side; the request id finds it in our log."), {}


def _taken(table: Table | None, constraint: str) -> Problem:
    names = _fields_of(table, constraint)
    detail = f"another row of this workspace already has this {' and '.join(names)}" if names else "already exists"
    return Problem(409, detail=detail, errors=[FieldError(name, "is taken") for name in names])


def _in_use(table: Table | None) -> Problem:
    where = f" from {table.name.replace('_', ' ')}" if table is not None else ""
    return Problem(409, detail=f"this is still referred to{where}")


def taken_by(error: exc.IntegrityError) -> str | None:
    """The unique constraint that was broken, if it was one."""
    cause = error.orig.__cause__ if error.orig is not None else None
    return getattr(cause, "constraint_name", None) if getattr(cause, "sqlstate", None) == "23505" else None


def constraint_of(table: Table, name: str) -> Any:
    """The constraint or index of that name; None when it is not about columns, or not there."""
    dialect: Any = postgresql.dialect
    preparer = dialect().identifier_preparer
    for item in (*table.constraints, *table.indexes):
        if getattr(item, "columns", None) is not None and preparer.format_constraint(item) == name:
            return item
    return None


def named_columns(constraint: Any, sources: Mapping[str, str] | None = None) -> list[str]:
    """The JSON names of the columns a constraint is about, without the workspace; or of what they were made of."""
    names = [column.name for column in constraint.columns if column.name != "workspace_id"]
    return [msgspec_camel((sources or {}).get(name, name)) for name in names]


def _fields_of(table: Table | None, name: str) -> list[str]:
    constraint = constraint_of(table, name) if table is not None else None
    return [] if constraint is None else named_columns(constraint)


def _checked(table: Table | None, constraint: str) -> str:
    """The field of a CHECK, whose name begins with its column's: ``ck_contacts_lead_score_range``."""
    if table is None:
        return ""
    said = constraint.removeprefix(f"ck_{table.name}_")
    named = [column.name for column in table.columns if said.startswith(f"{column.name}_")]
    return msgspec_camel(max(named, key=len)) if named else ""


def _is_from_asyncpg(error: OSError) -> bool:
    """Whether a connection could not be opened (a missing socket is a FileNotFoundError), rather than a file."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("asyncpg."):
            return True
        trace = trace.tb_next
    return False
