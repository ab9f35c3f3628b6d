"""The log is read for what sets workflows off and what runs wait for, workspace by workspace.

How far it was read is kept by the transaction that begins the runs: killed anywhere, an event sets a workflow off once.
Only workspaces that have ever had an active workflow are looked at.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.agents import workflow_runs
from comms.agents.states import tell
from comms.audience import ADMINISTRATIVE, PERSONAL
from comms.database import Database
from comms.errors import Refused
from comms.readers import Reader
from comms.workflows import setting_off
from comms.workflows.checking import is_shared
from comms.workflows.judging import verdict_on
from models.agents import AgentSchedule, AgentScheduleView
from models.base import now
from models.core import Workspace
from models.orchestration import AgentWorkflow, AgentWorkflowExecution

log = structlog.get_logger(__name__)

AT_ONCE = 100
ANSWERS = ("agent_message.created",)
DECISIONS = "agent_pending_action."


async def keep_up(database: Database, most: int = AT_ONCE) -> None:
    """Every event has set off what it sets off, and rung for whoever waited for it."""
    await reader(database, most).keep_up()


def reader(database: Database, most: int = AT_ONCE) -> Reader:
    """Sets off what events set off, so many of them at once."""
    return Reader(database, "workflows", behind, partial(catch_up, most=most))


async def behind(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces with workflows whose log goes on."""
    return (await db.scalars(_BEHIND)).all()


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = AT_ONCE) -> bool:
    """The next few events of the workspace are seen to; whether there may be more. False too while another does it."""
    after = await db.scalar(_PROGRESS, {"here": workspace_id})
    if after is None:
        return False
    rows = (await db.execute(_TOLD, {"here": workspace_id, "after": after, "most": most})).all()
    if not rows:
        return False
    # Runs before workflows: whoever ends a run locks them in that order.
    await _wake(db, workspace_id, rows)
    await _set_off(db, workspace_id, [trigger_of(row) for row in rows if row.data is not None])
    await _note_schedules(db, workspace_id, rows)
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": rows[-1].seq})
    return len(rows) == most


def trigger_of(row: Any) -> dict[str, Any]:
    """An event as a workflow sees it: as ``GET /events`` shows it."""
    return {
        "seq": row.seq,
        "event": row.event,
        "at": row.at.isoformat(),
        "subjectType": row.subject_type,
        "subjectId": str(row.subject_id),
        "conversationId": None if row.conversation_id is None else str(row.conversation_id),
        "actorType": row.actor_type,
        "actorId": None if row.actor_id is None else str(row.actor_id),
        "data": msgspec.json.decode(row.data),
        "changes": msgspec.json.decode(row.changes or "null") or {},
    }


def shared(trigger: dict[str, Any]) -> dict[str, Any]:
    """What a run knows of the event that set it off: runs are for all who may see agents, and some nouns are not.

    Of those it knows which row it was, and no more.
    """
    if is_shared(trigger["subjectType"]):
        return trigger
    return {**trigger, "data": {"id": trigger["subjectId"]}, "changes": {}}


async def _set_off(db: AsyncSession, workspace_id: uuid.UUID, triggers: Sequence[dict[str, Any]]) -> None:
    """Each of these events has set off what listens to it."""
    # Asked after the events were read: what became active meanwhile has heard none of them, and knows from where on.
    listening = await _listening(db, workspace_id) if triggers else []
    firing = [
        (workflow.id, trigger)
        for trigger in triggers
        for workflow in listening
        if trigger["seq"] > (workflow.from_seq or 0) and _may_fire(workflow, trigger)
    ]
    await workflow_runs.hold(db, workspace_id, {workflow_id for workflow_id, _ in firing})
    for workflow_id, trigger in firing:
        known = shared(trigger)
        async with setting_off.beginning(db, workspace_id, workflow_id, "event", known):
            reason = await setting_off.begin(db, workspace_id, workflow_id, known)
            if reason is not None:
                log.warning("workflow.held_back", workflow_id=str(workflow_id), seq=trigger["seq"])


