"""Files that members and visitors have brought here, to be sent along with messages."""

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, refers, refers_to_member, tenant_table


class Upload(TenantRow, Base):
    """A file in the object store. Messages that carry it have a row of their own for it, and outlive it."""

    __tablename__ = "uploads"
    __table_args__ = tenant_table(
        refers_to_member("uploaded_by"),
        refers("visitor_id", "visitors", on_delete="CASCADE"),
        CheckConstraint("num_nonnulls(uploaded_by, visitor_id) > 0", name="uploaded_by_somebody"),
        CheckConstraint("size > 0", name="size_range"),
        Index("ix_uploads_visitor", "workspace_id", "visitor_id", postgresql_where=text("visitor_id IS NOT NULL")),
        Index("ix_uploads_created", "workspace_id", "created_at", "id"),
        # Whether a file that a message no longer carries is still wanted.
        Index("ix_uploads_storage_key", "storage_key"),
    )

    uploaded_by: Mapped[uuid.UUID | None]
    visitor_id: Mapped[uuid.UUID | None]
    file_name: Mapped[str | None]
    content_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str]
    is_private: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class UploadView(View, kw_only=True):
    """A file that can be sent along: its `id` is one of a message's `attachmentIds`, as often as one likes."""

    id: ReadOnly[uuid.UUID]
    uploaded_by: ReadOnly[uuid.UUID | None] = None
    visitor_id: ReadOnly[uuid.UUID | None] = None
    file_name: ReadOnly[str | None] = None
    content_type: ReadOnly[
        Annotated[str, msgspec.Meta(description="What it is, by what is in it.", examples=["image/png"])]
    ]
    size: ReadOnly[int]
    sha256: ReadOnly[str]
    is_private: ReadOnly[
        Annotated[bool, msgspec.Meta(description="Whether only who brought it sees it.", examples=[False])]
    ] = False
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
