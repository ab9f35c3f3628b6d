"""Conversations that nobody owns have their place in the queue they belong to, and no others have one.

Who calls this holds the workspace's row of ``routing_progress``, so that nobody else queues or gives there meanwhile.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import and_, delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions, events
from comms.assignment.rules import is_open_at, tidy_skills
from models.base import new_id, now
from models.communications import Conversation, ConversationHandoff
from models.core import Workspace
from models.crm import Contact
from models.marketing import Condition
from models.routing import (
    RoutingPlace,
    RoutingPlaceView,
    RoutingQueue,
    RoutingQueueView,
    RoutingRule,
)


class Line(msgspec.Struct, frozen=True):
    """Which queue: all who wait in one can be given to the same people."""

    channel: str
    rule_id: uuid.UUID | None
    team_id: uuid.UUID | None
    skills: tuple[str, ...]

    @property
    def key(self) -> str:
        return msgspec.json.encode((self.rule_id, self.team_id, self.channel, self.skills)).decode()


class Seen(msgspec.Struct, frozen=True):
    """A conversation that waits, as far as it matters where: ``handoff`` is the open one, ``true_of`` says of rules."""

    id: uuid.UUID
    channel: str
    phone_number_id: uuid.UUID | None
    tags: Collection[str]
    fence: int = 0
    handoff: ConversationHandoff | None = None
    true_of: Mapping[uuid.UUID, bool] = {}


def line_of(seen: Seen, rules: Sequence[RoutingRule], zone: str, at: datetime) -> Line | None:
    """Where a conversation waits: for whom it was handed over to, else by the first rule that is true of it.

    A rule that is closed and says ``skip`` has it all the same when no later one is true. None is nowhere: no rule is
    true, or one person or agent in particular is asked first.
    """
    if seen.handoff is not None:
        return handed_over(seen.channel, seen.handoff)
    skipped: RoutingRule | None = None
    for rule in rules:
        if not _is_true(rule, seen):
            continue
        if rule.when_closed == "wait" or is_open_at(rule.hours, zone, at):
            return _line(rule, seen)
        skipped = skipped or rule
    return None if skipped is None else _line(skipped, seen)


def handed_over(channel: str, handoff: ConversationHandoff) -> Line | None:
    """Where a conversation waits that is handed over; None while one person or agent is asked."""
    if handoff.target_user_id or handoff.target_agent_id:
        return None
    return Line(channel, None, handoff.target_team_id, tuple(sorted(tidy_skills(handoff.needed_skills))))


def _is_true(rule: RoutingRule, seen: Seen) -> bool:
    return (
        (not rule.channels or seen.channel in rule.channels)
        and (not rule.phone_number_ids or seen.phone_number_id in rule.phone_number_ids)
        and (not rule.tags or not set(rule.tags).isdisjoint(seen.tags))
        and (not rule.conditions or seen.true_of.get(rule.id, False))
    )


def _line(rule: RoutingRule, seen: Seen) -> Line:
    return Line(seen.channel, rule.id, rule.team_id, tuple(sorted(rule.skills)))


async def queue(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    conversation_ids: Iterable[uuid.UUID],
    let_go: Mapping[uuid.UUID, uuid.UUID] = {},
) -> None:
    """Each of these conversations has the place it should have now, or none; ``let_go`` says who gave it back."""
    ids = list(dict.fromkeys(conversation_ids))
    if not ids:
        return
    found = await _waiting(db, workspace_id, ids)
    lines = {seen.id: line for seen, line, _ in found if line is not None}
    queues = await _queues(db, workspace_id, set(lines.values()))
    places = {
        place.conversation_id: place
        for place in await db.scalars(
            select(RoutingPlace)
            .where(RoutingPlace.workspace_id == workspace_id, RoutingPlace.conversation_id.in_(ids))
            .execution_options(populate_existing=True)
        )
    }
    await leave(db, [place for place in places.values() if place.conversation_id not in lines])
    returning = [seen.id for seen, line, _ in found if line is not None and seen.fence and seen.id not in places]
    let_go = {**await _let_go(db, workspace_id, returning), **let_go}
    same: list[uuid.UUID] = []
    entered: list[RoutingPlace] = []
    for seen, line, since in found:
        if line is None:
            continue
        place, queue_id = places.get(seen.id), queues[line.key]
        gave_back = let_go.get(seen.id) or (seen.handoff.from_user_id if seen.handoff else None)
        if place is None:
            place = RoutingPlace(workspace_id=workspace_id, id=new_id(), conversation_id=seen.id, is_stale=False)
            place.queue_id, place.waiting_since, place.let_go_by = queue_id, since, gave_back
            entered.append(place)
            continue
        gave_back = gave_back or place.let_go_by
        if (place.queue_id, place.waiting_since, place.let_go_by) == (queue_id, since, gave_back):
            same.append(place.id)
            continue
        place.queue_id, place.waiting_since, place.let_go_by, place.is_stale = queue_id, since, gave_back, False
        await db.flush()
        events.record(db, "routing_place.updated", place, shown(place))
    db.add_all(entered)
    await db.flush()
    for place in entered:
        events.record(db, "routing_place.created", place, shown(place), conversation_id=place.conversation_id)
    if same:
        await db.execute(
            update(RoutingPlace)
            .where(RoutingPlace.workspace_id == workspace_id, RoutingPlace.id.in_(same), RoutingPlace.is_stale)
            .values(is_stale=False, updated_at=RoutingPlace.updated_at)
            .execution_options(synchronize_session=False)
        )


async def overlooked(db: AsyncSession, workspace_id: uuid.UUID, most: int) -> Sequence[uuid.UUID]:
    """Those that have waited longest without a place, since after a rule was written that is true of them."""
    rules = await _rules_of(db, workspace_id)
    if not rules:
        return []
    has_place = select(RoutingPlace.id).where(
        RoutingPlace.workspace_id == workspace_id, RoutingPlace.conversation_id == Conversation.id
    )
    is_handed_over = select(ConversationHandoff.id).where(
        ConversationHandoff.workspace_id == workspace_id,
        ConversationHandoff.conversation_id == Conversation.id,
        ConversationHandoff.status == "open",
    )
    query = (
        select(Conversation.id)
        .outerjoin(
            Contact, and_(Contact.workspace_id == Conversation.workspace_id, Contact.id == Conversation.contact_id)
        )
        .where(
            Conversation.workspace_id == workspace_id,
            Conversation.assigned_to.is_(None),
            waits(),
            ~has_place.exists(),
            ~is_handed_over.exists(),
            or_(*(_true_of(rule) for rule in rules)),
        )
        .order_by(Conversation.waiting_since, Conversation.id)
        .limit(most)
    )
    return (await db.scalars(query)).all()


def _true_of(rule: RoutingRule) -> Any:
    """What ``_is_true`` says of a conversation beside its contact, in the database, and that the rule was there."""
    said: list[Any] = [Conversation.waiting_since >= rule.created_at]
    if rule.channels:
        said.append(Conversation.channel.in_(rule.channels))
    if rule.phone_number_ids:
        said.append(Conversation.phone_number_id.in_(rule.phone_number_ids))
    if rule.tags:
        said.append(Conversation.tags.op("&&")(rule.tags))
    if rule.conditions:
        said += [Contact.id.is_not(None), conditions.all_of(msgspec.convert(rule.conditions, list[Condition]))]
    return and_(*said)


async def leave(db: AsyncSession, places: Sequence[RoutingPlace]) -> None:
    """These places are gone, and told of."""
    if not places:
        return
    await db.execute(
        delete(RoutingPlace)
        .where(RoutingPlace.workspace_id == places[0].workspace_id, RoutingPlace.id.in_([place.id for place in places]))
        .execution_options(synchronize_session=False)
    )
    for place in places:
        events.record(db, "routing_place.deleted", place, shown(place), conversation_id=place.conversation_id)


def shown(place: RoutingPlace) -> RoutingPlaceView:
    """A place as everybody sees it."""
    return msgspec.convert(place, RoutingPlaceView, from_attributes=True)


def waits() -> Any:
    """True of a conversation that is open, nobody's, and not put off."""
    return and_(
        Conversation.status == "active",
        Conversation.waiting_since.is_not(None),
        or_(Conversation.snoozed_until.is_(None), Conversation.snoozed_until <= func.now()),
    )


