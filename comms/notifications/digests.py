"""The digest: one mail with all that a member has not read, at the rhythm they want.

A digest is a row before it is a mail, and what it tells of is taken for it by the same transaction. Killed before the
mail server has it, or in doubt whether it does, nothing of it is mailed again: it is unread in the app all the while,
and two mails that say the same are worse than that. Only a server that certainly did not take it is asked again.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.mail import smtp
from comms.notifications.preferences import plan_of
from comms.notifications.seeing import still_seen
from comms.notifications.stopping import Stopping
from comms.providers.outgoing import Busy, Refused, Unclear
from comms.settings import SmtpSettings
from models.base import new_id, now
from models.communications import Notification, NotificationDigest

log = structlog.get_logger(__name__)

MOST_LINES = 50
"""So much a mail tells of; of what is beyond it says how much there is."""
AGAIN = timedelta(minutes=5)
KEPT = timedelta(days=30)


class Digest(msgspec.Struct, frozen=True):
    """A mail that is to be sent now."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    user_id: uuid.UUID
    workspace: str
    address: str
    lines: Sequence[str]
    total: int


async def send_due(database: Database, settings: SmtpSettings | None, stopping: Stopping) -> int:
    """Every member whose digest is due has been mailed it; how many mails that were."""
    sent = 0
    if settings is None:
        return sent
    while True:
        async with database.everywhere() as db:
            due = (await db.execute(_DUE)).one_or_none()
            digest = None if due is None else await _take(db, due)
        if due is None:
            return sent
        if digest is not None:
            if not await _send(database, settings, stopping, digest):
                return sent  # nobody's mail leaves now
            sent += 1


async def _take(db: AsyncSession, due: Any) -> Digest | None:
    """What one member has not read is taken for a digest; None when it has to wait, or nothing may be told of it."""
    here: dict[str, Any] = {"here": due.workspace_id, "user": due.user_id}
    member = (await db.execute(_MEMBER, here)).one_or_none()
    rows = (
        await db.scalars(
            select(Notification).from_statement(_UNREAD).execution_options(populate_existing=True),
            here,
        )
    ).all()
    if member is not None and (later := _waits(member)) is not None:
        await db.execute(_PUT_OFF, here | {"ids": [row.id for row in rows], "until": later})
        return None
    seen = await still_seen(db, due.workspace_id, [row.id for row in rows])
    told = [row for row in rows if row.id in seen and member is not None and member.digest != "never"]
    digest_id = new_id()
    if told:
        db.add(NotificationDigest(workspace_id=due.workspace_id, id=digest_id, user_id=due.user_id))
        await db.flush()
    await db.execute(_TAKEN, here | {"ids": [row.id for row in rows], "digest": digest_id if told else None})
    if not told or member is None:
        return None
    return Digest(
        id=digest_id,
        workspace_id=due.workspace_id,
        user_id=due.user_id,
        workspace=member.name,
        address=member.email,
        lines=[_line(row) for row in told[:MOST_LINES]],
        total=len(told),
    )


def _waits(member: Any) -> datetime | None:
    """Until when it is quiet where the member is; preferences and time zones may have changed since it was due."""
    at = now()
    later = plan_of(member, member.preferences, member.settings).not_before(at)
    return later if later > at else None


def _line(row: Notification) -> str:
    often = f" ({row.count})" if row.count > 1 else ""
    words = " ".join((row.message or "").split())
    return f"- {row.title}{often}" + (f": {words}" if words else "")


