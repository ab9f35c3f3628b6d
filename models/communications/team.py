"""Talk within the team."""

import uuid
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ARRAY, CheckConstraint, Index, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

ChannelType = Literal["general", "direct", "group", "announcement"]
TeamContentType = Literal["text", "html", "media", "system"]


class TeamChannel(TenantRow, Base):
    """A place where members talk among themselves."""

    __tablename__ = "team_channels"
    __table_args__ = tenant_table(
        refers_to_member("created_by"),
        one_of("type", ChannelType),
        CheckConstraint("member_count >= 0", name="member_count_range"),
        Index("ix_team_channels_created", "workspace_id", "created_at", "id"),
    )

    created_by: Mapped[uuid.UUID | None]
    name: Mapped[str]
    type: Mapped[str] = mapped_column(default="group", server_default="group")
    description: Mapped[str | None]
    is_private: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    last_message_at: Mapped[datetime | None]
    member_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class TeamChannelView(View, kw_only=True):
    """A team channel. One that ``isPrivate``, and every ``direct`` one, is there for those who belong to it alone."""

    id: ReadOnly[uuid.UUID]
    created_by: ReadOnly[uuid.UUID | None] = None
    name: str
    type: ChannelType = "group"
    description: str | None = None
    is_private: bool = False
    last_message_at: ReadOnly[datetime | None] = None
    member_count: ReadOnly[int] = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamChannelMember(TenantRow, Base):
    """A member who belongs to a channel."""

    __tablename__ = "team_channel_members"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "channel_id", "user_id"),
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers_to_member("user_id"),
        Index("ix_team_channel_members_user", "workspace_id", "user_id", "channel_id"),
        Index("ix_team_channel_members_created", "workspace_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]


class TeamChannelMemberView(View, kw_only=True):
    """A member's belonging to a channel."""

    id: ReadOnly[uuid.UUID]
    channel_id: uuid.UUID
    user_id: uuid.UUID
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamMessage(TenantRow, Base):
    """One message in a team channel; a reply names the message it answers."""

    large = True
    __tablename__ = "team_messages"
    __table_args__ = tenant_table(
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers_to_member("sender_id"),
        refers("parent_message_id", "team_messages", on_delete="CASCADE"),
        one_of("content_type", TeamContentType),
        CheckConstraint("thread_count >= 0", name="thread_count_range"),
        Index("ix_team_messages_channel", "workspace_id", "channel_id", "created_at", "id"),
        Index("ix_team_messages_created", "workspace_id", "created_at", "id"),
        Index(
            "ix_team_messages_thread",
            "workspace_id",
            "parent_message_id",
            "created_at",
            "id",
            postgresql_where=text("parent_message_id IS NOT NULL"),
        ),
    )

    channel_id: Mapped[uuid.UUID]
    sender_id: Mapped[uuid.UUID]
    content: Mapped[str]
    content_type: Mapped[str] = mapped_column(default="text", server_default="text")
    attachments: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    parent_message_id: Mapped[uuid.UUID | None]
    mentions: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    thread_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_pinned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_edited: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    edited_at: Mapped[datetime | None]


class TeamMessageView(View, kw_only=True):
    """A message of a team channel. ``mentions`` are the members it calls on, those in its text as `@[userId]` too."""

    id: ReadOnly[uuid.UUID]
    channel_id: uuid.UUID
    sender_id: ReadOnly[uuid.UUID]
    content: str
    content_type: TeamContentType = "text"
    attachments: ReadOnly[list[Any]] = []
    parent_message_id: uuid.UUID | None = None
    mentions: list[uuid.UUID] = []
    thread_count: ReadOnly[int] = 0
    is_pinned: ReadOnly[bool] = False
    is_edited: ReadOnly[bool] = False
    edited_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
