"""What is told of rows that are a contact's, where a story writes them in statements: how they differ after it."""

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from models.base import View, noun_of
from models.communications import Conversation, ConversationView
from models.crm import ContactPoint, ContactPointView

Seen = dict[uuid.UUID, View]
"""How rows look, by their ids."""


async def points_of(db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]) -> Seen:
    """Every address of these contacts, as it is in the database now."""
    return await _seen(db, ContactPoint, ContactPointView, workspace_id, contact_ids)


async def conversations_of(db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]) -> Seen:
    """Every conversation of these contacts, as it is in the database now."""
    return await _seen(db, Conversation, ConversationView, workspace_id, contact_ids)


def tell_points(db: AsyncSession, workspace_id: uuid.UUID, before: Seen, after: Seen) -> None:
    """``contact_point.deleted``, ``.updated`` and ``.created`` are told of the addresses that are not as before."""
    _tell(db, ContactPoint, workspace_id, before, after)


def tell_conversations(db: AsyncSession, workspace_id: uuid.UUID, before: Seen, after: Seen) -> None:
    """``conversation.updated`` is told of those that are not as before."""
    _tell(db, Conversation, workspace_id, before, after)


async def _seen(
    db: AsyncSession, table: Any, view: type[View], workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]
) -> Seen:
    rows = await db.scalars(
        select(table)
        .where(table.workspace_id == workspace_id, table.contact_id.in_(list(contact_ids)))
        .order_by(table.id)
        .execution_options(populate_existing=True)
    )
    return {row.id: msgspec.convert(row, view, from_attributes=True) for row in rows}


def _tell(db: AsyncSession, table: Any, workspace_id: uuid.UUID, before: Seen, after: Seen) -> None:
    noun = noun_of(table)
    for row_id, view in before.items():
        if row_id not in after:
            events.record(db, f"{noun}.deleted", table(workspace_id=workspace_id, id=row_id), view)
    for row_id, view in after.items():
        seen = before.get(row_id)
        if seen != view:
            what = "created" if seen is None else "updated"
            events.record(db, f"{noun}.{what}", table(workspace_id=workspace_id, id=row_id), view, before=seen)
