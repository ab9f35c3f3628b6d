"""Messages as GET shows them, of rows that a statement returns whole."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from models.communications import ConversationMessageView, MessageAttachmentView


async def views_of(db: Any, rows: Sequence[Any]) -> list[ConversationMessageView]:
    """Messages as GET shows them, of rows that hold a whole ``message`` and whether it ``has_attachments``."""
    attached = [row["message"] for row in rows if row["has_attachments"]]
    attachments = await _attachments_of(db, attached) if attached else {}
    return [_view(row["message"], attachments.get(row["message"]["id"], [])) for row in rows]


_PLAIN_FIELDS = [name for name in ConversationMessageView.__struct_fields__ if name not in ("meta", "attachments")]


def _view(row: Any, attachments: list[MessageAttachmentView]) -> ConversationMessageView:
    return ConversationMessageView(
        **{name: row[name] for name in _PLAIN_FIELDS},
        meta=msgspec.json.decode(row["metadata"]),
        attachments=attachments,
    )


async def _attachments_of(db: Any, messages: Sequence[Any]) -> dict[uuid.UUID, list[MessageAttachmentView]]:
    attachments: dict[uuid.UUID, list[MessageAttachmentView]] = {}
    rows = await db.fetch(
        "SELECT a.* FROM unnest($1::uuid[], $2::uuid[]) AS i (workspace_id, message_id)"
        " JOIN message_attachments a USING (workspace_id, message_id) ORDER BY a.message_id, a.position",
        [message["workspace_id"] for message in messages],
        [message["id"] for message in messages],
    )
    for row in rows:
        view = MessageAttachmentView(**{name: row[name] for name in MessageAttachmentView.__struct_fields__})
        attachments.setdefault(row["message_id"], []).append(view)
    return attachments
