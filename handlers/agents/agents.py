"""The workspace's agents."""

from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import roster, runs
from comms.credentials import Identity
from handlers.agents.runs import executions
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import reads, writes
from handlers.listing import Page
from handlers.resource import crud, listed
from models.agents import Agent, AgentExecution, AgentExecutionView, AgentStatus, AgentView


class AgentStatusChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The status an agent is to have."""

    status: Annotated[AgentStatus, msgspec.Meta(examples=["active"])]


class NewAgentExecution(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What an agent is to work on."""

    input: dict[str, Any] = {}


async def create_agent(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Agent:
    """A draft of the member who asks for it."""
    row = Agent(workspace_id=identity.workspace_id, created_by=identity.user_id, **values)
    db.add(row)
    return row


agents = crud(
    "/agents",
    Agent,
    AgentView,
    search=("name", "description"),
    filters=("status", "type", "is_custom", "created_by", "source_pack_id", "source_template_id"),
    verbs=("list", "get", "create", "change"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_agent,
)


@delete("/{row_id:uuid}", operation_id="delete_agent", guards=[writes("agents")])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The agent is gone. One that has run, spoken or acted stays for the record, and one a workflow needs stays too:
    archive it instead."""
    await roster.retire(db, await agents.find(db, identity, row_id))
    await agents.remove(db, identity, row_id)


@put("/{row_id:uuid}/status", operation_id="set_agent_status", guards=[writes("agents")])
async def set_status(db: Db, identity: Asker, row_id: RowId, data: JSONBody[AgentStatusChange]) -> AgentView:
    """Activate, pause or archive an agent, or take it out of the archive as a draft.

    Paused or archived it has no conversation any more: they wait for somebody else, and what it has said that has not
    left yet never leaves.
    """
    row = await agents.find(db, identity, row_id, to_change=True)
    before = agents.shown(row)
    await roster.enter(db, row, data.status)
    view: AgentView = await agents.settle(db, identity, row, before)
    return view


@listed(executions, "/{agent_id:uuid}/executions", operation_id="list_executions_of_agent")
async def of_agent(request: Request, db: Db, identity: Asker, agent_id: RowId, asked: Any) -> Page[AgentExecutionView]:
    """What one agent did."""
    await agents.find(db, identity, agent_id)
    return await executions.listing.page(db, request, asked, AgentExecution.agent_id == agent_id)


@post("/{agent_id:uuid}/executions", operation_id="request_agent_execution", guards=[writes("agents")])
async def execute(db: Db, identity: Asker, agent_id: RowId, data: JSONBody[NewAgentExecution]) -> AgentExecutionView:
    """Ask an agent to work: an execution is pending. Drafts may be tried, the paused and archived do not run."""
    row = await runs.request(db, identity.workspace_id, agent_id, data.input, identity.user_id)
    view: AgentExecutionView = await executions.tell(db, identity, "created", row)
    return view


routes = [agents.router(remove, set_status), Router("/agents", route_handlers=[of_agent, execute])]
