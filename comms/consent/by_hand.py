"""What members say about consent: an entry of their own with a reason, and what plain words have meant."""

import uuid
from typing import Literal

import msgspec
from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.consent.addresses import whose
from comms.consent.ledger import Word, note
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid
from comms.events import Actor
from comms.permissions import ADMINISTRATORS
from comms.providers.addresses import read_address
from comms.providers.base import AddressKind
from models.base import new_id, now
from models.communications import EVERYWHERE, OptOutReview, OptOutReviewView, WorkspaceMailAddress, WorkspacePhoneNumber
from models.communications.conversations import ConversationChannel
from models.types import Email

_WRITES = (AddressKind.PHONE, AddressKind.SHORT_CODE, AddressKind.MESSENGER, AddressKind.RCS)


async def enter(
    db: AsyncSession,
    member: Identity,
    *,
    address: str,
    sender: str,
    says: Literal["stop", "start"],
    reason: str,
    channel: ConversationChannel | None,
) -> uuid.UUID:
    """The ledger's newest word about the address is this member's; the id of the entry.

    That somebody wants to hear from us again is for administrators to say.
    """
    await _check(db, address, sender, reason)
    if says == "start" and member.role not in ADMINISTRATORS:
        raise Forbidden("Only an administrator may enter that somebody wants to hear from us again.")
    (noted,) = await note(
        db,
        [
            Word(
                workspace_id=member.workspace_id,
                address=address,
                sender=sender,
                says=says,
                source="person",
                channel=channel or ("email" if "@" in address else "sms"),
                at=now(),
                proof=f"member:{new_id()}",
                reason=reason.strip(),
                recorded_by=member.user_id,
                actor=Actor("user", member.user_id),
            )
        ],
    )
    assert noted.entry_id is not None  # its proof is its own
    return noted.entry_id


async def _check(db: AsyncSession, address: str, sender: str, reason: str) -> None:
    wrong: dict[str, str] = {}
    if "@" in address:
        try:
            Email().normalise(address)
        except ValueError as error:
            wrong["address"] = str(error)
    elif read_address(address).kind not in _WRITES:
        wrong["address"] = "is neither a phone number in international form nor an e-mail address"
    if not reason.strip():
        wrong["reason"] = "must not be empty"
    if sender != EVERYWHERE and await db.scalar(_ours(sender)) is None:
        wrong["sender"] = "is no number, no messaging service and no mail address of this workspace"
    if wrong:
        raise Invalid(wrong)


def _ours(sender: str) -> Select[uuid.UUID]:
    if "@" in sender:
        return select(WorkspaceMailAddress.id).where(func.lower(WorkspaceMailAddress.address) == whose(sender)).limit(1)
    number = WorkspacePhoneNumber
    return select(number.id).where(
        or_(number.phone_number == whose(sender), number.messaging_service_sid == sender)
    ).limit(1)  # fmt: skip


async def confirm(db: AsyncSession, member: Identity, review: OptOutReview) -> None:
    """They did ask us to stop: the ledger says so, as of their message. ``review`` is locked."""
    if review.state == "confirmed":
        return
    await note(
        db,
        [
            Word(
                workspace_id=review.workspace_id,
                address=review.address,
                sender=review.sender,
                says="stop",
                source="review",
                channel=review.channel,  # type: ignore[arg-type]  # a CHECK holds it to its values
                at=review.created_at,
                proof=f"review:{review.id}",
                words=review.words,
                message_id=review.message_id,
                conversation_id=review.conversation_id,
                recorded_by=member.user_id,
                actor=Actor("user", member.user_id),
            )
        ],
    )
    await _decide(db, member, review, "confirmed")


async def dismiss(db: AsyncSession, member: Identity, review: OptOutReview) -> None:
    """They did not ask us to stop. ``review`` is locked; ``Conflict`` when it is confirmed already."""
    if review.state == "confirmed":
        raise Conflict(
            "This is confirmed, and the ledger says so. Should it be wrong, POST /consent-entries with says: start."
        )
    if review.state == "open":
        await _decide(db, member, review, "dismissed")


async def _decide(db: AsyncSession, member: Identity, review: OptOutReview, state: str) -> None:
    before = msgspec.convert(review, OptOutReviewView, from_attributes=True)
    review.state, review.decided_at, review.decided_by = state, now(), member.user_id
    await db.flush()
    view = msgspec.convert(review, OptOutReviewView, from_attributes=True)
    events.record(db, f"opt_out_review.{state}", review, view, before=before)
