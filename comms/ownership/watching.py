"""Conversations in which neither side answers are noticed, once for each silence, as the workspace has settled."""

import uuid
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.database import Database
from comms.ownership import moving
from comms.ownership.settings import WatchdogSettings, watchdog_of
from models.base import now
from models.communications import Conversation, ConversationView
from models.core import Workspace

log = structlog.get_logger(__name__)

MOST = 200
LOOKBACK = timedelta(days=14)
"""Where neither side has said anything for so much longer than it takes to be noticed, it was noticed then, or is older
than the watch itself. What nobody looked at over holidays is younger; and what was put off is looked at from then on
when it was to be back."""

# By the indexes of the inbox and of what was put off: what was noticed since anything was said is passed over, and of
# any other it takes a look at what was said last. Only where that is the contact's is it asked since when they wait:
# since the first they said that we have neither answered nor closed the conversation after. What we say by ourselves is
# no answer. Snoozed ones are meant to wait.
_SAID = """
    SELECT m.direction, m.created_at FROM conversation_messages m
    WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND NOT m.is_internal
        AND m.status NOT IN ('scheduled', 'canceled', 'failed')"""
_SILENT = text(
    f"""
    SELECT c.id, c.last_message_at, c.silence_told_at FROM conversations c
    CROSS JOIN LATERAL (
        {_SAID} AND (m.direction = 'inbound' OR m.sender_type IN ('user', 'agent'))
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) said
    CROSS JOIN LATERAL (
        SELECT CASE WHEN said.direction = 'inbound' AND said.direction = :direction THEN (
            SELECT first.created_at FROM (
                {_SAID} AND m.direction = 'inbound' AND m.created_at > greatest(
                    (SELECT max(ours.created_at) FROM (
                        {_SAID} AND m.direction = 'outbound' AND m.sender_type IN ('user', 'agent')
                        ORDER BY m.created_at DESC LIMIT 1
                    ) ours),
                    (SELECT max(e.at) FROM events e
                        WHERE e.workspace_id = c.workspace_id AND e.subject_id = c.id
                            AND e.event IN ('conversation.closed', 'conversation.archived')),
                    '-infinity')
                ORDER BY m.created_at LIMIT 1
            ) first
        ) END AS at
    ) asked
    WHERE c.workspace_id = :workspace AND c.status = 'active' AND c.snoozed_until IS NULL
        AND (c.last_message_at > :since OR c.put_off_until > :since)
        AND (c.silence_told_at IS NULL OR c.silence_told_at < c.last_message_at)
        AND said.direction = :direction AND greatest(said.created_at, c.put_off_until) > :since
        AND coalesce(asked.at, said.created_at) <= :until
        AND (c.silence_told_at IS NULL OR c.silence_told_at < coalesce(asked.at, said.created_at))
    ORDER BY said.created_at DESC LIMIT :most
    """
)


async def watch(database: Database) -> int:
    """Whoever has a conversation that has fallen silent hears of it; how many conversations those were."""
    async with database.everywhere() as db:
        watched = select(Workspace.id, Workspace.settings).where(
            Workspace.is_active, Workspace.settings.has_key("watchdog")
        )
        found = [tuple(row) for row in await db.execute(watched)]
    told = 0
    for workspace_id, settings in found:
        try:
            told += await _watch(database, workspace_id, watchdog_of(settings))
        except Exception as error:  # one workspace's silence is no reason to leave the others alone
            log.error("watchdog.failed", workspace=str(workspace_id), error=type(error).__name__)
    return told


async def _watch(database: Database, workspace_id: uuid.UUID, settings: WatchdogSettings) -> int:
    told = 0
    for direction, what, seconds in (
        ("inbound", "unanswered", settings.unanswered_seconds),
        ("outbound", "fell_silent", settings.silent_seconds),
    ):
        if seconds is None:
            continue
        until = now() - timedelta(seconds=seconds)
        asked = {"direction": direction, "until": until, "since": until - LOOKBACK}
        async with database.workspace(workspace_id) as db:
            found = await db.execute(_SILENT, {"workspace": workspace_id, "most": MOST, **asked})
            silent = found.all()
        for seen in silent:
            try:
                async with database.workspace(workspace_id) as db:
                    told += await _notice(db, seen, what, settings, seconds)
            except Exception as error:  # it is tried again with the next look, and harms no other
                log.error("watchdog.not_told", conversation=str(seen.id), error=type(error).__name__)
    return told


async def _notice(db: AsyncSession, seen: Any, what: str, settings: WatchdogSettings, seconds: int) -> bool:
    """It is told of the conversation, if nothing was said in it, or told of it, since it was looked at."""
    query = (
        select(Conversation)
        .where(
            Conversation.id == seen.id,
            Conversation.last_message_at == seen.last_message_at,
            Conversation.silence_told_at.is_not_distinct_from(seen.silence_told_at),
            Conversation.status == "active",
        )
        .with_for_update(key_share=True, skip_locked=True)
    )
    conversation: Conversation | None = await db.scalar(query)
    if conversation is not None:
        await _tell(db, conversation, what, settings, seconds)
    return conversation is not None


async def _tell(
    db: AsyncSession, conversation: Conversation, what: str, settings: WatchdogSettings, seconds: int
) -> None:
    conversation.silence_told_at = now()
    await db.flush()
    view = msgspec.convert(conversation, ConversationView, from_attributes=True)
    events.record(db, f"conversation.{what}", conversation, view, before=view, unshown=("silenceToldAt",))
    if what == "unanswered" and settings.releases:
        await moving.let_go(db, conversation, "released", f"not answered for {seconds} seconds")
