"""Notifications reach devices by web push: at least once, and shown once, for each has its own topic.

What is to be pushed is a row, leased while it is: killed after the push service has it, it is pushed once more, under
the same topic and tag, so that a device shows it in the place of the first.
"""

import asyncio
import time
import uuid
from base64 import urlsafe_b64encode
from typing import Any, Literal

import httpx
import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.notifications import subscriptions, vapid
from comms.notifications.preferences import plan_of
from comms.notifications.seeing import still_seen
from comms.outside import Crowded, Delayed, Outside, Refused, host_of, is_listed
from comms.providers import web_push
from comms.providers.web_push import Device, Urgency
from comms.settings import PushSettings
from comms.vault import Vault
from models.base import now
from models.communications import PushSubscription

log = structlog.get_logger(__name__)

AT_ONCE = 20
LEASE_SECONDS = 60.0  # longer than a try can take
LONGEST_SECONDS = 20.0  # that a try takes in all, whoever answers a byte at a time
TIMEOUT = httpx.Timeout(10, connect=5)
TTL_SECONDS = 12 * 3600
BACK_OFF_SECONDS = (5, 30, 120, 600, 3600)  # between six tries
LONGEST_WAIT_SECONDS = 3600.0
REST_SECONDS = 5.0
"""What could not be asked because of us is left alone for so long, and that was no try."""
URGENT = frozenset({"mention", "handoff", "approval", "missed_call"})

Outcome = Literal["sent", "gone", "crowded", "later", "never"]


class Lease(msgspec.Struct, frozen=True):
    """The right to push one notification to one device, for a while; ``attempt`` tells it from an earlier one."""

    workspace_id: uuid.UUID
    id: uuid.UUID
    notification_id: uuid.UUID
    subscription_id: uuid.UUID
    attempt: int
    device: Device
    urgency: Urgency
    said: bytes


class Pushing:
    """Pushes what is due."""

    def __init__(
        self, database: Database, vault: Vault, settings: PushSettings, *, longest_seconds: float = LONGEST_SECONDS
    ) -> None:
        self._longest_seconds = longest_seconds
        self._database = database
        self._vault = vault
        self._settings = settings
        self._outside = Outside()

    async def push_due(self) -> int:
        """Everything that was due has been pushed, put off or given up; how many devices have it."""
        pushed = 0
        while True:
            async with self._database.everywhere() as db:
                taken, leases = await _lease(db)
            if leases:
                key = await vapid.key(self._database, self._vault)
                outcomes = await asyncio.gather(*(self._push(lease, key.private_key) for lease in leases))
                for lease, (outcome, seconds) in zip(leases, outcomes, strict=True):
                    async with self._database.everywhere() as db:
                        await _settle(db, lease, outcome, seconds)
                pushed += sum(outcome == "sent" for outcome, _ in outcomes)
            if taken < AT_ONCE:
                return pushed

    async def _push(self, lease: Lease, key: bytes) -> tuple[Outcome, float]:
        """What the push service says to it, and how many seconds it wants to be left alone."""
        url = httpx.URL(lease.device.endpoint)
        try:
            push = web_push.push_of(
                lease.device,
                lease.said,
                key=key,
                contact=self._settings.contact,
                at=int(time.time()),
                ttl=TTL_SECONDS,
                urgency=lease.urgency,
                topic=topic_of(lease.notification_id),
            )
            async with asyncio.timeout(self._longest_seconds):
                response = await self._post(lease.workspace_id, url, push)
        except Refused:
            return "gone", 0
        except Crowded:
            return "crowded", REST_SECONDS
        except (Delayed, TimeoutError, httpx.TransportError) as error:
            log.warning("push.not_reached", host=host_of(url), error=type(error).__name__)
            return "later", 0
        except Exception:  # whatever is wrong with this one, the others are pushed
            log.exception("push.failed", host=host_of(url))
            return "later", 0
        return _meaning(response, host_of(url))

    async def _post(self, workspace_id: uuid.UUID, url: httpx.URL, push: web_push.Push) -> httpx.Response:
        if subscriptions.refusal_of(str(url), self._settings.hosts) is not None:
            raise Refused("this is no push service")
        async with self._outside.ask(
            "POST",
            url,
            headers=push.headers,
            content=push.body,
            patience=TIMEOUT,
            may_be_private=is_listed(url, self._settings.hosts),
            whose=workspace_id,
        ) as response:
            return response  # whatever else it says is not read


def topic_of(notification_id: uuid.UUID) -> str:
    """What a push is the newest of, at the push service: at most 32 characters of base64url (RFC 8030, 5.4)."""
    return urlsafe_b64encode(notification_id.bytes).decode().rstrip("=")


def _meaning(response: httpx.Response, host: str) -> tuple[Outcome, float]:
    """RFC 8030, 5 and 7.3: 404 and 410 end a subscription, 429 and what is the server's fault pass."""
    status = response.status_code
    if status < 300:
        return "sent", 0
    log.warning("push.refused", host=host, status=status)
    if status in (404, 410):
        return "gone", 0
    if status == 429 or status >= 500:
        after = response.headers.get("retry-after", "")
        return "later", min(float(after), LONGEST_WAIT_SECONDS) if after.isdecimal() else 0
    return "never", 0


