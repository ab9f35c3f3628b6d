"""An event sets a workflow off, once; unless it came of the workflow's own doing, or goes round and round."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.agents import states, workflow_runs
from comms.agents.states import held, tell
from comms.database import attempt, is_passing
from comms.errors import Conflict, Missing, Refused
from comms.workflows.engine import ACTOR
from comms.workflows.judging import loop_in
from comms.workflows.speaking import EXECUTION
from models.base import now
from models.orchestration import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
    WorkflowTrigger,
)

log = structlog.get_logger(__name__)

MOST_ABOUT_ONE, ABOUT_ONE = 20, timedelta(minutes=10)
"""So many runs of a workflow about the same conversation, or the same row, within so long: then it goes in circles."""
MOST_IN_ALL, IN_ALL = 1_000, timedelta(minutes=1)
"""So many in all: then it is paused."""


async def begin(
    db: AsyncSession, workspace_id: uuid.UUID, workflow_id: uuid.UUID, trigger: Mapping[str, Any]
) -> str | None:
    """The workflow runs because of this event; or the reason why not, in words.

    What happens too often to one subject is passed over; of too much in all the workflow is paused, and says why.
    """
    lineage = await lineage_of(db, workspace_id, trigger)
    if (reason := loop_in(str(workflow_id), lineage)) is not None:
        return reason
    about, at = about_of(trigger), datetime.fromisoformat(trigger["at"])
    if (reason := await too_many_about(db, workspace_id, workflow_id, about, at)) is not None:
        return reason
    if (reason := await _too_many_in_all(db, workspace_id, workflow_id, at)) is not None:
        await _stop(db, workspace_id, workflow_id, reason)
        return reason
    run = await workflow_runs.begin(
        db,
        workspace_id,
        workflow_id,
        trigger_type="event",
        trigger_data=trigger,
        trigger_seq=trigger["seq"],
        about_id=about,
        lineage=lineage,
    )
    await tell(db, "created", run, AgentWorkflowExecutionView)
    return None


@asynccontextmanager
async def beginning(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    trigger_type: WorkflowTrigger,
    trigger: Mapping[str, Any],
) -> AsyncIterator[None]:
    """What begins in here has begun; or the history has a run that could not, and why.

    Whatever is the database's fault is raised: then nothing has happened, and the same comes again.
    """
    try:
        async with attempt(db):
            yield
    except Exception as error:
        if is_passing(error):
            raise
        if isinstance(error, Conflict | Missing):  # paused, archived or deleted a moment ago
            log.info("workflow.not_begun", workflow_id=str(workflow_id), error=error.detail)
            return
        log.error("workflow.not_begun", workflow_id=str(workflow_id), error=str(jobs.JobFailed(error)))
        await _keep_failure(db, workspace_id, workflow_id, trigger_type, trigger, error)


async def _keep_failure(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    trigger_type: WorkflowTrigger,
    trigger: Mapping[str, Any],
    error: Exception,
) -> None:
    words = error.detail if isinstance(error, Refused) else f"something unexpected happened ({type(error).__name__})"
    # What it was set off by, but for what may be the very reason.
    said = {name: value for name, value in trigger.items() if name not in ("data", "changes")}
    is_event = trigger_type == "event"
    try:
        async with attempt(db):
            run = await workflow_runs.keep_failure(
                db,
                workspace_id,
                workflow_id,
                f"it could not begin: {words}",
                trigger_type=trigger_type,
                trigger_data=said,
                trigger_seq=trigger["seq"] if is_event else None,
                about_id=about_of(trigger) if is_event else None,
            )
            await tell(db, "failed", run, AgentWorkflowExecutionView)
    except Missing:
        return


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


async def too_many_about(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    about: uuid.UUID,
    at: datetime | None = None,
    most: int | None = None,
) -> str | None:
    """Why what happens ``at`` a time begins no run: there were enough about this just before; None where not.

    It counts when things happened, not when they were read: whoever catches up sees no crowd where there was none.
    """
    most = MOST_ABOUT_ONE if most is None else most
    at = at or now()
    parameters = {
        "here": workspace_id,
        "workflow": workflow_id,
        "about": about,
        "after": at - ABOUT_ONE,
        "until": at,
    }
    if (await db.scalar(_ABOUT_ONE, parameters) or 0) < most:
        return None
    minutes = ABOUT_ONE.total_seconds() / 60
    return f"it began {most} times about {about} within {minutes:g} minutes, which is the limit: a loop?"


async def _too_many_in_all(
    db: AsyncSession, workspace_id: uuid.UUID, workflow_id: uuid.UUID, at: datetime
) -> str | None:
    parameters = {"here": workspace_id, "workflow": workflow_id, "most": MOST_IN_ALL - 1}
    oldest = await db.scalar(_IN_ALL, parameters)
    if oldest is None or oldest <= at - IN_ALL:
        return None
    return f"it began {MOST_IN_ALL} times within a minute, which is the limit"


async def _stop(db: AsyncSession, workspace_id: uuid.UUID, workflow_id: uuid.UUID, reason: str) -> None:
    """The workflow is paused, and says why; whoever activates it again has read that."""
    row = await held(db, AgentWorkflow, workspace_id, workflow_id)
    if row.status != "active":
        return
    states.move(row, "paused", states.WORKFLOW, "workflow")
    row.stopped_reason, row.next_run_at = f"stopped: {reason}", None
    await tell(db, "stopped", row, AgentWorkflowView)


# When what set a run off happened: of an event that is in the event, of anything else when the run began.
_HAPPENED = "CASE WHEN trigger_seq IS NULL THEN created_at ELSE (trigger_data->>'at')::timestamptz END"
_OF_WORKFLOW = "FROM agent_workflow_executions WHERE workspace_id = :here AND workflow_id = :workflow"
# A run begins after what set it off, which keeps the index on when it began useful.
_ABOUT_ONE = text(
    f"SELECT count(*) {_OF_WORKFLOW} AND about_id = :about AND created_at > :after"
    f" AND {_HAPPENED} > :after AND {_HAPPENED} <= :until"
)
_IN_ALL = text(f"SELECT {_HAPPENED} {_OF_WORKFLOW} ORDER BY created_at DESC, id DESC OFFSET :most LIMIT 1")
