"""What was done with a contact; the contact remembers when it was last heard from us."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select, text

from comms import events
from comms.credentials import Identity
from comms.database import Database
from models.base import new_id, now
from models.crm import Contact, CrmInteraction, CrmInteractionView


def note(member: Identity, values: Mapping[str, Any]) -> CrmInteraction:
    """An interaction, of the member who notes it unless it says whose it was."""
    given = dict(values)
    if given.get("user_id") is None and given.get("agent_id") is None:
        given["user_id"] = member.user_id
    return CrmInteraction(workspace_id=member.workspace_id, id=new_id(), **given)


def reaches(interaction: CrmInteraction) -> bool:
    """Whether with it we got in touch with the contact."""
    return interaction.direction == "outbound" and interaction.completed_at is not None


def touch(contact: Contact, interaction: CrmInteraction) -> None:
    """The contact was last contacted at this interaction, unless later ones are known; never in the future."""
    if interaction.completed_at is None:
        return
    at = min(interaction.completed_at, now())
    if contact.last_contacted_at is None or contact.last_contacted_at < at:
        contact.last_contacted_at = at


_DUE = text(
    """
    UPDATE crm_interactions i SET reminded_at = now() FROM (
        SELECT workspace_id, id FROM crm_interactions
        WHERE completed_at IS NULL AND user_id IS NOT NULL AND scheduled_at > coalesce(reminded_at, created_at)
            AND scheduled_at <= now()
        ORDER BY scheduled_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
    ) due
    WHERE i.workspace_id = due.workspace_id AND i.id = due.id RETURNING i.*
    """
)


async def come_due(database: Database, *, most: int = 500) -> int:
    """What members have scheduled and not completed has come due, once, and again if it is put off; how many."""
    told = 0
    while True:
        async with database.everywhere() as db:
            rows = (await db.scalars(select(CrmInteraction).from_statement(_DUE), {"most": most})).all()
            for row in rows:
                view = msgspec.convert(row, CrmInteractionView, from_attributes=True)
                events.record(db, "interaction.came_due", row, view, before=view, unshown=("remindedAt",))
        told += len(rows)
        if len(rows) < most:
            return told
