"""Who waits is given to whom it is for: decided and claimed in one transaction, with what was seen then kept beside it.

Of a queue only as many are looked at as there are free places for them, so it does not matter how many wait; and none
that all who are free gave back or refused, so nobody waits behind those.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions, ownership
from comms.assignment.choosing import Choice, Person, choose, hindrance, nobody_is_free
from comms.assignment.queueing import leave, waits, zone_of
from comms.assignment.rules import is_open_at
from comms.assignment.serving import Serving, serving_of
from comms.ownership import refusing
from comms.ownership.refusing import REFUSED
from models.base import new_id, now
from models.communications import Conversation, ConversationHandoff
from models.communications.handoffs import MOST_STEPS
from models.routing import (
    RoutingDecision,
    RoutingDecisionView,
    RoutingPlace,
    RoutingQueueView,
)

AT_ONCE = 100
BESIDES = 20
"""So many more are looked at than there is room for: others may be about to take some of them."""
MOST_PASSED = 1_000
"""So many that all who are free gave back or refused are passed over in one look; the next one goes on behind them."""
MOST_HINDERED = MOST_STEPS + 2
"""No more people than these are kept from one conversation: whoever let it go, and one at each turn of its handoff."""

_BEGINNING = (datetime.min.replace(tzinfo=UTC), uuid.UUID(int=0))

Given = tuple[RoutingPlace, Conversation, RoutingDecision]


class Passed(msgspec.Struct, frozen=True):
    """Who was free when a look ended before its queue did: they can be given none up to ``last``, by time and id."""

    free: frozenset[uuid.UUID]
    last: tuple[datetime, uuid.UUID]


Reached = dict[uuid.UUID, Passed]
"""How far the last look came, in each queue in which it passed over as many as it may."""


class Look(msgspec.Struct, frozen=True):
    """How many were given, and whether there may be more to give at once."""

    given: int = 0
    is_more: bool = False


async def give_next(
    db: AsyncSession, workspace_id: uuid.UUID, most: int = AT_ONCE, reached: Reached | None = None
) -> Look:
    """Those who wait longest are given to who is free. The caller holds the workspace's progress.

    The caller keeps what was ``reached`` from one look to the next.
    """
    served = await serving_of(db, workspace_id)
    if not served:
        return Look()
    at = now()
    zone = await zone_of(db, workspace_id) if any(one.rule and one.rule.hours for one in served) else "UTC"
    open_now = {one.queue.id: one for one in served if one.rule is None or is_open_at(one.rule.hours, zone, at)}
    places, exhausted = await _first(
        db, workspace_id, [one for one in open_now.values() if one.free()], most, {} if reached is None else reached
    )
    held = await _held(db, workspace_id, places, open_now)
    known = await _known(db, workspace_id, places, held, open_now, at)
    refused = await refusing.members(db, workspace_id, list(held)) if held else {}
    given: list[Given] = []
    passed_over: set[uuid.UUID] = set()
    turns: dict[uuid.UUID, datetime] = {}
    for place in places:
        conversation, serving = held.get(place.conversation_id), open_now[place.queue_id]
        if conversation is None or len(given) == most:
            continue
        refused_by = refused.get(conversation.id, frozenset())
        wanted = serving.wanted(knows=known.get(conversation.id), let_go_by=place.let_go_by, refused_by=refused_by)
        choice = choose(serving.people, wanted)
        if choice.person is None:
            passed_over.add(place.queue_id)
            continue
        at += timedelta(microseconds=1)  # turns have an order, within one look too
        choice.person.is_given(conversation.channel, at)
        given.append((place, conversation, _decision(serving, place, choice.person, choice)))
        turns[choice.person.user_id] = at
    given = await _who_may_answer(db, workspace_id, given)
    await _give(db, given)
    await _keep(db, workspace_id, [decision for _, _, decision in given], turns)
    await leave(db, [place for place, _, _ in given])
    await _note_hold_ups(db, served, open_now, {place.queue_id for place, _, _ in given}, exhausted)
    is_more = len(places) >= most or any(open_now[queue_id].free() for queue_id in passed_over)
    return Look(len(given), bool(given) and is_more)


async def _give(db: AsyncSession, given: Sequence[Given]) -> None:
    """The conversations are theirs; what was handed over is taken one by one, for its contact may be told."""
    routed = [one for one in given if one[2].rule_id is not None]
    handed_over = [one for one in given if one[2].rule_id is None]
    await ownership.give_waiting(db, [(talk, decision.user_id, _why(decision)) for _, talk, decision in routed])
    for _, talk, decision in handed_over:
        await ownership.give(db, talk, ownership.ByMember(decision.user_id), why=_why(decision))


def _why(decision: RoutingDecision) -> str:
    return f"routed: {decision.reason}"


def _decision(serving: Serving, place: RoutingPlace, person: Person, choice: Choice) -> RoutingDecision:
    return RoutingDecision(
        workspace_id=place.workspace_id,
        id=new_id(),
        conversation_id=place.conversation_id,
        user_id=person.user_id,
        rule_id=serving.queue.rule_id,
        team_id=serving.queue.team_id,
        mode=serving.wanted().mode,
        waiting_since=place.waiting_since,
        reason=choice.reason,
        considered=msgspec.to_builtins(choice.considered),
        others=msgspec.to_builtins(choice.others),
    )


async def _first(
    db: AsyncSession, workspace_id: uuid.UUID, serving: Sequence[Serving], most: int, reached: Reached
) -> tuple[list[RoutingPlace], frozenset[uuid.UUID]]:
    """Who has waited longest in each of these queues, as many as its people have room for; the oldest first.

    And the queues in which all who wait were passed over.
    """
    if not serving:
        return [], frozenset()
    free = {one.queue.id: frozenset(person.user_id for person in one.free()) for one in serving}
    begin = {queue_id: _behind(reached.pop(queue_id, None), who) for queue_id, who in free.items()}
    asked: dict[str, Any] = {"here": workspace_id, "passed": MOST_PASSED, "most": most + BESIDES, **_lists(begin)}
    asked["sizes"] = [
        min(most, sum(person.room_for(one.queue.channel) for person in one.free())) + BESIDES for one in serving
    ]
    asked["free"] = [f"{{{','.join(map(str, who))}}}" if len(who) <= MOST_HINDERED else None for who in free.values()]
    query = select(RoutingPlace).from_statement(_FIRST).execution_options(populate_existing=True)
    first = list(await db.scalars(query, asked))
    if len(first) == most + BESIDES:  # some may have been left out for older ones of other queues
        return first, frozenset()
    held_up = {queue_id: begin[queue_id] for queue_id in free.keys() - {place.queue_id for place in first}}
    asked = {"here": workspace_id, "passed": MOST_PASSED, **_lists(held_up)}
    for row in await db.execute(_PASSED, asked):
        reached[row.queue_id] = Passed(free[row.queue_id], (row.waiting_since, row.id))
    return first, frozenset(held_up.keys() - reached.keys())


def _behind(passed: Passed | None, free: frozenset[uuid.UUID]) -> tuple[datetime, uuid.UUID]:
    """Where a look begins: somebody may be free now who was not when others were passed over."""
    return passed.last if passed is not None and free <= passed.free else _BEGINNING


def _lists(begin: Mapping[uuid.UUID, tuple[datetime, uuid.UUID]]) -> dict[str, list[Any]]:
    """Queues, and where a look at each begins, as PostgreSQL takes them."""
    return {"queues": list(begin), "since": [at for at, _ in begin.values()], "ids": [one for _, one in begin.values()]}


async def _held(
    db: AsyncSession, workspace_id: uuid.UUID, places: Sequence[RoutingPlace], served: Mapping[uuid.UUID, Serving]
) -> dict[uuid.UUID, Conversation]:
    """The conversations of these places that still wait there, held until the commit.

    One that somebody else holds is left for the next time: they may be about to take it. And one that has just been
    handed over, to others or no more, is in a wrong queue until the log tells of that.
    """
    if not places:
        return {}
    query = (
        select(Conversation)
        .where(
            Conversation.workspace_id == workspace_id,
            Conversation.id.in_([place.conversation_id for place in places]),
            waits(),
        )
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    held = {row.id: row for row in await db.scalars(query)}
    # Asked once they are held: whoever hands one over, or asks others, holds it too.
    asked = select(ConversationHandoff).where(
        ConversationHandoff.workspace_id == workspace_id,
        ConversationHandoff.conversation_id.in_(list(held)),
        ConversationHandoff.status == "open",
    )
    handoffs = {row.conversation_id: row for row in await db.scalars(asked.execution_options(populate_existing=True))}
    there = {}
    for place in places:
        talk, serving = held.get(place.conversation_id), served[place.queue_id]
        handoff = handoffs.get(place.conversation_id)
        if talk is not None and serving.is_for(talk, handoff):
            there[talk.id] = talk
    return there


async def _known(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    places: Sequence[RoutingPlace],
    held: Mapping[uuid.UUID, Conversation],
    served: Mapping[uuid.UUID, Serving],
    at: datetime,
) -> dict[uuid.UUID, uuid.UUID]:
    """Who had each conversation's contact last, where its rule minds."""
    since: dict[uuid.UUID, datetime] = {}
    for place in places:
        rule = served[place.queue_id].rule
        if rule is not None and rule.sticky_days is not None and place.conversation_id in held:
            since[place.conversation_id] = at - timedelta(days=rule.sticky_days)
    contacts = {held[one].contact_id for one in since} - {None}
    if not contacts:
        return {}
    rows = (await db.execute(_BONDS, {"here": workspace_id, "contacts": list(contacts)})).all()
    bonds = {row.contact_id: row for row in rows}
    found = {}
    for conversation_id, earliest in since.items():
        bond = bonds.get(held[conversation_id].contact_id)
        if bond is not None and bond.since >= earliest:
            found[conversation_id] = bond.user_id
    return found


