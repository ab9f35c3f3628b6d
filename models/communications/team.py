"""Where the team talks, who belongs there and how far they have read."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

ChannelType = Literal["group", "general", "direct", "announcement"]


# Positions count what was ever said: only what is the reader's own, or was deleted, has to be looked for.
_SINCE = (
    "SELECT count(*) FROM team_messages m WHERE m.workspace_id = team_channel_readings.workspace_id"
    " AND m.channel_id = team_channel_readings.channel_id AND m.position > team_channel_readings.read_position"
)
_UNREAD = f"""(
    SELECT greatest(0, c.last_position - team_channel_readings.read_position
        - ({_SINCE} AND m.sender_id = team_channel_readings.user_id)
        - ({_SINCE} AND m.sender_id <> team_channel_readings.user_id AND m.deleted_at IS NOT NULL))
    FROM team_channels c WHERE c.workspace_id = team_channel_readings.workspace_id
        AND c.id = team_channel_readings.channel_id
)"""
_MENTIONED = f"""(
    {_SINCE} AND m.sender_id <> team_channel_readings.user_id AND (m.mentions_channel OR m.mentions <> '{{}}')
        AND (m.mentions_channel OR team_channel_readings.user_id = ANY(m.mentions))
)"""


def _belongs(column: str) -> ForeignKeyConstraint:
    """Who this column of a channel names belongs to it, when the transaction ends."""
    return ForeignKeyConstraint(
        ["workspace_id", "id", column],
        ["team_channel_members.workspace_id", "team_channel_members.channel_id", "team_channel_members.user_id"],
        deferrable=True,
        initially="DEFERRED",
        use_alter=True,
        name=f"fk_team_channels_{column}_belongs",
    )


class TeamChannel(TenantRow, Base):
    """A place where members talk among themselves.

    A direct one is two people's for good: the table names them, whoever belongs to it sits on one of two seats, and
    both of them do. So nobody joins it, nobody leaves it, and there is one for every two.
    """

    __tablename__ = "team_channels"
    __table_args__ = tenant_table(
        refers_to_member("created_by"),
        one_of("type", ChannelType),
        CheckConstraint("member_count >= 0", name="member_count_range"),
        CheckConstraint("last_position >= 0", name="last_position_range"),
        CheckConstraint("type <> 'general' OR NOT is_private", name="is_private_general"),
        CheckConstraint("type <> 'direct' OR is_private", name="is_private_direct"),
        # In order, so that two people are one pair however they come.
        CheckConstraint("first_user_id < second_user_id", name="first_user_id_pair"),
        CheckConstraint(
            "CASE WHEN type = 'direct' THEN num_nulls(first_user_id, second_user_id) = 0"
            " ELSE num_nonnulls(first_user_id, second_user_id) = 0 END",
            name="type_pair",
        ),
        UniqueConstraint("workspace_id", "first_user_id", "second_user_id"),
        # What those refer to who must know the type.
        UniqueConstraint("workspace_id", "id", "type"),
        _belongs("first_user_id"),
        _belongs("second_user_id"),
        Index("ix_team_channels_created", "workspace_id", "created_at", "id"),
    )

    created_by: Mapped[uuid.UUID | None]
    name: Mapped[str]
    type: Mapped[str] = mapped_column(default="group", server_default="group")
    description: Mapped[str | None]
    is_private: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    last_message_at: Mapped[datetime | None]
    last_position: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    member_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    first_user_id: Mapped[uuid.UUID | None]
    second_user_id: Mapped[uuid.UUID | None]


class TeamChannelView(View, kw_only=True):
    """A team channel. One that ``isPrivate``, and so every ``direct`` one, is there for who belongs to it alone.

    A ``general`` one is never private, an ``announcement`` one is spoken in by administrators and who they name.
    """

    id: ReadOnly[uuid.UUID]
    created_by: ReadOnly[uuid.UUID | None] = None
    name: str
    type: ChannelType = "group"
    description: str | None = None
    is_private: bool = False
    last_message_at: ReadOnly[datetime | None] = None
    last_position: ReadOnly[
        Annotated[int, msgspec.Meta(description="The `position` of its newest message.", examples=[42])]
    ] = 0
    member_count: ReadOnly[int] = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamChannelMember(TenantRow, Base):
    """A member who belongs to a channel."""

    __tablename__ = "team_channel_members"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "channel_id", "user_id"),
        ForeignKeyConstraint(
            ["workspace_id", "channel_id", "channel_type"],
            ["team_channels.workspace_id", "team_channels.id", "team_channels.type"],
            ondelete="CASCADE",
            onupdate="CASCADE",
            name="fk_team_channel_members_channel",
        ),
        refers_to_member("user_id"),
        CheckConstraint("seat BETWEEN 1 AND 2", name="seat_range"),
        CheckConstraint("(channel_type = 'direct') = (seat IS NOT NULL)", name="seat_direct"),
        UniqueConstraint("workspace_id", "channel_id", "seat"),
        Index("ix_team_channel_members_user", "workspace_id", "user_id", "channel_id"),
        Index("ix_team_channel_members_created", "workspace_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    channel_type: Mapped[str] = mapped_column(default="group", server_default="group")
    user_id: Mapped[uuid.UUID]
    seat: Mapped[int | None]
    is_poster: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class TeamChannelMemberView(View, kw_only=True):
    """A member's belonging to a channel."""

    id: ReadOnly[uuid.UUID]
    channel_id: uuid.UUID
    user_id: uuid.UUID
    is_poster: ReadOnly[
        Annotated[
            bool, msgspec.Meta(description="Whether they may speak in an announcement channel.", examples=[False])
        ]
    ] = False
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamChannelReading(TenantRow, Base):
    """How far a member has read a channel they belong to: nobody else's to know, and the same on all their devices."""

    __tablename__ = "team_channel_readings"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "channel_id", "user_id"),
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers_to_member("user_id"),
        CheckConstraint("read_position >= 0", name="read_position_range"),
        Index("ix_team_channel_readings_user", "workspace_id", "user_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    read_position: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    read_at: Mapped[datetime | None]
    unread_count: Mapped[int] = column_property(literal_column(_UNREAD, Integer))
    mention_count: Mapped[int] = column_property(literal_column(_MENTIONED, Integer))


class TeamChannelReadingView(View, kw_only=True):
    """How far you have read a channel, and what others have said there since."""

    id: ReadOnly[uuid.UUID]
    channel_id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    read_position: ReadOnly[
        Annotated[int, msgspec.Meta(description="Messages up to this `position` are read.", examples=[40])]
    ]
    read_at: ReadOnly[datetime | None] = None
    unread_count: ReadOnly[
        Annotated[
            int, msgspec.Meta(description="How many messages others have written since; answers too.", examples=[2])
        ]
    ] = 0
    mention_count: ReadOnly[
        Annotated[int, msgspec.Meta(description="How many of those call on you, by `@channel` too.", examples=[1])]
    ] = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