async def _let_go(db: AsyncSession, workspace_id: uuid.UUID, ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, uuid.UUID]:
    """Who gave these back when they began to wait: where they had no place for a while, only the log knows that."""
    if not ids:
        return {}
    rows = await db.execute(_LET_GO, {"here": workspace_id, "ids": ids})
    return {row.id: row.let_go_by for row in rows if row.let_go_by is not None}


async def zone_of(db: AsyncSession, workspace_id: uuid.UUID) -> str:
    """The time zone in which a workspace's hours are meant."""
    settings = await db.scalar(select(Workspace.settings).where(Workspace.id == workspace_id))
    return str((settings or {}).get("timezone") or "UTC")


async def _waiting(
    db: AsyncSession, workspace_id: uuid.UUID, ids: Sequence[uuid.UUID]
) -> list[tuple[Seen, Line | None, datetime]]:
    """Those of these conversations that wait, each with its line and since when."""
    rules = await _rules_of(db, workspace_id)
    asking = [rule for rule in rules if rule.conditions]
    said = [conditions.all_of(msgspec.convert(rule.conditions, list[Condition])) for rule in asking]
    of = Conversation
    query = (
        select(
            of.id,
            of.channel,
            of.phone_number_id,
            of.tags,
            of.fence,
            of.waiting_since,
            ConversationHandoff,
            *(func.coalesce(and_(Contact.id.is_not(None), one), False) for one in said),
        )
        .outerjoin(Contact, and_(Contact.workspace_id == of.workspace_id, Contact.id == of.contact_id))
        .outerjoin(
            ConversationHandoff,
            and_(
                ConversationHandoff.workspace_id == of.workspace_id,
                ConversationHandoff.conversation_id == of.id,
                ConversationHandoff.status == "open",
            ),
        )
        .where(of.workspace_id == workspace_id, of.id.in_(ids), waits())
        .order_by(of.waiting_since, of.id)
    )
    zone, at = await zone_of(db, workspace_id), now()
    found = []
    for id_, channel, number, tags, fence, since, handoff, *true in await db.execute(query):
        true_of = {rule.id: is_true for rule, is_true in zip(asking, true, strict=True)}
        seen = Seen(id_, channel, number, tags, fence, handoff, true_of)
        found.append((seen, line_of(seen, rules, zone, at), since or at))
    return found