async def _who_may_answer(db: AsyncSession, workspace_id: uuid.UUID, given: Sequence[Given]) -> list[Given]:
    """What is for somebody who may answer, and stays so until the commit."""
    hindered = await mentions.no_answerers_of(db, workspace_id, {decision.user_id for _, _, decision in given})
    return [one for one in given if one[2].user_id not in hindered]


async def _keep(
    db: AsyncSession, workspace_id: uuid.UUID, decisions: Sequence[RoutingDecision], turns: Mapping[uuid.UUID, datetime]
) -> None:
    if not decisions:
        return
    db.add_all(decisions)
    await db.flush()
    for one in decisions:
        view = msgspec.convert(one, RoutingDecisionView, from_attributes=True)
        events.record(db, "routing_decision.created", one, view)
    users = sorted({one.user_id for one in decisions})
    times = [turns[user] for user in users]
    await db.execute(_TAKE_TURNS, {"here": workspace_id, "users": users, "times": times})


async def _note_hold_ups(
    db: AsyncSession,
    served: Sequence[Serving],
    open_now: Mapping[uuid.UUID, Serving],
    given: Collection[uuid.UUID],
    exhausted: Collection[uuid.UUID],
) -> None:
    """Each queue says why nobody in it was given to anybody, if it is so and is known."""
    for one in served:
        queue = one.queue
        if queue.id in given:
            said = None
        elif not one.is_in_use:
            said = "its team is not in use any more"
        elif queue.id not in open_now:
            said = "its hours are over"
        elif not one.free():
            why = (hindrance(person, one.wanted()) for person in one.people)
            said = nobody_is_free(verdict for verdict in why if verdict)
        elif queue.id not in exhausted:
            continue  # the looks that follow, or whoever holds them, will tell
        else:
            said = "who is free gave back or refused everything that waits here"
        if said != queue.held_up:
            before = msgspec.convert(queue, RoutingQueueView, from_attributes=True)
            queue.held_up = said
            await db.flush()
            view = msgspec.convert(queue, RoutingQueueView, from_attributes=True)
            events.record(db, "routing_queue.updated", queue, view, before=before)


