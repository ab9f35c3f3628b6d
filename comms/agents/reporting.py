"""What a runtime reports of an agent's work: its steps, and how a run ended."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import runs
from comms.agents.states import held
from comms.errors import Conflict, Invalid
from models.agents import AgentExecution, AgentLog
from models.base import new_id

MOST_COST = Decimal(10) ** 8


async def note(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    agent_id: uuid.UUID,
    execution_id: uuid.UUID | None,
    values: Mapping[str, Any],
) -> AgentLog:
    """The step is kept; ``Conflict`` when its run is not running any more."""
    if execution_id is not None:
        execution = await held(db, AgentExecution, workspace_id, execution_id)
        if execution.status != "running":
            raise Conflict(f"this execution is {execution.status}: only a running one takes steps")
    row = AgentLog(workspace_id=workspace_id, id=new_id(), agent_id=agent_id, execution_id=execution_id, **values)
    db.add(row)
    return row


async def end(
    db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID, said: Mapping[str, Any]
) -> AgentExecution:
    """The run is over as it was said; what it took is what was said of it, else what its steps took."""
    is_done = said["status"] == "completed"
    wrong, why = ("error", "is for a run that failed") if is_done else ("output", "is for a run that completed")
    if said[wrong] is not None:
        raise Invalid({wrong: why})
    sums = select(func.sum(AgentLog.tokens_used), func.sum(AgentLog.cost)).where(
        AgentLog.workspace_id == workspace_id, AgentLog.execution_id == execution_id
    )
    await held(db, AgentExecution, workspace_id, execution_id)
    tokens, cost = (await db.execute(sums)).one()
    took: dict[str, Any] = {
        "tokens_used": tokens if said["tokens_used"] is None else said["tokens_used"],
        "cost": cost if said["cost"] is None else said["cost"],
    }
    if is_done:
        return await runs.complete(db, workspace_id, execution_id, said["output"] or {}, **took)
    return await runs.fail(db, workspace_id, execution_id, said["error"] or {}, **took)


def affordable(value: Decimal) -> Decimal:
    """What something may have cost; ``ValueError`` for what no column would keep."""
    if not value.is_finite() or not 0 <= value < MOST_COST:
        raise ValueError(f"must be a number from 0 to below {MOST_COST:f}")
    return value
