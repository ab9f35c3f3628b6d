"""What has happened is told again: one delivery, or everything of a stretch of time that an endpoint wants to hear.

It joins the end of its lines, so what is told again comes after what is waiting, each conversation's in its order.
What was called off before it was told is failed, and says so; the lines go on without it.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid, Missing
from comms.hooks import following
from comms.identity import Identity
from models.base import new_id, now
from models.hooks import WebhookDelivery, WebhookEndpoint, WebhookReplay

CALLED_OFF = "telling it again was called off"


async def replay(db: AsyncSession, row: WebhookDelivery) -> WebhookDelivery:
    """The event of this delivery waits again at the end of its line, once however often it is asked for."""
    await _expect_on(db, row.endpoint_id)
    placed = await _place(db, row.workspace_id)
    event = (await db.execute(_ONE, {"here": row.workspace_id, "seq": row.seq})).one_or_none()
    if event is None:
        raise Missing("Its event is no longer in the log.")
    waiting = await db.scalar(
        _deliveries_of(row).where(
            WebhookDelivery.line_id == row.line_id,
            WebhookDelivery.state == "waiting",
            WebhookDelivery.seq == row.seq,
            WebhookDelivery.is_replay,
        )
    )
    if waiting is not None:
        return waiting
    ears = await following.listening(db, row.workspace_id, row.endpoint_id)
    if event.is_for_some or not any(ear.hears(event.event, event.subject_type) for ear in ears):
        raise Conflict("The endpoint does not hear of this any more: look at its events, and who it is on behalf of.")
    await following.put_in_line(db, row.workspace_id, placed, [(row.endpoint_id, event)], is_replay=True)
    await db.execute(_PLACED, {"here": row.workspace_id, "placed": placed + 1})
    found = await db.scalar(
        _deliveries_of(row).where(WebhookDelivery.line_id == row.line_id, WebhookDelivery.place == placed + 1)
    )
    assert found is not None
    return found


async def ask(
    db: AsyncSession, identity: Identity, endpoint_id: uuid.UUID, from_at: datetime, until_at: datetime
) -> WebhookReplay:
    """The worker will put what happened then in line; ``Invalid`` names what cannot be."""
    if from_at >= until_at:
        raise Invalid({"untilAt": "must be after fromAt"})
    if until_at > now():
        raise Invalid({"untilAt": "must have passed: what is still to happen is told when it does"})
    if await db.get(WebhookEndpoint, (identity.workspace_id, endpoint_id)) is None:
        raise Invalid({"endpointId": "refers to nothing in this workspace"})
    await _expect_on(db, endpoint_id)
    running = select(WebhookReplay.id).filter_by(
        endpoint_id=endpoint_id, from_at=from_at, until_at=until_at, state="running"
    )
    if (there := await db.scalar(running)) is not None:
        raise Conflict("This stretch of time is being told again already.", conflicting_id=there)
    row = WebhookReplay(
        workspace_id=identity.workspace_id,
        id=new_id(),
        endpoint_id=endpoint_id,
        asked_by=identity.user_id,
        from_at=from_at,
        until_at=until_at,
    )
    db.add(row)
    return row


async def call_off(db: AsyncSession, row: WebhookReplay) -> None:
    """Nothing more of this stretch of time is told again; the caller holds the endpoint and the row."""
    about = {"here": row.workspace_id, "endpoint": row.endpoint_id, "replay": row.id, "line": None, "seq": None}
    await db.execute(_HOLD_LINES, about)
    await db.execute(_CALL_OFF, about)


async def call_off_one(db: AsyncSession, row: WebhookDelivery) -> None:
    """The event of this delivery is not told again, if it still waits for that; the caller holds the endpoint."""
    about = {"here": row.workspace_id, "endpoint": row.endpoint_id, "replay": None, "line": row.line_id, "seq": row.seq}
    await db.execute(_HOLD_LINES, about)
    await db.execute(_CALL_OFF, about)


async def running(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces where something is to be told again to somebody who listens."""
    return (await db.scalars(_RUNNING)).all()


async def go_on(db: AsyncSession, workspace_id: uuid.UUID, most: int = following.AT_ONCE) -> bool:
    """The next few events of a replay are in line; whether there were any. The rest comes in turn.

    What an endpoint that is off was to be told again stays to be told until it is on, or the replay is too old.
    """
    progress = (await db.execute(_TURN, {"here": workspace_id})).one_or_none()
    if progress is None:
        return False
    replay_id = await db.scalar(_NEXT, {"here": workspace_id})
    row = None if replay_id is None else await db.get(WebhookReplay, (workspace_id, replay_id))
    ears = [] if row is None else await following.listening(db, workspace_id, row.endpoint_id)
    if row is None or not ears:
        return False
    times = {"here": workspace_id, "from": row.from_at, "until": row.until_at}
    if row.after_seq is None or row.last_seq is None:
        bounds = (await db.execute(_BOUNDS, times)).one()
        row.after_seq, row.last_seq = (bounds.first or 1) - 1, bounds.last or 0
    limits = {"after": row.after_seq, "last": row.last_seq, "most": most}
    rows = (await db.execute(_TOLD, times | limits)).all()
    due = [
        (row.endpoint_id, one)
        for one in rows
        for ear in ears
        if not one.is_for_some and ear.hears(one.event, one.subject_type)
    ]
    await following.put_in_line(db, workspace_id, progress.placed, due, is_replay=True, replay_id=row.id)
    await db.execute(_PLACED, {"here": workspace_id, "placed": progress.placed + len(due)})
    row.count += len(due)
    if rows:
        row.after_seq = rows[-1].seq
    if len(rows) < most:
        row.state = "done"
    return bool(due)


