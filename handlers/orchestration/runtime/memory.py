"""What an agent remembers: for itself, with its teams, or with the whole workspace."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, delete, put
from litestar.params import JSONBody
from litestar.response import Response
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import memory as stories
from comms.credentials import Identity
from comms.errors import Forbidden, Invalid
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import agent_acts
from handlers.listing import Page
from handlers.orchestration.runtime.own import agent_of, own, teams_of
from handlers.resource import listed
from models.orchestration import AgentSharedMemory, AgentSharedMemoryView, AgentTeamMember, MemoryCategory, MemoryTier

SCOPE = ("team_id", "agent_id", "key")


class OwnMemory(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Something to be remembered under a key; what is left out has its default again."""

    scope: Annotated[
        Literal["agent", "team", "workspace"],
        msgspec.Meta(description="Who remembers it: this agent, the team `teamId`, or all.", examples=["agent"]),
    ] = "agent"
    team_id: uuid.UUID | None = None
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    value: Annotated[Any, msgspec.Meta(examples=[{"monday": "9-17"}])]
    memory_tier: MemoryTier = "short_term"
    category: MemoryCategory = "context"
    metadata: dict[str, Any] = {}
    importance: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    expires_at: datetime | None = None


def remembered(identity: Identity) -> ColumnElement[bool]:
    """What the agent, its teams and the workspace remember, until it expires."""
    nobodys = AgentSharedMemory.agent_id.is_(None)
    of_team = or_(AgentSharedMemory.team_id.is_(None), AgentSharedMemory.team_id.in_(teams_of(identity)))
    return and_(stories.alive(), or_(AgentSharedMemory.agent_id == agent_of(identity), and_(nobodys, of_team)))


memory = own(
    "/agent/memory",
    AgentSharedMemory,
    AgentSharedMemoryView,
    remembered,
    search=("key", "value_text"),
    filters=("team_id", "memory_tier", "category", "key"),
)


@listed(memory, "/", operation_id="list_own_agent_memory")
async def of_agent(request: Request, db: Db, identity: Asker, asked: Any) -> Page[AgentSharedMemoryView]:
    """What this agent remembers, its teams, and all agents of the workspace."""
    return await memory.listing.page(db, request, asked, *memory.visible(identity))


@put("/", operation_id="put_own_agent_memory", guards=[agent_acts], may_make=True)
async def remember(db: Db, identity: Asker, data: JSONBody[OwnMemory]) -> Response[AgentSharedMemoryView]:
    """Remember something under a key, whatever was there before: 201 when nothing was, else 200."""
    values = await _values(db, identity, data)
    row, is_new = await stories.put(db, identity.workspace_id, values)
    if is_new:
        return Response(await memory.tell(db, identity, "created", row), status_code=201)
    before = memory.shown(row)
    stories.change(row, {name: value for name, value in values.items() if name not in SCOPE})
    return Response(await memory.settle(db, identity, row, before), status_code=200)


async def _values(db: AsyncSession, identity: Identity, data: OwnMemory) -> dict[str, Any]:
    if (data.team_id is not None) != (data.scope == "team"):
        raise Invalid({"teamId": "is required" if data.scope == "team" else "is for the scope team"})
    if data.team_id is not None:
        mine = select(AgentTeamMember.id).where(
            AgentTeamMember.workspace_id == identity.workspace_id,
            AgentTeamMember.team_id == data.team_id,
            AgentTeamMember.agent_id == agent_of(identity),
        )
        if await db.scalar(mine) is None:
            raise Forbidden("This agent does not belong to that team.")
    values = msgspec.structs.asdict(data)
    del values["scope"]
    values["meta"] = values.pop("metadata")
    return values | {"agent_id": agent_of(identity) if data.scope == "agent" else None}


@delete("/{row_id:uuid}", operation_id="delete_own_agent_memory", guards=[agent_acts])
async def forget(db: Db, identity: Asker, row_id: RowId) -> None:
    """It is remembered no more."""
    await memory.remove(db, identity, row_id)


routes = [Router("/memory", route_handlers=[of_agent, remember, forget])]