async def _listening(db: AsyncSession, workspace_id: uuid.UUID) -> Sequence[AgentWorkflow]:
    query = (
        select(AgentWorkflow)
        .join(Workspace, (Workspace.id == AgentWorkflow.workspace_id) & Workspace.is_active)
        .where(
            AgentWorkflow.workspace_id == workspace_id,
            AgentWorkflow.status == "active",
            AgentWorkflow.trigger_type == "event",
        )
        .order_by(AgentWorkflow.id)
    )
    return (await db.scalars(query)).all()


def _may_fire(workflow: AgentWorkflow, trigger: dict[str, Any]) -> bool:
    try:
        return verdict_on(workflow.trigger_config, trigger).fires
    except (Refused, msgspec.ValidationError, KeyError) as error:  # what no version of ours would have taken
        log.error("workflow.unreadable", workflow_id=str(workflow.id), error=str(jobs.JobFailed(error)))
        return False


async def _wake(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Any]) -> None:
    """Runs whose answer may be there go on; each looks at the answer itself."""
    answered = {row.answers for row in rows if row.answers is not None}
    if not answered:
        return
    woken = await db.execute(
        update(AgentWorkflowExecution)
        .where(
            AgentWorkflowExecution.workspace_id == workspace_id,
            AgentWorkflowExecution.waiting_id.in_(answered),
            AgentWorkflowExecution.status == "running",
        )
        .values(
            due_at=now() + timedelta(seconds=workflow_runs.RECALL_SECONDS),
            updated_at=AgentWorkflowExecution.updated_at,
        )
        .returning(AgentWorkflowExecution.workspace_id, AgentWorkflowExecution.id)
        .execution_options(synchronize_session=False)
    )
    await workflow_runs.ring(db, [(row[0], row[1]) for row in woken])


async def _note_schedules(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Any]) -> None:
    """A schedule says how its latest run fares."""
    for row in rows:
        if row.schedule_id is None:
            continue
        schedule = await db.get(
            AgentSchedule,
            (workspace_id, uuid.UUID(row.schedule_id)),
            with_for_update={"key_share": True},
            populate_existing=True,
        )
        if schedule is not None and schedule.last_run_status != row.run_status:
            schedule.last_run_status = row.run_status
            await tell(db, "updated", schedule, AgentScheduleView)


_ARE_BEHIND = "workflow_progress p JOIN event_counters c ON c.workspace_id = p.workspace_id WHERE p.seq < c.seq"
IS_BEHIND = f"EXISTS (SELECT FROM {_ARE_BEHIND})"
"""When there is something to do, as PostgreSQL says it."""
_BEHIND = text(f"SELECT p.workspace_id FROM {_ARE_BEHIND}")
_PROGRESS = text("SELECT seq FROM workflow_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
# What is told to some alone is nothing that sets a workflow off: its runs are for everybody to read.
_PRIVATE = ", ".join(f"'{noun}'" for noun in sorted(PERSONAL | ADMINISTRATIVE))
_TOLD = text(
    f"""
    SELECT seq, event, subject_type, subject_id, conversation_id, actor_type, actor_id, at,
        CASE WHEN is_heard THEN data::text END AS data,
        CASE WHEN is_heard THEN changes::text END AS changes,
        CASE WHEN event LIKE '{DECISIONS}%' THEN subject_id
            WHEN event = ANY(ARRAY{list(ANSWERS)}) AND data->>'messageType' = 'result'
                THEN (data->>'parentMessageId')::uuid END AS answers,
        CASE WHEN subject_type = 'agent_execution' THEN data->>'scheduleId' END AS schedule_id,
        CASE WHEN subject_type = 'agent_execution' THEN data->>'status' END AS run_status
    FROM (
        SELECT e.*, audience IS NULL AND subject_type NOT IN ({_PRIVATE}) AND event = ANY(ARRAY(
                SELECT w.trigger_config->>'eventType' FROM agent_workflows w
                WHERE w.workspace_id = :here AND w.status = 'active' AND w.trigger_type = 'event'
            )) AS is_heard
        FROM events e WHERE workspace_id = :here AND seq > :after ORDER BY seq LIMIT :most
    ) e
    ORDER BY seq
    """
)
_ADVANCE = text("UPDATE workflow_progress SET seq = :seq WHERE workspace_id = :here")
