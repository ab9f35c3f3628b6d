"""What we answer to STOP, START and HELP: once, and only where the provider has not."""

import uuid
from collections.abc import Mapping
from datetime import timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import outbox
from comms.database import Database
from comms.errors import Invalid, Missing, Unsendable
from models.base import new_id, now
from models.communications import Consent, ConsentEntry, ConversationMessage
from models.core import Workspace

log = structlog.get_logger(__name__)

TEXTS: Mapping[str, str] = {
    "stop": "{name}: You are unsubscribed and will get no more messages. Reply START to resubscribe.",
    "start": "{name}: You are subscribed again. Reply HELP for help, STOP to unsubscribe.",
    "help": "{name}: Reply STOP to unsubscribe. Msg & data rates may apply.",
}
"""What is said where a workspace's ``keywordAnswers`` say nothing."""

TOO_LATE = timedelta(days=1)
"""What a sweep finds days later is heeded, and no longer confirmed."""

AN_HOUR = 10
"""So many answers an hour one address gets: a program that answers HELP with HELP would go on for ever."""


async def answer(database: Database, workspace_id: uuid.UUID, entry_id: uuid.UUID) -> None:
    """The entry is answered, if nobody has answered it, and it is still what counts."""
    async with database.everywhere() as db:
        # Locked: of two who answer at once the second finds it answered.
        entry = await db.scalar(
            select(ConsentEntry)
            .where(ConsentEntry.workspace_id == workspace_id, ConsentEntry.id == entry_id)
            .with_for_update()
        )
        if entry is None or entry.answer_message_id is not None or now() - entry.said_at > TOO_LATE:
            return
        message = await db.get(ConversationMessage, (workspace_id, entry.message_id))
        if message is None or message.conversation_id is None or not await _counts(db, entry):
            return
        if await _answered(db, entry) >= AN_HOUR:
            log.warning("consent.answered_enough", entry_id=str(entry_id))
            return
        # The ledger names the message before it is put: so it is let through although they have just said stop.
        entry.answer_message_id = new_id()
        try:
            await outbox.put(
                db,
                outbox.Intent(
                    workspace_id=workspace_id,
                    conversation_id=message.conversation_id,
                    message_id=entry.answer_message_id,
                    content=await _text(db, entry),
                    number_id=message.phone_number_id,
                    to=message.from_address,
                    is_reply=True,
                ),
            )
        except (Unsendable, Invalid, Missing) as error:
            entry.answer_message_id = None
            log.warning("consent.not_answered", entry_id=str(entry_id), error=type(error).__name__)


async def _answered(db: AsyncSession, entry: ConsentEntry) -> int:
    """How many answers have gone to the address within an hour."""
    there = (
        ConsentEntry.workspace_id == entry.workspace_id,
        ConsentEntry.address == entry.address,
        ConsentEntry.created_at > now() - timedelta(hours=1),
        ConsentEntry.answer_message_id.is_not(None),
    )
    return await db.scalar(select(func.count()).where(*there)) or 0


async def _counts(db: AsyncSession, entry: ConsentEntry) -> bool:
    """Whether nothing newer was said: who has said start since is not told that they are unsubscribed."""
    if entry.says == "help":
        return True
    newest = await db.scalar(
        select(Consent.entry_id).where(
            Consent.workspace_id == entry.workspace_id,
            Consent.address == entry.address,
            Consent.sender == entry.sender,
        )
    )
    return newest == entry.id


async def _text(db: AsyncSession, entry: ConsentEntry) -> str:
    workspace = await db.get_one(Workspace, entry.workspace_id)
    own = workspace.settings.get("keywordAnswers", {}).get(entry.says)
    return own or TEXTS[entry.says].format(name=workspace.name)
