"""Whom a message calls on: members by `@[userId]` and `@name`, and everybody in the channel by `@channel`."""

import re
import uuid
from collections.abc import Collection, Iterable, Sequence

import msgspec
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Invalid
from comms.mentions import MOST_MENTIONS, in_text, mentioned
from comms.permissions import ADMINISTRATORS
from comms.team.belonging import members_of
from models.communications import TeamChannel, TeamChannelMember, TeamMessage
from models.core import User, WorkspaceMember

MOST_AT_ONCE = 100
"""Where more belong, only the channel's creator and administrators call on everybody; of others it is only text."""

_WORD = r"[^\W\d_](?:[\w'’-]|\.(?=\w))*"
_NAME = re.compile(rf"(?<![\w@.+-])@({_WORD})(?: ({_WORD}))?(?!@)")
_EVERYBODY = re.compile(r"(?<![\w@.+-])@channel(?![\w@-])", re.IGNORECASE)


class Called(msgspec.Struct, frozen=True):
    """Single members, and whether everybody besides."""

    user_ids: list[uuid.UUID]
    everybody: bool


class Person(msgspec.Struct, frozen=True):
    """A member by the names they go by, in small letters."""

    id: uuid.UUID
    first: str
    last: str
    mailbox: str

    def is_called(self, word: str) -> bool:
        """Whether one word means them: a name of theirs, both together, or what stands before the @ of their mail."""
        both = (f"{self.first}.{self.last}", f"{self.first}{self.last}", f"{self.first}_{self.last}")
        return bool(word) and word in (self.first, self.last, self.mailbox, *(both if self.first and self.last else ()))


async def called_in(
    db: AsyncSession, sender: Identity, channel: TeamChannel, content: str, named: Collection[uuid.UUID]
) -> Called:
    """Whom ``content`` calls on, and those ``named`` besides; in a private channel only of who belongs to it.

    Raises ``Invalid`` when somebody named does not.
    """
    by_id = await mentioned(db, channel.workspace_id, content, named)
    called = list(dict.fromkeys([*by_id, *await by_name(db, channel, content)]))[:MOST_MENTIONS]
    if called and channel.is_private:
        there = await members_of(db, channel)
        strangers = [user_id for user_id in named if user_id not in there]
        if strangers:
            raise Invalid({"mentions": f"names {strangers[0]}, who does not belong to this channel"})
        called = [user_id for user_id in called if user_id in there]
    return Called(called, _calls_everybody(sender, channel, content))


async def called_anew(
    db: AsyncSession,
    sender: Identity,
    channel: TeamChannel,
    row: TeamMessage,
    content: str,
    named: Collection[uuid.UUID] | None,
) -> Called:
    """Whom the message calls on once it says ``content``; those named besides its text stay, unless named anew."""
    written = {*in_text(row.content), *await by_name(db, channel, row.content)}
    kept = [user_id for user_id in row.mentions if user_id not in written] if named is None else []
    anew = await called_in(db, sender, channel, content, named or [])
    return Called(list(dict.fromkeys([*kept, *anew.user_ids])), anew.everybody)


async def by_name(db: AsyncSession, channel: TeamChannel, content: str) -> list[uuid.UUID]:
    """The members that a text calls on by name, where the name is one member's alone; else it is only text."""
    asked = [(one.lower(), (other or "").lower()) for one, other in _NAME.findall(content)[:MOST_MENTIONS]]
    if not asked:
        return []
    people = await _people(db, channel, {part for one, _ in asked for part in (one, *re.split(r"[._]", one))})
    found = (_meant(people, one, other) for one, other in asked)
    return list(dict.fromkeys(user_id for user_id in found if user_id is not None))


def _meant(people: Iterable[Person], one: str, other: str) -> uuid.UUID | None:
    for these in (
        [person.id for person in people if other and (person.first, person.last) == (one, other)],
        [person.id for person in people if person.is_called(one)],
    ):
        if these:
            return these[0] if len(these) == 1 else None
    return None


async def _people(db: AsyncSession, channel: TeamChannel, words: Collection[str]) -> Sequence[Person]:
    """Active members with one of these names, of those who know of the channel."""
    first, last = func.lower(func.coalesce(User.first_name, "")), func.lower(func.coalesce(User.last_name, ""))
    mailbox = func.split_part(func.lower(User.email), "@", 1)
    names = [first, last, mailbox, first.concat(last)]
    query = (
        select(User.id, first.label("first"), last.label("last"), mailbox.label("mailbox"))
        .join(WorkspaceMember, WorkspaceMember.user_id == User.id)
        .where(WorkspaceMember.workspace_id == channel.workspace_id, WorkspaceMember.is_active)
        .where(or_(*(name.in_(words) for name in names)))
    )
    if channel.is_private:
        query = query.join(
            TeamChannelMember,
            (TeamChannelMember.workspace_id == channel.workspace_id)
            & (TeamChannelMember.channel_id == channel.id)
            & (TeamChannelMember.user_id == User.id),
        )
    return [Person(row.id, row.first, row.last, row.mailbox) for row in await db.execute(query)]


def _calls_everybody(sender: Identity, channel: TeamChannel, content: str) -> bool:
    may = channel.member_count <= MOST_AT_ONCE or sender.user_id == channel.created_by or sender.role in ADMINISTRATORS
    return may and _EVERYBODY.search(content) is not None
