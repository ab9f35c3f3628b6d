"""Agents do not go round in circles: whoever has had a conversation gets it back only with something new.

What counts is what has happened since its contact last said something, for that is something new by itself.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict
from comms.ownership.targets import tidy
from models.communications import Conversation, ConversationHandoff, ConversationMessage, TeamMember
from models.communications.handoffs import Packet, Target
from models.routing import RoutingProfile

MOST_BETWEEN_AGENTS = 10
"""So often may agents hand a conversation to agents while its contact says nothing; then a person has to take it."""
MOST_LOOKED_AT = 200
_NEVER = datetime.min.replace(tzinfo=UTC)


class NothingNew(Conflict):
    """An agent cannot hand a conversation back to where it came from without something new: say what is."""


class _People(msgspec.Struct, frozen=True):
    """Of those who had the conversation: who is in which team, and what they can do."""

    teams: Mapping[uuid.UUID, frozenset[uuid.UUID]]
    skills: Mapping[uuid.UUID, frozenset[str]]

    def of(self, target: Target) -> frozenset[uuid.UUID]:
        """Those of them who are meant."""
        if target.user_id is not None:
            return frozenset([target.user_id])
        if target.agent_id is not None:
            return frozenset()
        if target.team_id is not None:
            return self.teams.get(target.team_id, frozenset())
        needed = frozenset(tidy(target.needed_skills))
        return frozenset(user_id for user_id, able in self.skills.items() if needed <= able)


async def expect_news(db: AsyncSession, conversation: Conversation, packet: Packet, targets: Sequence[Target]) -> None:
    """None of these has had the conversation or was asked to take it; or the packet says what they did not know then.

    Raises ``NothingNew``. The caller holds the conversation.
    """
    said_at = await _said_at(db, conversation)
    earlier = await _handed_on_since(db, conversation, said_at)
    had = await _have_had_it_since(db, conversation, said_at)
    if any(target.agent_id is not None for target in targets):
        _expect_few_between_agents(earlier)
    people = await _people(db, conversation.workspace_id, earlier, had, targets)
    for target in targets:
        meant = people.of(target) | {target.agent_id}
        known = [place + 1 for place, row in enumerate(earlier) if _was_with(row, target, people)]
        known += [sum(row.created_at <= at for row in earlier) for who, at in had.items() if who in meant]
        if known and not _is_news(packet, earlier[: max(known)]):
            raise NothingNew


def _expect_few_between_agents(earlier: Sequence[ConversationHandoff]) -> None:
    between = [
        row for row in earlier if row.from_agent_id is not None and any(one.agent_id is not None for one in _asked(row))
    ]
    if len(between) >= MOST_BETWEEN_AGENTS:
        raise NothingNew(
            f"agents have handed this on {len(between)} times since its contact said something: ask a person"
        )


async def _said_at(db: AsyncSession, conversation: Conversation) -> datetime:
    """When the contact last said something."""
    said_at: datetime | None = await db.scalar(
        select(func.max(ConversationMessage.created_at)).where(
            ConversationMessage.workspace_id == conversation.workspace_id,
            ConversationMessage.conversation_id == conversation.id,
            ConversationMessage.direction == "inbound",
        )
    )
    return said_at or _NEVER


async def _handed_on_since(
    db: AsyncSession, conversation: Conversation, said_at: datetime
) -> Sequence[ConversationHandoff]:
    """The handoffs since then, the earliest first."""
    query = select(ConversationHandoff).where(
        ConversationHandoff.workspace_id == conversation.workspace_id,
        ConversationHandoff.conversation_id == conversation.id,
        ConversationHandoff.created_at > said_at,
    )
    newest = query.order_by(ConversationHandoff.created_at.desc(), ConversationHandoff.id.desc())
    return (await db.scalars(newest.limit(MOST_LOOKED_AT))).all()[::-1]


async def _have_had_it_since(
    db: AsyncSession, conversation: Conversation, said_at: datetime
) -> Mapping[uuid.UUID, datetime]:
    """The members and agents who have had it since then, handed on or not, and when they got it or let it go last."""
    asked = {"here": conversation.workspace_id, "id": conversation.id, "since": said_at}
    return {row.who: row.at for row in await db.execute(_HAD, asked)}


# The log tells of each change of hands; a conversation's own entries in it are few.
_HAD = text(
    """
    SELECT CAST(had.who AS uuid) AS who, max(e.at) AS at
    FROM events e CROSS JOIN LATERAL (VALUES
        (e.changes->'assignedTo'->>'before'), (e.changes->'assignedTo'->>'after'),
        (e.changes->'agentId'->>'before'), (e.changes->'agentId'->>'after')
    ) AS had (who)
    WHERE e.workspace_id = :here AND e.subject_id = :id AND e.at > :since AND had.who IS NOT NULL
    GROUP BY had.who
    """
)


async def _people(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    earlier: Sequence[ConversationHandoff],
    have_had_it: Collection[uuid.UUID],
    targets: Sequence[Target],
) -> _People:
    had = {one for row in earlier for one in (row.from_user_id, row.taken_by_user_id) if one is not None}
    had |= set(have_had_it)
    teams: dict[uuid.UUID, frozenset[uuid.UUID]] = {}
    for team_id in {target.team_id for target in targets if target.team_id is not None} if had else ():
        query = select(TeamMember.user_id).where(
            TeamMember.workspace_id == workspace_id, TeamMember.team_id == team_id, TeamMember.user_id.in_(had)
        )
        teams[team_id] = frozenset(await db.scalars(query))
    profiles = select(RoutingProfile.user_id, RoutingProfile.skills).where(
        RoutingProfile.workspace_id == workspace_id, RoutingProfile.user_id.in_(had)
    )
    found = await db.execute(profiles) if had else ()
    return _People(teams, {user_id: frozenset(skills) for user_id, skills in found})


def _was_with(row: ConversationHandoff, target: Target, people: _People) -> bool:
    """Whether who is meant has handed it on then, has taken it, or was asked to."""
    if target.agent_id is not None and target.agent_id in (row.from_agent_id, row.taken_by_agent_id):
        return True
    if not people.of(target).isdisjoint({row.from_user_id, row.taken_by_user_id}):
        return True
    return any(_is_within(target, asked) for asked in _asked(row))


def _asked(row: ConversationHandoff) -> list[Target]:
    return msgspec.convert(row.asked, list[Target])


def _is_within(target: Target, asked: Target) -> bool:
    """Whether everybody who is meant was asked by this already."""
    if target.user_id or target.agent_id or target.team_id:
        named = (target.user_id, target.agent_id, target.team_id)
        return named == (asked.user_id, asked.agent_id, asked.team_id)
    if asked.user_id or asked.agent_id or asked.team_id:
        return False
    return set(tidy(asked.needed_skills)) <= set(tidy(target.needed_skills))


def _is_news(packet: Packet, before: Sequence[ConversationHandoff]) -> bool:
    """Whether there is a fact, a try, a question or a row in the packet that was in none of those before."""
    known: list[Any] = [msgspec.convert(row.packet, Packet) for row in before]
    if any(all(then.facts.get(name) != value for then in known) for name, value in packet.facts.items()):
        return True
    return any(
        all(one not in getattr(then, name) for then in known)
        for name in ("tried", "open_questions", "links")
        for one in getattr(packet, name)
    )
