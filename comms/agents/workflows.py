"""Workflows of agents: what they are made of, and what may change while."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents import states
from comms.agents.clock import next_run
from comms.agents.steps import Step, read_steps, read_trigger
from comms.errors import Conflict, Invalid
from comms.identity import Identity
from comms.permissions import Standing
from comms.workflows import checking
from comms.workflows.checking import MayHear
from models.agents import Agent
from models.base import new_id, now
from models.events import EventCounter
from models.orchestration import AgentWorkflow, AgentWorkflowExecution, WorkflowProgress

_COURSE = ("steps", "trigger_type", "trigger_config")
"""What a workflow does and when: fixed while it is active, and once it is archived."""


async def create(db: AsyncSession, identity: Identity, values: Mapping[str, Any], may_hear: MayHear) -> AgentWorkflow:
    """The workflow is a draft, and who asks stands behind it; ``Invalid`` names every mistake in steps and trigger.

    ``may_hear`` says whether who writes it may hear of a noun: what sets it off is nothing they may not know.
    """
    row = AgentWorkflow(workspace_id=identity.workspace_id, id=new_id(), **values)
    await _check(db, row, identity, may_hear)
    db.add(row)
    return row


async def change(
    db: AsyncSession, identity: Identity, row: AgentWorkflow, values: Mapping[str, Any], may_hear: MayHear
) -> None:
    """The workflow has these values; its steps and trigger change only while nothing can set it off.

    Whoever changes those stands behind them.
    """
    if row.status not in ("draft", "paused") and any(
        getattr(row, name) != value for name, value in values.items() if name in _COURSE
    ):
        way_out = "pause it first" if row.status == "active" else "make it a draft first"
        raise Conflict(f"this workflow is {row.status}: {way_out} to change its steps or its trigger")
    is_course = any(getattr(row, name) != value for name, value in values.items() if name in _COURSE)
    for name, value in values.items():
        setattr(row, name, value)
    if is_course:
        await _check(db, row, identity, may_hear)


async def set_status(db: AsyncSession, identity: Identity, row: AgentWorkflow, status: str, may_hear: MayHear) -> None:
    """The workflow has this status; an active one knows when it comes due, or from where on it reads the log.

    One whose steps cannot work any more does not become active: ``Invalid`` says why. Whoever makes it active stands
    behind it. Its runs that were held while it was paused go on, and those of one that is archived end.
    """
    if status == "active" and row.status != "active":
        await _check(db, row, identity, may_hear)
    if status == "active" and not row.steps:
        raise Conflict("a workflow without steps cannot become active: add to its steps first")
    if states.move(row, status, states.WORKFLOW, "workflow"):
        row.next_run_at = None
        if status in ("active", "archived"):
            await _look_at_runs(db, row)
        if status == "active" and row.trigger_type == "schedule":
            config = row.trigger_config
            row.next_run_at = next_run(config["cron"], config.get("timezone", "UTC"), now())
        if status == "active":
            row.stopped_reason = None
            await follow(db, row.workspace_id)
            # Nobody tells anything from here to our commit: what is in the log now was before it, all else is after.
            row.from_seq = await db.scalar(
                select(EventCounter.seq)
                .where(EventCounter.workspace_id == row.workspace_id)
                .with_for_update(key_share=True)
            )


async def _look_at_runs(db: AsyncSession, row: AgentWorkflow) -> None:
    here = AgentWorkflowExecution.workspace_id == row.workspace_id
    # A run that somebody is at waits for our commit, if it has to know the workflow's status: not we for it.
    running = (
        select(AgentWorkflowExecution.id)
        .where(here, AgentWorkflowExecution.workflow_id == row.id, AgentWorkflowExecution.status == "running")
        .with_for_update(key_share=True, skip_locked=True)
    )
    await db.execute(
        update(AgentWorkflowExecution)
        .where(here, AgentWorkflowExecution.id.in_(running))
        .values(due_at=now(), updated_at=AgentWorkflowExecution.updated_at)
        .execution_options(synchronize_session=False)
    )


async def follow(db: AsyncSession, workspace_id: uuid.UUID) -> None:
    """From here on the log of the workspace is read for its workflows."""
    seq: int = (await db.scalar(select(EventCounter.seq).where(EventCounter.workspace_id == workspace_id))) or 0
    progress = insert(WorkflowProgress).values(workspace_id=workspace_id, seq=seq)
    await db.execute(progress.on_conflict_do_nothing())


async def _check(db: AsyncSession, row: AgentWorkflow, identity: Identity, may_hear: MayHear) -> None:
    """Trigger and steps are as they are kept, and the asker's; ``Invalid`` names the mistakes of both."""
    errors: dict[str, str] = {}
    standing = Standing(identity.role, identity.permissions)
    try:
        row.trigger_config = read_trigger(row.trigger_type, row.trigger_config)
        errors |= checking.mistakes_of_trigger(row.trigger_type, row.trigger_config, may_hear)
    except Invalid as error:
        errors |= error.errors
    try:
        steps = read_steps(row.steps)
        trigger = checking.Trigger(row.trigger_type, row.trigger_config)
        errors |= await checking.mistakes_of_steps(db, row.workspace_id, trigger, steps, standing)
        await _expect_agents(db, row.workspace_id, steps)
        row.steps = [reading.written(step) for step in steps]
    except Invalid as error:
        errors |= error.errors
    if errors:
        raise Invalid(errors)
    row.on_behalf_of = identity.user_id


async def _expect_agents(db: AsyncSession, workspace_id: uuid.UUID, steps: Sequence[Step]) -> None:
    """Every step's agent is there and not archived, and stays until this is committed."""
    wanted = {step.agent_id for step in steps if step.agent_id is not None}
    query = (
        select(Agent.id, Agent.status)
        .where(Agent.workspace_id == workspace_id, Agent.id.in_(wanted))
        .order_by(Agent.id)
        .with_for_update(read=True, key_share=True)
    )
    statuses = {row.id: row.status for row in await db.execute(query)} if wanted else {}
    wrong = {}
    for position, step in enumerate(steps):
        if step.agent_id is not None and step.agent_id not in statuses:
            wrong[f"steps[{position}].agentId"] = "refers to nothing in this workspace"
        elif step.agent_id is not None and statuses[step.agent_id] == "archived":
            wrong[f"steps[{position}].agentId"] = states.ARCHIVED
    if wrong:
        raise Invalid(wrong)
