"""Times in an address: read as strictly as those in a body, where the framework would take any number for one."""

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg

from comms import reading
from comms.errors import Invalid
from comms.reasons import A_TIME, options_of
from handlers.listing import BY


async def instants_are_exact(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Every time that a query has is one with its offset, near enough to reckon with; ``Invalid`` names the others."""
    errors: dict[str, str] = {}
    times = _times_of(handler)
    for name, sent in connection.query_params.multi_items() if times else ():
        # A list asks for rows without a time by ``null``, and says itself where that makes no sense.
        if name in times and not (sent == "null" and times[name]) and _would_pass(sent):
            try:
                reading.refuse_no_instant(msgspec.convert(sent, datetime))
            except msgspec.ValidationError:
                errors[name] = f"must be {A_TIME}"
            except ValueError as error:
                errors[name] = str(error)
    if errors:
        raise Invalid(errors)


@cache
def _times_of(handler: BaseRouteHandler) -> dict[str, bool]:
    """The query parameters of a route that are times, and whether a list reads them."""
    declared = handler.parsed_fn_signature.parameters.items()
    times = [item for item in declared if any(kind is datetime for kind, _ in options_of(item[1].annotation))]
    return {
        each.kwarg_definition.name or name: name.startswith(BY)
        for name, each in times
        if isinstance(each.kwarg_definition, ParameterKwarg)
    }


def _would_pass(sent: str) -> bool:
    """Whether the framework takes it for a time; what it does not it refuses itself, with all else that is wrong."""
    try:
        msgspec.convert(sent, datetime | None, strict=False)
    except msgspec.ValidationError:
        return False
    return True
