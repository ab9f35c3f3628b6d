"""One run of an agent, from asked for to over. The runner calls ``begin``, then ``complete`` or ``fail``."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import states
from comms.agents.states import held, tell
from comms.errors import Conflict, Missing
from models.agents import Agent, AgentExecution, AgentExecutionView, AgentView
from models.base import new_id, now


async def request(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    agent_id: uuid.UUID,
    given: Mapping[str, Any],
    triggered_by: uuid.UUID | None = None,
    run_id: uuid.UUID | None = None,
) -> AgentExecution:
    """A run of the agent is pending. A draft may be tried; an agent that is paused or archived does not run."""
    agent = await db.scalar(
        # As strongly as ``begin`` locks it: two that would each strengthen a lock of theirs would wait for each other.
        select(Agent).where(Agent.workspace_id == workspace_id, Agent.id == agent_id).with_for_update(key_share=True)
    )
    if agent is None:
        raise Missing(f"There is no agent {agent_id} in this workspace.")
    if agent.status not in ("draft", "active"):
        raise Conflict(f"this agent is {agent.status} and does not run: make it active first")
    row = AgentExecution(
        workspace_id=workspace_id,
        id=run_id or new_id(),
        agent_id=agent_id,
        triggered_by=triggered_by,
        input=dict(given),
    )
    db.add(row)
    await db.flush()
    return row


async def begin(db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID) -> AgentExecution:
    """The run has begun, and its agent has run once more; ``Conflict`` when it was cancelled, or began elsewhere."""
    row = await held(db, AgentExecution, workspace_id, execution_id)
    if row.status == "running":
        raise Conflict("this execution is running already")
    states.move(row, "running", states.EXECUTION, "execution")
    row.started_at = now()
    agent = await db.get_one(
        Agent, (workspace_id, row.agent_id), with_for_update={"key_share": True}, populate_existing=True
    )
    agent.execution_count += 1
    agent.last_executed_at = row.started_at
    await tell(db, "started", row, AgentExecutionView)
    await tell(db, "updated", agent, AgentView)
    return row


async def complete(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    execution_id: uuid.UUID,
    output: Mapping[str, Any],
    *,
    tokens_used: int | None = None,
    cost: Decimal | None = None,
) -> AgentExecution:
    """The run gave ``output``; a second report of the same is a ``Conflict``."""
    gave = {"output": dict(output), "tokens_used": tokens_used, "cost": cost}
    return await _over(db, workspace_id, execution_id, "completed", gave)


async def fail(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    execution_id: uuid.UUID,
    error: Mapping[str, Any],
    *,
    tokens_used: int | None = None,
    cost: Decimal | None = None,
) -> AgentExecution:
    """The run came to nothing, because of ``error``; what it used is kept all the same."""
    gave = {"error": dict(error), "tokens_used": tokens_used, "cost": cost}
    return await _over(db, workspace_id, execution_id, "failed", gave)


def cancel(row: AgentExecution) -> bool:
    """Nobody waits for this run any more; False when it was cancelled before, ``Conflict`` when it is over."""
    if row.status == "cancelled":
        return False
    _finish(row, "cancelled")
    return True


async def _over(
    db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID, status: str, gave: Mapping[str, Any]
) -> AgentExecution:
    row = await held(db, AgentExecution, workspace_id, execution_id)
    _finish(row, status)
    for name, value in gave.items():
        setattr(row, name, value)
    await tell(db, status, row, AgentExecutionView)
    return row


def _finish(row: AgentExecution, status: str) -> None:
    if row.status == status:
        raise Conflict(f"this execution is {status} already")
    states.move(row, status, states.EXECUTION, "execution")
    row.completed_at = now()
    row.duration_ms = milliseconds(row.started_at, row.completed_at)


def milliseconds(since: datetime | None, until: datetime) -> int | None:
    """How long that was; None when it never began. The clock may be set back meanwhile."""
    return None if since is None else max(0, round((until - since).total_seconds() * 1000))