async def _lease(db: AsyncSession) -> tuple[int, list[Lease]]:
    """How many were due, and those of them that are to be pushed now; what was read or may not be seen is dropped."""
    rows = (await db.execute(_LEASE, {"most": AT_ONCE, "lease": LEASE_SECONDS})).all()
    seen: set[uuid.UUID] = set()
    for workspace_id in {row.workspace_id for row in rows}:
        here = [row.notification_id for row in rows if row.workspace_id == workspace_id]
        seen |= await still_seen(db, workspace_id, here)
    leases, dropped = [], []
    at = now()
    for row in rows:
        later = plan_of(row, row.preferences, row.settings).not_before(at)
        if row.is_read or row.notification_id not in seen:
            dropped.append(row.id)
        elif later > at:  # preferences and time zones may have changed since it was due
            await db.execute(_PUT_OFF, {"here": row.workspace_id, "id": row.id, "until": later})
        else:
            leases.append(_leased(row))
    if dropped:
        await db.execute(_DROP, {"ids": dropped})
    return len(rows), leases


def _leased(row: Any) -> Lease:
    words = " ".join((row.message or "").split())
    said = {
        "id": row.notification_id,
        "tag": row.notification_id,
        "workspaceId": row.workspace_id,
        "kind": row.kind,
        "type": row.type,
        "title": row.title[:200],
        "message": words[:200] or None,
        "link": row.link,
        "count": row.count,
        "happenedAt": row.happened_at,
        "unreadCount": row.unread_count,
    }
    return Lease(
        workspace_id=row.workspace_id,
        id=row.id,
        notification_id=row.notification_id,
        subscription_id=row.subscription_id,
        attempt=row.attempts,
        device=Device(row.endpoint, row.p256dh, row.auth),
        urgency="high" if row.kind in URGENT else "normal",
        said=msgspec.json.encode(said),
    )


async def _settle(db: AsyncSession, lease: Lease, outcome: Outcome, seconds: float) -> None:
    """What came of it is kept, unless there was more to push meanwhile: then that is pushed too."""
    here: dict[str, Any] = {"here": lease.workspace_id, "id": lease.id, "attempt": lease.attempt}
    if outcome == "gone":
        row = await db.get(PushSubscription, (lease.workspace_id, lease.subscription_id), with_for_update=True)
        if row is not None and row.endpoint == lease.device.endpoint:
            await subscriptions.forget(db, row)
        return
    if outcome == "crowded":
        await db.execute(_REST, here | {"wait": seconds})
        return
    if outcome == "later" and lease.attempt <= len(BACK_OFF_SECONDS):
        wait = max(seconds, BACK_OFF_SECONDS[lease.attempt - 1])
        await db.execute(_LATER, here | {"wait": wait})
        return
    await db.execute(_DONE, here)
    if outcome == "sent":
        await db.execute(_SENT, here | {"notification": lease.notification_id, "device": lease.subscription_id})


IS_DUE = "EXISTS (SELECT FROM push_messages WHERE due_at <= now())"
"""When there is something to push, as PostgreSQL says it."""
_LEASE = text(
    """
    WITH due AS (
        SELECT workspace_id, id FROM push_messages WHERE due_at <= now()
        ORDER BY due_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
    ),
    leased AS (
        UPDATE push_messages p
        SET attempts = p.attempts + 1, due_at = now() + make_interval(secs => :lease), updated_at = now()
        FROM due WHERE p.workspace_id = due.workspace_id AND p.id = due.id
        RETURNING p.workspace_id, p.id, p.notification_id, p.subscription_id, p.attempts
    )
    SELECT l.*, s.endpoint, s.p256dh, s.auth, n.kind, n.type, n.title, n.message, n.link, n.count, n.happened_at,
        n.is_read, u.preferences, w.settings, p.kinds, p.digest, p.digest_hour, p.quiet_start, p.quiet_end,
        coalesce(r.unread_count, 0) AS unread_count
    FROM leased l
    JOIN push_subscriptions s ON s.workspace_id = l.workspace_id AND s.id = l.subscription_id
    JOIN notifications n ON n.workspace_id = l.workspace_id AND n.id = l.notification_id
    JOIN users u ON u.id = n.user_id JOIN workspaces w ON w.id = l.workspace_id
    LEFT JOIN notification_preferences p ON p.workspace_id = l.workspace_id AND p.id = n.user_id
    LEFT JOIN notification_read_states r ON r.workspace_id = l.workspace_id AND r.id = n.user_id
    """
)
_DROP = text("DELETE FROM push_messages WHERE id = ANY(CAST(:ids AS uuid[]))")
_PUT_OFF = text("UPDATE push_messages SET due_at = :until, attempts = 0 WHERE workspace_id = :here AND id = :id")
_MINE = "WHERE workspace_id = :here AND id = :id AND attempts = :attempt"
_LATER = text(f"UPDATE push_messages SET due_at = now() + make_interval(secs => :wait) {_MINE}")
_REST = text(f"UPDATE push_messages SET attempts = attempts - 1, due_at = now() + make_interval(secs => :wait) {_MINE}")
_DONE = text(f"DELETE FROM push_messages {_MINE}")
_SENT = text(
    """
    WITH pushed AS (
        UPDATE notifications SET pushed_at = now() WHERE workspace_id = :here AND id = :notification
    )
    UPDATE push_subscriptions SET last_used_at = now() WHERE workspace_id = :here AND id = :device
    """
)
