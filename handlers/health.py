"""What an operator's machines ask; nobody needs to say who they are."""

from typing import Any

from litestar import Response, Router, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from comms import metrics
from handlers.given import Here


@get("/healthz", operation_id="healthz")
async def healthz() -> dict[str, str]:
    """The process is alive; nothing else is asked."""
    return {"status": "ok"}


@get("/readyz", operation_id="readyz")
async def readyz(service: Here) -> Response[dict[str, Any]]:
    """The database answers with the schema we know, jobs are worked off, and events reach the screens; else 503."""
    state = await service.readiness()
    return Response(state, status_code=200 if state["ready"] else 503)


@get("/metrics", operation_id="metrics")
async def read_metrics(service: Here) -> Response[bytes]:
    """Counters and gauges in Prometheus' text format."""
    await service.measure()
    return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)


routes = Router("/", tags=["operations"], route_handlers=[healthz, readyz, read_metrics])
