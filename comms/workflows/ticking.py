"""What comes due by the clock: workflows, agents' schedules, and runs that wait for a time.

Each has its time in an index of its own; to look for what is due is to look at its head. What was missed while nobody
was there is made up for as the schedule says. Each begins in a transaction of its own: one that cannot is put off, and
holds up no other.
"""

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.agents import runs, schedules, workflow_runs, workflows
from comms.agents.clock import next_run, runs_until
from comms.agents.states import tell
from comms.database import Database, is_passing
from comms.errors import Conflict
from comms.workflows.setting_off import beginning
from models.agents import AgentExecutionView, AgentSchedule, AgentScheduleView
from models.base import now
from models.core import Workspace
from models.orchestration import AgentWorkflow, AgentWorkflowExecutionView, AgentWorkflowView

log = structlog.get_logger(__name__)

AT_ONCE = 50
RUNG_AT_ONCE = 500
MOST_MISSED = 100
LATE = timedelta(minutes=5)
"""What comes due no later than this was not missed."""
PUT_OFF = timedelta(hours=1)

IS_DUE = """
EXISTS (SELECT FROM agent_workflow_executions WHERE due_at <= now() AND status = 'running')
OR EXISTS (SELECT FROM agent_workflows WHERE next_run_at <= now())
OR EXISTS (SELECT FROM agent_schedules WHERE next_run_at <= now())
"""
"""When there is something to do, as PostgreSQL says it."""

Begin = Callable[[AsyncSession, uuid.UUID, uuid.UUID, datetime], Awaitable[bool]]

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
    rung = RUNG_AT_ONCE
    while rung == RUNG_AT_ONCE:
        async with database.everywhere() as db:
            rung = await ring_due(db)
    at = now()
    await begin_workflows(database, at)
    await begin_schedules(database, at)


async def ring_due(db: AsyncSession, most: int = RUNG_AT_ONCE) -> int:
    """Runs whose time has come go on; how many those were."""
    due = (await db.execute(_DUE, {"most": most, "recall": workflow_runs.RECALL_SECONDS})).all()
    await workflow_runs.ring(db, [(row.workspace_id, row.id) for row in due])
    return len(due)


async def begin_workflows(database: Database, at: datetime) -> int:
    """Workflows whose time has come run, and know their next time; how many came due."""
    return await _each(database, AgentWorkflow, _begin_workflow, at)


async def begin_schedules(database: Database, at: datetime) -> int:
    """Agents whose time has come have a run to do, and their schedules know the next time; how many came due."""
    return await _each(database, AgentSchedule, _begin_schedule, at)


async def _each(database: Database, table: Any, begin: Begin, at: datetime) -> int:
    """How many of those that are due have begun; raises what is the database's fault once all have had their turn."""
    begun, seen, stuck = 0, set(), None
    due = select(table.workspace_id, table.id).where(table.next_run_at <= at).order_by(table.next_run_at).limit(AT_ONCE)
    while True:
        async with database.everywhere() as db:
            found = [(row[0], row[1]) for row in await db.execute(due)]
        found = [key for key in found if key not in seen]
        if not found:
            break
        for key in found:
            seen.add(key)
            try:
                async with database.everywhere() as db:
                    begun += await begin(db, *key, at)
            except Exception as error:
                if is_passing(error):  # it is due still
                    stuck = error
                    continue
                log.error("schedule.not_begun", row=str(key[1]), error=str(jobs.JobFailed(error)))
                await _put_off(database, table, *key, at, error)
    if stuck is not None:
        raise stuck
    return begun


async def _put_off(
    database: Database, table: Any, workspace_id: uuid.UUID, row_id: uuid.UUID, at: datetime, error: Exception
) -> None:
    async with database.everywhere() as db:
        here = (table.workspace_id == workspace_id, table.id == row_id, table.next_run_at <= at)
        await db.execute(update(table).where(*here).values(next_run_at=at + PUT_OFF))
        if table is AgentWorkflow:
            async with beginning(db, workspace_id, row_id, "schedule", {"scheduledFor": at.isoformat()}):
                raise error


async def _begin_workflow(db: AsyncSession, workspace_id: uuid.UUID, row_id: uuid.UUID, at: datetime) -> bool:
    found, _ = await workflow_runs.hold(db, workspace_id, [row_id])
    row = found[0] if found else None
    if row is None or row.next_run_at is None or row.next_run_at > at:
        return False
    config = row.trigger_config
    zone, policy = config.get("timezone", "UTC"), config.get("missedRuns", "once")
    due = times_due(config["cron"], zone, row.next_run_at, at, policy)
    row.next_run_at = next_run(config["cron"], zone, at)
    await tell(db, "updated", row, AgentWorkflowView)
    for scheduled in due if await _is_active(db, workspace_id) else ():
        said = {"scheduledFor": scheduled.isoformat()}
        async with beginning(db, workspace_id, row_id, "schedule", said):
            run = await workflow_runs.begin(db, workspace_id, row_id, trigger_type="schedule", trigger_data=said)
            await tell(db, "created", run, AgentWorkflowExecutionView)
    return True


async def _begin_schedule(db: AsyncSession, workspace_id: uuid.UUID, row_id: uuid.UUID, at: datetime) -> bool:
    row = await db.get(AgentSchedule, (workspace_id, row_id), with_for_update={"key_share": True})
    if row is None or row.next_run_at is None or row.next_run_at > at:
        return False
    assert row.cron is not None
    due = times_due(row.cron, row.timezone, row.next_run_at, at, row.missed_runs)
    schedules.come_due(row, at)
    await workflows.follow(db, workspace_id)
    for scheduled in due if await _is_active(db, workspace_id) else ():
        row.last_run_at, row.last_run_status = at, await _request(db, row, scheduled)
    await tell(db, "updated", row, AgentScheduleView)
    return True


async def _is_active(db: AsyncSession, workspace_id: uuid.UUID) -> bool:
    return bool(await db.scalar(select(Workspace.is_active).where(Workspace.id == workspace_id)))


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
    """The times from ``first`` until ``at`` that are to be run: of those missed none, one (the last), or all.

    Of all the last hundred. What it costs depends on those, and not on how long nobody was there.
    """
    since = first - timedelta(microseconds=1)  # which names it too
    times = runs_until(cron, timezone, since, at, MOST_MISSED if missed == "all" else 1) or [first]
    if missed == "skip" and at - times[-1] > LATE:
        return []
    return times
