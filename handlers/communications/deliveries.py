"""How well the messages of a number arrive."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from comms import figures
from comms.errors import Invalid
from handlers.communications.numbers import numbers
from handlers.given import Asker, Db, RowId
from handlers.guards import reader
from models.base import now

LOOKS_BACK = timedelta(days=30)


class FailureCount(msgspec.Struct, rename="camel"):
    """How many messages failed for one reason."""

    code: Annotated[str | None, msgspec.Meta(description="The provider's code.", examples=["30003"])]
    words: Annotated[
        str | None, msgspec.Meta(description="What it means.", examples=["The recipient's phone cannot be reached."])
    ]
    messages: Annotated[int, msgspec.Meta(description="How many messages.", examples=[12])]


class NumberDelivery(msgspec.Struct, rename="camel", kw_only=True):
    """What became of the messages that were to leave by a number."""

    since: Annotated[datetime, msgspec.Meta(description="From when.", examples=["2026-03-01T00:00:00Z"])]
    until: Annotated[datetime, msgspec.Meta(description="Until when.", examples=["2026-03-31T00:00:00Z"])]
    messages: Annotated[int, msgspec.Meta(description="How many messages in all.", examples=[1200])]
    segments: int
    statuses: Annotated[
        dict[str, int],
        msgspec.Meta(description="How many stand where.", examples=[{"delivered": 1180, "undelivered": 20}]),
    ]
    delivered_share: Annotated[
        float | None,
        msgspec.Meta(description="Of those whose end is known, the share that arrived.", examples=[0.9833]),
    ]
    median_seconds_to_deliver: Annotated[
        float | None, msgspec.Meta(description="How long half of them took to arrive at most.", examples=[2.1])
    ]
    slow_seconds_to_deliver: Annotated[
        float | None, msgspec.Meta(description="How long 95 of 100 took to arrive at most.", examples=[9.4])
    ]
    failures: Annotated[
        list[FailureCount], msgspec.Meta(description="Why the others did not, the commonest first.", examples=[[]])
    ]


@get("/{row_id:uuid}/delivery", operation_id="get_workspace_phone_number_delivery", guards=[reader])
async def delivery(
    db: Db,
    identity: Asker,
    row_id: RowId,
    since: Annotated[
        Annotated[datetime, msgspec.Meta(tz=True)] | None,
        QueryParameter(description="From when; 30 days ago unless it is said."),
    ] = None,
    until: Annotated[
        Annotated[datetime, msgspec.Meta(tz=True)] | None,
        QueryParameter(description="Until when; now unless it is said."),
    ] = None,
) -> NumberDelivery:
    """What became of the messages that left by this number: how many arrived, how fast, and why others did not."""
    await numbers.find(db, identity, row_id)
    until = until or now()
    since = since or until - LOOKS_BACK
    if since >= until:
        raise Invalid({"since": "must be before until"})
    found = await figures.of_number(db, identity.workspace_id, row_id, since, until)
    return msgspec.convert(found, NumberDelivery, from_attributes=True)


routes = [Router("/workspace-phone-numbers", route_handlers=[delivery])]
