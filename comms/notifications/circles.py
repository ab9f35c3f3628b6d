"""Whom occasions concern, and how each of them wants to be told: looked up for many occasions at once."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import permissions
from comms.notifications.keeping import Notice, further
from comms.notifications.occasions import CONTACT, LONGEST, Occasion
from comms.notifications.preferences import Plan, plan_of
from models.base import now

SOMEBODY = "somebody"
_OF_EVERYBODY = frozenset({"approvers", "asked", SOMEBODY})


class Talk(msgspec.Struct):
    """A conversation: who has it, who follows it, who does not want to hear of it, and how far each has read."""

    assigned_to: uuid.UUID | None
    contact_owner: uuid.UUID | None
    name: str
    is_spam: bool
    followers: set[uuid.UUID] = msgspec.field(default_factory=set)
    muted: set[uuid.UUID] = msgspec.field(default_factory=set)
    read: dict[uuid.UUID, datetime] = msgspec.field(default_factory=dict)


class Member(msgspec.Struct, frozen=True):
    """An active member, and what they want."""

    role: Any
    permissions: Mapping[str, Any]
    plan: Plan


class Circles(msgspec.Struct):
    """Everything that decides whom some occasions concern."""

    talks: dict[uuid.UUID, Talk]
    rung: dict[uuid.UUID, set[uuid.UUID]]
    snoozers: dict[uuid.UUID, uuid.UUID]
    creators: dict[uuid.UUID, uuid.UUID | None]
    channels: dict[uuid.UUID, Any]
    threads: dict[uuid.UUID, dict[uuid.UUID, datetime]]
    positions: dict[tuple[uuid.UUID, uuid.UUID], int]
    teams: dict[uuid.UUID, set[uuid.UUID]]
    members: dict[uuid.UUID, Member]

    def named(self, occasions: Iterable[Occasion]) -> set[uuid.UUID]:
        """Everybody whom the occasions may concern, but for those circles that are of all members."""
        people = {user_id for occasion in occasions for user_id in occasion.to}
        for talk in self.talks.values():
            people |= _some(talk.assigned_to) | _some(talk.contact_owner) | talk.followers
        for channel in self.channels.values():
            people |= set(channel.members)
        people |= {user_id for group in (*self.rung.values(), *self.teams.values()) for user_id in group}
        return people | set(self.snoozers.values()).union(*self.threads.values())

    def notices(self, occasions: Iterable[Occasion]) -> list[Notice]:
        """What each member is told of these occasions: one notice for all of a group."""
        at = now()
        grouped: dict[tuple[uuid.UUID, str], Notice] = {}
        for occasion in occasions:
            for user_id in sorted(self.concerned(occasion)):
                notice = self._notice(occasion, user_id, at)
                if not (notice.in_app or notice.email_due_at or notice.push_due_at):
                    continue
                earlier = grouped.get((user_id, occasion.group_key))
                if earlier is not None:
                    notice.count += earlier.count
                    notice.data = further(earlier.data, notice.data)
                grouped[user_id, occasion.group_key] = notice
        return list(grouped.values())

    def concerned(self, occasion: Occasion) -> set[uuid.UUID]:
        """The active members who are told: of nothing that they did, did not want, have read, or may not see."""
        told = occasion.told
        talk = None if occasion.conversation_id is None else self.talks.get(occasion.conversation_id)
        if occasion.subject[0] == "conversation" and (talk is None or talk.is_spam):
            return set()
        if occasion.channel_id is not None and occasion.channel_id not in self.channels:
            return set()
        found = set(occasion.to)
        for circle in occasion.circles:
            if circle == SOMEBODY and found & self.members.keys():
                continue
            if circle == "asked" and found & self.members.keys():
                continue
            found |= self._circle(circle, occasion, talk)
        if talk is not None and occasion.kind in ("message", "missed_call"):
            found -= talk.muted
        if talk is not None and occasion.kind in ("message", "mention"):
            found -= {user_id for user_id, at in talk.read.items() if at >= told.at}
        if told.audience is not None:
            found &= told.audience
        channel = None if occasion.channel_id is None else self.channels[occasion.channel_id]
        if channel is not None:
            found -= {user_id for user_id in found if self._has_read(user_id, occasion)}
            if channel.is_closed:
                found &= set(channel.members)
        return {user_id for user_id in found - occasion.but if user_id != told.by and user_id in self.members}

    def _has_read(self, user_id: uuid.UUID, occasion: Occasion) -> bool:
        position = occasion.data.get("position")
        read = self.positions.get((occasion.channel_id or uuid.UUID(int=0), user_id), 0)
        return position is not None and read >= position

    def _circle(self, circle: str, occasion: Occasion, talk: Talk | None) -> set[uuid.UUID]:
        match circle:
            case "assignee":
                return set() if talk is None else _some(talk.assigned_to)
            case "followers":
                return set() if talk is None else talk.followers
            case "contact_owner":
                return set() if talk is None else _some(talk.contact_owner)
            case "rung":
                return self.rung.get(occasion.call_id or uuid.UUID(int=0), set())
            case "team":
                return self.teams.get(occasion.team_id or uuid.UUID(int=0), set())
            case "snoozer":
                return _some(self.snoozers.get(occasion.subject[1]))
            case "direct":
                channel = self.channels[occasion.channel_id or uuid.UUID(int=0)]
                thread = self.threads.get(occasion.parent_id or uuid.UUID(int=0), {})
                followed = {user_id for user_id, since in thread.items() if since <= occasion.told.at}
                return set(channel.members) if channel.type == "direct" else followed
            case "channel":
                return set(self.channels[occasion.channel_id or uuid.UUID(int=0)].members)
            case "approvers":
                return self._approvers(self.creators.get(occasion.agent_id or uuid.UUID(int=0)))
            case "asked":
                return self._permitted("write")
            case _:
                return {user_id for user_id, member in self.members.items() if member.role in ("owner", "admin")}

    def _approvers(self, creator: uuid.UUID | None) -> set[uuid.UUID]:
        """Who may approve: not whose agent it is, unless there is nobody else (see ``comms.agents.approvals``)."""
        permitted = self._permitted("write")
        return permitted - _some(creator) or permitted

    def _permitted(self, level: Any) -> set[uuid.UUID]:
        return {
            user_id
            for user_id, member in self.members.items()
            if permissions.allows(member.role, member.permissions, "agents", level)
        }

    def _notice(self, occasion: Occasion, user_id: uuid.UUID, at: datetime) -> Notice:
        plan = self.members[user_id].plan
        talk = None if occasion.conversation_id is None else self.talks.get(occasion.conversation_id)
        return Notice(
            user_id=user_id,
            kind=occasion.kind,
            group_key=occasion.group_key,
            seq=occasion.told.seq,
            at=occasion.told.at,
            title=occasion.title.replace(CONTACT, "somebody" if talk is None else talk.name),
            message=None if occasion.text is None else occasion.text[:LONGEST],
            link=occasion.link,
            subject_type=occasion.subject[0],
            subject_id=occasion.subject[1],
            data=occasion.data,
            in_app=plan.ways[occasion.kind].in_app,
            email_due_at=plan.mail_due(occasion.kind, at),
            push_due_at=plan.push_due(occasion.kind, at),
        )


def _some(one: uuid.UUID | None) -> set[uuid.UUID]:
    return set() if one is None else {one}


async def around(db: AsyncSession, workspace_id: uuid.UUID, occasions: Sequence[Occasion]) -> Circles:
    """Whom these occasions concern: a handful of statements, however many there are."""
    here = {"here": workspace_id}

    async def asked(statement: Any, ids: Collection[uuid.UUID | None]) -> Sequence[Any]:
        wanted = sorted({one for one in ids if one is not None})
        return (await db.execute(statement, here | {"ids": wanted})).all() if wanted else []

    def of(circle: str) -> list[Occasion]:
        return [occasion for occasion in occasions if circle in occasion.circles]

    talks = await _talks(asked, [occasion.conversation_id for occasion in occasions])
    threads: dict[uuid.UUID, dict[uuid.UUID, datetime]] = {}
    for row in await asked(_THREADS, [occasion.parent_id for occasion in occasions]):
        threads.setdefault(row.message_id, {})[row.user_id] = row.created_at
    circles = Circles(
        talks=talks,
        rung=_sets(await asked(_RUNG, [occasion.call_id for occasion in of("rung")])),
        snoozers=_pairs(await asked(_SNOOZERS, [occasion.subject[1] for occasion in of("snoozer")])),
        creators=_pairs(await asked(_CREATORS, [occasion.agent_id for occasion in of("approvers")])),
        channels={row.id: row for row in await asked(_CHANNELS, [occasion.channel_id for occasion in occasions])},
        threads=threads,
        positions={
            (row.channel_id, row.user_id): row.read_position
            for row in await asked(_POSITIONS, [occasion.channel_id for occasion in occasions])
        },
        teams=_sets(await asked(_TEAMS, [occasion.team_id for occasion in of("team")])),
        members={},
    )
    everybody = any(circle in _OF_EVERYBODY for occasion in occasions for circle in occasion.circles)
    named = circles.named(occasions)
    if everybody or named:
        people = await db.execute(_MEMBERS, here | {"everybody": everybody, "ids": sorted(named)})
        circles.members = {
            row.user_id: Member(row.role, row.permissions, plan_of(row, row.preferences, row.settings))
            for row in people
        }
    return circles


async def _talks(asked: Any, ids: Collection[uuid.UUID | None]) -> dict[uuid.UUID, Talk]:
    talks = {
        row.id: Talk(row.assigned_to, row.owner_id, row.name or "somebody", row.status == "spam")
        for row in await asked(_TALKS, ids)
    }
    for row in await asked(_PARTICIPANTS, talks.keys()):
        talk = talks[row.conversation_id]
        if not row.notifications_enabled:
            talk.muted.add(row.user_id)
        elif row.role != "observer":  # one becomes an observer by merely reading
            talk.followers.add(row.user_id)
        if row.last_read_at is not None:
            talk.read[row.user_id] = row.last_read_at
    return talks


def _pairs(rows: Sequence[Any]) -> dict[uuid.UUID, Any]:
    return {row[0]: row[1] for row in rows}


def _sets(rows: Sequence[Any]) -> dict[uuid.UUID, set[uuid.UUID]]:
    found: dict[uuid.UUID, set[uuid.UUID]] = {}
    for key, user_id in rows:
        found.setdefault(key, set()).add(user_id)
    return found


_IDS = "ANY(CAST(:ids AS uuid[]))"
_TALKS = text(
    f"""
    SELECT c.id, c.assigned_to, c.status, t.owner_id,
        coalesce(nullif(concat_ws(' ', t.first_name, t.last_name), ''), t.company, t.email, t.phone) AS name
    FROM conversations c LEFT JOIN contacts t ON t.workspace_id = c.workspace_id AND t.id = c.contact_id
    WHERE c.workspace_id = :here AND c.id = {_IDS}
    """
)
_PARTICIPANTS = text(
    "SELECT conversation_id, user_id, role, notifications_enabled, last_read_at FROM conversation_participants"
    f" WHERE workspace_id = :here AND conversation_id = {_IDS}"
)
_RUNG = text(
    f"SELECT call_id, unnest(user_ids) AS user_id FROM call_offers WHERE workspace_id = :here AND call_id = {_IDS}"
)
_TEAMS = text(f"SELECT team_id, user_id FROM team_members WHERE workspace_id = :here AND team_id = {_IDS}")
_SNOOZERS = text(
    "SELECT DISTINCT ON (subject_id) subject_id, actor_id FROM events"
    f" WHERE workspace_id = :here AND subject_id = {_IDS} AND event = 'conversation.snoozed' AND actor_type = 'user'"
    " ORDER BY subject_id, seq DESC"
)
_CREATORS = text(f"SELECT id, created_by FROM agents WHERE workspace_id = :here AND id = {_IDS}")
_CHANNELS = text(
    f"""
    SELECT c.id, c.type, c.is_private OR c.type = 'direct' AS is_closed, ARRAY(
        SELECT m.user_id FROM team_channel_members m WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id
    ) AS members
    FROM team_channels c WHERE c.workspace_id = :here AND c.id = {_IDS}
    """
)
_THREADS = text(
    "SELECT message_id, user_id, created_at FROM team_thread_followings"
    f" WHERE workspace_id = :here AND message_id = {_IDS} AND is_following"
)
_POSITIONS = text(
    "SELECT channel_id, user_id, read_position FROM team_channel_readings"
    f" WHERE workspace_id = :here AND channel_id = {_IDS}"
)
_MEMBERS = text(
    """
    SELECT m.user_id, m.role, m.permissions, u.preferences, w.settings,
        p.kinds, p.digest, p.digest_hour, p.quiet_start, p.quiet_end
    FROM workspace_members m JOIN users u ON u.id = m.user_id JOIN workspaces w ON w.id = m.workspace_id
    LEFT JOIN notification_preferences p ON p.workspace_id = m.workspace_id AND p.id = m.user_id
    WHERE m.workspace_id = :here AND m.is_active AND (:everybody OR m.user_id = ANY(CAST(:ids AS uuid[])))
    """
)
