"""Who stands behind a workflow, and whether its runs may go on: they do what that member may, as long as they may."""

import uuid
from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import permissions
from comms.permissions import WRITERS, Standing
from models.core import Workspace, WorkspaceMember
from models.orchestration import AgentWorkflow, AgentWorkflowExecution

Needed = Literal["writing", "agents"]
"""What a step takes: to write what belongs to the workspace, or to write agents."""


class Grounds(msgspec.Struct, frozen=True):
    """What a run stands on: its workspace, its workflow, and the member behind it, None who is none any more."""

    is_active: bool
    status: str
    standing: Standing | None

    @property
    def ended(self) -> str | None:
        """Why the run can never go on; None where it may."""
        if not self.is_active:
            return "the workspace is deactivated"
        return f"its workflow is {self.status}" if self.status not in ("active", "paused") else None

    def refusal(self, needed: Needed | None) -> str | None:
        """Why a step that takes this is not done."""
        if needed is None:
            return None
        if self.standing is None:
            return "nobody stands behind this workflow any more: another member has to make it active again"
        reason = refusal_of(self.standing, needed)
        return None if reason is None else f"who stands behind this workflow may not do this any more: {reason}"


def refusal_of(standing: Standing, needed: Needed | None) -> str | None:
    """Why a member may not do what takes this; None if they may."""
    if needed == "writing" and standing.role not in WRITERS:
        return f"it takes {' or '.join(WRITERS)}, and not a workspace's {standing.role}"
    if needed == "agents" and not permissions.allows(standing.role, standing.permissions, "agents", "write"):
        return "it takes the permission agents: write"
    return None


async def grounds_of(db: AsyncSession, run: AgentWorkflowExecution) -> Grounds:
    """What the run stands on now."""
    query = (
        select(Workspace.is_active, AgentWorkflow.status)
        .join(AgentWorkflow, AgentWorkflow.workspace_id == Workspace.id)
        .where(Workspace.id == run.workspace_id, AgentWorkflow.id == run.workflow_id)
    )
    is_active, status = (await db.execute(query)).one()
    if status == "paused":
        # Whoever makes it active looks for the runs that are held: so either they see this one, or we see their word.
        _, status = (await db.execute(query.with_for_update(read=True, of=AgentWorkflow))).one()
    return Grounds(is_active, status, await standing_in(db, run.workspace_id, run.on_behalf_of))


async def standing_in(db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID | None) -> Standing | None:
    """What somebody is in a workspace; None who is no active member."""
    query = select(WorkspaceMember.role, WorkspaceMember.permissions).where(
        WorkspaceMember.workspace_id == workspace_id, WorkspaceMember.user_id == user_id, WorkspaceMember.is_active
    )
    found = (await db.execute(query)).one_or_none()
    return None if found is None else Standing(found.role, found.permissions)
