"""Who works here, who is out of work, and who may not be let go: an agent that a workflow counts on."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import states
from comms.errors import Conflict
from comms.ownership import ByAgent, leaving
from models.agents import Agent, AgentStatus
from models.orchestration import AgentWorkflow


async def enter(db: AsyncSession, agent: Agent, status: AgentStatus) -> None:
    """The agent has this status; out of work, it has no conversation, and what it has said stays here."""
    if states.move(agent, status, states.AGENT, "agent") and status != "active":
        await leaving.leave(db, agent.workspace_id, ByAgent(agent.id))


async def retire(db: AsyncSession, agent: Agent) -> None:
    """The agent may be deleted: it has no conversation any more; raises ``Conflict``."""
    await _refuse_needed(db, agent)
    await leaving.leave(db, agent.workspace_id, ByAgent(agent.id))


async def _refuse_needed(db: AsyncSession, agent: Agent) -> None:
    """``Conflict`` when a workflow has a step for this agent; one that is being written now is waited for."""
    # Whoever writes such a step holds a key-share lock on the agent until it is committed.
    held = select(Agent.id).where(Agent.workspace_id == agent.workspace_id, Agent.id == agent.id).with_for_update()
    await db.execute(held)
    found = await db.execute(
        select(AgentWorkflow.id, AgentWorkflow.name)
        .where(
            AgentWorkflow.workspace_id == agent.workspace_id,
            AgentWorkflow.steps.contains([{"agentId": str(agent.id)}]),
        )
        .limit(1)
    )
    workflow = found.one_or_none()
    if workflow is not None:
        raise Conflict(
            f"the workflow {workflow.name!r} has a step for this agent: change its steps, or archive the agent",
            conflicting_id=workflow.id,
        )
