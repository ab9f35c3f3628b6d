"""Who serves which queue in which somebody waits, and what each of them has to do already."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.assignment.choosing import Person, Wanted, hindrance
from comms.assignment.queueing import handed_over
from models.communications import Conversation, ConversationHandoff, Team
from models.routing import DEFAULT_CAPACITY, RoutingPlace, RoutingQueue, RoutingRule


class Serving(msgspec.Struct, frozen=True):
    """A queue with somebody waiting, the rule it is of, who serves it, and whether their team is in use."""

    queue: RoutingQueue
    rule: RoutingRule | None
    people: Sequence[Person]
    is_in_use: bool

    def is_for(self, talk: Conversation, handoff: ConversationHandoff | None) -> bool:
        """Whether it is here that a conversation waits, with that handoff open or none."""
        if handoff is None:
            return self.rule is not None
        line = handed_over(talk.channel, handoff)
        return line is not None and line.key == self.queue.key

    def free(self) -> list[Person]:
        """Those who can take one more."""
        wanted = self.wanted()
        return [one for one in self.people if hindrance(one, wanted) is None]

    def wanted(self, **more: Any) -> Wanted:
        """What a conversation in it needs, with ``more`` that is known of it."""
        mode: Any = self.rule.mode if self.rule else "least_busy"
        return Wanted(self.queue.channel, mode, frozenset(self.queue.skills), **more)


async def serving_of(db: AsyncSession, workspace_id: uuid.UUID) -> list[Serving]:
    """The queues in which somebody waits, each with the people who serve it, and what they have to do already.

    One of a team is served by its members, and one of skills alone by whoever may answer in the workspace.
    """
    some = select(RoutingPlace.id).where(
        RoutingPlace.workspace_id == workspace_id, RoutingPlace.queue_id == RoutingQueue.id, ~RoutingPlace.is_stale
    )
    rows = (
        await db.execute(
            select(RoutingQueue, RoutingRule, Team.is_active)
            .outerjoin(Team, (Team.workspace_id == RoutingQueue.workspace_id) & (Team.id == RoutingQueue.team_id))
            .outerjoin(
                RoutingRule,
                (RoutingRule.workspace_id == RoutingQueue.workspace_id) & (RoutingRule.id == RoutingQueue.rule_id),
            )
            .where(RoutingQueue.workspace_id == workspace_id, some.exists())
            .order_by(RoutingQueue.id)
            .execution_options(populate_existing=True)
        )
    ).all()
    if not rows:
        return []
    teams = {queue.team_id for queue, _, _ in rows}
    members: dict[uuid.UUID | None, list[Person]] = {}
    everybody: dict[uuid.UUID, Person] = {}
    named = [team for team in teams if team]
    asked = {"here": workspace_id, "teams": named, "any": None in teams, "capacity": DEFAULT_CAPACITY}
    for row in await db.execute(_PEOPLE, asked):
        person = everybody.setdefault(row.user_id, _person(row))
        members.setdefault(row.team_id, []).append(person)
    if None in teams:
        members[None] = list(everybody.values())
    loads = await db.execute(_LOADS, {"here": workspace_id, "users": list(everybody)})
    for user_id, channel, count in loads:
        everybody[user_id].has(channel, count)
    return [
        Serving(queue, rule, members.get(queue.team_id, []), is_in_use is not False) for queue, rule, is_in_use in rows
    ]


def _person(row: Any) -> Person:
    return Person(
        user_id=row.user_id,
        is_available=row.is_available,
        is_online=row.is_online,
        is_on_call=row.is_on_call,
        skills=frozenset(row.skills),
        capacity=row.capacity,
        channel_capacity=row.channel_capacity,
        given_at=row.given_at,
        open={},
    )


_PEOPLE = text(
    """
    SELECT t.team_id, m.user_id,
        coalesce(p.availability, 'available') = 'available' AS is_available,
        NOT coalesce(p.needs_presence, false) OR coalesce(turn.online_until > now(), false) AS is_online,
        EXISTS (
            SELECT FROM call_legs l WHERE l.workspace_id = m.workspace_id AND l.user_id = m.user_id
                AND l.answered_at IS NOT NULL AND l.ended_at IS NULL
        ) AS is_on_call,
        coalesce(p.skills, '{}') AS skills, coalesce(p.capacity, :capacity) AS capacity,
        coalesce(p.channel_capacity, '{}') AS channel_capacity, turn.given_at
    FROM workspace_members m
    LEFT JOIN (team_members t JOIN teams g ON g.workspace_id = t.workspace_id AND g.id = t.team_id AND g.is_active)
        ON t.workspace_id = m.workspace_id AND t.user_id = m.user_id AND t.team_id = ANY(CAST(:teams AS uuid[]))
    LEFT JOIN routing_profiles p ON p.workspace_id = m.workspace_id AND p.user_id = m.user_id
    LEFT JOIN routing_turns turn ON turn.workspace_id = m.workspace_id AND turn.user_id = m.user_id
    WHERE m.workspace_id = :here AND m.is_active AND m.role <> 'viewer' AND (:any OR t.team_id IS NOT NULL)
    ORDER BY t.team_id, m.user_id
    """
)
_LOADS = text(
    "SELECT assigned_to, channel, count(*) FROM conversations WHERE workspace_id = :here AND status = 'active'"
    " AND assigned_to = ANY(CAST(:users AS uuid[])) GROUP BY assigned_to, channel"
)
