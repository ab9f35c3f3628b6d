"""What comes due by the clock: workflows, agents' schedules, and runs that wait for a time.

Each has its time in an index of its own; to look for what is due is to look at its head. What was missed while nobody
was there is made up for as the schedule says.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.agents import runs, schedules, workflow_runs, workflows
from comms.agents.clock import next_run
from comms.agents.states import tell
from comms.database import Database, attempt
from comms.errors import Conflict
from models.agents import AgentExecutionView, AgentSchedule, AgentScheduleView
from models.base import now
from models.orchestration import AgentWorkflow, AgentWorkflowExecutionView, AgentWorkflowView

log = structlog.get_logger(__name__)

AT_ONCE = 50
RUNG_AT_ONCE = 500
MOST_MISSED = 100
LATE = timedelta(minutes=5)
"""What comes due no later than this was not missed."""

IS_DUE = """
EXISTS (SELECT FROM agent_workflow_executions WHERE due_at <= now() AND status = 'running')
OR EXISTS (SELECT FROM agent_workflows WHERE next_run_at <= now())
OR EXISTS (SELECT FROM agent_schedules WHERE next_run_at <= now())
"""
"""When there is something to do, as PostgreSQL says it."""

_DUE = text(
    """
    WITH due AS (
        SELECT workspace_id, id FROM agent_workflow_executions WHERE due_at <= now() AND status = 'running'
        ORDER BY due_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE agent_workflow_executions e SET due_at = now() + make_interval(secs => :recall)
    FROM due WHERE e.workspace_id = due.workspace_id AND e.id = due.id
    RETURNING e.workspace_id, e.id
    """
)


async def tick(database: Database) -> None:
    """Everything that was due has begun, or goes on."""
    await _until_few(database, ring_due, RUNG_AT_ONCE)
    await _until_few(database, begin_workflows, AT_ONCE)
    await _until_few(database, begin_schedules, AT_ONCE)


async def _until_few(database: Database, story: Callable[..., Any], most: int) -> None:
    done = most
    while done == most:
        async with database.everywhere() as db:
            done = await story(db, most)


async def ring_due(db: AsyncSession, most: int = RUNG_AT_ONCE) -> int:
    """Runs whose time has come go on; how many those were."""
    due = (await db.execute(_DUE, {"most": most, "recall": workflow_runs.RECALL_SECONDS})).all()
    await workflow_runs.ring(db, [(row.workspace_id, row.id) for row in due])
    return len(due)


async def begin_workflows(db: AsyncSession, most: int = AT_ONCE, at: datetime | None = None) -> int:
    """Workflows whose time has come run, and know their next time; how many came due."""
    at = at or now()
    query = (
        select(AgentWorkflow)
        .where(AgentWorkflow.next_run_at <= at)
        .order_by(AgentWorkflow.next_run_at)
        .limit(most)
        .with_for_update(key_share=True, skip_locked=True)
    )
    found = (await db.scalars(query)).all()
    for row in found:
        config = row.trigger_config
        zone, policy = config.get("timezone", "UTC"), config.get("missedRuns", "once")
        assert row.next_run_at is not None
        due = times_due(config["cron"], zone, row.next_run_at, at, policy)
        row.next_run_at = next_run(config["cron"], zone, at)
        for scheduled in due:
            await _begin(db, row, scheduled)
        if not due:
            await tell(db, "updated", row, AgentWorkflowView)
    return len(found)


async def _begin(db: AsyncSession, row: AgentWorkflow, scheduled: datetime) -> None:
    await db.flush()
    try:
        async with attempt(db):
            said = {"scheduledFor": scheduled.isoformat()}
            run = await workflow_runs.begin(db, row.workspace_id, row.id, trigger_type="schedule", trigger_data=said)
            await tell(db, "created", run, AgentWorkflowExecutionView)
    except Exception as error:  # one that cannot begin keeps no other from it
        log.error("workflow.not_begun", workflow_id=str(row.id), error=str(jobs.JobFailed(error)))


async def begin_schedules(db: AsyncSession, most: int = AT_ONCE, at: datetime | None = None) -> int:
    """Agents whose time has come have a run to do, and their schedules know the next time; how many came due."""
    at = at or now()
    query = (
        select(AgentSchedule)
        .where(AgentSchedule.next_run_at <= at)
        .order_by(AgentSchedule.next_run_at)
        .limit(most)
        .with_for_update(key_share=True, skip_locked=True)
    )
    found = (await db.scalars(query)).all()
    for row in found:
        assert row.next_run_at is not None
        assert row.cron is not None
        due = times_due(row.cron, row.timezone, row.next_run_at, at, row.missed_runs)
        schedules.come_due(row, at)
        await workflows.follow(db, row.workspace_id)
        for scheduled in due:
            row.last_run_at, row.last_run_status = at, await _request(db, row, scheduled)
        await tell(db, "updated", row, AgentScheduleView)
    return len(found)


async def _request(db: AsyncSession, row: AgentSchedule, scheduled: datetime) -> str:
    """A run of the agent is pending; cancelled before it began, where the agent does not run."""
    given = {"scheduleId": str(row.id), "scheduledFor": scheduled.isoformat()}
    try:
        run = await runs.request(db, row.workspace_id, row.agent_id, given)
    except Conflict:
        return "cancelled"
    run.schedule_id = row.id
    await tell(db, "created", run, AgentExecutionView)
    return "pending"


def times_due(cron: str, timezone: str, first: datetime, at: datetime, missed: str) -> list[datetime]:
    """The times from ``first`` until ``at`` that are to be run: of those missed none, one (the last), or all."""
    times = [first]
    while (following := next_run(cron, timezone, times[-1])) <= at:
        times = [*times[-MOST_MISSED + 1 :], following]
    if missed == "all":
        return times
    if missed == "skip" and at - times[-1] > LATE:
        return []
    return times[-1:]
