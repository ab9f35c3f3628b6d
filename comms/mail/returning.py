"""A mail of ours that came back: its message says so, and who is not to be written to again is in the ledger."""

import uuid
from typing import Any

from comms import consent, delivery
from comms.events import Fact
from comms.mail.passage import Arrived
from comms.providers.codes import words_of
from models.base import new_id
from models.communications.consent import EVERYWHERE

_FIND = """
SELECT m.id, m.conversation_id, m.provider, m.provider_message_id, m.to_address FROM mails l
JOIN conversation_messages m ON m.workspace_id = l.workspace_id AND m.id = l.message_id
WHERE l.workspace_id = $1 AND l.rfc_message_id = $2 AND m.direction = 'outbound' AND m.deleted_at IS NULL
    AND (lower(m.to_address) = ANY($3) OR '' = ANY($3))
ORDER BY m.created_at LIMIT 1
"""

_KEEP = """
INSERT INTO mail_events (workspace_id, id, connection_id, provider_event_id, provider_message_id, message_id, kind,
    address, at, reason, data, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '{}', $9, $9)
ON CONFLICT (workspace_id, connection_id, provider_event_id) DO NOTHING
RETURNING id
"""


async def ours_in(db: Any, arrived: Arrived) -> Any:
    """The message of ours that the mail reports on; None when it reports on none that went to that address."""
    said = arrived.letter.returned
    if said is None:
        return None
    return await db.fetchrow(_FIND, arrived.workspace_id, said.message_id, _spellings(said.address))


def _spellings(address: str) -> list[str]:
    """The address as DNS writes its domain, and as people do."""
    local, at, domain = address.rpartition("@")
    try:
        return [address, f"{local}{at}{domain.encode('ascii').decode('idna').lower()}"]
    except UnicodeError:
        return [address]


async def note(db: Any, arrived: Arrived, ours: Any, message_id: uuid.UUID | None) -> list[Fact]:
    """What the mail ``message_id`` reports of ``ours`` is kept once, and moves it; what is to be told of it."""
    said = arrived.letter.returned
    assert said is not None
    provider_message_id = ours["provider_message_id"] or said.message_id
    proof = f"mail:{arrived.provider_message_id}"
    kept = await db.fetchval(
        _KEEP,
        arrived.workspace_id,
        new_id(),
        arrived.connection.id,
        proof,
        provider_message_id,
        ours["id"],
        said.kind,
        ours["to_address"].lower(),
        arrived.at,
        said.reason,
    )
    if kept is None:
        return []
    facts: list[Fact] = []
    if said.status is not None:
        report = delivery.Bare(
            workspace_id=arrived.workspace_id,
            message_id=ours["id"],
            provider=ours["provider"],
            provider_message_id=provider_message_id,
            reported=said.kind,
            status=said.status,
            error_code=said.code or (said.kind if said.kind != "deferred" else None),
            error_message=said.reason or words_of(said.code),
            reported_at=arrived.at,
            at=arrived.at,
        )
        facts += await delivery.note_without_receipts(db, [report])
    if said.suppresses is not None:
        word = consent.Word(
            workspace_id=arrived.workspace_id,
            address=ours["to_address"],
            sender=EVERYWHERE,
            says="stop",
            source=said.suppresses,
            channel="email",
            at=arrived.at,
            proof=proof,
            reason=said.reason,
            message_id=message_id,
        )
        _, more = await consent.note_on(db, [word])
        facts += more
    return facts