async def _rules_of(db: AsyncSession, workspace_id: uuid.UUID) -> Sequence[RoutingRule]:
    """The active rules, in the order in which they are asked."""
    ordered = select(RoutingRule).where(RoutingRule.workspace_id == workspace_id, RoutingRule.is_active)
    ordered = ordered.order_by(RoutingRule.position, RoutingRule.created_at, RoutingRule.id)
    return (await db.scalars(ordered.execution_options(populate_existing=True))).all()


async def _queues(db: AsyncSession, workspace_id: uuid.UUID, lines: Collection[Line]) -> dict[str, uuid.UUID]:
    """The queues of these lines by their keys; those that there were not are there now."""
    by_key = {line.key: line for line in lines}
    if not by_key:
        return {}
    there = select(RoutingQueue.key, RoutingQueue.id).where(
        RoutingQueue.workspace_id == workspace_id, RoutingQueue.key.in_(list(by_key))
    )
    known = {row.key: row.id for row in await db.execute(there)}
    for key in sorted(by_key.keys() - known.keys()):
        line = by_key[key]
        row = RoutingQueue(workspace_id=workspace_id, id=new_id(), key=key, channel=line.channel)
        row.rule_id, row.team_id, row.skills = line.rule_id, line.team_id, list(line.skills)
        db.add(row)
        await db.flush()
        known[key] = row.id
        events.record(db, "routing_queue.created", row, msgspec.convert(row, RoutingQueueView, from_attributes=True))
    return known


_LET_GO = text(
    """
    SELECT c.id, last.let_go_by FROM conversations c
    CROSS JOIN LATERAL (
        SELECT CAST(e.changes->'assignedTo'->>'before' AS uuid) AS let_go_by FROM events e
        WHERE e.workspace_id = c.workspace_id AND e.subject_id = c.id AND e.subject_type = 'conversation'
            AND e.changes->'fence' IS NOT NULL AND e.at >= c.waiting_since
        ORDER BY e.seq DESC LIMIT 1
    ) last
    WHERE c.workspace_id = :here AND c.id = ANY(CAST(:ids AS uuid[]))
    """
)
