"""A file that a member brings: kept in the object store, to be sent along with messages."""

import hashlib
import uuid
from collections.abc import AsyncIterator

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs
from comms.database import Database
from comms.errors import Invalid, Missing
from comms.events import Actor
from comms.media.announcements import REMOVE
from comms.media.fetching import Media
from comms.media.kinds import HEAD, content_type_of
from models.base import new_id
from models.communications import Upload, UploadView


class UploadMissing(Missing):
    """There is no such upload in this workspace."""


async def upload(
    database: Database,
    media: Media,
    workspace_id: uuid.UUID,
    user_id: uuid.UUID,
    content: bytes,
    name: str | None,
    *,
    is_private: bool = False,
) -> UploadView:
    """The file is kept, and told as ``upload.created``, to who brings it alone if it is private.

    Raises ``Invalid`` for an empty one.

    The store has it first: whoever dies in between leaves a file that no row names, and never a row without its file.
    """
    if not content:
        raise Invalid({"file": "must not be empty"})

    async def whole() -> AsyncIterator[bytes]:
        yield content

    upload_id = new_id()
    storage_key = f"{workspace_id}/{upload_id}"
    await media.keep(storage_key, whole())
    row = Upload(
        workspace_id=workspace_id,
        id=upload_id,
        uploaded_by=user_id,
        file_name=name,
        content_type=content_type_of(content[:HEAD]),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_key=storage_key,
        is_private=is_private,
    )
    async with database.workspace(workspace_id, Actor("user", user_id)) as db:
        db.add(row)
        await db.flush()
        view = msgspec.convert(row, UploadView, from_attributes=True)
        events.record(db, "upload.created", row, view, audience=[user_id] if is_private else None)
    return view


async def remove(db: AsyncSession, workspace_id: uuid.UUID, upload_id: uuid.UUID) -> None:
    """The upload is gone, and its file once no message carries it; told as ``upload.deleted``."""
    row = await db.scalar(
        select(Upload).where(Upload.workspace_id == workspace_id, Upload.id == upload_id).with_for_update()
    )
    if row is None:
        raise UploadMissing
    view = msgspec.convert(row, UploadView, from_attributes=True)
    await db.delete(row)
    await db.flush()
    await jobs.enqueue(db, REMOVE, [{"storageKey": row.storage_key}])
    events.record(
        db, "upload.deleted", row, view, audience=[row.uploaded_by] if row.is_private and row.uploaded_by else None
    )
