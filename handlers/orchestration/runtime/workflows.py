"""Workflows that agents ask for."""

from typing import Annotated, Any

import msgspec
from litestar import Router, post
from litestar.params import JSONBody

from comms.workflows import requesting
from handlers.given import Asker, Db, RowId
from handlers.guards import agent_acts
from handlers.orchestration.runtime.own import agent_of
from models.orchestration import AgentWorkflowExecutionView


class OwnWorkflowRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What the agent asks a workflow for."""

    data: Annotated[
        dict[str, Any],
        msgspec.Meta(description="What steps find as `trigger.data`.", examples=[{"dealId": "42"}]),
    ] = {}


@post("/{workflow_id:uuid}/requests", operation_id="request_own_agent_workflow", guards=[agent_acts])
async def ask_for(
    db: Db, identity: Asker, workflow_id: RowId, data: JSONBody[OwnWorkflowRequest]
) -> AgentWorkflowExecutionView:
    """Ask for a workflow whose `triggerType` is `agent_request`; `409` says which of its conditions do not hold."""
    row = await requesting.ask(db, identity.workspace_id, workflow_id, agent_of(identity), data.data, {}, None)
    return await requesting.told(db, row)


routes = [Router("/workflows", route_handlers=[ask_for])]
