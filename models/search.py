"""What can be found by its words: an index beside the tables, filled after them, so that nobody waits for it.

A word is kept with a mark in front that stands for workspace, kind and bucket. So one GIN index serves all workspaces,
and a look-up touches at most one bucket of one workspace's rows, however many others hold the same word.
"""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, refers, workspace_reference

BUCKET = 20_000
"""How many documents a bucket takes, about: what one look-up has to bear when a word is in all of them."""


class SearchDocument(Base):
    """The words of one row of another table. Gone with its conversation, channel or mail; else with who deletes it."""

    __tablename__ = "search_documents"
    __table_args__ = (
        PrimaryKeyConstraint("workspace_id", "subject_id"),
        ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
        refers("conversation_id", "conversations", on_delete="CASCADE"),
        refers("channel_id", "team_channels", on_delete="CASCADE"),
        refers("mail_id", "mails", on_delete="CASCADE"),
        Index(
            "ix_search_documents_words",
            "words",
            text("(ARRAY[conversation_id])"),  # whose they are, for words of one conversation alone
            postgresql_using="gin",
            # What waits here is read by every search; whoever fills it up clears it, and that is the worker.
            postgresql_with={"gin_pending_list_limit": 256},
        ),
        # In the order they are asked for: of a bucket, and of a conversation.
        Index("ix_search_documents_bucket", "workspace_id", "kind", "bucket", "at", "subject_id"),
        Index(
            "ix_search_documents_conversation",
            "workspace_id",
            "conversation_id",
            "at",
            "subject_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index(
            "ix_search_documents_channel",
            "workspace_id",
            "channel_id",
            postgresql_where=text("channel_id IS NOT NULL"),
        ),
        Index("ix_search_documents_mail", "workspace_id", "mail_id", postgresql_where=text("mail_id IS NOT NULL")),
    )

    workspace_id: Mapped[uuid.UUID]
    subject_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    bucket: Mapped[int]
    at: Mapped[datetime]
    conversation_id: Mapped[uuid.UUID | None]
    channel_id: Mapped[uuid.UUID | None]
    mail_id: Mapped[uuid.UUID | None]
    words: Mapped[str] = mapped_column(TSVECTOR)


class SearchProgress(Base):
    """How far a workspace's log has been taken in, and which bucket is being filled.

    ``backfill`` is the kind of rows that are older than the index and come next, ``backfill_after`` the last one taken.
    """

    __tablename__ = "search_progress"
    __table_args__ = (CheckConstraint("bucket >= 0 AND filled >= 0", name="bucket_range"),)

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger)
    bucket: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    filled: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    backfill: Mapped[str | None]
    backfill_after: Mapped[uuid.UUID | None]
