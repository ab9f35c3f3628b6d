"""Workflows of agents: what they are made of, and what may change while."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents import states
from comms.agents.clock import next_run
from comms.agents.steps import Step, read_steps, read_trigger
from comms.errors import Conflict, Invalid
from comms.workflows import checking
from comms.workflows.checking import MayHear
from models.agents import Agent
from models.base import new_id, now
from models.events import EventCounter
from models.orchestration import AgentWorkflow, WorkflowProgress

_COURSE = ("steps", "trigger_type", "trigger_config")
"""What a workflow does and when: fixed while it is active, and once it is archived."""


async def create(
    db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any], may_hear: MayHear
) -> AgentWorkflow:
    """The workflow is a draft; ``Invalid`` names every mistake in its steps and its trigger.

    ``may_hear`` says whether who writes it may hear of a noun: what sets it off is nothing they may not know.
    """
    row = AgentWorkflow(workspace_id=workspace_id, id=new_id(), **values)
    await _check(db, row, may_hear)
    db.add(row)
    return row


async def change(db: AsyncSession, row: AgentWorkflow, values: Mapping[str, Any], may_hear: MayHear) -> None:
    """The workflow has these values; its steps and trigger change only while nothing can set it off."""
    if row.status not in ("draft", "paused") and any(
        getattr(row, name) != value for name, value in values.items() if name in _COURSE
    ):
        way_out = "pause it first" if row.status == "active" else "make it a draft first"
        raise Conflict(f"this workflow is {row.status}: {way_out} to change its steps or its trigger")
    for name, value in values.items():
        setattr(row, name, value)
    if values.keys() & set(_COURSE):
        await _check(db, row, may_hear)


async def set_status(db: AsyncSession, row: AgentWorkflow, status: str) -> None:
    """The workflow has this status; an active one knows when it comes due, or from where on it reads the log.

    One whose steps cannot work any more does not become active: ``Invalid`` says why.
    """
    if status == "active" and row.status != "active":
        await _check(db, row, lambda noun: True)
    if status == "active" and not row.steps:
        raise Conflict("a workflow without steps cannot become active: add to its steps first")
    if states.move(row, status, states.WORKFLOW, "workflow"):
        row.next_run_at = None
        if status == "active":
            row.stopped_reason = None
            row.from_seq = await follow(db, row.workspace_id)
        if status == "active" and row.trigger_type == "schedule":
            config = row.trigger_config
            row.next_run_at = next_run(config["cron"], config.get("timezone", "UTC"), now())


async def follow(db: AsyncSession, workspace_id: uuid.UUID) -> int:
    """From here on the log of the workspace is read for its workflows; returns how far the log reaches."""
    seq: int = (await db.scalar(select(EventCounter.seq).where(EventCounter.workspace_id == workspace_id))) or 0
    progress = insert(WorkflowProgress).values(workspace_id=workspace_id, seq=seq)
    await db.execute(progress.on_conflict_do_nothing())
    return seq


async def _check(db: AsyncSession, row: AgentWorkflow, may_hear: MayHear) -> None:
    """Trigger and steps are as they are kept; ``Invalid`` names the mistakes of both."""
    errors: dict[str, str] = {}
    try:
        row.trigger_config = read_trigger(row.trigger_type, row.trigger_config)
        errors |= checking.mistakes_of_trigger(row.trigger_type, row.trigger_config, may_hear)
    except Invalid as error:
        errors |= error.errors
    try:
        steps = read_steps(row.steps)
        errors |= await checking.mistakes_of_steps(db, row.workspace_id, row.trigger_type, steps)
        await _expect_agents(db, row.workspace_id, steps)
        row.steps = [reading.written(step) for step in steps]
    except Invalid as error:
        errors |= error.errors
    if errors:
        raise Invalid(errors)


async def _expect_agents(db: AsyncSession, workspace_id: uuid.UUID, steps: Sequence[Step]) -> None:
    """Every step's agent is there, and stays until this is committed."""
    wanted = {step.agent_id for step in steps if step.agent_id is not None}
    query = (
        select(Agent.id)
        .where(Agent.workspace_id == workspace_id, Agent.id.in_(wanted))
        .order_by(Agent.id)
        .with_for_update(read=True, key_share=True)
    )
    there = set(await db.scalars(query)) if wanted else set()
    missing = {
        f"steps[{position}].agentId": "refers to nothing in this workspace"
        for position, step in enumerate(steps)
        if step.agent_id is not None and step.agent_id not in there
    }
    if missing:
        raise Invalid(missing)
