"""A kept webhook, done again: by the worker after a failure, by a person once what was missing exists."""

import asyncio
import uuid
from datetime import timedelta

import structlog
from sqlalchemy import select

from comms import arrivals, delivery, jobs, receipts
from comms.calls.taking import Calls
from comms.database import Database
from comms.directory import Connection, Directory
from comms.groups import Groups
from comms.mail import events as mail_events
from comms.mail import passage
from comms.mail.intake import Intake
from comms.providers import DIALECTS, wire
from comms.providers.base import Request
from models.base import now
from models.communications import WebhookReceipt

log = structlog.get_logger(__name__)

OVERDUE = timedelta(minutes=10)


class Replays:
    """Takes receipts through the same stories as the webhooks they were kept of."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        messages: Groups[arrivals.Arrival, arrivals.Received],
        reports: Groups[delivery.Reported, delivery.Noted],
        calls: Calls,
        mails: Intake,
        mail_events: Groups[mail_events.Batch, mail_events.Kept],
    ) -> None:
        self._database = database
        self._directory = directory
        self._messages = messages
        self._reports = reports
        self._calls = calls
        self._mails = mails
        self._mail_events = mail_events
        self._few_at_once = asyncio.Semaphore(4)

    async def replay(self, workspace_id: uuid.UUID, receipt_id: uuid.UUID) -> WebhookReceipt | None:
        """The receipt after another try; a processed one is left alone. None when the workspace has no such receipt."""
        receipt = await self._find(workspace_id, receipt_id)
        if receipt is None or receipt.state == "processed":
            return receipt
        await self._again(receipt)
        return await self._find(workspace_id, receipt_id)

    async def retry(self, workspace_id: uuid.UUID, receipt_id: uuid.UUID) -> None:
        """What failed and is due has been tried again; unmapped receipts wait for a person."""
        receipt = await self._find(workspace_id, receipt_id)
        if receipt is None or receipt.state != "failed":
            return
        if receipt.next_attempt_at is not None and receipt.next_attempt_at > now() + timedelta(seconds=1):
            return  # it failed again meanwhile, and another bell will ring
        await self._again(receipt)

    async def recall(self) -> None:
        """Failed receipts whose bell was lost are rung for again."""
        async with self._database.everywhere() as db:
            overdue = await db.execute(
                select(WebhookReceipt.workspace_id, WebhookReceipt.id)
                .where(WebhookReceipt.state == "failed", WebhookReceipt.next_attempt_at < now() - OVERDUE)
                .order_by(WebhookReceipt.next_attempt_at)
                .limit(100)
            )
            bells = [{"workspaceId": row.workspace_id, "receiptId": row.id} for row in overdue]
            if bells:
                await jobs.enqueue(db, receipts.RETRY, bells)

    async def _again(self, receipt: WebhookReceipt) -> None:
        connection = self._directory.find(str(receipt.connection_id)) or Connection(
            id=receipt.connection_id, workspace_id=receipt.workspace_id, provider=receipt.provider, credentials=None
        )
        request = Request(method=receipt.method, url=receipt.url, headers=receipt.headers, body=receipt.body)
        retried = receipts.Retried(identity=receipt.identity, attempt=receipt.attempts + 1)
        # The message came when its webhook came.
        at = receipt.created_at
        try:
            if receipt.kind == passage.KIND:
                await self._mails.again(connection, request, receipt.storage_key, at, retried)
                return
            if receipt.kind == mail_events.KIND:
                elements = wire.json_of(receipt.body)
                await self._mail_events.add(mail_events.Batch(connection, request, elements, at, retried))
                return
            dialect = DIALECTS[receipt.provider]
            opened = wire.reopened(request)
            if receipt.kind == arrivals.KIND:
                message = dialect.message_of(opened)
                await self._messages.add(arrivals.Arrival(connection, request, message, at, retried))
            elif receipt.kind.startswith("voice"):
                await self._calls.take(receipt.kind, connection, request, opened, at=at, retried=retried)
            else:
                report = dialect.report_of(opened)
                await self._reports.add(delivery.Reported(connection, request, report, at, retried))
        except Exception as error:
            log.warning("receipt.failed_again", receipt_id=str(receipt.id), error=type(error).__name__)
            await self.keep_failed(receipts.Unread(connection, request, now(), receipt.kind, retried), error)

    async def keep_failed(self, webhook: receipts.Webhook, error: Exception) -> None:
        """A webhook that could not even be read is kept, and tried again later."""
        async with self._few_at_once, self._database.alone() as db:
            await receipts.keep_failed(db, webhook, error)

    async def _find(self, workspace_id: uuid.UUID, receipt_id: uuid.UUID) -> WebhookReceipt | None:
        async with self._database.workspace(workspace_id) as db:
            receipt: WebhookReceipt | None = await db.scalar(
                select(WebhookReceipt).where(WebhookReceipt.id == receipt_id)
            )
            return receipt
