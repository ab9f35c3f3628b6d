"""What is told of rows that are a contact's, where a story writes them in statements: how they differ after it."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from models.base import View, noun_of
from models.business import Customer, CustomerView
from models.communications import Call, CallView, Conversation, ConversationView
from models.crm import (
    ContactPoint,
    ContactPointView,
    CrmInteraction,
    CrmInteractionView,
    Deal,
    DealView,
    Prospect,
    ProspectView,
)
from models.marketing import CampaignRecipient, CampaignRecipientView

Seen = dict[uuid.UUID, View]
"""How rows look, by their ids."""

THEIRS: Mapping[Any, type[View]] = {
    Conversation: ConversationView,
    ContactPoint: ContactPointView,
    Deal: DealView,
    Prospect: ProspectView,
    Customer: CustomerView,
    CrmInteraction: CrmInteractionView,
    Call: CallView,
    CampaignRecipient: CampaignRecipientView,
}
"""What is a contact's and has an address of its own; what it has said goes without saying, with its conversation."""


async def points_of(db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]) -> Seen:
    """Every address of these contacts, as it is in the database now."""
    return await _seen(db, ContactPoint, workspace_id, contact_ids)


async def everything_of(
    db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]
) -> Mapping[Any, Seen]:
    """All that is ``THEIRS``, by its table, as it is in the database now."""
    asked = list(contact_ids)
    return {table: await _seen(db, table, workspace_id, asked) for table in THEIRS}


def tell_points(db: AsyncSession, workspace_id: uuid.UUID, before: Seen, after: Seen) -> None:
    """``contact_point.deleted``, ``.updated`` and ``.created`` are told of the addresses that are not as before."""
    _tell(db, ContactPoint, workspace_id, before, after)


def tell_everything(
    db: AsyncSession, workspace_id: uuid.UUID, before: Mapping[Any, Seen], after: Mapping[Any, Seen]
) -> None:
    """``deal.updated`` and the like are told of the rows that are not as before."""
    for table in THEIRS:
        _tell(db, table, workspace_id, before[table], after[table])


async def _seen(db: AsyncSession, table: Any, workspace_id: uuid.UUID, contact_ids: Iterable[uuid.UUID]) -> Seen:
    rows = await db.scalars(
        select(table)
        .where(table.workspace_id == workspace_id, table.contact_id.in_(list(contact_ids)))
        .order_by(table.id)
        .execution_options(populate_existing=True)
    )
    return {row.id: msgspec.convert(row, THEIRS[table], from_attributes=True) for row in rows}


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
