"""What was done with contacts outside of our conversations."""

from typing import Any

from litestar import Router
from sqlalchemy.ext.asyncio import AsyncSession

from comms import interactions as stories
from comms.credentials import Identity
from comms.errors import Invalid, Missing
from handlers.crm.contacts import contacts
from handlers.resource import crud
from models.crm import CrmInteraction, CrmInteractionView


async def create_interaction(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> CrmInteraction:
    """With the contact's time of last contact moved on."""
    row = stories.note(identity, values)
    await _touch(db, identity, row)
    db.add(row)
    return row


async def change_interaction(db: AsyncSession, identity: Identity, row: CrmInteraction, values: dict[str, Any]) -> None:
    """The same, where it has now been completed."""
    for name, value in values.items():
        setattr(row, name, value)
    await _touch(db, identity, row)


async def _touch(db: AsyncSession, identity: Identity, row: CrmInteraction) -> None:
    if not stories.reaches(row):
        return
    try:
        contact = await contacts.find(db, identity, row.contact_id, to_change=True)
    except Missing:
        raise Invalid({"contactId": "refers to nothing in this workspace"}) from None
    before = contacts.shown(contact)
    stories.touch(contact, row)
    await contacts.settle(db, identity, contact, before)


interactions = crud(
    "/crm-interactions",
    CrmInteraction,
    CrmInteractionView,
    search=("subject", "content", "outcome"),
    filters=("contact_id", "type", "direction", "agent_id", "user_id", "outcome", "scheduled_at", "completed_at"),
    create=create_interaction,
    change=change_interaction,
)

routes: list[Router] = [interactions.router()]
