"""One fact, one row, many readers: the log that the screen, the audit and automation all read.

A workspace's ``seq`` has no gaps and follows commit order, because the counter's row is locked by the last statement of
the transaction and released by its commit.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import inspect, text
from sqlalchemy.event import listens_for
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import LoaderCallableStatus, Session

from comms.audience import CHANNELLED
from models.base import Base, View, noun_of, now

encode = msgspec.json.Encoder(decimal_format="string").encode


class Fact(msgspec.Struct, frozen=True, gc=False):
    """Something that has become true in ``workspace_id``; ``data`` is the resource's JSON as GET shows it.

    ``changes`` is JSON too: what each field that an update changed was before, and is after. With an ``audience`` it is
    for those users alone.
    """

    workspace_id: uuid.UUID
    event: str
    subject_type: str
    subject_id: uuid.UUID
    data: bytes
    at: datetime
    conversation_id: uuid.UUID | None = None
    actor_type: str = "system"
    actor_id: uuid.UUID | None = None
    changes: bytes | None = None
    audience: tuple[uuid.UUID, ...] | None = None


class Actor(msgspec.Struct, frozen=True):
    """Who does what a transaction does."""

    type: str = "system"
    id: uuid.UUID | None = None


# A function takes the numbers (migration 0046 says why): once a statement has waited for a row, PostgreSQL makes all of
# it ready anew, and the statements that use this are long.
NUMBERS = """
numbers AS MATERIALIZED (
    SELECT n.* FROM (SELECT array_agg(workspace_id) AS workspaces, array_agg(facts) AS counts FROM due) AS d,
        take_event_numbers(d.workspaces, d.counts) AS n
)"""
"""From ``due`` (workspace_id, facts) to ``numbers``: the sequence number before the first fact of each workspace."""

WRITE = f"""
WITH due AS (SELECT workspace_id, count(*) AS facts FROM unnest($1::uuid[]) AS f (workspace_id) GROUP BY 1),
{NUMBERS},
told AS (
    INSERT INTO events
        (workspace_id, seq, event, subject_type, subject_id, data, at, conversation_id, actor_type, actor_id, changes,
         audience)
    SELECT f.workspace_id, numbers.base + row_number() OVER (PARTITION BY f.workspace_id ORDER BY f.ord),
        f.event, f.subject_type, f.subject_id, f.data::json, f.at, f.conversation_id, f.actor_type, f.actor_id,
        f.changes::json, f.audience::uuid[]
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::uuid[],
                $8::text[], $9::uuid[], $10::text[], $11::text[])
        WITH ORDINALITY AS f (workspace_id, event, subject_type, subject_id, data, at, conversation_id, actor_type,
                              actor_id, changes, audience, ord)
    JOIN numbers ON numbers.workspace_id = f.workspace_id
    RETURNING workspace_id, seq
)
SELECT workspace_id, max(seq) FROM told GROUP BY 1
"""

_CHANNELS = text(
    """
    SELECT c.id, c.is_private OR c.type = 'direct' AS is_closed, ARRAY(
        SELECT m.user_id FROM team_channel_members m WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id
    ) AS members
    FROM team_channels c WHERE c.workspace_id = ANY(CAST(:workspaces AS uuid[])) AND c.id = ANY(CAST(:ids AS uuid[]))
    """
)

Told = list[tuple[uuid.UUID, int]]
"""The workspaces a transaction told something in, each with its last sequence number."""


def arguments(facts: Sequence[Fact]) -> tuple[list[Any], ...]:
    """The parameters of ``WRITE``, a list each."""
    return (
        [fact.workspace_id for fact in facts],
        [fact.event for fact in facts],
        [fact.subject_type for fact in facts],
        [fact.subject_id for fact in facts],
        [fact.data.decode() for fact in facts],
        [fact.at for fact in facts],
        [fact.conversation_id for fact in facts],
        [fact.actor_type for fact in facts],
        [fact.actor_id for fact in facts],
        [None if fact.changes is None else fact.changes.decode() for fact in facts],
        # As text: an array of arrays of unequal length is none.
        [None if fact.audience is None else f"{{{','.join(map(str, fact.audience))}}}" for fact in facts],
    )


async def tell(db: Any, facts: Sequence[Fact]) -> Told:
    """The facts are in the log, numbered; on an asyncpg connection, as the last statement of its transaction."""
    return [(row[0], row[1]) for row in await db.fetch(WRITE, *arguments(facts))] if facts else []


def record(
    db: AsyncSession,
    event: str,
    row: Base,
    view: View,
    *,
    before: View | None = None,
    unshown: Collection[str] = (),
    at: datetime | None = None,
    conversation_id: uuid.UUID | None = None,
    workspace_id: uuid.UUID | None = None,
    audience: Collection[uuid.UUID] | None = None,
) -> None:
    """``event`` is told about ``row`` when the transaction of ``db`` commits; ``view`` is the row as GET shows it.

    The event says what has changed: since ``before``, or else since the row was read or last told of; a row that a
    statement of its own has written needs ``before``. What has changed and is shown to nobody, such as a secret, is
    named in ``unshown``. The conversation it belongs to is the row's own, unless another is named. A row that is no
    workspace's, such as a template of the catalogue, is told of in the workspace the transaction is in, and a person in
    the one that is named. With an ``audience`` it is for those users alone.
    """
    actor: Actor = db.info.get("actor", Actor())
    subject = noun_of(type(row))
    if not event.startswith(f"{subject}."):
        raise ValueError(f"an event about a {subject} begins with its noun, unlike {event}")
    identity: uuid.UUID = row.id  # type: ignore[attr-defined]  # every table that events speak of has one
    was = _taken(db.info, row)
    if before is None and was and not event.endswith((".created", ".deleted")):
        before = _as_it_was(view, was)
    db.info.setdefault("facts", []).append(
        Fact(
            workspace_id=workspace_id or getattr(row, "workspace_id", None) or db.info.get("workspace_id", identity),
            event=event,
            subject_type=subject,
            subject_id=identity,
            data=encode(view),
            at=at or now(),
            conversation_id=conversation_id
            or (identity if subject == "conversation" else getattr(row, "conversation_id", None)),
            actor_type=actor.type,
            actor_id=actor.id,
            changes=None if before is None else changes(before, view, unshown),
            audience=None if audience is None else tuple(sorted(audience)),
        )
    )


def _as_it_was(view: View, was: Mapping[str, Any]) -> View:
    types = {field.name: field.type for field in msgspec.structs.fields(view) if field.name in was}
    old = {name: msgspec.convert(was[name], kind, from_attributes=True) for name, kind in types.items()}
    return msgspec.structs.replace(view, **old)


@listens_for(Session, "before_flush")
def _see(session: Session, *_: Any) -> None:
    """What rows were, whose changes are about to be written, is known until it is told."""
    for row in session.dirty:
        _look(session.info, row)


def _look(info: dict[Any, Any], row: Any) -> dict[str, Any]:
    """What the row was before all its changes, also those that are not written yet, that nobody has been told of."""
    seen: dict[str, Any] = info.setdefault("was", {}).setdefault(row, {})
    for name, value in inspect(row).committed_state.items():
        if not isinstance(value, LoaderCallableStatus):
            seen.setdefault(name, value)
    return seen


def _taken(info: dict[Any, Any], row: Any) -> dict[str, Any]:
    """The same, once: from now on the row was as it is, for what is not written yet is seen again when it is."""
    was = _look(info, row)
    info["was"][row] = {name: getattr(row, name) for name in was if name in inspect(row).committed_state}
    return was


def changes(before: View, after: View, unshown: Collection[str] = ()) -> bytes:
    """The fields that differ, as JSON: ``{"status": {"before": "lead", "after": "customer"}}``.

    Not ``updatedAt``: that something has changed is what the event says already. What is ``unshown`` is null before
    and after.
    """
    hidden: dict[str, Any] = {name: {"before": None, "after": None} for name in unshown}
    shown = {
        field.encode_name: {"before": getattr(before, field.name), "after": getattr(after, field.name)}
        for field in msgspec.structs.fields(after)
        if field.name != "updated_at" and getattr(before, field.name) != getattr(after, field.name)
    }
    return encode(hidden | shown)


async def write_recorded(db: AsyncSession) -> Told:
    """What ``record`` gathered becomes rows; called by ``comms.database`` as the transaction's last statement."""
    facts: list[Fact] = db.info.pop("facts", [])
    if not facts:
        return []
    await db.flush()
    connection = await db.connection()
    rows: Any = (await connection.exec_driver_sql(WRITE, arguments(await _confined(db, facts)))).all()
    return [(row[0], row[1]) for row in rows]


