"""A number's flow as people write it: read whole, and of members and channels that are there."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import flow as flows
from comms.calls import offers, preview
from comms.calls.flow import FIELD, Flow, People
from comms.errors import Invalid
from models.communications import TeamChannel
from models.core import User, Workspace, WorkspaceMember


async def lawful(db: AsyncSession, workspace_id: uuid.UUID, document: Any) -> dict[str, Any] | None:
    """The flow as it is kept, None for none; ``Invalid`` names each fault by its path."""
    if document is None:
        return None
    flow = flows.read(document)
    await _expect_people(db, workspace_id, flow)
    return flows.kept(flow)


async def heard(db: AsyncSession, workspace_id: uuid.UUID, document: Any, at: datetime | None) -> list[str]:
    """What a caller would hear of this flow; ``Invalid`` as above. Without one, of the flow all numbers begin with."""
    flow = flows.DEFAULT if document is None else flows.read(document)
    await _expect_people(db, workspace_id, flow)
    settings = await db.scalar(select(Workspace.settings).where(Workspace.id == workspace_id))
    zone = (settings or {}).get("timezone") or "UTC"
    return preview.heard(flow, names=await _names(db, flow), zone=zone, at=at)


async def _expect_people(db: AsyncSession, workspace_id: uuid.UUID, flow: Flow) -> None:
    users, channels = flows.people_of(flow)
    members = set(
        await db.scalars(
            select(WorkspaceMember.user_id).where(
                WorkspaceMember.workspace_id == workspace_id,
                WorkspaceMember.user_id.in_(users),
                WorkspaceMember.is_active,
            )
        )
    )
    there = set(
        await db.scalars(
            select(TeamChannel.id).where(TeamChannel.workspace_id == workspace_id, TeamChannel.id.in_(channels))
        )
    )
    rung = [number for step in flow.steps.values() if isinstance(step, People) for number in step.numbers]
    ours = await offers.ours_among(db, rung)
    wrong: dict[str, str] = {}
    for name, step in flow.steps.items():
        if not isinstance(step, People):
            continue
        for place, number in enumerate(step.numbers):
            if number in ours:
                wrong[f"{FIELD}.steps.{name}.numbers[{place}]"] = "is a number of this workspace itself"
        for place, user in enumerate(step.users):
            if user not in members:
                wrong[f"{FIELD}.steps.{name}.users[{place}]"] = "is no active member of this workspace"
        if step.channel_id is not None and step.channel_id not in there:
            wrong[f"{FIELD}.steps.{name}.channelId"] = "refers to nothing in this workspace"
    if wrong:
        raise Invalid(wrong)


async def _names(db: AsyncSession, flow: Flow) -> Mapping[uuid.UUID, str]:
    users, channels = flows.people_of(flow)
    people = await db.execute(select(User.id, User.first_name, User.last_name, User.email).where(User.id.in_(users)))
    names = {row.id: " ".join(filter(None, (row.first_name, row.last_name))) or row.email for row in people}
    teams = await db.execute(select(TeamChannel.id, TeamChannel.name).where(TeamChannel.id.in_(channels)))
    return names | {row.id: row.name for row in teams}
