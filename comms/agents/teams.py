"""Teams of agents: who is in, in which order they are asked, and who coordinates.

The team's row is locked before its members': two who rearrange it do so one after the other.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, Uuid, func, select, update
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.agents.states import tell
from comms.errors import Invalid, Missing
from models.base import new_id
from models.orchestration import AgentTeam, AgentTeamMember, AgentTeamMemberView, AgentTeamView

COORDINATOR = "coordinator"


async def create(db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]) -> list[AgentTeam]:
    """These teams exist, and whoever coordinates one is a member of it."""
    teams = [AgentTeam(workspace_id=workspace_id, id=new_id(), **values) for values in many]
    db.add_all(teams)
    await db.flush()
    for team in teams:
        if team.coordinator_agent_id is not None:
            await appoint(db, team, team.coordinator_agent_id)
    return teams


async def change(db: AsyncSession, team: AgentTeam, values: Mapping[str, Any]) -> None:
    """The team, which the caller holds, has these values, and whoever coordinates it now is a member."""
    before = team.coordinator_agent_id
    for name, value in values.items():
        setattr(team, name, value)
    await db.flush()  # an agent that is not there is refused here, under the team's own field
    if team.coordinator_agent_id != before:
        await appoint(db, team, team.coordinator_agent_id)


async def appoint(db: AsyncSession, team: AgentTeam, agent_id: uuid.UUID | None) -> None:
    """That agent is the one coordinator among the members; whoever was it before is a specialist."""
    await _relieve(db, team)
    team.coordinator_agent_id = agent_id
    if agent_id is None:
        return
    member = await db.scalar(
        select(AgentTeamMember)
        .where(
            AgentTeamMember.workspace_id == team.workspace_id,
            AgentTeamMember.team_id == team.id,
            AgentTeamMember.agent_id == agent_id,
        )
        .with_for_update(key_share=True)
    )
    if member is not None:
        member.role = COORDINATOR
        await tell(db, "updated", member, AgentTeamMemberView)
        return
    member = AgentTeamMember(
        workspace_id=team.workspace_id,
        id=new_id(),
        team_id=team.id,
        agent_id=agent_id,
        role=COORDINATOR,
        priority=_behind((await _last(db, team.workspace_id, [team.id])).get(team.id)),
    )
    db.add(member)
    await tell(db, "created", member, AgentTeamMemberView)


async def add(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentTeamMember:
    """The agent is a member, the last in order unless ``priority`` says otherwise."""
    [member] = await add_all(db, workspace_id, [values])
    if isinstance(member, Invalid):
        raise member
    return member


async def add_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[AgentTeamMember | Invalid]:
    """The agents are members, one after the other the last in order unless ``priority`` says otherwise.

    ``Invalid`` is one of a team that is not there. A few statements, however many they are: more only for coordinators.
    """
    asked = {values["team_id"] for values in many}
    teams = {team.id: team for team in await db.scalars(_of_teams(workspace_id, asked))}
    last = await _last(db, workspace_id, asked)
    outcome: list[AgentTeamMember | Invalid] = []
    roles: dict[uuid.UUID, str] = {}
    for values in many:
        team_id = values["team_id"]
        if team_id not in teams:
            outcome.append(Invalid({"teamId": "refers to nothing in this workspace"}))
            continue
        given = {"priority": _behind(last.get(team_id)), **values}
        last[team_id] = max(given["priority"], last.get(team_id, 0))
        role = given.pop("role")
        first = "specialist" if role == COORDINATOR else role  # until whoever it was before has left the place
        member = AgentTeamMember(workspace_id=workspace_id, id=new_id(), role=first, **given)
        roles[member.id] = role
        outcome.append(member)
    members = [member for member in outcome if isinstance(member, AgentTeamMember)]
    db.add_all(members)
    await db.flush()
    for member in members:
        await _take(db, teams[member.team_id], member, roles[member.id])
    return outcome


async def hold(db: AsyncSession, workspace_id: uuid.UUID, member_id: uuid.UUID) -> tuple[AgentTeam, AgentTeamMember]:
    """A member and its team, both locked in that order of all these stories; raises ``Missing``."""
    key = (AgentTeamMember.workspace_id == workspace_id, AgentTeamMember.id == member_id)
    team_id = await db.scalar(select(AgentTeamMember.team_id).where(*key))
    team = None if team_id is None else await _held(db, workspace_id, team_id)
    member = await db.scalar(
        select(AgentTeamMember).where(*key).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if team is None or member is None:
        raise Missing(f"There is no agent team member {member_id} in this workspace.")
    return team, member


async def change_member(db: AsyncSession, team: AgentTeam, member: AgentTeamMember, values: Mapping[str, Any]) -> None:
    """The member has these values; a new coordinator is the team's, and one who is it no longer leaves it without."""
    given = dict(values)
    role = given.pop("role", member.role)
    for name, value in given.items():
        setattr(member, name, value)
    await _take(db, team, member, role)