def keep_to(db: AsyncSession, channel_id: uuid.UUID, members: Collection[uuid.UUID]) -> None:
    """What this transaction tells of a channel is for ``members`` too: of who has gone nobody would know at its end."""
    db.info.setdefault("channels", {}).setdefault(channel_id, set()).update(members)


async def _confined(db: AsyncSession, facts: Sequence[Fact]) -> list[Fact]:
    """The facts, those of a closed channel with who belongs to it now, and who has just left."""
    channels = [_channel_of(fact) for fact in facts]
    asked = {channel_id for channel_id in channels if channel_id is not None}
    if not asked:
        return list(facts)
    found = await db.execute(_CHANNELS, {"workspaces": list({fact.workspace_id for fact in facts}), "ids": list(asked)})
    closed = {row.id: set(row.members) if row.is_closed else None for row in found}
    gone: dict[uuid.UUID, set[uuid.UUID]] = db.info.get("channels", {})
    confined = []
    for fact, channel_id in zip(facts, channels, strict=True):
        members = closed.get(channel_id, set() if channel_id in gone else None) if channel_id is not None else None
        if channel_id is not None and members is not None and fact.audience is None:
            everyone = members | gone.get(channel_id, set())
            fact = msgspec.structs.replace(fact, audience=tuple(sorted(everyone)))
        confined.append(fact)
    return confined


def _channel_of(fact: Fact) -> uuid.UUID | None:
    field = CHANNELLED.get(fact.subject_type)
    return None if field is None else uuid.UUID(msgspec.json.decode(fact.data)[field])
