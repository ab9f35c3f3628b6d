"""What is said within the team: messages, what they were before, what is attached, linked, and felt about them."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

TeamContentType = Literal["text", "html", "media", "system"]
LinkType = Literal["conversation", "contact", "deal"]


class TeamMessage(TenantRow, Base):
    """One message in a team channel; an answer names the message that began its thread, which is no answer itself.

    A deleted one stays, with nothing in it: it keeps its place in the channel, and the thread it began.
    """

    large = True
    __tablename__ = "team_messages"
    __table_args__ = tenant_table(
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers_to_member("sender_id"),
        # An answer is in the channel of what it answers, and that is no answer.
        ForeignKeyConstraint(
            ["workspace_id", "parent_message_id", "parent_channel_id", "parent_is_answer"],
            [
                "team_messages.workspace_id",
                "team_messages.id",
                "team_messages.channel_id",
                "team_messages.is_answer",
            ],
            ondelete="CASCADE",
            name="fk_team_messages_thread",
        ),
        UniqueConstraint("workspace_id", "id", "channel_id", "is_answer", name="uq_team_messages_place"),
        UniqueConstraint("workspace_id", "channel_id", "position"),
        one_of("content_type", TeamContentType),
        CheckConstraint("thread_count >= 0", name="thread_count_range"),
        CheckConstraint("position > 0", name="position_range"),
        CheckConstraint(
            "deleted_at IS NULL OR (content = '' AND attachments = '[]' AND mentions = '{}' AND NOT mentions_channel"
            " AND NOT is_pinned)",
            name="deleted_at_empty",
        ),
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
        # What is not counted as unread, and what is counted besides.
        Index("ix_team_messages_sender", "workspace_id", "channel_id", "sender_id", "position"),
        Index(
            "ix_team_messages_deleted",
            "workspace_id",
            "channel_id",
            "position",
            postgresql_where=text("deleted_at IS NOT NULL"),
        ),
        Index(
            "ix_team_messages_calling",
            "workspace_id",
            "channel_id",
            "position",
            postgresql_where=text("mentions_channel OR mentions <> '{}'"),
        ),
        Index(
            "ix_team_messages_pinned",
            "workspace_id",
            "channel_id",
            "created_at",
            "id",
            postgresql_where=text("is_pinned"),
        ),
    )

    channel_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(BigInteger)
    sender_id: Mapped[uuid.UUID]
    content: Mapped[str]
    content_type: Mapped[str] = mapped_column(default="text", server_default="text")
    attachments: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    parent_message_id: Mapped[uuid.UUID | None]
    mentions: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    mentions_channel: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    thread_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_pinned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_edited: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    is_answer: Mapped[bool] = mapped_column(Boolean, Computed("parent_message_id IS NOT NULL", persisted=True))
    parent_channel_id: Mapped[uuid.UUID | None] = mapped_column(
        Uuid, Computed("CASE WHEN parent_message_id IS NOT NULL THEN channel_id END", persisted=True)
    )
    parent_is_answer: Mapped[bool | None] = mapped_column(
        Boolean, Computed("CASE WHEN parent_message_id IS NOT NULL THEN false END", persisted=True)
    )

    reaction_rows: Mapped[list["TeamMessageReaction"]] = relationship(
        lazy="raise", viewonly=True, order_by="TeamMessageReaction.created_at, TeamMessageReaction.id"
    )
    link_rows: Mapped[list["TeamMessageLink"]] = relationship(
        lazy="raise", viewonly=True, order_by="TeamMessageLink.id"
    )

    @property
    def reactions(self) -> list["TeamReaction"]:
        """Who feels what, the first emoji first."""
        by_emoji: dict[str, list[uuid.UUID]] = {}
        for row in self.reaction_rows:
            by_emoji.setdefault(row.emoji, []).append(row.user_id)
        return [TeamReaction(emoji, len(users), users) for emoji, users in by_emoji.items()]

    @property
    def links(self) -> list["TeamLink"]:
        """What it links, in the order it was named."""
        return [TeamLink(row.type, row.subject_id) for row in self.link_rows]  # type: ignore[arg-type]  # a CHECK says so


class TeamReaction(msgspec.Struct, rename="camel"):
    """An emoji, and who has put it to the message."""

    emoji: Annotated[str, msgspec.Meta(description="The emoji.", examples=["👍"])]
    count: Annotated[int, msgspec.Meta(description="How many they are.", examples=[1])]
    user_ids: Annotated[
        list[uuid.UUID],
        msgspec.Meta(
            description="Who they are, in their order: user ids.", examples=[["0198c0de-5000-7b44-96c0-086bed0401d7"]]
        ),
    ]


class TeamLink(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A conversation, contact or deal that a message speaks of; `GET …/cards` shows them."""

    type: Annotated[LinkType, msgspec.Meta(description="What it is.", examples=["contact"])]
    id: Annotated[
        uuid.UUID, msgspec.Meta(description="Which one it is.", examples=["0198c0de-5000-7a06-98b0-d09a939402d8"])
    ]


