"""An agent asks for a workflow."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import workflow_runs
from comms.agents.states import tell
from comms.errors import Conflict, Invalid, Missing
from comms.workflows.judging import verdict_on
from comms.workflows.setting_off import too_many_about
from models.agents import Agent
from models.orchestration import AgentWorkflow, AgentWorkflowExecution, AgentWorkflowExecutionView

MOST_OF_ONE = 200
"""So many runs of a workflow an agent may ask for within ten minutes."""


async def ask(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    workflow_id: uuid.UUID,
    agent_id: uuid.UUID,
    data: Mapping[str, Any],
    context: Mapping[str, Any],
    asked_by: uuid.UUID | None,
) -> AgentWorkflowExecution:
    """The workflow runs for the agent; ``Conflict`` says why it does not."""
    workflow = await db.get(AgentWorkflow, (workspace_id, workflow_id), populate_existing=True)
    if workflow is None:
        raise Missing(f"There is no agent workflow {workflow_id} in this workspace.")
    if workflow.trigger_type != "agent_request":
        raise Conflict(f"this workflow's triggerType is {workflow.trigger_type}: agents do not ask for it")
    agent = await db.scalar(select(Agent.status).where(Agent.workspace_id == workspace_id, Agent.id == agent_id))
    if agent is None:
        raise Invalid({"agentId": "refers to nothing in this workspace"})
    if agent not in ("draft", "active"):
        raise Conflict(f"this agent is {agent}: it asks for nothing")
    trigger = {"data": dict(data), "agentId": str(agent_id)}
    verdict = verdict_on(workflow.trigger_config, trigger)
    if not verdict.fires:
        raise Conflict(f"its conditions do not hold: {'; '.join(verdict.why)}")
    await workflow_runs.hold(db, workspace_id, [workflow_id])  # who asks at once is counted one after the other
    if (reason := await too_many_about(db, workspace_id, workflow_id, agent_id, most=MOST_OF_ONE)) is not None:
        raise Conflict(reason)
    return await workflow_runs.begin(
        db,
        workspace_id,
        workflow_id,
        trigger_type="agent_request",
        trigger_data=trigger,
        context=context,
        triggered_by=asked_by,
        about_id=agent_id,
    )


async def told(db: AsyncSession, run: AgentWorkflowExecution) -> AgentWorkflowExecutionView:
    """That the run was begun is told; returns how it looks."""
    await tell(db, "created", run, AgentWorkflowExecutionView)
    return msgspec.convert(run, AgentWorkflowExecutionView, from_attributes=True)
