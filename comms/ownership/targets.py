"""Whom a conversation can be handed to: whoever could take it, both when it is written and when they are asked."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions
from comms.errors import Invalid
from models.agents import Agent
from models.communications import Conversation, Team
from models.communications.handoffs import Target
from models.routing import RoutingProfile

_ABLE = text(
    """
    SELECT count(*) AS people, count(*) FILTER (WHERE p.skills @> CAST(:skills AS text[])) AS able
    FROM workspace_members m
    LEFT JOIN routing_profiles p ON p.workspace_id = m.workspace_id AND p.user_id = m.user_id
    WHERE m.workspace_id = :here AND m.is_active AND m.role <> 'viewer' AND (
        CAST(:team AS uuid) IS NULL OR EXISTS (
            SELECT FROM team_members t
            WHERE t.workspace_id = m.workspace_id AND t.team_id = :team AND t.user_id = m.user_id))
    """
)


async def expect_target(
    db: AsyncSession, conversation: Conversation, target: Target, path: str, *, is_first: bool = True
) -> None:
    """They can be asked, and somebody of them could take it; raises ``Invalid`` with the path of who cannot."""
    named = [one for one in (target.user_id, target.agent_id, target.team_id) if one is not None]
    if len(named) > 1 or not (named or tidy(target.needed_skills)):
        raise Invalid({path: "must name one of userId, agentId and teamId, or neededSkills alone"})
    workspace_id = conversation.workspace_id
    if target.user_id is not None:
        await mentions.expect_answerer(db, workspace_id, target.user_id, _at(path, "userId"))
        if is_first and target.user_id == conversation.assigned_to:
            raise Invalid({_at(path, "userId"): "has the conversation already"})
        await _expect_skills(db, workspace_id, target.user_id, tidy(target.needed_skills), path)
    elif target.agent_id is not None:
        await _expect_agent(db, workspace_id, target.agent_id, path)
        if is_first and target.agent_id == conversation.agent_id:
            raise Invalid({_at(path, "agentId"): "has the conversation already"})
    else:
        await _expect_people(db, workspace_id, target, path)


async def _expect_skills(
    db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, needed: Sequence[str], path: str
) -> None:
    if not needed:
        return
    query = select(RoutingProfile.skills).where(
        RoutingProfile.workspace_id == workspace_id, RoutingProfile.user_id == user_id
    )
    if lacking := set(needed) - set(await db.scalar(query) or ()):
        raise Invalid({_at(path, "neededSkills"): f"are not all had by this member: {', '.join(sorted(lacking))}"})


async def _expect_agent(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, path: str) -> None:
    status = await status_of(db, workspace_id, agent_id)
    if status != "active":
        words = "is no agent of this workspace" if status is None else f"is {status}: activate it first"
        raise Invalid({_at(path, "agentId"): words})


async def status_of(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID) -> str | None:
    """The agent's status, which it keeps until the commit."""
    query = select(Agent.status).where(Agent.workspace_id == workspace_id, Agent.id == agent_id)
    status: str | None = await db.scalar(query.with_for_update(read=True))
    return status


async def _expect_people(db: AsyncSession, workspace_id: uuid.UUID, target: Target, path: str) -> None:
    """The team is in use and somebody is in it; and where skills are needed, somebody has all of them."""
    if target.team_id is not None:
        query = select(Team.is_active).where(Team.workspace_id == workspace_id, Team.id == target.team_id)
        if not (is_active := await db.scalar(query)):
            words = "is no team of this workspace" if is_active is None else "is not in use any more"
            raise Invalid({_at(path, "teamId"): words})
    needed = tidy(target.needed_skills)
    asked = {"here": workspace_id, "team": target.team_id, "skills": needed}
    found = (await db.execute(_ABLE, asked)).one()
    if not found.people:
        raise Invalid({_at(path, "teamId"): "has no active member who could take it"})
    if needed and not found.able:
        whom = "anybody here" if target.team_id is None else "anybody in this team"
        raise Invalid({_at(path, "neededSkills"): f"are not all had by {whom}: {', '.join(needed)}"})


def tidy(skills: Sequence[str]) -> list[str]:
    """Skills as people's profiles have them: trimmed, in small letters, each once."""
    return list(dict.fromkeys(word for word in (skill.strip().lower() for skill in skills) if word))


def _at(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
