"""Who wants to hear from us: the ledger, where each address stands, and what a person has to look at."""

import uuid
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import select

from comms.consent import by_hand
from comms.consent.addresses import whom
from comms.errors import Missing
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.communications import (
    EVERYWHERE,
    Consent,
    ConsentEntry,
    ConsentEntryView,
    ConsentView,
    OptOutReview,
    OptOutReviewView,
)
from models.communications.consent import Address
from models.communications.conversations import ConversationChannel
from models.crm import Contact, ContactPoint

consents = crud(
    "/consents",
    Consent,
    ConsentView,
    filters=("address", "sender", "state", "source", "channel"),
    verbs=READ,
)
entries = crud(
    "/consent-entries",
    ConsentEntry,
    ConsentEntryView,
    filters=("address", "sender", "says", "source", "message_id"),
    verbs=READ,
)
reviews = crud(
    "/opt-out-reviews",
    OptOutReview,
    OptOutReviewView,
    filters=("state", "address", "conversation_id", "message_id"),
    verbs=READ,
)


class NewConsentEntry(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What somebody has told a member about hearing from us."""

    address: Address
    says: Annotated[
        Literal["stop", "start"],
        msgspec.Meta(description="`stop`: write no more; `start`: write again.", examples=["stop"]),
    ]
    reason: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=1000,
            description="How the member knows.",
            examples=["She asked for it on the phone."],
        ),
    ]
    sender: Annotated[
        str,
        msgspec.Meta(
            description="From whom: a number or mail address of ours, a messaging service, or `*` for all of them.",
            examples=[EVERYWHERE],
        ),
    ] = EVERYWHERE
    channel: ConversationChannel | None = None


@post("/", operation_id="create_consent_entry", guards=[writer])
async def enter(db: Db, identity: Asker, data: JSONBody[NewConsentEntry]) -> ConsentEntryView:
    """Enter by hand that somebody wants to hear no more, or hear from us again, with the reason.

    The latter is for administrators. Where a carrier has blocked the address, only a START from it lifts that.
    """
    entry_id = await by_hand.enter(
        db,
        identity,
        address=data.address,
        sender=data.sender,
        says=data.says,
        reason=data.reason,
        channel=data.channel,
    )
    view: ConsentEntryView = entries.shown(await entries.find(db, identity, entry_id))
    return view


@post("/{row_id:uuid}/confirmation", operation_id="confirm_opt_out", guards=[writer])
async def confirm(db: Db, identity: Asker, row_id: RowId) -> OptOutReviewView:
    """They did ask us to stop: nothing more is sent to them from the number they wrote to."""
    row = await reviews.find(db, identity, row_id, to_change=True)
    await by_hand.confirm(db, identity, row)
    view: OptOutReviewView = reviews.shown(row)
    return view


@post(
    "/{row_id:uuid}/dismissal",
    operation_id="dismiss_opt_out",
    guards=[writer],
    problems={409: "It is confirmed already, and the ledger says so."},
)
async def dismiss(db: Db, identity: Asker, row_id: RowId) -> OptOutReviewView:
    """They did not ask us to stop: what is automatic may be sent to them again."""
    row = await reviews.find(db, identity, row_id, to_change=True)
    await by_hand.dismiss(db, identity, row)
    view: OptOutReviewView = reviews.shown(row)
    return view


@listed(consents, "/{contact_id:uuid}/consents", operation_id="list_consents_of_contact")
async def of_contact(
    request: Request, db: Db, identity: Asker, contact_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConsentView]:
    """Where a contact's addresses stand."""
    if await db.scalar(select(Contact.id).where(Contact.id == contact_id)) is None:
        raise Missing(f"There is no contact {contact_id} in this workspace.")
    theirs = await db.scalars(select(ContactPoint.value).where(ContactPoint.contact_id == contact_id))
    addresses = [whom(value) for value in theirs]  # a contact has few
    return await consents.listing.page(db, request, asked, Consent.address.in_(addresses))


routes = [
    consents.router(),
    entries.router(enter),
    reviews.router(confirm, dismiss),
    Router("/contacts", route_handlers=[of_contact]),
]
