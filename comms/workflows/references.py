"""Whether what a step names by its id is there: seen when the step is written, and once more when it runs."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions
from comms.shapes import msgspec_camel
from comms.workflows.acting import Place
from models.base import Base

NOTHING = "refers to nothing in this workspace"


async def missing(place: Place, table: type[Base], field: str = "id") -> dict[str, str]:
    """What is wrong with the row that the step names, if it is known already which one."""
    named = place.said.get(field)
    if named is None or await _is_there(place.db, place.workspace_id, table.__table__, named):
        return {}
    return {f"{place.place}.{field}": NOTHING}


async def wrong_in(
    db: AsyncSession, workspace_id: uuid.UUID, table: type[Base], values: Mapping[str, Any]
) -> dict[str, str]:
    """Which of these values of a row name nothing, or nobody whom it can be given to, by the names of its view."""
    laws = {law.column_keys[-1]: law for law in table.metadata.tables[table.__tablename__].foreign_key_constraints}
    named = {name: uuid.UUID(str(values[name])) for name in laws if values.get(name) is not None}
    errors = {
        msgspec_camel(name): NOTHING
        for name, row_id in named.items()
        if not laws[name].info.get("assigns")
        and not await _is_there(db, workspace_id, laws[name].referred_table, row_id)
    }
    [nobody] = await mentions.unassignable(db, workspace_id, table, [named])
    return errors if nobody is None else errors | nobody.errors


async def _is_there(db: AsyncSession, workspace_id: uuid.UUID, table: Any, row_id: Any) -> bool:
    query = select(table.c.id).where(table.c.workspace_id == workspace_id, table.c.id == uuid.UUID(str(row_id)))
    return await db.scalar(query) is not None
