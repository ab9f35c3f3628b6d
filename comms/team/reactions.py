"""Emoji under a message: one of each a member, set and taken back as often as one likes with the same outcome."""

import uuid

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.credentials import Identity
from comms.errors import Conflict, Invalid, Missing
from comms.team.emoji import emoji_of
from models.base import new_id
from models.communications import TeamMessage, TeamMessageReaction, TeamMessageReactionView

MOST = 20
"""Different emoji under one message."""


async def react(db: AsyncSession, asker: Identity, message: TeamMessage, text: str) -> None:
    """The member's emoji is under the message, which the caller holds; told if it was not there."""
    if message.deleted_at is not None:
        raise Missing("This message was deleted.")
    emoji = _read(text)
    there = set(
        await db.scalars(
            select(TeamMessageReaction.emoji)
            .where(
                TeamMessageReaction.workspace_id == message.workspace_id, TeamMessageReaction.message_id == message.id
            )
            .distinct()
        )
    )
    if emoji not in there and len(there) >= MOST:
        raise Conflict(f"a message has {MOST} different emoji at most: choose one of those that are there")
    row = await db.scalar(
        insert(TeamMessageReaction)
        .values(
            workspace_id=message.workspace_id,
            id=new_id(),
            channel_id=message.channel_id,
            message_id=message.id,
            user_id=asker.user_id,
            emoji=emoji,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "message_id", "user_id", "emoji"])
        .returning(TeamMessageReaction)
    )
    if row is not None:
        _tell(db, "created", row)


async def take_back(db: AsyncSession, asker: Identity, message_id: uuid.UUID, text: str) -> None:
    """The member's emoji is not under the message; told if it was."""
    row = await db.scalar(
        delete(TeamMessageReaction)
        .where(
            TeamMessageReaction.workspace_id == asker.workspace_id,
            TeamMessageReaction.message_id == message_id,
            TeamMessageReaction.user_id == asker.user_id,
            TeamMessageReaction.emoji == _read(text),
        )
        .returning(TeamMessageReaction)
        .execution_options(synchronize_session=False)
    )
    if row is not None:
        _tell(db, "deleted", row)


def _read(text: str) -> str:
    emoji = emoji_of(text)
    if emoji is None:
        raise Invalid({"emoji": "must be one emoji"})
    return emoji


def _tell(db: AsyncSession, what: str, row: TeamMessageReaction) -> None:
    view = msgspec.convert(row, TeamMessageReactionView, from_attributes=True)
    events.record(db, f"team_message_reaction.{what}", row, view)
