"""An announced attachment becomes a stored one, or says why it did not."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs, metrics
from comms.database import Database
from comms.directory import Directory, DirectoryUnknown
from comms.media import parts
from comms.media.announcements import FETCH
from comms.media.downloads import Downloads
from comms.media.keeping import NotKept, Store, Unkept
from comms.media.kinds import HEAD, content_type_of
from comms.media.sources import Failed
from comms.outside import Delayed, Refused, Unasked
from comms.settings import MediaSettings
from models.communications import (
    Conversation,
    ConversationMessage,
    MessageAttachment,
    MessageAttachmentView,
    TeamMessageAttachment,
    Upload,
)

log = structlog.get_logger(__name__)

BACK_OFF_SECONDS = (10, 30, 120, 600, 3600, 4 * 3600, 12 * 3600)  # between eight tries
TOTAL_SECONDS = 60.0
LEASE = timedelta(seconds=90)  # longer than a try can take
OVERDUE = timedelta(minutes=10)


class Lease(msgspec.Struct, frozen=True):
    """The right to fetch one attachment, for a while; ``attempt`` tells it from an earlier one.

    ``before`` is how the attachment looked until then: what comes of it is told as a change since.
    """

    workspace_id: uuid.UUID
    attachment_id: uuid.UUID
    conversation_id: uuid.UUID
    connection_id: uuid.UUID | None
    provider: str
    source_url: str
    attempt: int
    before: MessageAttachmentView

    @property
    def storage_key(self) -> str:
        return f"{self.workspace_id}/{self.attachment_id}"


class Media:
    """Fetches attachments into the object store, and reads them from there."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        settings: MediaSettings,
        *,
        back_off_seconds: Sequence[float] = BACK_OFF_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._database = database
        self._directory = directory
        self._downloads = Downloads(settings)
        self._store = Store(settings.url)
        self._max_bytes = settings.max_bytes
        self._back_off = back_off_seconds
        self._total_seconds = total_seconds

    async def fetch(self, workspace_id: uuid.UUID, attachment_id: uuid.UUID) -> None:
        """The attachment is stored and told, or it is known when it is tried again, or why never.

        Nothing happens when it is no longer pending; when somebody else is at it, the job comes back after their time.
        """
        lease = await self._lease(workspace_id, attachment_id)
        if lease is None:
            return
        try:
            facts = await self._try(lease)
        except Unasked as reason:
            await self._settle(lease, **self._consequence(lease, reason))
            return
        if not await self._settle(lease, state="stored", error=None, next_attempt_at=None, **facts):
            await self._remove_orphan(lease)

    async def open(self, attachment: MessageAttachment) -> tuple[AsyncIterator[bytes], str, int]:
        """The content of a stored attachment in pieces, its type and its size; ``NotKept`` if it is not stored."""
        if attachment.storage_key is None or attachment.content_type is None or attachment.size is None:
            raise NotKept(f"This attachment is {attachment.state}.")
        return await self._store.open(attachment.storage_key), attachment.content_type, attachment.size

    async def keep(self, storage_key: str, content: AsyncIterator[bytes]) -> None:
        """The store has ``content`` under this key; ``Unkept`` if it does not take it."""
        await self._store.keep(storage_key, content)

    async def read(self, storage_key: str) -> AsyncIterator[bytes]:
        """What ``keep`` has kept, in pieces; ``NotKept`` if it is not there."""
        return await self._store.open(storage_key)

    async def remove(self, storage_key: str) -> None:
        """The store has no longer the file of a row that is gone; unless another message has it too, or an upload."""
        async with self._database.everywhere() as db:
            for table in (MessageAttachment, TeamMessageAttachment, Upload):
                if await db.scalar(select(table.id).where(table.storage_key == storage_key).limit(1)) is not None:
                    return
        await self._store.remove(storage_key)

    async def recall(self) -> int:
        """Attachments long overdue, whose job was lost or held, have a job again; how many those were."""
        async with self._database.everywhere() as db:
            overdue = (
                await db.execute(
                    update(MessageAttachment)
                    .where(
                        MessageAttachment.state == "pending",
                        MessageAttachment.next_attempt_at < func.now() - OVERDUE,
                    )
                    .values(next_attempt_at=func.now(), updated_at=MessageAttachment.updated_at)
                    .returning(MessageAttachment.workspace_id, MessageAttachment.id)
                    .execution_options(synchronize_session=False)
                )
            ).all()
            await jobs.enqueue(db, FETCH, [_payload(row.workspace_id, row.id) for row in overdue])
        return len(overdue)

    async def _lease(self, workspace_id: uuid.UUID, attachment_id: uuid.UUID) -> Lease | None:
        is_due = or_(
            MessageAttachment.attempts == 0,
            MessageAttachment.next_attempt_at.is_(None),
            MessageAttachment.next_attempt_at <= func.now(),
        )
        wait_seconds = func.extract("epoch", MessageAttachment.next_attempt_at - func.now())
        async with self._database.everywhere() as db:
            found = (
                await db.execute(
                    select(
                        MessageAttachment,
                        ConversationMessage.conversation_id,
                        ConversationMessage.provider,
                        is_due,
                        wait_seconds,
                    )
                    .join(
                        ConversationMessage,
                        (ConversationMessage.workspace_id == MessageAttachment.workspace_id)
                        & (ConversationMessage.id == MessageAttachment.message_id),
                    )
                    .where(
                        MessageAttachment.workspace_id == workspace_id,
                        MessageAttachment.id == attachment_id,
                        MessageAttachment.state == "pending",
                    )
                    .with_for_update(of=MessageAttachment)
                )
            ).one_or_none()
            if found is None:
                return None
            row, conversation_id, provider, due, wait = found
            assert conversation_id is not None  # what was attached goes with a deleted message
            if not due:
                await jobs.enqueue(db, FETCH, [_payload(workspace_id, attachment_id)], delay_seconds=float(wait))
                return None
            before = msgspec.convert(row, MessageAttachmentView, from_attributes=True)
            await db.execute(
                update(MessageAttachment)
                .where(MessageAttachment.workspace_id == workspace_id, MessageAttachment.id == attachment_id)
                .values(
                    attempts=row.attempts + 1,
                    next_attempt_at=func.now() + LEASE,
                    updated_at=MessageAttachment.updated_at,
                )
                .execution_options(synchronize_session=False)
            )
            return Lease(
                workspace_id=workspace_id,
                attachment_id=attachment_id,
                conversation_id=conversation_id,
                connection_id=row.connection_id,
                provider=provider or "",
                source_url=row.source_url,
                attempt=row.attempts + 1,
                before=before,
            )

    async def _try(self, lease: Lease) -> dict[str, Any]:
        """What is to be said of the content, which is in the store now."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._download(lease)
        except Unasked:
            raise
        except TimeoutError as error:
            raise Delayed(f"it took longer than {self._total_seconds:g} seconds") from error
        except DirectoryUnknown as error:
            raise Delayed("the connection's credentials are not known just now") from error
        except Unkept as error:
            raise Delayed(f"the store did not take it ({error})") from error
        except Exception as error:
            failure = jobs.JobFailed(error)
            log.error("media.unexpected", attachment_id=str(lease.attachment_id), error=str(failure))
            raise Delayed(f"something unexpected happened ({type(error).__name__})") from error

    async def _download(self, lease: Lease) -> dict[str, Any]:
        head = bytearray()
        sha256 = hashlib.sha256()
        size = 0

        async def observed(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in content:
                if len(head) < HEAD:
                    head.extend(chunk[: HEAD - len(head)])
                sha256.update(chunk)
                size += len(chunk)
                yield chunk

        # A mail's sources are ours; any other is what a webhook says, and would name what another workspace keeps.
        part = parts.find(lease.source_url) if lease.provider == parts.PROVIDER else None
        if part is not None:
            await self._store.keep(lease.storage_key, observed(await self._part(part)))
        else:
            credentials = await self._credentials(lease.connection_id)
            async with self._downloads.open(lease.provider, lease.source_url, credentials) as content:
                await self._store.keep(lease.storage_key, observed(content))
        return {
            "content_type": content_type_of(bytes(head)),
            "size": size,
            "sha256": sha256.hexdigest(),
            "storage_key": lease.storage_key,
        }

    async def _part(self, part: parts.Stored) -> AsyncIterator[bytes]:
        """What came with a mail, out of the mail as it is kept."""
        if part.length == 0:
            return parts.nothing()
        try:
            content = await self._store.open(part.key, (part.start, part.start + part.length))
        except NotKept as error:
            raise Failed("the mail it came with is no longer kept") from error
        return parts.decoded(part, content)

    async def _credentials(self, connection_id: uuid.UUID | None) -> Any:
        connection = await self._directory.look_up(str(connection_id)) if connection_id else None
        return connection.credentials if connection else None

    def _consequence(self, lease: Lease, reason: Unasked) -> dict[str, Any]:
        error = str(reason).replace("\x00", "")[:500]
        if isinstance(reason, Delayed) and lease.attempt <= len(self._back_off):
            pause = timedelta(seconds=self._back_off[lease.attempt - 1])
            return {"state": "pending", "error": error, "next_attempt_at": func.now() + pause}
        if isinstance(reason, Delayed):
            error += f"; given up after {lease.attempt} tries"
        state = "refused" if isinstance(reason, Refused) else "failed"
        return {"state": state, "error": error, "next_attempt_at": None}

    async def _settle(self, lease: Lease, **values: Any) -> bool:
        """The row says what came of the lease, and everybody is told; False if it is no longer the current one."""
        async with self._database.everywhere() as db:
            row = (
                await db.scalars(
                    update(MessageAttachment)
                    .where(
                        MessageAttachment.workspace_id == lease.workspace_id,
                        MessageAttachment.id == lease.attachment_id,
                        MessageAttachment.state == "pending",
                        MessageAttachment.attempts == lease.attempt,
                    )
                    .values(**values)
                    .returning(MessageAttachment)
                    .execution_options(synchronize_session=False)
                )
            ).one_or_none()
            if row is None:
                return False
            outcome = "delayed" if row.state == "pending" else row.state
            if outcome == "delayed":
                delay = self._back_off[lease.attempt - 1]
                payload = _payload(lease.workspace_id, lease.attachment_id)
                await jobs.enqueue(db, FETCH, [payload], delay_seconds=delay)
            if not await self._is_spam(db, lease):
                view = msgspec.convert(row, MessageAttachmentView, from_attributes=True)
                events.record(
                    db,
                    f"attachment.{outcome}",
                    row,
                    view,
                    before=lease.before,
                    at=row.updated_at,
                    conversation_id=lease.conversation_id,
                )
        metrics.MEDIA.labels(outcome).inc()
        level = log.info if outcome == "stored" else log.warning
        level(
            f"media.{outcome}",
            workspace_id=str(lease.workspace_id),
            attachment_id=str(lease.attachment_id),
            attempt=lease.attempt,
            reason=values["error"],
        )
        return True

    async def _is_spam(self, db: AsyncSession, lease: Lease) -> bool:
        """Whether nobody is told of what belongs to this conversation."""
        return (
            await db.scalar(
                select(Conversation.status).where(
                    Conversation.workspace_id == lease.workspace_id, Conversation.id == lease.conversation_id
                )
            )
            == "spam"
        )

    async def _remove_orphan(self, lease: Lease) -> None:
        """What was stored for a row that has been deleted meanwhile does not stay."""
        async with self._database.everywhere() as db:
            row = await db.get(MessageAttachment, (lease.workspace_id, lease.attachment_id))
        if row is None:
            await self._store.remove(lease.storage_key)


def _payload(workspace_id: uuid.UUID, attachment_id: uuid.UUID) -> dict[str, uuid.UUID]:
    return {"workspaceId": workspace_id, "attachmentId": attachment_id}