async def _send(database: Database, settings: SmtpSettings, stopping: Stopping, digest: Digest) -> bool:
    """The mail server has it, or it is known that it does not; False when it takes nothing just now."""
    stop = stopping.address_of(digest.workspace_id, digest.user_id)
    things = "1 thing waits" if digest.total == 1 else f"{digest.total} things wait"
    more = digest.total - len(digest.lines)
    said = "\n".join([*digest.lines, *([f"- and {more} more"] if more else [])])
    outcome: Mapping[str, Any] = {"state": "sent", "error": None}
    try:
        letter = smtp.letter(
            settings.sender,
            digest.address,
            f"{things} for you in {digest.workspace}",
            f"This you have not read yet in {digest.workspace}:\n\n{said}\n\nNo more such mails: {stop}\n",
        )
        letter.replace_header("Message-ID", f"<digest-{digest.id}@{settings.sender.rpartition('@')[2]}>")
        letter["List-Unsubscribe"] = f"<{stop}>"
        letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        await smtp.post(settings, letter, digest.address)
    except Busy as error:
        outcome = {"state": "failed", "error": str(error)[:300], "again": now() + AGAIN}
    except Refused as error:
        outcome = {"state": "failed", "error": str(error)[:300]}
    except Unclear as error:
        outcome = {"state": "unclear", "error": str(error)[:300]}
    if outcome["error"]:
        log.warning("digest.not_sent", digest_id=str(digest.id), state=outcome["state"], error=outcome["error"])
    async with database.everywhere() as db:
        here = {"here": digest.workspace_id, "digest": digest.id}
        await db.execute(_SETTLE, here | {"state": outcome["state"], "error": outcome["error"]})
        if "again" in outcome:
            await db.execute(_AGAIN, here | {"until": outcome["again"]})
    return "again" not in outcome


# Whose is due first; held, so that another worker takes the next. Columns that nobody sees are written past the row's
# updated_at.
_DUE = text(
    """
    SELECT s.workspace_id, s.id AS user_id FROM notification_read_states s
    JOIN LATERAL (
        SELECT min(n.email_due_at) AS at FROM notifications n
        WHERE n.workspace_id = s.workspace_id AND n.user_id = s.id AND n.email_due_at <= now() AND NOT n.is_read
    ) due ON due.at IS NOT NULL
    WHERE (s.workspace_id, s.id) IN (
        SELECT workspace_id, user_id FROM notifications
        WHERE email_due_at IS NOT NULL AND NOT is_read AND email_due_at <= now() ORDER BY email_due_at LIMIT 100
    )
    LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
    """
)
_MEMBER = text(
    """
    SELECT w.name, u.email, u.preferences, w.settings, p.kinds, coalesce(p.digest, 'hourly') AS digest,
        p.digest_hour, p.quiet_start, p.quiet_end
    FROM workspace_members m JOIN users u ON u.id = m.user_id JOIN workspaces w ON w.id = m.workspace_id
    LEFT JOIN notification_preferences p ON p.workspace_id = m.workspace_id AND p.id = m.user_id
    WHERE m.workspace_id = :here AND m.user_id = :user AND m.is_active AND w.is_active
    """
)
_UNREAD = text(
    """
    SELECT * FROM notifications
    WHERE workspace_id = :here AND user_id = :user AND email_due_at <= now() AND NOT is_read
    ORDER BY happened_at DESC, id DESC
    """
)
_IDS = "ANY(CAST(:ids AS uuid[]))"
_PUT_OFF = text(
    f"UPDATE notifications SET email_due_at = :until WHERE workspace_id = :here AND user_id = :user AND id = {_IDS}"
)
_TAKEN = text(
    "UPDATE notifications SET email_due_at = NULL, digest_id = coalesce(:digest, digest_id)"
    f" WHERE workspace_id = :here AND user_id = :user AND id = {_IDS}"
)
_SETTLE = text(
    "UPDATE notification_digests SET state = :state, error = :error, updated_at = now(),"
    " sent_at = CASE WHEN :state = 'sent' THEN now() END WHERE workspace_id = :here AND id = :digest"
)
_AGAIN = text(
    "UPDATE notifications SET email_due_at = coalesce(email_due_at, :until)"
    " WHERE workspace_id = :here AND digest_id = :digest"
)
