"""What an agent tells other agents, and what they tell it."""

import uuid
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, post
from litestar.params import JSONBody
from sqlalchemy import ColumnElement, and_, or_

from comms.agents import messages as stories
from comms.credentials import Identity
from comms.errors import Forbidden
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import agent_acts
from handlers.listing import Page
from handlers.orchestration.runtime.own import agent_of, own, teams_of
from handlers.resource import listed
from models.orchestration import AgentMessage, AgentMessageType, AgentMessageView


class OwnMessage(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A message to another agent, or to a team of agents."""

    to_agent_id: Annotated[uuid.UUID, msgspec.Meta(examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"])] | None = None
    team_id: uuid.UUID | None = None
    message_type: AgentMessageType = "task"
    content: Annotated[
        dict[str, Any], msgspec.Meta(description="`subject`, `body`, `data` and `priority`.", examples=[{"body": "?"}])
    ] = {}
    parent_message_id: uuid.UUID | None = None


class Acknowledgement(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How far a message has come."""

    status: Annotated[
        Literal["delivered", "read", "processed"],
        msgspec.Meta(description="It goes forward only.", examples=["delivered"]),
    ] = "delivered"


def addressed(identity: Identity) -> ColumnElement[bool]:
    """To the agent, or to a team of its and nobody in particular."""
    to_team = and_(AgentMessage.to_agent_id.is_(None), AgentMessage.team_id.in_(teams_of(identity)))
    return or_(AgentMessage.to_agent_id == agent_of(identity), to_team)


def concerning(identity: Identity) -> ColumnElement[bool]:
    """To the agent, or from it."""
    return or_(addressed(identity), AgentMessage.from_agent_id == agent_of(identity))


messages = own(
    "/agent/messages",
    AgentMessage,
    AgentMessageView,
    concerning,
    filters=("thread_id", "from_agent_id", "to_agent_id", "message_type", "status", "parent_message_id"),
)


@listed(messages, "/", operation_id="list_own_agent_messages")
async def of_agent(request: Request, db: Db, identity: Asker, asked: Any) -> Page[AgentMessageView]:
    """What other agents, members and workflows told this agent, and what it told them.

    They come over the websocket as `agent_message.created`; `status=pending` are those nobody has acknowledged.
    """
    return await messages.listing.page(db, request, asked, *messages.visible(identity))


@post("/", operation_id="send_own_agent_message", guards=[agent_acts])
async def say(db: Db, identity: Asker, data: JSONBody[OwnMessage]) -> AgentMessageView:
    """Tell another agent, or a team: a task, its result, context, a handoff, a status or a query."""
    values = msgspec.structs.asdict(data) | {"from_agent_id": agent_of(identity)}
    if data.parent_message_id is not None:
        await messages.find(db, identity, data.parent_message_id)
    row = await stories.write(db, identity.workspace_id, values)
    view: AgentMessageView = await messages.tell(db, identity, "created", row)
    return view


@post(
    "/{row_id:uuid}/acknowledgement",
    operation_id="acknowledge_own_agent_message",
    guards=[agent_acts],
    problems={409: "Another agent of the team has taken it, or it has come further already."},
)
async def acknowledge(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Acknowledgement]) -> AgentMessageView:
    """A message has reached this agent, was read, or what it asked for is done. Said again, it stays as it is.

    What was said to a team is one agent's to do: whoever acknowledges it first has taken it, as `takenByAgentId` says,
    and the others are answered 409. To tell every one of them, write to each.
    """
    row = await messages.find(db, identity, row_id, to_change=True)
    if row.from_agent_id == agent_of(identity) and row.to_agent_id != agent_of(identity):
        raise Forbidden("You have sent this message: whoever gets it says how far it has come.")
    before = messages.shown(row)
    stories.acknowledge(row, agent_of(identity), data.status)
    view: AgentMessageView = await messages.settle(db, identity, row, before)
    return view


routes = [Router("/messages", route_handlers=[of_agent, say, acknowledge])]
