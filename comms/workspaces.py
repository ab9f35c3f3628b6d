"""A workspace begins: its row, its place in the event log, and the person who owns it."""

import uuid

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import now
from models.core import User, Workspace, WorkspaceMember
from models.events import EventCounter


async def found(
    db: AsyncSession,
    *,
    name: str,
    slug: str,
    email: str,
    first_name: str | None = None,
    workspace_id: uuid.UUID | None = None,
) -> tuple[Workspace, WorkspaceMember]:
    """The workspace exists and ``email`` owns it. Across workspaces: the transaction is ``database.everywhere()``."""
    workspace = Workspace(name=name, slug=slug)
    if workspace_id is not None:
        workspace.id = workspace_id
    db.add(workspace)
    await db.flush()
    db.add(EventCounter(workspace_id=workspace.id))
    return workspace, await enter(db, workspace.id, email=email, role="owner", first_name=first_name)


async def enter(
    db: AsyncSession, workspace_id: uuid.UUID, *, email: str, role: str, first_name: str | None = None
) -> WorkspaceMember:
    """The person with that e-mail address is a member; they are a user from now on if they were none."""
    user = await db.scalar(select(User).where(func.lower(User.email) == email.lower()))
    if user is None:
        user = User(email=email, first_name=first_name)
        db.add(user)
        await db.flush()
    member = WorkspaceMember(workspace_id=workspace_id, user_id=user.id, role=role, joined_at=now())
    db.add(member)
    await db.flush()
    return member


async def find_member(db: AsyncSession, workspace_id: uuid.UUID, email: str) -> WorkspaceMember | None:
    """The membership of whoever has that e-mail address, if they have one."""
    member: WorkspaceMember | None = await db.scalar(
        select(WorkspaceMember)
        .join(User, User.id == WorkspaceMember.user_id)
        .where(WorkspaceMember.workspace_id == workspace_id, func.lower(User.email) == email.lower())
    )
    return member
