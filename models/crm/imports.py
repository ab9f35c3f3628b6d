"""Files of contacts: what was uploaded, how far its import has come, and which rows were refused."""

import uuid
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

ContactImportStatus = Literal["previewed", "running", "completed"]


class ContactImport(TenantRow, Base):
    """A CSV file of contacts. ``processed_rows`` moves with what the rows became, in the same commit."""

    __tablename__ = "contact_imports"
    __table_args__ = tenant_table(
        refers_to_member("created_by"),
        one_of("status", ContactImportStatus),
        CheckConstraint("processed_rows BETWEEN 0 AND total_rows", name="processed_rows_range"),
        Index("ix_contact_imports_created", "workspace_id", "created_at", "id"),
    )

    filename: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="previewed", server_default="previewed")
    columns: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    mapping: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    update_existing: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    total_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    processed_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    created_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    updated_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    duplicate_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    failed_rows: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # As it was uploaded; deferred, for lists do not show it and it may be megabytes.
    content: Mapped[str] = mapped_column(deferred=True, default="", server_default="")
    created_by: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class ContactImportView(View, kw_only=True):
    """An import. ``mapping`` says which field each of its ``columns`` becomes, null for none.

    ``totalRows`` splits into rows created, updated, duplicate (of a contact or of a row before) and failed.
    """

    id: ReadOnly[uuid.UUID]
    filename: ReadOnly[str | None] = None
    status: ReadOnly[ContactImportStatus]
    columns: ReadOnly[list[str]] = []
    mapping: ReadOnly[dict[str, Any]] = {}
    update_existing: ReadOnly[bool] = False
    total_rows: ReadOnly[int] = 0
    processed_rows: ReadOnly[int] = 0
    created_rows: ReadOnly[int] = 0
    updated_rows: ReadOnly[int] = 0
    duplicate_rows: ReadOnly[int] = 0
    failed_rows: ReadOnly[int] = 0
    created_by: ReadOnly[uuid.UUID | None] = None
    started_at: ReadOnly[datetime | None] = None
    completed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class ContactImportError(TenantRow, Base):
    """A row of an import that became no contact, and why."""

    __tablename__ = "contact_import_errors"
    __table_args__ = tenant_table(
        refers("import_id", "contact_imports", on_delete="CASCADE"),
        Index("ix_contact_import_errors_row", "workspace_id", "import_id", "row_number", "id"),
        Index("ix_contact_import_errors_created", "workspace_id", "created_at", "id"),
    )

    import_id: Mapped[uuid.UUID]
    row_number: Mapped[int]
    field: Mapped[str | None]
    reason: Mapped[str]


class ContactImportErrorView(View, kw_only=True):
    """Why a row of an import became no contact; ``rowNumber`` counts as a spreadsheet does, the header being 1."""

    id: ReadOnly[uuid.UUID]
    import_id: ReadOnly[uuid.UUID]
    row_number: ReadOnly[int]
    field: ReadOnly[str | None] = None
    reason: ReadOnly[str]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
