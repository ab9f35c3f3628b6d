"""A row of any table, with what its columns and constraints require: what a resource's contract is tested on."""

import re
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, LargeBinary, Numeric, Table, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Boolean, Date, DateTime

from comms.service import Service
from models.base import Base, now
from models.types import Email, Host, OurNumber, Phone, Slug

WANTED = {
    "agent_templates": ("author_workspace_id",),
    "agent_packs": ("author_workspace_id",),
    "agent_messages": ("to_agent_id",),
    "agent_policies": ("agent_id",),
    "conversation_handoffs": ("target_team_id",),
}
"""Columns that may be empty and that a row of a workspace's own has."""

ONE_EACH = {("routing_profiles", "user_id")}
"""Columns of which there is one row for each member: another row is another member's."""

NEEDED = {("lead_routing_rules", "assign_to"), ("lead_scoring_rules", "value")}
"""Columns that may be null, but not in a row that says nothing else."""

ALLOWED = {("lead_scoring_rules", "field"): "jobTitle", ("lead_scoring_rules", "value"): "Chief"}
"""What a column may hold whose law is not in the table."""


async def row(
    service: Service, table: type[Base], *, workspace_id: uuid.UUID, user_id: uuid.UUID, **values: Any
) -> Any:
    """A row with these values, whose other required columns hold something allowed."""
    async with service.database.everywhere() as db:
        return await _made(db, table, workspace_id, user_id, values)


async def _made(
    db: AsyncSession, table: type[Base], workspace_id: uuid.UUID, user_id: uuid.UUID, values: dict[str, Any]
) -> Any:
    given = dict(values)
    for attribute in table.__mapper__.column_attrs:
        column = attribute.columns[0]
        if attribute.key in given or not isinstance(column, Column):
            continue
        if _fills_itself(column) and column.name not in WANTED.get(column.table.name, ()):
            continue
        given[attribute.key] = await _value(db, column, workspace_id, user_id)
    made = table(**given)
    db.add(made)
    await db.flush()
    return made


REQUIRED_BY_CHECK = frozenset({("conversation_messages", "conversation_id"), ("uploads", "uploaded_by")})
"""Columns that may be null, and not in an ordinary row."""


def _fills_itself(column: Column[Any]) -> bool:
    if (column.table.name, column.name) in REQUIRED_BY_CHECK:
        return False
    if column.name == "id" and referred(column) is not None:  # a row that goes by the id of another
        return False
    has_default = column.default is not None or column.server_default is not None or column.computed is not None
    return has_default or (bool(column.nullable) and (column.table.name, column.name) not in NEEDED)


async def _value(db: AsyncSession, column: Column[Any], workspace_id: uuid.UUID, user_id: uuid.UUID) -> Any:
    if column.name in ("workspace_id", "author_workspace_id"):
        return workspace_id
    if (target := referred(column)) is not None:
        if (column.table.name, column.name) in ONE_EACH:
            return (await _made(db, class_of(target), workspace_id, user_id, {})).user_id
        if target == "workspace_members":
            return user_id
        return (await _made(db, class_of(target), workspace_id, user_id, {})).id
    return value_for(column)


def referred(column: Column[Any]) -> str | None:
    """The table that a column refers to, besides the workspace; not what refers back to a row that comes first."""
    if column.name == "workspace_id":
        return None
    return next((key.column.table.name for key in column.foreign_keys if not is_back(key)), None)


def is_back(key: ForeignKey) -> bool:
    """Whether what the key refers to comes after: it is there when the transaction ends."""
    return key.constraint is not None and key.constraint.use_alter


def class_of(name: str) -> type[Base]:
    """The mapped class of a table."""
    return next(mapper.class_ for mapper in Base.registry.mappers if mapper.local_table.name == name)


def value_for(column: Column[Any]) -> Any:
    """Something a column that refers to nothing may hold."""
    unique = uuid.uuid4()
    match column.type:
        case Phone() | OurNumber():
            return f"+1415{2000000 + unique.int % 7999999}"
        case Email():
            return f"{unique.hex}@example.com"
        case Host():
            return f"{unique.hex}.example.com"
        case Slug():
            return f"slug-{unique.hex}"
        case Uuid():
            return unique
        case LargeBinary():
            return unique.bytes
        case Boolean():
            return False
        case Integer():
            return 1 + unique.int % 99
        case Numeric():
            return Decimal("1.50")
        case DateTime():
            return now()
        case Date():
            return now().date()
        case ARRAY():
            return []
    assert isinstance(column.table, Table)
    if (column.table.name, column.name) in ALLOWED:
        return ALLOWED[column.table.name, column.name]
    for constraint in column.table.constraints:
        if isinstance(constraint, CheckConstraint) and str(constraint.name).endswith(f"{column.name}_known"):
            return re.findall(r"'([^']*)'", str(constraint.sqltext))[0]
    return f"{column.name}-{unique.hex}"


def as_json(value: Any) -> Any:
    """The value as a client would send it."""
    return str(value) if isinstance(value, uuid.UUID | datetime | date | Decimal) else value
