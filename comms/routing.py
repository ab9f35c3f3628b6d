"""Whose a lead becomes: the first active rule that is true of it says, and round robin is fair."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions, mentions
from comms.errors import Conflict, Invalid
from models.core import WorkspaceMember
from models.crm import Contact
from models.marketing import Condition, LeadRoutingRule


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> LeadRoutingRule:
    """The rule exists; ``Invalid`` names what is wrong with it."""
    rule = LeadRoutingRule(workspace_id=workspace_id, **await _kept(db, workspace_id, values))
    db.add(rule)
    return rule


async def change(db: AsyncSession, rule: LeadRoutingRule, values: Mapping[str, Any]) -> None:
    """The rule has the new values; ``Invalid`` names what is wrong with them together."""
    before = {name: getattr(rule, name) for name in ("assign_to", "round_robin", "is_active")}
    users = [uuid.UUID(user) for user in rule.round_robin_users]
    for name, value in (
        await _kept(db, rule.workspace_id, {**before, "round_robin_users": users, **values}, users)
    ).items():
        setattr(rule, name, value)


async def route(db: AsyncSession, contact: Contact) -> LeadRoutingRule:
    """The contact has an owner; returns the rule that said who. The caller holds the contact's row.

    A contact that has an owner keeps it, so that doing this twice changes nothing more.
    """
    if contact.owner_id is not None:
        raise Conflict(f"this contact has an owner ({contact.owner_id}) already: clear ownerId to have it routed again")
    for rule in await _true_of(db, contact):
        owner = await _next_owner(db, rule)
        if owner is not None:
            contact.owner_id = owner
            return rule
    raise Conflict("no active lead routing rule with an active member to assign to is true of this contact")


async def _true_of(db: AsyncSession, contact: Contact) -> list[LeadRoutingRule]:
    """The active rules that are true of the contact, in the order they are asked."""
    query = select(LeadRoutingRule).where(LeadRoutingRule.is_active)
    rules = (await db.scalars(query.order_by(LeadRoutingRule.priority, LeadRoutingRule.id))).all()
    if not rules:
        return []
    said = [conditions.all_of(msgspec.convert(rule.conditions, list[Condition])) for rule in rules]
    here = (Contact.workspace_id == contact.workspace_id, Contact.id == contact.id)
    answers = (await db.execute(select(*(func.coalesce(one, False) for one in said)).where(*here))).one()
    return [rule for rule, is_true in zip(rules, answers, strict=True) if is_true]


async def _next_owner(db: AsyncSession, rule: LeadRoutingRule) -> uuid.UUID | None:
    """Whose turn it is; nobody's when none of the rule's members is active."""
    if not rule.round_robin:
        return next(iter(await _active(db, [rule.assign_to] if rule.assign_to else [])), None)
    # Held until the commit: whoever comes meanwhile waits, and finds whose turn it was.
    held = select(LeadRoutingRule.id).where(LeadRoutingRule.id == rule.id, LeadRoutingRule.is_active)
    if await db.scalar(held.with_for_update(key_share=True)) is None:
        return None
    await db.refresh(rule)
    users = [uuid.UUID(user) for user in rule.round_robin_users]
    last = users.index(rule.last_assigned_to) if rule.last_assigned_to in users else -1
    active = await _active(db, users)
    owner = next((user for user in users[last + 1 :] + users[: last + 1] if user in active), None)
    if owner is not None:
        rule.last_assigned_to = owner
    return owner


async def _active(db: AsyncSession, users: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    query = select(WorkspaceMember.user_id).where(WorkspaceMember.user_id.in_(users), WorkspaceMember.is_active)
    return set((await db.scalars(query)).all())


async def _kept(
    db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any], turns: Collection[uuid.UUID] = ()
) -> dict[str, Any]:
    """The values as they are kept; of the members who take turns, those who do not yet must be active ones."""
    kept = dict(values)
    if "conditions" in values:
        conditions.check(values["conditions"], "conditions")
        kept["conditions"] = msgspec.to_builtins(values["conditions"])
    users = values.get("round_robin_users") or []
    if values.get("is_active", True):
        if values.get("round_robin") and not users:
            raise Invalid({"roundRobinUsers": "must name those who take turns, when roundRobin is true"})
        if not values.get("round_robin") and values.get("assign_to") is None:
            raise Invalid({"assignTo": "must name a member in an active rule, unless roundRobin is true"})
    members = {*turns, *await mentions.active_of(db, workspace_id, set(users) - set(turns))}
    wrong = {
        f"roundRobinUsers[{place}]": mentions.NOT_ACTIVE if user not in members else "is there twice"
        for place, user in enumerate(users)
        if user not in members or user in users[:place]
    }
    if wrong:
        raise Invalid(wrong)
    if "round_robin_users" in values:
        kept["round_robin_users"] = [str(user) for user in users]
    return kept