# A queue as a range of one, and in its order, so that no index but the queues' own will do: with an equality those of a
# young queue were looked for among all who wait while the statistics knew of one queue (347 pages for 21 of 10,000; 5).
_WAITING = """
SELECT * FROM routing_places WHERE workspace_id = :here AND NOT is_stale
    AND (queue_id, waiting_since, id) > (q.id, q.since, q.behind) AND queue_id <= q.id
ORDER BY queue_id, waiting_since, id"""
_QUEUES = "CAST(:queues AS uuid[]), CAST(:since AS timestamptz[]), CAST(:ids AS uuid[])"
_FIRST = text(
    f"""
    WITH q AS MATERIALIZED (
        SELECT id, since, behind, size, CAST(free AS uuid[]) AS free
        FROM unnest({_QUEUES}, CAST(:sizes AS int[]), CAST(:free AS text[])) AS q (id, since, behind, size, free)
    )
    SELECT p.* FROM q
    CROSS JOIN LATERAL (
        SELECT * FROM ({_WAITING} LIMIT :passed) w
        WHERE q.free IS NULL OR NOT q.free <@ array_append(ARRAY(
            SELECT CAST(one->>'userId' AS uuid) FROM conversations c CROSS JOIN jsonb_array_elements({REFUSED}) one
            WHERE c.workspace_id = :here AND c.id = w.conversation_id
        ), w.let_go_by)
        ORDER BY queue_id, waiting_since, id LIMIT q.size
    ) p
    ORDER BY p.waiting_since, p.id LIMIT :most
    """
)
_PASSED = text(
    f"""
    SELECT last.queue_id, last.waiting_since, last.id FROM unnest({_QUEUES}) AS q (id, since, behind)
    CROSS JOIN LATERAL ({_WAITING} OFFSET :passed - 1 LIMIT 1) last
    """
)
_BONDS = text(
    "SELECT contact_id, user_id, since FROM routing_bonds"
    " WHERE workspace_id = :here AND contact_id = ANY(CAST(:contacts AS uuid[]))"
)
_TAKE_TURNS = text(
    """
    INSERT INTO routing_turns (workspace_id, user_id, given_at)
    SELECT :here, user_id, at FROM unnest(CAST(:users AS uuid[]), CAST(:times AS timestamptz[])) AS u (user_id, at)
    ON CONFLICT (workspace_id, user_id) DO UPDATE SET given_at = excluded.given_at
    """
)
