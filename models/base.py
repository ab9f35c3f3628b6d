"""What every table and every view is made of."""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import msgspec
import uuid_utils
from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

T = TypeVar("T")

ReadOnly = Annotated[T, msgspec.Meta(extra={"read_only": True}, extra_json_schema={"readOnly": True})]
"""A view field that clients see and cannot set."""


def new_id() -> uuid.UUID:
    """A UUIDv7: unique without asking anyone, and in order of time."""
    return uuid.UUID(int=uuid_utils.uuid7().int)


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)


class View(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The one JSON shape of a table's row: in the API, on the websocket, in outbound webhooks and the audit."""


class Base(DeclarativeBase):
    """Every table of comms. ``noun`` names its rows in events where the class name would be too long.

    A ``large`` one has rows by the hundred thousand: its list sorts by nothing but what an index orders.
    """

    noun: ClassVar[str | None] = None
    large: ClassVar[bool] = False

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {
        str: Text,
        bytes: LargeBinary,
        uuid.UUID: Uuid,
        datetime: DateTime(timezone=True),
        date: Date,
        Decimal: Numeric(14, 2),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
    }


def noun_of(table: type[Base]) -> str:
    """What an event calls a row of this table: ``contact`` in ``contact.created``."""
    return table.noun or re.sub(r"(?<!^)(?=[A-Z])", "_", table.__name__).lower()


class Stamped:
    """A row that knows when it was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class TenantRow(Stamped):
    """A row that belongs to one workspace; its table's ``__table_args__`` come from ``tenant_table``."""

    workspace_id: Mapped[uuid.UUID]
    id: Mapped[uuid.UUID] = mapped_column(default=new_id)


def tenant_table(*items: SchemaItem) -> tuple[SchemaItem, ...]:
    """The arguments of a tenant table: primary key ``(workspace_id, id)``, its workspace, and its own items."""
    return part_of_tenant(ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"), *items)


def part_of_tenant(*items: SchemaItem) -> tuple[SchemaItem, ...]:
    """The same for a table of many rows that always refer to one which says that the workspace exists.

    To say it again would cost every insert another look, a tenth of the database's work for a message.
    """
    return (PrimaryKeyConstraint("workspace_id", "id"), *items)


def refers(
    column: str, table: str, *, on_delete: Literal["RESTRICT", "CASCADE", "SET NULL"] = "RESTRICT"
) -> SchemaItem:
    """A foreign key that cannot leave the workspace: row security does not guard foreign keys, a composite one does.

    ``SET NULL`` clears only the referring column, never ``workspace_id``.
    """
    action = f"SET NULL ({column})" if on_delete == "SET NULL" else on_delete
    return ForeignKeyConstraint(["workspace_id", column], [f"{table}.workspace_id", f"{table}.id"], ondelete=action)


def refers_to_member(column: str, *, assigns: bool = False) -> SchemaItem:
    """A reference to a user, which is always a member of the same workspace (leaving deactivates, never deletes).

    Where it ``assigns``, only an active member can be named: what somebody has who leaves stays theirs.
    """
    return ForeignKeyConstraint(
        ["workspace_id", column],
        ["workspace_members.workspace_id", "workspace_members.user_id"],
        ondelete="RESTRICT",
        info={"assigns": assigns},
    )


def assigning(table: type[Base]) -> list[str]:
    """The fields that give a row of this table to a member."""
    laws = table.metadata.tables[table.__tablename__].foreign_key_constraints
    return [law.column_keys[-1] for law in laws if law.info.get("assigns")]


def one_of(column: str, literal: Any) -> CheckConstraint:
    """The column holds one of a Literal's values: the enum has one home, its Literal."""
    values: Sequence[str] = get_args(literal)
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def workspace_reference() -> Mapped[uuid.UUID]:
    """The primary key of a row there is one of per workspace."""
    return mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
