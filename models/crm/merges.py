"""Two contacts that turned out to be one person, and what it takes to part them again."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, refers, refers_to_member, tenant_table


class ContactMerge(TenantRow, Base):
    """A contact took over another one, whose row and possessions are kept here until ``expires_at``."""

    __tablename__ = "contact_merges"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="CASCADE"),
        refers_to_member("merged_by"),
        Index("ix_contact_merges_created", "workspace_id", "created_at", "id"),
        Index("ix_contact_merges_contact", "workspace_id", "contact_id", "created_at", "id"),
    )

    contact_id: Mapped[uuid.UUID]
    merged_contact_id: Mapped[uuid.UUID]  # no foreign key: that contact is gone until the merge is undone
    merged_by: Mapped[uuid.UUID | None]
    # The rows as they were: of the one that stayed, of the one that went, and of the one that stayed just after.
    kept_before: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    kept_after: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    merged: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    # By table and column, the ids of the rows that followed; by table, the rows that could not and were removed.
    moved: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    removed: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    # Conversations whose messages went into another one: how they were, and which messages.
    joined: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    expires_at: Mapped[datetime]
    undone_at: Mapped[datetime | None]


class ContactMergeView(View, kw_only=True):
    """A merge: ``mergedContactId`` became part of ``contactId``, and can be parted again until ``expiresAt``."""

    id: ReadOnly[uuid.UUID]
    contact_id: ReadOnly[uuid.UUID]
    merged_contact_id: ReadOnly[uuid.UUID]
    merged_by: ReadOnly[uuid.UUID | None] = None
    expires_at: ReadOnly[datetime]
    undone_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
