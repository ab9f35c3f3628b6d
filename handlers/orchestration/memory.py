"""What agents remember together."""

from typing import Any

from litestar import put
from litestar.params import JSONBody
from litestar.response import Response
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import memory as stories
from comms.credentials import Identity
from handlers import shapes
from handlers.given import Asker, Db
from handlers.guards import reads, writes
from handlers.resource import crud
from models.orchestration import AgentSharedMemory, AgentSharedMemoryView

SCOPE = ("team_id", "agent_id", "key")


def remembered(_: Identity) -> ColumnElement[bool]:
    """What has expired is not there, for anybody."""
    return stories.alive()


async def create_memory(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentSharedMemory:
    """Remembered, if its key is free."""
    return await stories.remember(db, identity.workspace_id, values)


async def change_memory(db: AsyncSession, identity: Identity, row: AgentSharedMemory, values: dict[str, Any]) -> None:
    """Changed, where it is."""
    stories.change(row, values)


memory = crud(
    "/agent-shared-memory",
    AgentSharedMemory,
    AgentSharedMemoryView,
    search=("key", "value_text"),
    filters=("team_id", "agent_id", "memory_tier", "category", "key"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    whose=remembered,
    create=create_memory,
    change=change_memory,
)
memory.edit = shapes.change_shape(
    AgentSharedMemory,
    AgentSharedMemoryView,
    only=("memory_tier", "category", "key", "value", "meta", "importance", "expires_at"),
)
New: Any = memory.new


@put("/by-key", operation_id="put_agent_shared_memory", guards=[writes("agents")], may_make=True)
async def put_by_key(db: Db, identity: Asker, data: JSONBody[New]) -> Response[AgentSharedMemoryView]:
    """Remember something under a key, whatever was there before: 201 when nothing was, else 200.

    What is left out has its default again. Without `teamId` and `agentId` it is the whole workspace's.
    """
    values = shapes.given(data)
    row, is_new = await stories.put(db, identity.workspace_id, values)
    if is_new:
        return Response(await memory.tell(db, identity, "created", row), status_code=201)
    before = memory.shown(row)
    stories.change(row, {name: value for name, value in values.items() if name not in SCOPE})
    return Response(await memory.settle(db, identity, row, before), status_code=200)


routes = [memory.router(put_by_key)]
