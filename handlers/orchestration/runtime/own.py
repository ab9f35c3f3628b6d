"""What an agent sees of a table: its own rows, and those of the teams it belongs to."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, ScalarSelect, select

from comms.credentials import Identity
from handlers.guards import agent_acts, agent_reads
from handlers.listing import Listing
from handlers.resource import READ, Resource
from models.base import Base, View
from models.orchestration import AgentTeamMember


def own(
    path: str,
    table: type[Base],
    view: type[View],
    whose: Callable[[Identity], ColumnElement[bool]],
    *,
    search: Sequence[str] = (),
    filters: Sequence[str] = (),
) -> Resource:
    """The table as the agent whose token it is may list and find it; no resource of its own, but a part of one."""
    resource = Resource(path, table, view, Listing(table, view, search, filters))
    resource.verbs, resource.who_reads, resource.who_writes = READ, agent_reads, agent_acts
    resource.whose = whose
    return resource


def agent_of(identity: Identity) -> uuid.UUID:
    """The agent that asks: the guard lets nobody else in."""
    assert identity.agent_id is not None
    return identity.agent_id


def teams_of(identity: Identity) -> ScalarSelect[uuid.UUID]:
    """The teams that the agent belongs to."""
    return (
        select(AgentTeamMember.team_id)
        .where(
            AgentTeamMember.workspace_id == identity.workspace_id,
            AgentTeamMember.agent_id == agent_of(identity),
        )
        .scalar_subquery()
    )
