"""What leads are worth: the points of every active rule that is true of a contact, from 0 to 100 together."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, case, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions, events
from comms.database import Database
from comms.errors import Conflict, Invalid
from comms.events import Actor
from models.crm import Contact, ContactView
from models.marketing import Condition, LeadScoringRule

LEAST, MOST = 0, 100
AT_ONCE = 500


class NoRule(Conflict):
    """There is no active lead scoring rule: nothing says what a contact is worth."""


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> LeadScoringRule:
    """The rule exists; ``Invalid`` names what is wrong with it. No score changes before it is calculated."""
    _check(values)
    rule = LeadScoringRule(workspace_id=workspace_id, **values)
    db.add(rule)
    return rule


async def change(db: AsyncSession, rule: LeadScoringRule, values: Mapping[str, Any]) -> None:
    """The rule has the new values; ``Invalid`` names what is wrong with them together."""
    said = ("field", "operator", "value")
    if set(said) & set(values):
        _check({name: values.get(name, getattr(rule, name)) for name in said})
    for name, value in values.items():
        setattr(rule, name, value)


async def score(db: AsyncSession, contact: Contact) -> None:
    """The contact has the score that the active rules give it. The caller holds its row."""
    worth = _worth(await _active(db))
    contact.lead_score = await db.scalar(
        select(worth).where(Contact.workspace_id == contact.workspace_id, Contact.id == contact.id)
    )


async def score_all(database: Database, workspace_id: uuid.UUID, actor: Actor) -> int:
    """Every contact has the score that the active rules give it; says how many had another one.

    Some hundred contacts are one unit of work: the log is not held for long, and whoever dies halfway does the rest
    by doing it again.
    """
    changed, after = 0, uuid.UUID(int=0)
    async with database.workspace(workspace_id, actor) as db:
        worth = _worth(await _active(db))
    while True:
        async with database.workspace(workspace_id, actor) as db:
            # In the order of their ids, so that two who do this at once cannot deadlock.
            other = (
                select(Contact.id)
                .where(Contact.workspace_id == workspace_id, Contact.id > after)
                .where(Contact.lead_score.is_distinct_from(worth))
                .order_by(Contact.id)
                .limit(AT_ONCE)
                .with_for_update(key_share=True)
            )
            ids = (await db.scalars(other)).all()
            if ids:
                await _write(db, workspace_id, ids, worth)
        changed += len(ids)
        if len(ids) < AT_ONCE:
            return changed
        after = ids[-1]


async def _write(
    db: AsyncSession, workspace_id: uuid.UUID, ids: Sequence[uuid.UUID], worth: ColumnElement[int]
) -> None:
    these = (Contact.workspace_id == workspace_id, Contact.id.in_(ids))
    before = {row.id: row.lead_score for row in await db.execute(select(Contact.id, Contact.lead_score).where(*these))}
    rows = await db.scalars(
        update(Contact)
        .where(*these)
        .values(lead_score=worth)
        .returning(Contact)
        .execution_options(synchronize_session=False)
    )
    for contact in rows:
        view = msgspec.convert(contact, ContactView, from_attributes=True)
        seen = msgspec.structs.replace(view, lead_score=before[contact.id])
        events.record(db, "contact.updated", contact, view, before=seen)


async def _active(db: AsyncSession) -> Sequence[LeadScoringRule]:
    rules = (await db.scalars(select(LeadScoringRule).where(LeadScoringRule.is_active))).all()
    if not rules:
        raise NoRule
    return rules


def _worth(rules: Sequence[LeadScoringRule]) -> ColumnElement[int]:
    points: Any = literal(0)
    for rule in rules:
        points = points + case((conditions.holds(_condition(rule)), rule.points), else_=0)
    return func.least(func.greatest(points, LEAST), MOST)


def _condition(rule: LeadScoringRule) -> Condition:
    return msgspec.convert(rule, Condition, from_attributes=True)


def _check(values: Mapping[str, Any]) -> None:
    wrong = conditions.mistakes(
        Condition(field=values["field"], operator=values["operator"], value=values.get("value"))
    )
    if wrong:
        raise Invalid(wrong)
