"""Where others call to have an agent run: ``POST /webhooks/agents/{workspace}/{schedule}``."""

import uuid
from collections.abc import Mapping

import msgspec

from comms.agents import called
from comms.errors import Conflict, Forbidden, Invalid, Missing
from comms.service import Service
from handlers.webhooks.answers import Answer, refused


async def take(service: Service, workspace: str, schedule: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """202 and the run's id, the same for the same ``webhook-id``; 403 for what is not signed or too old."""
    try:
        address = uuid.UUID(workspace), uuid.UUID(schedule)
    except ValueError:
        return refused(404)
    try:
        run_id = await called.call(service.database, service.vault, *address, headers, body)
    except Missing:
        return refused(404)
    except Forbidden:
        return refused(403)
    except Invalid:
        return refused(400)
    except Conflict:
        return refused(409)
    return Answer(202, msgspec.json.encode({"executionId": run_id}), "application/json")