async def _expect_on(db: AsyncSession, endpoint_id: uuid.UUID) -> None:
    if not await db.scalar(select(WebhookEndpoint.is_active).where(WebhookEndpoint.id == endpoint_id)):
        raise Conflict("The endpoint is switched off: switch it on first.")


def _deliveries_of(row: WebhookDelivery) -> Select[WebhookDelivery]:
    return select(WebhookDelivery).where(
        WebhookDelivery.workspace_id == row.workspace_id, WebhookDelivery.endpoint_id == row.endpoint_id
    )


async def _place(db: AsyncSession, workspace_id: uuid.UUID) -> int:
    """The last place given in a line, held until the commit."""
    return await db.scalar(_HELD, {"here": workspace_id}) or 0


_HELD = text("SELECT placed FROM webhook_progress WHERE workspace_id = :here FOR UPDATE")
_TURN = text("SELECT placed FROM webhook_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_PLACED = text("UPDATE webhook_progress SET placed = :placed WHERE workspace_id = :here")
_OPEN = """
    FROM webhook_replays r
    JOIN webhook_endpoints e ON e.workspace_id = r.workspace_id AND e.id = r.endpoint_id AND e.is_active
    JOIN workspaces w ON w.id = r.workspace_id AND w.is_active
    JOIN workspace_members m ON m.workspace_id = r.workspace_id AND m.user_id = e.on_behalf_of AND m.is_active
    WHERE r.state = 'running'
"""
_RUNNING = text(f"SELECT DISTINCT r.workspace_id {_OPEN}")
_NEXT = text(
    f"SELECT r.id {_OPEN} AND r.workspace_id = :here ORDER BY r.created_at, r.id LIMIT 1"
    " FOR NO KEY UPDATE OF r SKIP LOCKED"
)
_COLUMNS = "seq, event, subject_type, subject_id, conversation_id, audience IS NOT NULL AS is_for_some"
_ONE = text(f"SELECT {_COLUMNS} FROM events WHERE workspace_id = :here AND seq = :seq")
_BOUNDS = text(
    "SELECT min(seq) AS first, max(seq) AS last FROM events WHERE workspace_id = :here AND at >= :from AND at < :until"
)
_TOLD = text(
    f"SELECT {_COLUMNS} FROM events WHERE workspace_id = :here AND seq > :after AND seq <= :last"
    " AND at >= :from AND at < :until ORDER BY seq LIMIT :most"
)
_CALLED_OFF = """
    d.workspace_id = :here AND d.endpoint_id = :endpoint AND d.is_replay AND d.state = 'waiting' AND (
        d.replay_id = CAST(:replay AS uuid) OR (d.line_id = CAST(:line AS uuid) AND d.seq = CAST(:seq AS bigint)))
"""
_HOLD_LINES = text(
    f"""
    SELECT FROM webhook_lines l WHERE l.workspace_id = :here AND l.endpoint_id = :endpoint
        AND l.line_id IN (SELECT d.line_id FROM webhook_deliveries d WHERE {_CALLED_OFF})
    ORDER BY l.line_id FOR NO KEY UPDATE
    """
)
# A line that was put off for the sake of what is first in it goes on at once when that is called off.
_CALL_OFF = text(
    f"""
    WITH over AS (
        UPDATE webhook_deliveries d SET state = 'failed', last_error = '{CALLED_OFF}', settled_at = now(),
            updated_at = now()
        WHERE {_CALLED_OFF} RETURNING d.line_id, d.place
    ),
    first AS (SELECT line_id, min(place) AS place FROM over GROUP BY line_id)
    UPDATE webhook_lines l SET attempts = 0, next_attempt_at = now() FROM first
    WHERE l.workspace_id = :here AND l.endpoint_id = :endpoint AND l.line_id = first.line_id AND NOT l.is_taken
        AND NOT EXISTS (
            SELECT FROM webhook_deliveries d
            WHERE d.workspace_id = :here AND d.endpoint_id = :endpoint AND d.line_id = l.line_id
                AND d.state = 'waiting' AND d.place < first.place
        )
    """
)
