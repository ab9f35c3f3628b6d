"""Which person a waiting conversation is for: rules, what people can take, who waits, and how it was decided."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Router, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.assignment import by_hand, profiles, rules
from comms.credentials import Identity
from handlers.batches import Many
from handlers.given import Asker, Db, RowId
from handlers.guards import administrator, person, writer
from handlers.resource import READ, crud
from models.routing import (
    Availability,
    RoutingDecision,
    RoutingDecisionView,
    RoutingPlace,
    RoutingPlaceView,
    RoutingProfile,
    RoutingProfileView,
    RoutingQueue,
    RoutingQueueView,
    RoutingRule,
    RoutingRuleView,
)


async def create_rule(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> RoutingRule:
    """A rule that somebody can serve."""
    return await rules.create(db, identity.workspace_id, values)


async def create_rules(db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
    """Rules each of which somebody can serve."""
    return await rules.create_all(db, identity.workspace_id, many)


async def change_rule(db: AsyncSession, identity: Identity, row: RoutingRule, values: dict[str, Any]) -> None:
    """A rule that somebody can still serve."""
    await rules.change(db, row, values)


async def create_profile(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> RoutingProfile:
    """A member's profile, whose parts fit together."""
    return await profiles.create(db, identity.workspace_id, values)


async def create_profiles(db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
    """Members' profiles, the parts of each of which fit together."""
    return await profiles.create_all(db, identity.workspace_id, many)


async def change_profile(db: AsyncSession, identity: Identity, row: RoutingProfile, values: dict[str, Any]) -> None:
    """A profile whose parts still fit together."""
    await profiles.change(db, row, values)


ruling = crud(
    "/routing-rules",
    RoutingRule,
    RoutingRuleView,
    search=("name",),
    filters=("is_active", "team_id", "mode"),
    who_writes=administrator,
    create=create_rule,
    change=change_rule,
)
ruling.create_all = create_rules
profiling = crud(
    "/routing-profiles",
    RoutingProfile,
    RoutingProfileView,
    filters=("user_id", "availability", "skills"),
    who_writes=administrator,
    create=create_profile,
    change=change_profile,
)
profiling.create_all = create_profiles
queues = crud("/routing-queues", RoutingQueue, RoutingQueueView, filters=("rule_id", "team_id", "channel"), verbs=READ)
places = crud("/routing-places", RoutingPlace, RoutingPlaceView, filters=("queue_id", "conversation_id"), verbs=READ)
decisions = crud(
    "/routing-decisions",
    RoutingDecision,
    RoutingDecisionView,
    filters=("conversation_id", "user_id", "rule_id", "team_id"),
    verbs=READ,
)


@post("/conversations/{row_id:uuid}/routing", operation_id="route_conversation", guards=[writer])
async def enter(db: Db, identity: Asker, row_id: RowId) -> RoutingPlaceView:
    """The conversation waits in the queue where its handoff, or the first rule that is true of it, puts it.

    Conversations that begin to wait come there by themselves: this is for those that waited before there were rules.
    409 when it does not wait for anybody, or no rule is true of it. One that has a place keeps it.
    """
    return await by_hand.enter(db, identity.workspace_id, row_id)


class Presence(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whether somebody is there to be given conversations."""

    availability: Availability


@put("/me/availability", operation_id="put_my_availability", guards=[person])
async def appear(db: Db, identity: Asker, data: JSONBody[Presence]) -> RoutingProfileView:
    """You are given conversations from now on (`available`), or no more (`away`); those that you have stay yours."""
    profile, is_new = await profiles.appear(db, identity.workspace_id, identity.user_id, data.availability)
    before = profiling.shown(profile)
    profile.availability = data.availability
    if is_new:
        view: RoutingProfileView = await profiling.tell(db, identity, "created", profile)
    else:
        view = await profiling.settle(db, identity, profile, before)
    return view


routes = Router(
    "/",
    tags=["communications"],
    route_handlers=[
        ruling.router(),
        profiling.router(),
        queues.router(),
        places.router(),
        enter,
        decisions.router(),
        appear,
    ],
)
