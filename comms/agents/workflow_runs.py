"""One run of a workflow, from begun to over. The runner calls ``keep_result`` after each step, then ``finish``."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs
from comms.agents import states
from comms.agents.runs import milliseconds
from comms.agents.states import held, tell
from comms.agents.steps import first_of
from comms.errors import Conflict, Invalid, Missing
from models.base import new_id, now
from models.orchestration import (
    AgentTeam,
    AgentTeamView,
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
    WorkflowTrigger,
)

MOST_GIVEN, MOST_IN_ALL = 256 * 1024, 1024 * 1024
"""Bytes of JSON that a run may be given to begin with, and that it may hold with what its steps gave."""
STEP = "workflows.step"
"""The job that brings a run one step further."""
RECALL_SECONDS = 60.0
"""A run whose bell was lost is rung for again after so long."""


async def begin(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    *,
    trigger_type: WorkflowTrigger = "manual",
    trigger_data: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    triggered_by: uuid.UUID | None = None,
    trigger_seq: int | None = None,
    about_id: uuid.UUID | None = None,
    lineage: Sequence[str] = (),
) -> AgentWorkflowExecution:
    """The active workflow runs, by the steps it has now; it and its team have run once more.

    ``trigger_seq`` is the event that set it off, ``about_id`` what that was about, and ``lineage`` the workflows whose
    doing it was. ``Invalid`` when it is given more than a run may hold.
    """
    workflow, team = await _held(db, workspace_id, workflow_id)
    if workflow.status != "active":
        raise Conflict(f"this workflow is {workflow.status} and does not run: make it active first")
    given = {"triggerData": trigger_data or {}, "context": context or {}}
    large = {name: len(events.encode(value)) > MOST_GIVEN for name, value in given.items()}
    if any(large.values()):
        raise Invalid({name: f"must be {MOST_GIVEN} bytes of JSON at most" for name, is_so in large.items() if is_so})
    first = first_of(workflow.steps)
    row = AgentWorkflowExecution(
        workspace_id=workspace_id,
        id=new_id(),
        workflow_id=workflow_id,
        steps=workflow.steps,
        total_steps=len(workflow.steps),
        current_step_id=workflow.steps[first]["id"],
        current_step_index=first,
        trigger_type=trigger_type,
        trigger_data=dict(trigger_data or {}),
        context=dict(context or {}),
        triggered_by=triggered_by,
        trigger_seq=trigger_seq,
        about_id=about_id,
        lineage=list(lineage),
        on_behalf_of=workflow.on_behalf_of,
        due_at=now() + timedelta(seconds=RECALL_SECONDS),
    )
    db.add(row)
    await ring(db, [(workspace_id, row.id)])
    await _count(db, workflow, team)
    return row


async def keep_failure(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    words: str,
    *,
    trigger_type: WorkflowTrigger,
    trigger_data: Mapping[str, Any],
    trigger_seq: int | None = None,
    about_id: uuid.UUID | None = None,
) -> AgentWorkflowExecution:
    """The history has a run that could not begin, and why: it has failed before its first step."""
    workflow, team = await _held(db, workspace_id, workflow_id)
    row = AgentWorkflowExecution(
        workspace_id=workspace_id,
        id=new_id(),
        workflow_id=workflow_id,
        status="failed",
        steps=workflow.steps,
        total_steps=len(workflow.steps),
        trigger_type=trigger_type,
        trigger_data=dict(trigger_data),
        trigger_seq=trigger_seq,
        about_id=about_id,
        on_behalf_of=workflow.on_behalf_of,
        error={"code": "not_begun", "message": words},
        duration_ms=0,
        completed_at=now(),
    )
    db.add(row)
    await _count(db, workflow, team)
    return row


async def hold(
    db: AsyncSession, workspace_id: uuid.UUID, workflow_ids: Collection[uuid.UUID]
) -> tuple[Sequence[AgentWorkflow], Mapping[uuid.UUID | None, AgentTeam]]:
    """Those of these workflows that are there, in the order of their ids, and their teams: held until the commit.

    Runs are locked first, then teams, then workflows: whoever did it in another order would wait for who waits for him.
    """
    theirs = select(AgentWorkflow.team_id).where(
        AgentWorkflow.workspace_id == workspace_id, AgentWorkflow.id.in_(workflow_ids)
    )
    teams = await db.scalars(
        select(AgentTeam)
        .where(AgentTeam.workspace_id == workspace_id, AgentTeam.id.in_(theirs))
        .order_by(AgentTeam.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    known: dict[uuid.UUID | None, AgentTeam] = {team.id: team for team in teams}
    workflows = (
        await db.scalars(
            select(AgentWorkflow)
            .where(AgentWorkflow.workspace_id == workspace_id, AgentWorkflow.id.in_(workflow_ids))
            .order_by(AgentWorkflow.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
    ).all()
    return workflows, known


async def _held(
    db: AsyncSession, workspace_id: uuid.UUID, workflow_id: uuid.UUID
) -> tuple[AgentWorkflow, AgentTeam | None]:
    workflows, teams = await hold(db, workspace_id, [workflow_id])
    if not workflows:
        raise Missing(f"There is no agent workflow {workflow_id} in this workspace.")
    return workflows[0], teams.get(workflows[0].team_id)


async def _count(db: AsyncSession, workflow: AgentWorkflow, team: AgentTeam | None) -> None:
    workflow.total_executions += 1
    await tell(db, "updated", workflow, AgentWorkflowView)
    if team is not None:
        team.total_executions += 1
        team.last_active_at = now()
        await tell(db, "updated", team, AgentTeamView)


async def ring(db: AsyncSession, runs: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> None:
    """Each of these runs, a workspace and an id, goes on after the commit."""
    await jobs.enqueue(db, STEP, [{"workspaceId": here, "executionId": run} for here, run in runs])


async def keep_result(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    execution_id: uuid.UUID,
    step_id: str,
    result: Any,
    *,
    next_step_id: str | None = None,
) -> AgentWorkflowExecution:
    """What a step gave is kept, and the next one is where the run is. A step that ends after a pause still counts.

    It is told of the step alone: with each step the run would be told of once more, and all that it holds.
    """
    row = await held(db, AgentWorkflowExecution, workspace_id, execution_id)
    if row.status not in ("running", "paused"):
        raise Conflict(f"this execution is {row.status}: it takes no more results")
    places = {step["id"]: position for position, step in enumerate(row.steps)}
    unknown = {
        name: f"is no step of this run: {value!r}"
        for name, value in (("stepId", step_id), ("nextStepId", next_step_id))
        if value is not None and value not in places
    }
    if unknown:
        raise Invalid(unknown)
    row.step_results = {**row.step_results, step_id: result}
    row.completed_steps = len(row.step_results)
    row.current_step_id = next_step_id
    row.current_step_index = places[next_step_id] if next_step_id is not None else places[step_id]
    return row


async def finish(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    execution_id: uuid.UUID,
    status: Literal["completed", "failed"],
    *,
    error: Mapping[str, Any] | None = None,
) -> AgentWorkflowExecution:
    """The run is over; one that completed counts for its workflow and its team. ``Conflict`` when it was over."""
    row = await held(db, AgentWorkflowExecution, workspace_id, execution_id)
    workflow, team = await _held(db, workspace_id, row.workflow_id)
    if row.status == status:
        raise Conflict(f"this execution is {status} already")
    states.move(row, status, states.WORKFLOW_EXECUTION, "execution")
    row.error = None if error is None else dict(error)
    _end(row)
    await tell(db, status, row, AgentWorkflowExecutionView)
    if status == "completed":
        before, took = workflow.successful_executions, row.duration_ms or 0
        workflow.avg_duration_ms = round(((workflow.avg_duration_ms or 0) * before + took) / (before + 1))
        workflow.successful_executions = before + 1
        await tell(db, "updated", workflow, AgentWorkflowView)
        if team is not None:
            # A team that took the workflow over after the run began has not counted its beginning.
            team.successful_executions = min(team.successful_executions + 1, team.total_executions)
            team.last_active_at = now()
            await tell(db, "updated", team, AgentTeamView)
    return row


def pause(row: AgentWorkflowExecution) -> bool:
    """No further step begins; False when it was paused before."""
    is_news = states.move(row, "paused", states.WORKFLOW_EXECUTION, "execution")
    row.due_at = None
    return is_news


def resume(row: AgentWorkflowExecution) -> bool:
    """The run goes on where it was; False when it was running."""
    if not states.move(row, "running", states.WORKFLOW_EXECUTION, "execution"):
        return False
    row.due_at = now()
    return True


def cancel(row: AgentWorkflowExecution) -> bool:
    """The run is over before its time; False when it was cancelled before."""
    if not states.move(row, "cancelled", states.WORKFLOW_EXECUTION, "execution"):
        return False
    _end(row)
    return True


def _end(row: AgentWorkflowExecution) -> None:
    row.waiting_for = row.waiting_id = row.due_at = None
    row.completed_at = now()
    row.duration_ms = milliseconds(row.created_at, row.completed_at)
