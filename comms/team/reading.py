"""How far members have read: theirs alone to know, forward only, and told to all their devices at once."""

import uuid

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.credentials import Identity
from comms.errors import Invalid, Missing
from models.base import now
from models.communications import TeamChannel, TeamChannelReading, TeamChannelReadingView, TeamMessage


async def reading_of(db: AsyncSession, reader: Identity, channel_id: uuid.UUID) -> TeamChannelReading:
    """How far the reader is; raises ``Missing`` when they do not belong to the channel."""
    row: TeamChannelReading | None = await db.scalar(
        select(TeamChannelReading)
        .where(
            TeamChannelReading.workspace_id == reader.workspace_id,
            TeamChannelReading.channel_id == channel_id,
            TeamChannelReading.user_id == reader.user_id,
        )
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Missing("You do not belong to this channel: join it, and what you have read is remembered.")
    return row


async def read(
    db: AsyncSession, reader: Identity, channel_id: uuid.UUID, message_id: uuid.UUID | None
) -> TeamChannelReading:
    """The reader has read up to that message, or all there is; never less than before, and told if it is more."""
    position = await _position_of(db, reader.workspace_id, channel_id, message_id)
    before = _shown(await reading_of(db, reader, channel_id))
    moved = await db.scalar(
        update(TeamChannelReading)
        .where(
            TeamChannelReading.workspace_id == reader.workspace_id,
            TeamChannelReading.id == before.id,
            TeamChannelReading.read_position < position,
        )
        .values(read_position=position, read_at=func.now(), updated_at=now())
        .returning(TeamChannelReading.id)
        .execution_options(synchronize_session=False)
    )
    row = await reading_of(db, reader, channel_id)
    if moved is not None:
        events.record(db, "team_channel_reading.updated", row, _shown(row), before=before)
    return row


async def _position_of(
    db: AsyncSession, workspace_id: uuid.UUID, channel_id: uuid.UUID, message_id: uuid.UUID | None
) -> int:
    if message_id is None:
        last = select(TeamChannel.last_position).where(
            TeamChannel.workspace_id == workspace_id, TeamChannel.id == channel_id
        )
    else:
        last = select(TeamMessage.position).where(
            TeamMessage.workspace_id == workspace_id,
            TeamMessage.channel_id == channel_id,
            TeamMessage.id == message_id,
        )
    position = await db.scalar(last)
    if position is None:
        raise Invalid({"messageId": "refers to no message of this channel"})
    return int(position)


def _shown(row: TeamChannelReading) -> TeamChannelReadingView:
    return msgspec.convert(row, TeamChannelReadingView, from_attributes=True)