class TeamAttachment(msgspec.Struct, rename="camel"):
    """A file that came with a message: `GET …/attachments/{id}/content` has it, for who may see the message."""

    id: Annotated[
        uuid.UUID,
        msgspec.Meta(description="Identifies the attachment.", examples=["0198c0de-5000-7c1d-8a4e-1f2b3c4d5e6f"]),
    ]
    file_name: str | None
    content_type: Annotated[str, msgspec.Meta(description="What it is, by what is in it.", examples=["image/png"])]
    size: int
    sha256: str


class TeamMessageView(View, kw_only=True):
    """A message of a team channel. ``mentions`` are the members it calls on, those in its text too.

    A text calls on members by `@[userId]`, and by `@name` where that is one member's alone.
    """

    id: ReadOnly[uuid.UUID]
    channel_id: uuid.UUID
    position: ReadOnly[
        Annotated[int, msgspec.Meta(description="Its place in the channel: counts from 1.", examples=[42])]
    ]
    sender_id: ReadOnly[uuid.UUID]
    content: str
    content_type: TeamContentType = "text"
    attachments: ReadOnly[
        Annotated[list[TeamAttachment], msgspec.Meta(description="The files that came with it.", examples=[[]])]
    ] = []
    links: Annotated[
        list[TeamLink],
        msgspec.Meta(description="The conversations, contacts and deals it speaks of, ten at most.", examples=[[]]),
    ] = []
    parent_message_id: uuid.UUID | None = None
    mentions: list[uuid.UUID] = []
    mentions_channel: ReadOnly[
        Annotated[
            bool,
            msgspec.Meta(description="Whether it calls on everybody in the channel: `@channel`.", examples=[False]),
        ]
    ] = False
    reactions: ReadOnly[
        Annotated[list[TeamReaction], msgspec.Meta(description="Who feels what about it.", examples=[[]])]
    ] = []
    thread_count: ReadOnly[int] = 0
    is_pinned: ReadOnly[bool] = False
    is_edited: ReadOnly[bool] = False
    edited_at: ReadOnly[datetime | None] = None
    deleted_at: ReadOnly[
        Annotated[
            datetime | None,
            msgspec.Meta(description="When it was deleted: what began a thread stays, empty.", examples=[None]),
        ]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamMessageRevision(TenantRow, Base):
    """What a message said before it was edited; gone with it."""

    large = True
    __tablename__ = "team_message_revisions"
    __table_args__ = tenant_table(
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers("message_id", "team_messages", on_delete="CASCADE"),
        one_of("content_type", TeamContentType),
        CheckConstraint("number > 0", name="number_range"),
        UniqueConstraint("workspace_id", "message_id", "number"),
        Index("ix_team_message_revisions_channel", "workspace_id", "channel_id"),
        Index("ix_team_message_revisions_created", "workspace_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    message_id: Mapped[uuid.UUID]
    number: Mapped[int]
    content: Mapped[str]
    content_type: Mapped[str] = mapped_column(default="text", server_default="text")
    said_at: Mapped[datetime]


class TeamMessageRevisionView(View, kw_only=True):
    """What a message said before; ``createdAt`` is when it was put differently."""

    id: ReadOnly[uuid.UUID]
    channel_id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID]
    number: ReadOnly[Annotated[int, msgspec.Meta(description="Counts the message's revisions from 1.", examples=[1])]]
    content: ReadOnly[str]
    content_type: ReadOnly[TeamContentType]
    said_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamMessageReaction(TenantRow, Base):
    """A member's emoji under a message: once each."""

    large = True
    __tablename__ = "team_message_reactions"
    __table_args__ = tenant_table(
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers("message_id", "team_messages", on_delete="CASCADE"),
        refers_to_member("user_id"),
        UniqueConstraint("workspace_id", "message_id", "user_id", "emoji"),
        Index("ix_team_message_reactions_channel", "workspace_id", "channel_id"),
        Index("ix_team_message_reactions_created", "workspace_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    message_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    emoji: Mapped[str]


class TeamMessageReactionView(View, kw_only=True):
    """A member's emoji under a message."""

    id: ReadOnly[uuid.UUID]
    channel_id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    emoji: ReadOnly[Annotated[str, msgspec.Meta(description="The emoji, one alone.", examples=["👍"])]]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamMessageLink(TenantRow, Base):
    """A conversation, contact or deal that a message speaks of."""

    __tablename__ = "team_message_links"
    __table_args__ = tenant_table(
        refers("message_id", "team_messages", on_delete="CASCADE"),
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("contact_id", "contacts", on_delete="CASCADE"),
        refers("deal_id", "deals", on_delete="CASCADE"),
        CheckConstraint("num_nonnulls(conversation_id, contact_id, deal_id) = 1", name="message_id_one_thing"),
        Index("ix_team_message_links_message", "workspace_id", "message_id"),
        Index(
            "ix_team_message_links_contact",
            "workspace_id",
            "contact_id",
            postgresql_where=text("contact_id IS NOT NULL"),
        ),
        Index(
            "ix_team_message_links_conversation",
            "workspace_id",
            "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index("ix_team_message_links_deal", "workspace_id", "deal_id", postgresql_where=text("deal_id IS NOT NULL")),
    )

    message_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    deal_id: Mapped[uuid.UUID | None]

    @property
    def type(self) -> str:
        """What it is."""
        return "conversation" if self.conversation_id else "contact" if self.contact_id else "deal"

    @property
    def subject_id(self) -> uuid.UUID:
        """Which one it is."""
        subject = self.conversation_id or self.contact_id or self.deal_id
        assert subject is not None, "a CHECK says so"
        return subject


class TeamMessageAttachment(TenantRow, Base):
    """A file in the object store that came with a message; the message's own row shows it."""

    __tablename__ = "team_message_attachments"
    __table_args__ = tenant_table(
        refers("message_id", "team_messages", on_delete="CASCADE"),
        CheckConstraint("size > 0", name="size_range"),
        Index("ix_team_message_attachments_message", "workspace_id", "message_id"),
        # Whether a file that is no longer carried is still wanted.
        Index("ix_team_message_attachments_storage_key", "storage_key"),
    )

    message_id: Mapped[uuid.UUID]
    file_name: Mapped[str | None]
    content_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str]


class TeamThreadFollowing(TenantRow, Base):
    """A member follows a thread, or has said that they do not; nobody else's to know.

    Who began it, answered in it or is called on in it follows it, unless they have said otherwise.
    """

    large = True
    __tablename__ = "team_thread_followings"
    __table_args__ = tenant_table(
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers("message_id", "team_messages", on_delete="CASCADE"),
        refers_to_member("user_id"),
        UniqueConstraint("workspace_id", "message_id", "user_id"),
        Index("ix_team_thread_followings_channel", "workspace_id", "channel_id"),
        Index("ix_team_thread_followings_created", "workspace_id", "created_at", "id"),
        Index("ix_team_thread_followings_user", "workspace_id", "user_id", "created_at", "id"),
    )

    channel_id: Mapped[uuid.UUID]
    message_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    is_following: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class TeamThreadFollowingView(View, kw_only=True):
    """Whether you follow a thread, which the message began."""

    id: ReadOnly[uuid.UUID]
    channel_id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    is_following: ReadOnly[
        Annotated[bool, msgspec.Meta(description="Whether its answers are told to you.", examples=[True])]
    ]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
