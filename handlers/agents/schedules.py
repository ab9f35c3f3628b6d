"""When agents run by themselves."""

from typing import Any

import msgspec
from litestar import post
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import schedules as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import reads, writes
from handlers.resource import crud
from models.agents import AgentSchedule, AgentScheduleView
from models.base import new_id


class WebhookSecret(msgspec.Struct, rename="camel"):
    """Where a schedule's webhook is called, and the secret its calls are signed with: told this once."""

    webhook_url: str
    webhook_secret: str


async def create_schedule(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentSchedule:
    """A schedule that knows when it comes due."""
    row = AgentSchedule(workspace_id=identity.workspace_id, id=new_id())
    stories.keep(row, values)
    await stories.expect_agent(db, row)
    db.add(row)
    return row


async def change_schedule(db: AsyncSession, identity: Identity, row: AgentSchedule, values: dict[str, Any]) -> None:
    """As before, it knows when it comes due; what changes nothing of its clock leaves that time alone."""
    if any(getattr(row, name) != value for name, value in values.items()):
        stories.keep(row, values)
        if "agent_id" in values or values.get("enabled"):
            await stories.expect_agent(db, row)


schedules = crud(
    "/agent-schedules",
    AgentSchedule,
    AgentScheduleView,
    filters=("agent_id", "trigger_type", "enabled", "last_run_status"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_schedule,
    change=change_schedule,
)


@post("/{row_id:uuid}/webhook-secret", operation_id="renew_agent_schedule_webhook_secret", guards=[writes("agents")])
async def renew_secret(db: Db, identity: Asker, service: Here, row_id: RowId) -> WebhookSecret:
    """Make the secret of a webhook, or a new one, which is in this answer alone: the one before is void at once.

    A JSON object posted to `webhookUrl`, signed as Standard Webhooks has it, is the input of a run of the agent. The
    same `webhook-id` again is the same run.
    """
    row = await schedules.find(db, identity, row_id, to_change=True)
    before = schedules.shown(row)
    plain = stories.renew_secret(row, service.vault, service.settings.server.public_url)
    view = await schedules.settle(db, identity, row, before, ["webhookSecret"])
    return WebhookSecret(view.webhook_url, plain)


routes = [schedules.router(renew_secret)]
