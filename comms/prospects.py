"""Prospects move from stage to stage and become, once, a deal or a customer."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms import deals
from comms.errors import Conflict, Invalid
from models.base import new_id, now
from models.business import Customer
from models.crm import Contact, Deal, Prospect

PROBABILITY: Mapping[str, int] = {
    "new": 5,
    "contacted": 10,
    "qualified": 25,
    "proposal": 50,
    "negotiation": 75,
    "won": 100,
    "lost": 0,
}
"""What a prospect's chance is taken to be at a stage, until somebody knows better."""

DECIDED = ("won", "lost")

_DEAL_STAGE: Mapping[str, str] = {"proposal": "proposal", "negotiation": "negotiation", "won": "negotiation"}


class ProspectConverted(Conflict):
    """This prospect has become a deal or a customer."""

    def __init__(self, prospect: Prospect) -> None:
        what, row_id = ("deal", prospect.deal_id) if prospect.deal_id else ("customer", prospect.customer_id)
        became = f"the {what} {row_id}" if row_id else "a deal or a customer, which has been deleted since"
        super().__init__(f"this prospect has become {became}", conflicting_id=row_id)


def begin(workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Prospect:
    """A prospect, as likely as its stage is unless its probability is given."""
    given = dict(values)
    stage = given.get("stage", "new")
    if given.get("probability") is None:
        given["probability"] = PROBABILITY[stage]
    elif stage in DECIDED and given["probability"] != PROBABILITY[stage]:
        raise Invalid({"probability": f"is {PROBABILITY[stage]} when a prospect is {stage}"})
    return Prospect(workspace_id=workspace_id, id=new_id(), **given)


def change(prospect: Prospect, values: Mapping[str, Any]) -> None:
    """The prospect has these values; how likely a won or lost one is, is settled: ``Conflict``."""
    if prospect.stage in DECIDED and values.get("probability", prospect.probability) != prospect.probability:
        raise Conflict(f"this prospect is {prospect.stage}: move it to another stage first, if it can be")
    for name, value in values.items():
        setattr(prospect, name, value)


def move(prospect: Prospect, stage: str) -> bool:
    """The prospect is at this stage and as likely as it says; whether that is a step. ``ProspectConverted`` after."""
    _refuse_converted(prospect)
    if prospect.stage == stage:
        return False
    prospect.stage = stage
    prospect.probability = PROBABILITY[stage]
    return True


def become_deal(db: AsyncSession, prospect: Prospect, contact: Contact | None, name: str | None) -> Deal:
    """There is a deal that knows what the prospect knew, and the prospect is won."""
    _refuse_converted(prospect)
    _refuse_lost(prospect)
    deal = deals.begin(
        prospect.workspace_id,
        {
            "contact_id": prospect.contact_id,
            "name": name or name_of(contact),
            "value": prospect.value,
            "currency": prospect.currency,
            "stage": _DEAL_STAGE.get(prospect.stage, "qualification"),
            "expected_close_date": prospect.expected_close_date,
            "owner_id": prospect.owner_id,
            "source": prospect.source,
            "notes": prospect.notes,
        },
    )
    db.add(deal)
    prospect.deal_id = deal.id
    _win(prospect)
    return deal


def become_customer(db: AsyncSession, prospect: Prospect, contact: Contact | None, name: str | None) -> Customer:
    """There is a customer who is the prospect's contact, and the prospect is won."""
    _refuse_converted(prospect)
    _refuse_lost(prospect)
    customer = Customer(
        workspace_id=prospect.workspace_id,
        id=new_id(),
        contact_id=prospect.contact_id,
        name=name or name_of(contact),
        email=contact and contact.email,
        phone=contact and contact.phone,
        company=contact and contact.company,
        assigned_to=prospect.owner_id,
        tags=list(contact.tags) if contact else [],
        notes=prospect.notes,
        currency=prospect.currency,
    )
    db.add(customer)
    prospect.customer_id = customer.id
    _win(prospect)
    return customer


def name_of(contact: Contact | None) -> str:
    """What a deal or a customer is called after whom it is with."""
    if contact is None:
        return "Prospect"
    person = " ".join(part for part in (contact.first_name, contact.last_name) if part)
    return contact.company or person or contact.email or contact.phone or "Prospect"


def _win(prospect: Prospect) -> None:
    prospect.stage = "won"
    prospect.probability = PROBABILITY["won"]
    prospect.converted_at = now()


def _refuse_converted(prospect: Prospect) -> None:
    if prospect.converted_at is not None:
        raise ProspectConverted(prospect)


def _refuse_lost(prospect: Prospect) -> None:
    if prospect.stage == "lost":
        raise Conflict("this prospect is lost: move it to another stage first")
