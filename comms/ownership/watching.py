"""Conversations in which neither side answers are noticed, once for each silence, as the workspace has settled."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.database import Database
from comms.ownership import moving
from comms.ownership.settings import WatchdogSettings, watchdog_of
from models.base import now
from models.communications import Conversation, ConversationView
from models.core import Workspace

MOST = 200
LOOKBACK = timedelta(days=2)
"""A silence that began so long before it was to be noticed was noticed then, or is older than the watch itself."""

# By the inbox's index: no more is looked at than what fell silent within the look-back. Snoozed ones are meant to wait.
_SILENT = text(
    """
    SELECT c.id, said.direction FROM conversations c CROSS JOIN LATERAL (
        SELECT m.direction FROM conversation_messages m
        WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND NOT m.is_internal
            AND m.status NOT IN ('scheduled', 'canceled')
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) said
    WHERE c.workspace_id = :workspace AND c.status = 'active' AND c.snoozed_until IS NULL
        AND c.last_message_at > :since AND c.last_message_at <= :until
        AND (c.silence_told_at IS NULL OR c.silence_told_at < c.last_message_at)
        AND said.direction = :direction
    ORDER BY c.last_message_at LIMIT :most
    """
)


async def watch(database: Database) -> int:
    """Whoever has a conversation that has fallen silent hears of it; how many conversations those were."""
    async with database.everywhere() as db:
        watched = select(Workspace.id, Workspace.settings).where(
            Workspace.is_active, Workspace.settings.has_key("watchdog")
        )
        settled = [(row.id, watchdog_of(row.settings)) for row in await db.execute(watched)]
    return sum([await _watch(database, workspace_id, settings) for workspace_id, settings in settled])


async def _watch(database: Database, workspace_id: uuid.UUID, settings: WatchdogSettings) -> int:
    told = 0
    for direction, what, seconds in (
        ("inbound", "unanswered", settings.unanswered_seconds),
        ("outbound", "fell_silent", settings.silent_seconds),
    ):
        if seconds is None:
            continue
        async with database.workspace(workspace_id) as db:
            found = await _silent(db, workspace_id, direction, now() - timedelta(seconds=seconds))
            for row in found:
                await _tell(db, row, what, settings, seconds)
        told += len(found)
    return told


async def _silent(db: AsyncSession, workspace_id: uuid.UUID, direction: str, until: datetime) -> Sequence[Conversation]:
    asked: Mapping[str, Any] = {"direction": direction, "until": until, "since": until - LOOKBACK, "most": MOST}
    ids = [row.id for row in await db.execute(_SILENT, {"workspace": workspace_id, **asked})]
    query = (
        select(Conversation)
        .where(Conversation.id.in_(ids), Conversation.last_message_at <= until, Conversation.status == "active")
        .order_by(Conversation.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return (await db.scalars(query)).all() if ids else []


async def _tell(
    db: AsyncSession, conversation: Conversation, what: str, settings: WatchdogSettings, seconds: int
) -> None:
    conversation.silence_told_at = now()
    await db.flush()
    view = msgspec.convert(conversation, ConversationView, from_attributes=True)
    events.record(db, f"conversation.{what}", conversation, view)
    if what == "unanswered" and settings.releases:
        await moving.let_go(db, conversation, "released", f"not answered for {seconds} seconds")
