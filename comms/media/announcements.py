"""A message says what is attached to it: each item is a row at once, and a job to fetch it."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms import jobs
from models.base import new_id
from models.communications import MessageAttachmentView

FETCH = "media.fetch"
REMOVE = "media.remove"


class Announced(msgspec.Struct, frozen=True, gc=False):
    """One item of a message, as the provider names it; ``at`` is when the message came."""

    workspace_id: uuid.UUID
    message_id: uuid.UUID
    connection_id: uuid.UUID | None
    position: int
    source_url: str
    declared_type: str | None
    at: datetime
    file_name: str | None = None
    content_id: str | None = None


_ANNOUNCE = """
INSERT INTO message_attachments (workspace_id, id, message_id, connection_id, position, source_url, declared_type,
    file_name, content_id, state, attempts, next_attempt_at, created_at, updated_at)
SELECT workspace_id, id, message_id, connection_id, position, source_url, declared_type, file_name, content_id,
    'pending', 0, at, at, at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::text[], $8::timestamptz[],
            $9::text[], $10::text[])
    AS n (workspace_id, id, message_id, connection_id, position, source_url, declared_type, at, file_name, content_id)
"""


async def announce(db: Any, items: Sequence[Announced]) -> list[MessageAttachmentView]:
    """Every item is a pending attachment and a job to fetch it, if the transaction of the asyncpg connection commits.

    The views are in the order of ``items``.
    """
    if not items:
        return []
    views = [_view(item) for item in items]
    await db.execute(
        _ANNOUNCE,
        [item.workspace_id for item in items],
        [view.id for view in views],
        [item.message_id for item in items],
        [item.connection_id for item in items],
        [item.position for item in items],
        [item.source_url.replace("\x00", "") for item in items],
        [view.declared_type for view in views],
        [item.at for item in items],
        [item.file_name for item in items],
        [item.content_id for item in items],
    )
    await jobs.enqueue(
        db,
        FETCH,
        [{"workspaceId": item.workspace_id, "attachmentId": view.id} for item, view in zip(items, views, strict=True)],
    )
    return views


def _view(item: Announced) -> MessageAttachmentView:
    return MessageAttachmentView(
        id=new_id(),
        message_id=item.message_id,
        position=item.position,
        declared_type=None if item.declared_type is None else item.declared_type.replace("\x00", ""),
        file_name=item.file_name,
        content_id=item.content_id,
        next_attempt_at=item.at,
        created_at=item.at,
        updated_at=item.at,
    )
