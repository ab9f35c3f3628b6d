"""Teams of agents and their members."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, patch, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import states
from comms.agents import teams as stories
from comms.credentials import Identity
from handlers import shapes
from handlers.batches import Many, batched
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import reads, writes
from handlers.listing import Page
from handlers.resource import crud, listed
from models.orchestration import (
    AgentTeam,
    AgentTeamMember,
    AgentTeamMemberView,
    AgentTeamView,
    TeamRole,
    TeamStatus,
)

Priority = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class AgentTeamStatusChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The status a team is to have."""

    status: TeamStatus


class NewAgentTeamMember(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An agent to join a team, as the last in order unless ``priority`` says otherwise."""

    team_id: uuid.UUID
    agent_id: uuid.UUID
    role: TeamRole = "specialist"
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] = {}


class AgentTeamMemberChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may change about a member: another agent is another member."""

    role: TeamRole | msgspec.UnsetType = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class MemberOrder(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """All members of a team, in the order in which they are asked."""

    member_ids: Annotated[
        list[uuid.UUID],
        msgspec.Meta(
            max_length=10_000,
            examples=[["0198c0de-5000-7b44-96c0-086bed0401d7", "0198c0de-5000-7b44-96c0-086bed0401d8"]],
        ),
    ]


async def create_team(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentTeam:
    """Made with its coordinator as a member."""
    [team] = await create_teams(db, identity, [values])
    return team


async def create_teams(db: AsyncSession, identity: Identity, many: Many) -> list[AgentTeam]:
    """Each made with its coordinator as a member."""
    return await stories.create(db, identity.workspace_id, many)


async def change_team(db: AsyncSession, identity: Identity, row: AgentTeam, values: dict[str, Any]) -> None:
    """Changed with its coordinator."""
    await stories.change(db, row, values)


async def add_member(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentTeamMember:
    """The last in order, unless it says otherwise."""
    return await stories.add(db, identity.workspace_id, values)


teams = crud(
    "/agent-teams",
    AgentTeam,
    AgentTeamView,
    search=("name", "description"),
    filters=("department", "status", "coordinator_agent_id"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_team,
    change=change_team,
)
teams.create_all = create_teams
members = crud(
    "/agent-team-members",
    AgentTeamMember,
    AgentTeamMemberView,
    filters=("team_id", "agent_id", "role"),
    verbs=("list", "get"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
members.new, members.edit = NewAgentTeamMember, AgentTeamMemberChange
members.create = add_member
members.listing.parameters["sort"] = members.listing.parameters["sort"].replace(default="priority")


@put("/{row_id:uuid}/status", operation_id="set_agent_team_status", guards=[writes("agents")])
async def set_status(db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentTeamStatusChange]) -> AgentTeamView:
    """Pause, archive or reactivate a team."""
    row = await teams.find(db, identity, row_id, to_change=True)
    before = teams.shown(row)
    states.move(row, data.status, states.TEAM, "team")
    view: AgentTeamView = await teams.settle(db, identity, row, before)
    return view


@put("/{row_id:uuid}/member-order", operation_id="set_agent_team_member_order", guards=[writes("agents")])
async def reorder(db: Db, identity: Asker, row_id: RowId, data: JSONBody[MemberOrder]) -> Page[AgentTeamMemberView]:
    """Say in which order a team's members are asked: name each of them once."""
    await teams.find(db, identity, row_id, to_change=True)
    rows = await stories.reorder(db, identity.workspace_id, row_id, data.member_ids)
    return Page([members.shown(row) for row in rows])


@listed(members, "/{team_id:uuid}/members", operation_id="list_members_of_agent_team")
async def of_team(request: Request, db: Db, identity: Asker, team_id: RowId, asked: Any) -> Page[AgentTeamMemberView]:
    """The members of one team, in the order in which they are asked."""
    await teams.find(db, identity, team_id)
    return await members.listing.page(db, request, asked, AgentTeamMember.team_id == team_id)


@post("/", operation_id="create_agent_team_member", guards=[writes("agents")])
async def add(db: Db, identity: Asker, data: JSONBody[NewAgentTeamMember]) -> AgentTeamMemberView:
    """Add an agent to a team. As its coordinator it takes the place of the one before, who stays as a specialist."""
    row = await members.make(db, identity, shapes.given(data))
    view: AgentTeamMemberView = await members.tell(db, identity, "created", row)
    return view


@batched(members)
async def add_all(db: Db, identity: Asker, many: Many) -> Sequence[Any]:
    """Add up to 500 agents to teams, each added or refused by itself."""
    return await stories.add_all(db, identity.workspace_id, many)


@patch("/{row_id:uuid}", operation_id="change_agent_team_member", guards=[writes("agents")])
async def change(db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentTeamMemberChange]) -> AgentTeamMemberView:
    """Give a member another role, place or configuration."""
    team, _ = await stories.hold(db, identity.workspace_id, row_id)
    row = await members.find(db, identity, row_id, to_change=True)
    before = members.shown(row)
    await stories.change_member(db, team, row, shapes.given(data))
    view: AgentTeamMemberView = await members.settle(db, identity, row, before)
    return view


@delete("/{row_id:uuid}", operation_id="delete_agent_team_member", guards=[writes("agents")])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The agent leaves the team, which has no coordinator any more if it was this one."""
    team, row = await stories.hold(db, identity.workspace_id, row_id)
    await stories.let_go(db, team, row)
    await members.remove(db, identity, row_id)


routes = [
    teams.router(set_status, reorder),
    Router("/agent-teams", route_handlers=[of_team]),
    members.router(add, add_all, change, remove),
]
