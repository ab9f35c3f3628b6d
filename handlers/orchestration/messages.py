"""What agents tell each other."""

from typing import Annotated, Any

import msgspec
from litestar import put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import messages as stories
from comms.agents import states
from comms.credentials import Identity
from handlers.given import Asker, Db, RowId
from handlers.guards import reads, writes
from handlers.resource import crud
from models.orchestration import AgentMessage, AgentMessageStatus, AgentMessageView


class AgentMessageStatusChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How far a message has come."""

    status: Annotated[AgentMessageStatus, msgspec.Meta(examples=["read"])]


async def create_message(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentMessage:
    """In the thread of the message it answers."""
    return await stories.write(db, identity.workspace_id, values)


messages = crud(
    "/agent-messages",
    AgentMessage,
    AgentMessageView,
    filters=("thread_id", "from_agent_id", "to_agent_id", "team_id", "message_type", "status", "parent_message_id"),
    verbs=("list", "get", "create"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_message,
)


@put("/{row_id:uuid}/status", operation_id="set_agent_message_status", guards=[writes("agents")])
async def set_status(
    db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentMessageStatusChange]
) -> AgentMessageView:
    """A message has been delivered, read or processed: it goes forward only."""
    row = await messages.find(db, identity, row_id, to_change=True)
    before = messages.shown(row)
    states.move(row, data.status, states.MESSAGE, "message")
    view: AgentMessageView = await messages.settle(db, identity, row, before)
    return view


routes = [messages.router(set_status)]
