"""What an operator's machines ask; nobody needs to say who they are."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from comms import metrics
from handlers.given import Here


class Health(msgspec.Struct):
    """The process answers."""

    status: Annotated[str, msgspec.Meta(description="Always `ok`.", examples=["ok"])] = "ok"


class Readiness(msgspec.Struct, rename="camel"):
    """Whether this process can do its work, and the figures that say so; null is what could not be asked."""

    ready: Annotated[bool, msgspec.Meta(description="Whether requests may be sent here.", examples=[True])]
    database: Annotated[bool, msgspec.Meta(description="Whether the database answers.", examples=[True])]
    migrations: Annotated[bool | None, msgspec.Meta(description="Whether its schema is ours.", examples=[True])]
    queue_age_seconds: Annotated[
        float | None, msgspec.Meta(description="How long the oldest job has waited, in seconds.", examples=[0.2])
    ]
    outbox_age_seconds: Annotated[
        float | None,
        msgspec.Meta(description="How long the oldest message has waited that should have left.", examples=[0.0]),
    ]
    hub_lag_seconds: Annotated[
        float | None, msgspec.Meta(description="How far the screens are behind the log, in seconds.", examples=[0.01])
    ]


UNREADY = ResponseSpec(Readiness, description="Requests should go elsewhere.", generate_examples=False)


@get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """The process is alive; nothing else is asked."""
    return Health()


@get("/readyz", operation_id="readyz", responses={503: UNREADY})
async def readyz(service: Here) -> Response[Readiness]:
    """The database answers with the schema we know, jobs are worked off, and events reach the screens; else 503."""
    state = msgspec.convert(await service.readiness(), Readiness)
    return Response(state, status_code=200 if state.ready else 503)


@get("/metrics", operation_id="metrics", media_type=CONTENT_TYPE_LATEST, answers="comms_hub_lag_seconds 0.0")
async def read_metrics(service: Here) -> Response[bytes]:
    """Counters and gauges in Prometheus' text format."""
    await service.measure()
    # Litestar adds the charset to whatever is text, and a Content-Type that names it twice is none.
    media_type = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
    return Response(generate_latest(metrics.REGISTRY), media_type=media_type)


routes = Router("/", tags=["operations"], route_handlers=[healthz, readyz, read_metrics])
