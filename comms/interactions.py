"""What was done with a contact; the contact remembers when it was last heard from us."""

from collections.abc import Mapping
from typing import Any

from comms.credentials import Identity
from models.base import new_id, now
from models.crm import Contact, CrmInteraction


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