async def let_go(db: AsyncSession, team: AgentTeam, member: AgentTeamMember) -> None:
    """The team, before this member leaves it, has no coordinator if it was this one."""
    if member.role == COORDINATOR:
        team.coordinator_agent_id = None
        await tell(db, "updated", team, AgentTeamView)


async def _take(db: AsyncSession, team: AgentTeam, member: AgentTeamMember, role: str) -> None:
    """The member has this role, and the team the coordinator that follows from it."""
    if role == member.role:
        return
    if role != COORDINATOR:
        if member.role == COORDINATOR:
            team.coordinator_agent_id = None
            await tell(db, "updated", team, AgentTeamView)
        member.role = role
        return
    await _relieve(db, team)
    member.role = COORDINATOR
    team.coordinator_agent_id = member.agent_id
    await tell(db, "updated", team, AgentTeamView)


async def _relieve(db: AsyncSession, team: AgentTeam) -> None:
    """Whoever coordinates the team is a specialist from now on."""
    former = await db.scalar(
        select(AgentTeamMember)
        .where(
            AgentTeamMember.workspace_id == team.workspace_id,
            AgentTeamMember.team_id == team.id,
            AgentTeamMember.role == COORDINATOR,
        )
        .with_for_update(key_share=True)
    )
    if former is not None:
        former.role = "specialist"
        await tell(db, "updated", former, AgentTeamMemberView)


async def reorder(
    db: AsyncSession, workspace_id: uuid.UUID, team_id: uuid.UUID, member_ids: Sequence[uuid.UUID]
) -> list[AgentTeamMember]:
    """The members are asked in this order; ``Invalid`` unless each of them is named once."""
    if await _held(db, workspace_id, team_id) is None:
        raise Missing(f"There is no agent team {team_id} in this workspace.")
    of_team = (AgentTeamMember.workspace_id == workspace_id, AgentTeamMember.team_id == team_id)
    there = set(await db.scalars(select(AgentTeamMember.id).where(*of_team)))
    if len(member_ids) != len(there) or set(member_ids) != there:
        raise Invalid({"memberIds": f"must name each of the team's {len(there)} members once"})
    before = {row.id: _member_shown(row) for row in await db.scalars(select(AgentTeamMember).where(*of_team))}
    place = func.array_position(array(list(member_ids), type_=Uuid), AgentTeamMember.id)
    changed = (
        set(
            await db.scalars(
                update(AgentTeamMember)
                .where(*of_team, AgentTeamMember.priority != place)
                .values(priority=place)
                .returning(AgentTeamMember.id)
                .execution_options(synchronize_session=False)
            )
        )
        if member_ids
        else set()
    )
    rows = (
        await db.scalars(
            select(AgentTeamMember)
            .where(*of_team)
            .order_by(AgentTeamMember.priority, AgentTeamMember.id)
            .execution_options(populate_existing=True)
        )
    ).all()
    for row in rows:
        if row.id in changed:
            events.record(db, "agent_team_member.updated", row, _member_shown(row), before=before[row.id])
    return list(rows)


def _member_shown(row: AgentTeamMember) -> AgentTeamMemberView:
    return msgspec.convert(row, AgentTeamMemberView, from_attributes=True)


async def _held(db: AsyncSession, workspace_id: uuid.UUID, team_id: uuid.UUID) -> AgentTeam | None:
    team: AgentTeam | None = await db.scalar(_of_teams(workspace_id, [team_id]))
    return team


def _of_teams(workspace_id: uuid.UUID, team_ids: Collection[uuid.UUID]) -> Select[AgentTeam]:
    """These teams, held until the commit."""
    return (
        select(AgentTeam)
        .where(AgentTeam.workspace_id == workspace_id, AgentTeam.id.in_(team_ids))
        .order_by(AgentTeam.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


async def _last(db: AsyncSession, workspace_id: uuid.UUID, team_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The place of who is asked last, in those teams that have members."""
    rows = await db.execute(
        select(AgentTeamMember.team_id, func.max(AgentTeamMember.priority).label("last"))
        .where(AgentTeamMember.workspace_id == workspace_id, AgentTeamMember.team_id.in_(team_ids))
        .group_by(AgentTeamMember.team_id)
    )
    return {row.team_id: row.last for row in rows}


def _behind(last: int | None) -> int:
    return 1 if last is None else min(last + 1, 10_000)
