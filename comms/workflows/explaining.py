"""Why a workflow did or did not fire, and what it would have fired on: the log, judged as it is judged live."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents.clock import runs_until
from comms.errors import Conflict, Missing
from comms.workflows.following import trigger_of
from comms.workflows.judging import loop_in, verdict_on
from comms.workflows.setting_off import about_of, lineage_of, too_many_about
from models.base import now
from models.orchestration import AgentWorkflow, AgentWorkflowExecution

MOST_EVENTS = 10_000
MOST_TIMES = 1_000


class Judged(msgspec.Struct, rename="camel"):
    """One event, or one time, and whether it sets the workflow off."""

    at: Annotated[datetime, msgspec.Meta(description="When it happened.", examples=["2026-03-01T12:00:00Z"])]
    fires: Annotated[bool, msgspec.Meta(description="Whether all that is asked holds of it.", examples=[True])]
    why: Annotated[
        list[str],
        msgspec.Meta(
            description="What was asked, and what was found, in words.",
            examples=[["it was deal.updated", 'data.stage is "proposal": equals "proposal"']],
        ),
    ]
    seq: Annotated[int | None, msgspec.Meta(description="The event, by its `seq`.", examples=[42])] = None
    event: Annotated[str | None, msgspec.Meta(description="What happened.", examples=["deal.updated"])] = None
    subject_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The row that it happened to.")] = None
    conversation_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The conversation it happened in.")] = None


class DryRun(msgspec.Struct, rename="camel"):
    """What a workflow would have done in the past, as it is now. Nothing is done."""

    since: Annotated[datetime, msgspec.Meta(description="The first moment that was looked at.")]
    considered: Annotated[int, msgspec.Meta(description="How many events, or times, were looked at.", examples=[1])]
    fires: Annotated[int, msgspec.Meta(description="How many of them would have set it off.", examples=[1])]
    is_whole: Annotated[
        bool, msgspec.Meta(description="False where there were more than are looked at: then the latest are shown.")
    ]
    items: Annotated[list[Judged], msgspec.Meta(description="Each of them, the latest first.")]


class Explanation(msgspec.Struct, rename="camel"):
    """Why an event did or did not set a workflow off."""

    fired: Annotated[bool, msgspec.Meta(description="Whether there is a run that this event began.", examples=[False])]
    why: Annotated[
        list[str],
        msgspec.Meta(
            description="The reasons, in words.", examples=[["it waits for deal.updated, and this was deal.created"]]
        ),
    ]
    execution_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The run.")] = None


async def dry_run(db: AsyncSession, workflow: AgentWorkflow, days: int, shown: int) -> DryRun:
    """What of the last ``days`` would have set the workflow off, and why the rest would not."""
    at = now()
    since = at - timedelta(days=days)
    if workflow.trigger_type == "event":
        judged, is_whole = await _of_events(db, workflow, since)
    elif workflow.trigger_type == "schedule":
        judged, is_whole = _of_times(workflow, since, at)
    else:
        raise Conflict(f"this workflow's triggerType is {workflow.trigger_type}: it begins when somebody asks for it")
    fires = sum(one.fires for one in judged)
    return DryRun(since, len(judged), fires, is_whole, judged[:shown])


async def explain(db: AsyncSession, workflow: AgentWorkflow, seq: int) -> Explanation:
    """Why the event did or did not set the workflow off: by what it is now, and where it stood then."""
    row = (await db.execute(_EVENT, {"here": workflow.workspace_id, "seq": seq})).one_or_none()
    if row is None:
        raise Missing(f"There is no event {seq} in this workspace.")
    run_id = await db.scalar(
        select(AgentWorkflowExecution.id).where(
            AgentWorkflowExecution.workspace_id == workflow.workspace_id,
            AgentWorkflowExecution.workflow_id == workflow.id,
            AgentWorkflowExecution.trigger_seq == seq,
        )
    )
    if workflow.trigger_type != "event":
        return Explanation(
            run_id is not None, [f"its triggerType is {workflow.trigger_type}: no event sets it off"], run_id
        )
    if row.audience is not None:
        return Explanation(False, ["it was told to some alone: such an event sets nothing off"])
    trigger = trigger_of(row)
    verdict = verdict_on(workflow.trigger_config, trigger)
    if run_id is not None:
        return Explanation(True, verdict.why, run_id)
    why = list(verdict.why)
    if verdict.fires:
        why += await _what_held_it_back(db, workflow, trigger)
    return Explanation(False, why)


async def _what_held_it_back(db: AsyncSession, workflow: AgentWorkflow, trigger: dict[str, Any]) -> list[str]:
    lineage = await lineage_of(db, workflow.workspace_id, trigger)
    if (reason := loop_in(str(workflow.id), lineage)) is not None:
        return [reason]
    if workflow.stopped_reason is not None:
        return [f"comms has paused it: {workflow.stopped_reason}"]
    if workflow.status != "active":
        return [f"it is {workflow.status}: only an active workflow runs"]
    if trigger["seq"] <= (workflow.from_seq or 0):
        return ["it was not active then: it became so later"]
    read = await db.scalar(_READ, {"here": workflow.workspace_id})
    if read is None or read < trigger["seq"]:
        return ["the log has not been read so far yet: it begins in a moment"]
    at = datetime.fromisoformat(trigger["at"])
    if (reason := await too_many_about(db, workflow.workspace_id, workflow.id, about_of(trigger), at)) is not None:
        return [reason]
    return ["its conditions or its status were others then, or the run is so long over that it is not kept"]


async def _of_events(db: AsyncSession, workflow: AgentWorkflow, since: datetime) -> tuple[list[Judged], bool]:
    config = workflow.trigger_config
    event = config["eventType"]
    parameters = {
        "here": workflow.workspace_id,
        "noun": event.partition(".")[0],
        "event": event,
        "since": since,
        "most": MOST_EVENTS + 1,
    }
    rows: Sequence[Any] = (await db.execute(_PAST, parameters)).all()
    judged = []
    for row in rows[:MOST_EVENTS]:
        trigger = trigger_of(row)
        verdict = verdict_on(config, trigger)
        fires, why = verdict.fires, list(verdict.why)
        if fires and (row.actor_type == "workflow" or "workflowExecutionId" in row.data):
            loop = loop_in(str(workflow.id), await lineage_of(db, workflow.workspace_id, trigger))
            if loop is not None:
                fires, why = False, [*why, loop]
        judged.append(Judged(row.at, fires, why, row.seq, row.event, row.subject_id, row.conversation_id))
    return judged, len(rows) <= MOST_EVENTS


def _of_times(workflow: AgentWorkflow, since: datetime, until: datetime) -> tuple[list[Judged], bool]:
    config = workflow.trigger_config
    times = runs_until(config["cron"], config.get("timezone", "UTC"), since, until, MOST_TIMES + 1)
    return [_due(one, config) for one in reversed(times[-MOST_TIMES:])], len(times) <= MOST_TIMES


def _due(at: datetime, config: dict[str, Any]) -> Judged:
    return Judged(at, True, [f"{config['cron']} came due in {config.get('timezone', 'UTC')}"])


_FIELDS = """
seq, event, subject_type, subject_id, conversation_id, actor_type, actor_id, at, audience, data::text AS data,
changes::text AS changes
"""
_EVENT = text(f"SELECT {_FIELDS} FROM events WHERE workspace_id = :here AND seq = :seq")
_PAST = text(
    f"""
    SELECT {_FIELDS} FROM events
    WHERE workspace_id = :here AND subject_type = :noun AND event = :event AND at >= :since AND audience IS NULL
    ORDER BY seq DESC LIMIT :most
    """
)
_READ = text("SELECT seq FROM workflow_progress WHERE workspace_id = :here")
