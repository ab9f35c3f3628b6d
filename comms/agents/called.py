"""Somebody calls the webhook of a schedule, and its agent has a run to do: signed, fresh, and each call once.

Calls are signed as Standard Webhooks has it (``hooks.signing``): the same ``webhook-id`` again is the same run.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents import runs, workflows
from comms.agents.schedules import secret_of
from comms.agents.states import tell
from comms.database import Database
from comms.errors import Conflict, Forbidden, Invalid, Missing
from comms.hooks import signing
from comms.vault import Vault
from models.agents import AgentExecution, AgentExecutionView, AgentSchedule, AgentScheduleView
from models.base import now
from models.core import Workspace

FRESH_SECONDS = 300


async def call(
    database: Database,
    vault: Vault,
    workspace_id: uuid.UUID,
    schedule_id: uuid.UUID,
    headers: Mapping[str, str],
    body: bytes,
) -> uuid.UUID:
    """The run of the schedule's agent with what the body holds, pending; returns its id.

    Raises ``Missing``, ``Forbidden`` for what is forged or old, ``Invalid`` for what is no JSON object, and
    ``Conflict`` where the schedule is off or its agent does not run.
    """
    async with database.workspace(workspace_id) as db:
        row = await _of_webhook(db, schedule_id)
        secret = None if row is None else secret_of(row, vault)
        if row is None or secret is None:
            raise Missing("There is no such webhook address.")
        if not _is_genuine(headers, body, secret.decode()):
            raise Forbidden("The signature is not of this schedule's secret, or older than five minutes.")
        run_id = uuid.uuid5(row.id, headers[signing.ID])
        if await db.get(AgentExecution, (workspace_id, run_id)) is not None:
            return run_id
        if not row.enabled:
            raise Conflict("this schedule is switched off")
        run = await runs.request(db, workspace_id, row.agent_id, _read(body), run_id=run_id)
        run.schedule_id = row.id
        row.last_run_at, row.last_run_status = now(), "pending"
        await workflows.follow(db, workspace_id)
        await tell(db, "created", run, AgentExecutionView)
        await tell(db, "updated", row, AgentScheduleView)
        return run_id


async def _of_webhook(db: AsyncSession, schedule_id: uuid.UUID) -> AgentSchedule | None:
    """The schedule, held: of two calls under one id the second waits for the first."""
    query = (
        select(AgentSchedule)
        .join(Workspace, Workspace.id == AgentSchedule.workspace_id)
        .where(AgentSchedule.id == schedule_id, AgentSchedule.trigger_type == "webhook", Workspace.is_active)
        .with_for_update(key_share=True, of=AgentSchedule)
    )
    row: AgentSchedule | None = await db.scalar(query)
    return row


def _is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    at = headers.get(signing.TIMESTAMP, "")
    if not headers.get(signing.ID) or not at.isdecimal() or abs(now().timestamp() - int(at)) > FRESH_SECONDS:
        return False
    try:
        return signing.is_genuine(headers, body, secret)
    except ValueError:  # a secret from when these could not be called yet, or a signature that is no ASCII
        return False


def _read(body: bytes) -> dict[str, Any]:
    try:
        given = reading.leniently(body or b"{}")
        reading.refuse_unstorable(given)
    except (ValueError, RecursionError, json.JSONDecodeError) as error:
        raise Invalid({"": "must be a JSON object that can be kept"}) from error
    if not isinstance(given, dict):
        raise Invalid({"": "must be a JSON object"})
    return given
