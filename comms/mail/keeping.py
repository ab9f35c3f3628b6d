"""A mail is a message once, in the commit that counts it; its attachments are rows at once."""

from collections.abc import Mapping
from typing import Any

import msgspec

from comms import media, threads
from comms.events import Fact, changes, encode
from comms.mail.passage import Arrived, Place
from comms.media import parts
from models.base import new_id
from models.communications import ConversationMessageView, ConversationView, MessageAttachmentView

_KEEP = """
WITH held AS MATERIALIZED (
    SELECT c.workspace_id, c.id, c.status FROM conversations c WHERE c.workspace_id = $1 AND c.id = $3
    FOR NO KEY UPDATE OF c
),
kept AS (
    INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type, sender_type,
        sender_contact_id, metadata, status, provider, provider_message_id, connection_id, from_address, to_address,
        created_at, updated_at)
    SELECT held.workspace_id, $2, held.id, 'inbound', $6, $7, $8, $4, $9::jsonb, 'received', $10, $11, $5, $12, $13,
        $14, $14
    FROM held
    ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
    RETURNING workspace_id, id, conversation_id, created_at
),
moved AS (
    UPDATE conversations c SET
        message_count = c.message_count + 1,
        last_message_at = greatest(c.last_message_at, kept.created_at),
        status = CASE WHEN $15 AND c.status IN ('closed', 'archived') THEN 'active' ELSE c.status END,
        waiting_since = CASE WHEN $15 AND c.status IN ('closed', 'archived') AND c.waiting_since IS NOT NULL
            THEN kept.created_at ELSE c.waiting_since END,
        snoozed_until = CASE WHEN $15 THEN NULL ELSE c.snoozed_until END,
        updated_at = greatest(c.updated_at, kept.created_at)
    FROM kept WHERE c.workspace_id = kept.workspace_id AND c.id = kept.conversation_id
)
SELECT held.status, (SELECT id FROM kept) AS message_id,
    (SELECT m.id FROM conversation_messages m WHERE m.workspace_id = $1 AND m.provider = $10
        AND m.provider_message_id = $11) AS twin_id
FROM held
"""

_MAIL = """
INSERT INTO mails (workspace_id, id, message_id, mail_address_id, rfc_message_id, in_reply_to, reference_ids, subject,
    sender_name, sender_address, to_addresses, cc_addresses, html, quoted, has_remote_images, is_cut, is_verified, spf,
    dkim, automatic, threaded_by, sender_differs, spam_score, written_at, created_at, updated_at, reply_to)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25, $25, $26)
"""


async def keep(db: Any, arrived: Arrived, place: Place) -> list[Fact]:
    """The mail is a message of its conversation; should somebody else have kept it in this instant, theirs is."""
    letter = arrived.letter
    view = _view(arrived, place)
    is_of_a_person = place.automatic in (None, "list", "bulk")
    row = await db.fetchrow(
        _KEEP,
        arrived.workspace_id,
        view.id,
        place.conversation_id,
        place.contact_id,
        arrived.connection.id,
        view.content,
        view.content_type,
        view.sender_type,
        encode(view.meta).decode(),
        view.provider,
        view.provider_message_id,
        view.from_address,
        view.to_address,
        arrived.at,
        is_of_a_person,
    )
    if row is None or (row["message_id"] is None and (place.opened or row["twin_id"] is None)):
        raise threads.Contended  # the conversation has just gone, or would stay empty beside its twin's
    place.message_id = row["message_id"] or row["twin_id"]
    if row["message_id"] is None:
        return []
    await db.execute(
        _MAIL,
        arrived.workspace_id,
        new_id(),
        view.id,
        place.address_id,
        letter.message_id,
        letter.in_reply_to,
        list(letter.references),
        letter.subject,
        letter.sender.name or None,
        letter.sender.address,
        list(letter.to),
        list(letter.cc),
        letter.html,
        letter.quoted,
        letter.has_remote_images,
        letter.is_cut,
        letter.is_verified,
        letter.proofs.spf,
        letter.proofs.dkim,
        place.automatic,
        place.by,
        place.sender_differs,
        letter.spam_score,
        letter.written_at,
        arrived.at,
        letter.reply_to,
    )
    view.attachments = await _attach(db, arrived, view)
    if row["status"] == "spam":
        return []  # it swallows without notice to anyone
    facts = []
    if is_of_a_person and row["status"] in ("closed", "archived"):
        facts.append(await _reopened(db, arrived, place, row["status"]))
    return [*facts, _received(arrived, place, view)]


def _view(arrived: Arrived, place: Place) -> ConversationMessageView:
    letter = arrived.letter
    provider: Any = arrived.connection.provider
    assert place.conversation_id is not None
    return ConversationMessageView(
        id=new_id(),
        conversation_id=place.conversation_id,
        direction="inbound",
        content=letter.said,
        content_type="media" if letter.files and not letter.said else "text",
        sender_type="system" if place.automatic in ("bounce", "own") else "contact",
        sender_id=place.contact_id,
        meta=place.metadata(letter),
        status="received",
        provider=provider,
        provider_message_id=arrived.provider_message_id,
        from_address=arrived.sender.value or None,
        to_address=place.address,
        created_at=arrived.at,
        updated_at=arrived.at,
    )


async def _attach(db: Any, arrived: Arrived, view: ConversationMessageView) -> list[MessageAttachmentView]:
    return await media.announce(
        db,
        [
            media.Announced(
                workspace_id=arrived.workspace_id,
                message_id=view.id,
                connection_id=arrived.connection.id,
                position=position,
                source_url=parts.written(parts.Stored(arrived.storage_key, file.start, file.length, file.encoding)),
                declared_type=file.content_type,
                file_name=file.name,
                content_id=file.content_id,
                at=arrived.at,
            )
            for position, file in enumerate(arrived.letter.files)
        ],
    )


def _received(arrived: Arrived, place: Place, view: ConversationMessageView) -> Fact:
    return Fact(
        workspace_id=arrived.workspace_id,
        event="message.received",
        subject_type="message",
        subject_id=view.id,
        conversation_id=view.conversation_id,
        actor_type="system" if view.sender_type == "system" else "contact",
        actor_id=place.contact_id,
        at=arrived.at,
        data=encode(view),
    )


async def _reopened(db: Any, arrived: Arrived, place: Place, was: Any) -> Fact:
    """Told as the conversation stood before the message that follows in the log was counted."""
    row: Mapping[str, Any] = await db.fetchrow(
        "SELECT * FROM conversations WHERE workspace_id = $1 AND id = $2", arrived.workspace_id, place.conversation_id
    )
    fields = {name: row[name] for name in ConversationView.__struct_fields__} | {
        "message_count": row["message_count"] - 1
    }
    view = ConversationView(**fields)
    return Fact(
        workspace_id=arrived.workspace_id,
        event="conversation.reopened",
        subject_type="conversation",
        subject_id=row["id"],
        conversation_id=row["id"],
        at=row["updated_at"],
        data=encode(view),
        changes=changes(msgspec.structs.replace(view, status=was), view),
    )
