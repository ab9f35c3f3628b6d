"""Rules: what follows from what, what a lead is worth, and whose it becomes."""

import uuid
from typing import Any

import msgspec
from litestar import Router, post
from sqlalchemy.ext.asyncio import AsyncSession

from comms import automation as reactions
from comms import routing as sharing
from comms import scoring as worth
from comms.credentials import Identity
from comms.events import Actor
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import writer
from handlers.marketing.people import people
from handlers.resource import crud
from models.crm import ContactView
from models.marketing import (
    AutomationRule,
    AutomationRuleView,
    LeadRoutingRule,
    LeadRoutingRuleView,
    LeadScoringRule,
    LeadScoringRuleView,
)


class Calculation(msgspec.Struct, rename="camel"):
    """How many contacts have another ``leadScore`` than before."""

    changed: int


class Routed(msgspec.Struct, rename="camel"):
    """Whose the contact has become, and the rule that said so."""

    rule_id: uuid.UUID
    contact: ContactView


async def create_automation(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AutomationRule:
    """An automation whose configurations fit what it does."""
    return await reactions.create(db, identity.workspace_id, values)


async def change_automation(db: AsyncSession, identity: Identity, row: AutomationRule, values: dict[str, Any]) -> None:
    """An automation whose configurations still fit what it does."""
    await reactions.change(db, row, values)


async def create_scoring(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> LeadScoringRule:
    """A scoring rule that makes sense."""
    return await worth.create(db, identity.workspace_id, values)


async def change_scoring(db: AsyncSession, identity: Identity, row: LeadScoringRule, values: dict[str, Any]) -> None:
    """A scoring rule that still makes sense."""
    await worth.change(db, row, values)


async def create_routing(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> LeadRoutingRule:
    """A routing rule that has somebody to assign to."""
    return await sharing.create(db, identity.workspace_id, values)


async def change_routing(db: AsyncSession, identity: Identity, row: LeadRoutingRule, values: dict[str, Any]) -> None:
    """A routing rule that still has somebody to assign to."""
    await sharing.change(db, row, values)


automation = crud(
    "/automation-rules",
    AutomationRule,
    AutomationRuleView,
    search=("name", "description"),
    filters=("status", "trigger_type", "action_type"),
    create=create_automation,
    change=change_automation,
)
scoring = crud(
    "/lead-scoring-rules",
    LeadScoringRule,
    LeadScoringRuleView,
    search=("name",),
    filters=("type", "is_active", "field"),
    create=create_scoring,
    change=change_scoring,
)
routing = crud(
    "/lead-routing-rules",
    LeadRoutingRule,
    LeadRoutingRuleView,
    search=("name",),
    filters=("is_active", "assign_to", "round_robin"),
    create=create_routing,
    change=change_routing,
)


@post("/calculation", operation_id="calculate_lead_scores", guards=[writer])
async def score_all(service: Here, identity: Asker) -> Calculation:
    """Every contact's `leadScore` is what the active rules give it, from 0 to 100."""
    actor = Actor("user", identity.user_id)
    return Calculation(await worth.score_all(service.database, identity.workspace_id, actor))


@post("/{row_id:uuid}/lead-score", operation_id="calculate_lead_score", guards=[writer])
async def score(db: Db, identity: Asker, row_id: RowId) -> ContactView:
    """The contact's `leadScore` is what the active rules give it, from 0 to 100."""
    contact = await people.find(db, identity, row_id, to_change=True)
    before = people.shown(contact)
    await worth.score(db, contact)
    view: ContactView = await people.settle(db, identity, contact, before)
    return view


@post("/{row_id:uuid}/routing", operation_id="route_contact", guards=[writer])
async def route(db: Db, identity: Asker, row_id: RowId) -> Routed:
    """The contact has an owner: by the first active rule, in order of `priority`, that is true of it.

    With `roundRobin` it is the next of the rule's members whose turn it is. A contact that has an owner keeps it: 409.
    """
    contact = await people.find(db, identity, row_id, to_change=True)
    before = people.shown(contact)
    rule = await sharing.route(db, contact)
    if db.is_modified(rule):  # whose turn it was
        await routing.tell(db, identity, "updated", rule)
    return Routed(rule.id, await people.settle(db, identity, contact, before))


routes = [
    automation.router(),
    scoring.router(score_all),
    routing.router(),
    Router("/contacts", route_handlers=[score, route]),
]
