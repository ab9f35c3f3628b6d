"""An event sets a workflow off, once; unless it came of the workflow's own doing, or goes round and round."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import states, workflow_runs
from comms.agents.states import held, tell
from comms.workflows.engine import ACTOR
from comms.workflows.judging import loop_in
from comms.workflows.speaking import EXECUTION
from models.base import now
from models.orchestration import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
)

MOST_ABOUT_ONE, ABOUT_ONE = 20, timedelta(minutes=10)
"""So many runs of a workflow about the same conversation, or the same row, within so long: then it goes in circles."""
MOST_IN_ALL, IN_ALL = 1_000, timedelta(minutes=1)


async def begin(db: AsyncSession, workflow: AgentWorkflow, trigger: Mapping[str, Any]) -> str | None:
    """The workflow runs because of this event; or the reason why not, in words.

    At its limit the workflow is paused, and says why.
    """
    lineage = await lineage_of(db, workflow.workspace_id, trigger)
    if (reason := loop_in(str(workflow.id), lineage)) is not None:
        return reason
    about = about_of(trigger)
    if (reason := await too_many(db, workflow, about)) is not None:
        await stop(db, workflow, reason)
        return reason
    run = await workflow_runs.begin(
        db,
        workflow.workspace_id,
        workflow.id,
        trigger_type="event",
        trigger_data=trigger,
        trigger_seq=trigger["seq"],
        about_id=about,
        lineage=lineage,
    )
    await tell(db, "created", run, AgentWorkflowExecutionView)
    return None


async def lineage_of(db: AsyncSession, workspace_id: uuid.UUID, trigger: Mapping[str, Any]) -> list[str]:
    """The workflows whose doing the event was, the first one first: by whom it was done, or whose message it is of."""
    run_id = trigger.get("actorId") if trigger.get("actorType") == ACTOR else None
    said = (trigger.get("data") or {}).get("metadata")
    if run_id is None and isinstance(said, dict):
        run_id = said.get(EXECUTION)
    try:
        wanted = msgspec.convert(run_id, uuid.UUID)
    except msgspec.ValidationError:
        return []
    found = (
        await db.execute(
            select(AgentWorkflowExecution.workflow_id, AgentWorkflowExecution.lineage).where(
                AgentWorkflowExecution.workspace_id == workspace_id, AgentWorkflowExecution.id == wanted
            )
        )
    ).one_or_none()
    return [] if found is None else [*found.lineage, str(found.workflow_id)]


def about_of(trigger: Mapping[str, Any]) -> uuid.UUID:
    """What an event is about, as far as going in circles is concerned."""
    return uuid.UUID(trigger.get("conversationId") or trigger["subjectId"])


async def stop(db: AsyncSession, workflow: AgentWorkflow, reason: str) -> None:
    """The workflow is paused, and says why; whoever activates it again has read that."""
    row = await held(db, AgentWorkflow, workflow.workspace_id, workflow.id)
    if row.status != "active":
        return
    states.move(row, "paused", states.WORKFLOW, "workflow")
    row.stopped_reason, row.next_run_at = f"stopped: {reason}", None
    await tell(db, "updated", row, AgentWorkflowView)


async def too_many(db: AsyncSession, workflow: AgentWorkflow, about: uuid.UUID, most: int | None = None) -> str | None:
    """Why the workflow has begun often enough for now, about this or in all; None when it has not."""
    most = MOST_ABOUT_ONE if most is None else most
    at = now()
    mine = (
        AgentWorkflowExecution.workspace_id == workflow.workspace_id,
        AgentWorkflowExecution.workflow_id == workflow.id,
    )
    about_one = select(func.count()).where(
        *mine, AgentWorkflowExecution.about_id == about, AgentWorkflowExecution.created_at > at - ABOUT_ONE
    )
    if (await db.scalar(about_one) or 0) >= most:
        minutes = ABOUT_ONE.total_seconds() / 60
        return f"it began {most} times about {about} within {minutes:g} minutes, which is the limit: a loop?"
    latest = (
        select(AgentWorkflowExecution.created_at)
        .where(*mine)
        .order_by(AgentWorkflowExecution.created_at.desc())
        .offset(MOST_IN_ALL - 1)
        .limit(1)
    )
    oldest = await db.scalar(latest)
    if oldest is not None and oldest > at - IN_ALL:
        return f"it began {MOST_IN_ALL} times within a minute, which is the limit"
    return None
