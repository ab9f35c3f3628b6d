"""Segments: the contacts of whom all, or any, of certain things are true."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions
from models.base import now
from models.crm import Contact
from models.marketing import Condition, Segment


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Segment:
    """The segment exists; ``Invalid`` names what is wrong with its rules."""
    segment = Segment(workspace_id=workspace_id, **_kept(values))
    db.add(segment)
    return segment


async def change(db: AsyncSession, segment: Segment, values: Mapping[str, Any]) -> None:
    """The segment has the new values; its count is unknown once other rules decide."""
    kept = _kept(values)
    if any(name in kept and kept[name] != getattr(segment, name) for name in ("rules", "match")):
        segment.contact_count, segment.last_calculated_at = None, None
    for name, value in kept.items():
        setattr(segment, name, value)


async def calculate(db: AsyncSession, segment: Segment) -> None:
    """The segment says how many contacts it has just now."""
    query = select(func.count()).select_from(Contact).where(*_here(segment))
    segment.contact_count, segment.last_calculated_at = await db.scalar(query), now()


def belongs(segment: Segment) -> ColumnElement[bool]:
    """True of the segment's contacts; a segment without rules has none, so that nobody writes to all by mistake."""
    rules = msgspec.convert(segment.rules, list[Condition])
    if not rules:
        return false()
    return conditions.all_of(rules) if segment.match == "all" else conditions.any_of(rules)


def _here(segment: Segment) -> tuple[ColumnElement[bool], ...]:
    return Contact.workspace_id == segment.workspace_id, belongs(segment)


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    if "rules" not in values:
        return dict(values)
    conditions.check(values["rules"], "rules")
    return {**values, "rules": msgspec.to_builtins(values["rules"])}
