"""The row in the way of another: who breaks a unique constraint is told which row was there first."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Index, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import attempt
from comms.errors import Conflict
from handlers.problems import constraint_of, named_columns, taken_by
from models.base import Base


def has_uniques(table: type[Base]) -> bool:
    """Whether a row can be in another's way."""
    there = table.metadata.tables[table.__tablename__]
    rules = (*there.constraints, *there.indexes)
    return any(isinstance(rule, UniqueConstraint) or (isinstance(rule, Index) and rule.unique) for rule in rules)


@asynccontextmanager
async def naming(
    db: AsyncSession, table: type[Base], visible: list[ColumnElement[bool]], values: Mapping[str, Any]
) -> AsyncIterator[None]:
    """What is written in here has these ``values``; if a row that is ``visible`` has them already, its id is told.

    Only what is both begun and flushed in here is behind the savepoint that this takes.
    """
    if not has_uniques(table):
        yield
        return
    try:
        async with attempt(db):
            yield
    except IntegrityError as error:
        name = taken_by(error)
        rule = constraint_of(table.metadata.tables[table.__tablename__], name) if name else None
        if rule is None:
            raise
        made = {column.name: column.info["made_of"](values) for column in rule.columns if "made_of" in column.info}
        fields = named_columns(rule, {name: source for name, (source, _) in made.items()})
        taken = f"what this {fields[0]} leads to" if made else f"this {' and '.join(fields)}"
        detail = f"another row of this workspace already has {taken}"
        known = {**values, **{name: value for name, (_, value) in made.items()}}
        there = await _first(db, table, rule, visible, known)
        raise Conflict(detail, fields=fields, conflicting_id=there) from error


async def _first(
    db: AsyncSession, table: Any, rule: Any, visible: list[ColumnElement[bool]], values: Mapping[str, Any]
) -> Any:
    """The id of the row that has these values in the columns of ``rule``, as far as they are known."""
    keys = [table.__mapper__.get_property_by_column(column).key for column in rule.columns]
    keys = [key for key in keys if key != "workspace_id"]
    options = rule.dialect_options["postgresql"] if isinstance(rule, Index) else {}
    if any(values.get(key) is None for key in keys) and not options.get("nulls_not_distinct"):
        return None
    conditions = [getattr(table, key).is_not_distinct_from(values.get(key)) for key in keys]
    only = options.get("where")
    if only is not None:
        conditions.append(only)
    return await db.scalar(select(table.id).where(*conditions, *visible).limit(1))
