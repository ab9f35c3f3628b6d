"""What agents remember together: one value under a key in each scope, until it expires."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict, Invalid
from models.base import new_id, now
from models.orchestration import AgentSharedMemory, AgentSharedMemoryView

SWEPT_AT_ONCE = 500
ACCESSED = "lastAccessed"


def alive() -> ColumnElement[bool]:
    """What has not expired: anything else is not there, whether it was swept or not."""
    return or_(AgentSharedMemory.expires_at.is_(None), AgentSharedMemory.expires_at > now())


async def remember(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentSharedMemory:
    """It is remembered; ``Conflict`` names what is already under that key."""
    row, is_new = await _taken(db, workspace_id, values)
    if not is_new:
        raise Conflict(
            f"the key {row.key!r} is taken in this scope by {row.id}: change that, or PUT /agent-shared-memory/by-key",
            conflicting_id=row.id,
        )
    return row


async def put(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> tuple[AgentSharedMemory, bool]:
    """The row under that key, held until the commit, and whether it is new; if not, the caller changes it."""
    return await _taken(db, workspace_id, values)


async def _taken(
    db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]
) -> tuple[AgentSharedMemory, bool]:
    """The row that has the key: made of ``values``, or there before."""
    check(values)
    scope = (
        AgentSharedMemory.workspace_id == workspace_id,
        AgentSharedMemory.team_id.is_not_distinct_from(values.get("team_id")),
        AgentSharedMemory.agent_id.is_not_distinct_from(values.get("agent_id")),
        AgentSharedMemory.key == values["key"],
    )
    held = select(AgentSharedMemory).where(*scope).with_for_update(key_share=True)
    for _ in range(3):
        await _forget(db, *scope)
        columns = {("metadata" if name == "meta" else name): value for name, value in values.items()}
        made = (
            insert(AgentSharedMemory.__table__)  # type: ignore[arg-type]  # the table, for its columns' own names
            .values(workspace_id=workspace_id, id=new_id(), **columns)
            .on_conflict_do_nothing(index_elements=["workspace_id", "team_id", "agent_id", "key"])
            .returning(AgentSharedMemory.__table__.c.id)
        )
        row_id = await db.scalar(made)
        row = await db.scalar(held.execution_options(populate_existing=True))
        if row is not None:
            return row, row_id is not None
        # Whoever had the key let go of it between our two statements: it is free now.
    raise Conflict(f"the key {values['key']!r} is changing hands in this scope: try again")


def check(values: Mapping[str, Any]) -> None:
    """``Invalid`` when the metadata says what is ours to say, or what was forgotten before it was remembered."""
    errors: dict[str, str] = {}
    meta = values.get("meta", {})
    confidence = meta.get("confidence")
    is_number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if "confidence" in meta and not (is_number and 0 <= confidence <= 1):
        errors["metadata.confidence"] = "must be a number from 0 to 1"
    if "source" in meta and not isinstance(meta["source"], str):
        errors["metadata.source"] = "must be text"
    if ACCESSED in meta:
        errors[f"metadata.{ACCESSED}"] = "is read-only"
    expires_at: datetime | None = values.get("expires_at")
    if expires_at is not None and expires_at <= now():
        errors["expiresAt"] = "must lie in the future"
    if errors:
        raise Invalid(errors)


def change(row: AgentSharedMemory, values: Mapping[str, Any]) -> None:
    """The row has these values; when it was last accessed stays known."""
    check(values)
    for name, value in values.items():
        if name == "meta" and ACCESSED in row.meta:
            value = {**value, ACCESSED: row.meta[ACCESSED]}
        setattr(row, name, value)


async def recall(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    key: str,
    *,
    team_id: uuid.UUID | None = None,
    agent_id: uuid.UUID | None = None,
) -> AgentSharedMemory | None:
    """What an agent remembers under that key, marked as accessed now; None when there is nothing, or no more."""
    row: AgentSharedMemory | None = await db.scalar(
        select(AgentSharedMemory)
        .where(
            AgentSharedMemory.workspace_id == workspace_id,
            AgentSharedMemory.team_id.is_not_distinct_from(team_id),
            AgentSharedMemory.agent_id.is_not_distinct_from(agent_id),
            AgentSharedMemory.key == key,
            alive(),
        )
        .with_for_update(key_share=True)
    )
    if row is not None:
        row.meta = {**row.meta, ACCESSED: now().isoformat()}
        await db.flush()
    return row


async def forget_expired(db: AsyncSession) -> int:
    """Some of what has expired is gone, in whichever workspace, and told; returns how many rows that were."""
    overdue = (
        select(AgentSharedMemory.workspace_id, AgentSharedMemory.id)
        .where(AgentSharedMemory.expires_at <= now())
        .order_by(AgentSharedMemory.expires_at)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("overdue")
    )
    return await _forget(
        db, AgentSharedMemory.workspace_id == overdue.c.workspace_id, AgentSharedMemory.id == overdue.c.id
    )


async def _forget(db: AsyncSession, *which: ColumnElement[bool]) -> int:
    """What has expired of these rows is gone, and told."""
    gone = (
        await db.scalars(
            delete(AgentSharedMemory)
            .where(*which, AgentSharedMemory.expires_at <= now())
            .returning(AgentSharedMemory)
            .execution_options(synchronize_session=False)
        )
    ).all()
    for row in gone:
        view = msgspec.convert(row, AgentSharedMemoryView, from_attributes=True)
        events.record(db, "agent_shared_memory.expired", row, view)
        db.expunge(row)
    return len(gone)
