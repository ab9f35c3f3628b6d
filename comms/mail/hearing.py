"""What people write by mail about hearing from us: the few words that mean nothing else, and plain ones for a member.

A mail is no text message: "yes", "cancel" or "help" are answers there, and nothing is confirmed. Only whoever is known
to be who they say is heard, and no program.
"""

from typing import Any

from comms import consent
from comms.consent.hearing import Plain, ask_for_review
from comms.consent.keywords import said_in
from comms.events import Actor, Fact
from comms.mail.passage import Arrived, Place

SUBJECT = "unsubscribe"
"""The subject of a mail that unsubscribes, whatever is in it: what a mail program's own button writes."""

_STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "OPTOUT"})


async def hear(db: Any, arrived: Arrived, place: Place) -> list[Fact]:
    """What the mail says is in the ledger, about the address it was sent to, or waits for a member."""
    letter = arrived.letter
    is_theirs = letter.is_verified or place.by == "token"
    if place.automatic is not None or not is_theirs or not arrived.sender.is_identity:
        return []
    is_button = letter.subject.strip().lower() == SUBJECT
    said = said_in(SUBJECT if is_button else letter.said, {})
    if said is None or said.says != "stop":
        return []
    if said.plainly:
        plain = Plain(
            workspace_id=arrived.workspace_id,
            message_id=place.message_id,
            conversation_id=place.conversation_id,
            address=arrived.sender.value,
            sender=place.address,
            channel="email",
            words=said.words,
            at=arrived.at,
        )
        return await ask_for_review(db, [plain])
    if said.words not in _STOP:
        return []
    word = consent.Word(
        workspace_id=arrived.workspace_id,
        address=arrived.sender.value,
        sender=place.address,
        says="stop",
        source="unsubscribe",
        channel="email",
        at=arrived.at,
        proof=f"message:{arrived.connection.provider}:{arrived.provider_message_id}",
        words=said.words,
        message_id=place.message_id,
        conversation_id=place.conversation_id,
        actor=Actor("contact", place.contact_id),
    )
    _, facts = await consent.note_on(db, [word])
    return facts
