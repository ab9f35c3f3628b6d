"""What happened with a contact, of every sort, in one list: the newest first."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from models.base import Base, View
from models.communications import ConversationMessage, ConversationMessageView
from models.crm import ContactMerge, ContactMergeView, CrmInteraction, CrmInteractionView, Deal, DealView
from models.finance import Invoice, InvoiceView

Sort = Literal["message", "interaction", "deal", "invoice", "merge"]
SORTS: tuple[Sort, ...] = get_args(Sort)

NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), uuid.UUID(int=2**128 - 1))
"""Where a list begins."""


class Moment(msgspec.Struct, frozen=True):
    """Something happened: what, when, and the row that tells of it."""

    type: Sort
    at: datetime
    id: uuid.UUID
    view: View


# Each branch walks an index from the cursor down and stops after as many rows as can be needed. Of the messages it
# asks every conversation for its newest one before the cursor, and only the conversations with the newest for more:
# the rest cannot have one among the first.
_BRANCHES: Mapping[Sort, str] = {
    "message": """
        SELECT m.created_at AS at, m.id, 'message' AS type FROM (
            SELECT c.id FROM conversations c CROSS JOIN LATERAL (
                SELECT n.created_at, n.id FROM conversation_messages n
                WHERE n.workspace_id = :workspace AND n.conversation_id = c.id AND (n.created_at, n.id) < (:at, :id)
                ORDER BY n.created_at DESC, n.id DESC LIMIT 1
            ) newest
            WHERE c.workspace_id = :workspace AND c.contact_id = :contact
            ORDER BY newest.created_at DESC, newest.id DESC LIMIT :most
        ) c CROSS JOIN LATERAL (
            SELECT n.created_at, n.id FROM conversation_messages n
            WHERE n.workspace_id = :workspace AND n.conversation_id = c.id AND (n.created_at, n.id) < (:at, :id)
            ORDER BY n.created_at DESC, n.id DESC LIMIT :most
        ) m
        ORDER BY at DESC, id DESC LIMIT :most""",
    "interaction": """
        SELECT occurred_at AS at, id, 'interaction' AS type FROM crm_interactions
        WHERE workspace_id = :workspace AND contact_id = :contact AND (occurred_at, id) < (:at, :id)
        ORDER BY at DESC, id DESC LIMIT :most""",
    "deal": """
        SELECT created_at AS at, id, 'deal' AS type FROM deals
        WHERE workspace_id = :workspace AND contact_id = :contact AND (created_at, id) < (:at, :id)
        ORDER BY at DESC, id DESC LIMIT :most""",
    "invoice": """
        SELECT i.created_at AS at, i.id, 'invoice' AS type FROM customers c CROSS JOIN LATERAL (
            SELECT n.created_at, n.id FROM invoices n
            WHERE n.workspace_id = :workspace AND n.customer_id = c.id AND (n.created_at, n.id) < (:at, :id)
            ORDER BY n.created_at DESC, n.id DESC LIMIT :most
        ) i
        WHERE c.workspace_id = :workspace AND c.contact_id = :contact
        ORDER BY at DESC, id DESC LIMIT :most""",
    "merge": """
        SELECT created_at AS at, id, 'merge' AS type FROM contact_merges
        WHERE workspace_id = :workspace AND contact_id = :contact AND (created_at, id) < (:at, :id)
        ORDER BY at DESC, id DESC LIMIT :most""",
}

_ROWS: Mapping[Sort, tuple[Any, type[View], tuple[Any, ...]]] = {
    "message": (ConversationMessage, ConversationMessageView, (selectinload(ConversationMessage.attachments),)),
    "interaction": (CrmInteraction, CrmInteractionView, ()),
    "deal": (Deal, DealView, ()),
    "invoice": (Invoice, InvoiceView, ()),
    "merge": (ContactMerge, ContactMergeView, ()),
}


async def of(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    contact_id: uuid.UUID,
    sorts: Collection[Sort],
    after: tuple[datetime, uuid.UUID] = NEWEST,
    *,
    limit: int,
) -> list[Moment]:
    """The ``limit`` moments of the contact that come ``after`` (at, id), the newest first."""
    branches = " UNION ALL ".join(f"({_BRANCHES[sort]})" for sort in SORTS if sort in sorts)
    if not branches:
        return []
    found = await db.execute(
        text(f"SELECT at, id, type FROM ({branches}) everything ORDER BY at DESC, id DESC LIMIT :most"),
        {"workspace": workspace_id, "contact": contact_id, "at": after[0], "id": after[1], "most": limit},
    )
    moments = [(row.type, row.at, row.id) for row in found]
    views: dict[uuid.UUID, View] = {}
    for sort in {sort for sort, _, _ in moments}:
        views |= await _views(db, sort, [row_id for kind, _, row_id in moments if kind == sort])
    return [Moment(sort, at, row_id, views[row_id]) for sort, at, row_id in moments if row_id in views]


async def _views(db: AsyncSession, sort: Sort, row_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, View]:
    table, view, options = _ROWS[sort]
    rows: Sequence[Base] = (await db.scalars(select(table).where(table.id.in_(row_ids)).options(*options))).all()
    return {row.id: msgspec.convert(row, view, from_attributes=True) for row in rows}  # type: ignore[attr-defined]  # all have one
