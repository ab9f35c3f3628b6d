"""Files that come with a message: uploads, which in a private channel only those who belong to it get."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs
from comms.credentials import Identity
from comms.errors import Invalid, Missing
from comms.media.announcements import REMOVE
from models.base import new_id
from models.communications import (
    TeamAttachment,
    TeamChannel,
    TeamMessage,
    TeamMessageAttachment,
    Upload,
    UploadView,
)

MOST = 10


async def taken_in(
    db: AsyncSession,
    sender: Identity,
    channel: TeamChannel,
    message_id: uuid.UUID,
    upload_ids: Sequence[uuid.UUID],
) -> list[TeamMessageAttachment]:
    """The rows, not yet written, of the uploads that come with the message; ``Invalid`` names who are none.

    What everybody could see and comes into a private channel is no upload any more: only its attachment is left.
    """
    if len(upload_ids) > MOST:
        raise Invalid({"attachmentIds": f"are more than {MOST}"})
    if not upload_ids:
        return []
    # Held: who deletes an upload now either comes before, or leaves the file to us.
    rows = await db.scalars(
        select(Upload)
        .where(
            Upload.workspace_id == sender.workspace_id,
            Upload.id.in_(upload_ids),
            or_(~Upload.is_private, Upload.uploaded_by == sender.user_id),
        )
        .order_by(Upload.id)
        .with_for_update(read=not channel.is_private)
    )
    uploads = {row.id: row for row in rows}
    errors = {
        f"attachmentIds[{place}]": "refers to no upload in this workspace"
        for place, upload_id in enumerate(upload_ids)
        if upload_id not in uploads
    }
    if errors:
        raise Invalid(errors)
    if channel.is_private:
        for row in uploads.values():
            if not row.is_private:
                await _take_away(db, row)
    return [
        TeamMessageAttachment(
            workspace_id=sender.workspace_id,
            id=new_id(),
            message_id=message_id,
            **{name: getattr(uploads[upload_id], name) for name in _COPIED},
        )
        for upload_id in dict.fromkeys(upload_ids)
    ]


_COPIED = ("file_name", "content_type", "size", "sha256", "storage_key")


def shown(files: Sequence[TeamMessageAttachment]) -> list[Any]:
    """The files as their message shows them."""
    return [
        msgspec.to_builtins(TeamAttachment(row.id, row.file_name, row.content_type, row.size, row.sha256))
        for row in files
    ]


async def attachment_of(db: AsyncSession, message: TeamMessage, attachment_id: uuid.UUID) -> TeamMessageAttachment:
    """A file of the message; raises ``Missing``."""
    row = await db.get(TeamMessageAttachment, (message.workspace_id, attachment_id))
    if row is None or row.message_id != message.id:
        raise Missing(f"There is no attachment {attachment_id} of this message.")
    return row


async def remove_files(db: AsyncSession, message: TeamMessage) -> None:
    """What was attached is gone, and a job removes the files that nobody else has."""
    keys = await db.scalars(
        delete(TeamMessageAttachment)
        .where(
            TeamMessageAttachment.workspace_id == message.workspace_id, TeamMessageAttachment.message_id == message.id
        )
        .returning(TeamMessageAttachment.storage_key)
        .execution_options(synchronize_session=False)
    )
    await jobs.enqueue(db, REMOVE, [{"storageKey": key} for key in keys])


async def remove_all_files(db: AsyncSession, channel: TeamChannel) -> None:
    """A job removes the files of all that was said in a channel that is about to go."""
    keys = await db.scalars(
        select(TeamMessageAttachment.storage_key)
        .join(
            TeamMessage,
            (TeamMessage.workspace_id == TeamMessageAttachment.workspace_id)
            & (TeamMessage.id == TeamMessageAttachment.message_id),
        )
        .where(TeamMessage.workspace_id == channel.workspace_id, TeamMessage.channel_id == channel.id)
    )
    await jobs.enqueue(db, REMOVE, [{"storageKey": key} for key in keys])


async def _take_away(db: AsyncSession, row: Upload) -> None:
    view = msgspec.convert(row, UploadView, from_attributes=True)
    await db.delete(row)
    events.record(db, "upload.deleted", row, view)
