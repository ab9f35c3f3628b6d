"""What refers to a contact, from the catalogue of foreign keys: a table that is new tomorrow follows a merge too."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Index, Table, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import Base


class Reference(msgspec.Struct, frozen=True):
    """A column that names a contact, and what must be unique of its table's rows."""

    table: str
    column: str
    stamped: bool
    laws: tuple[tuple[tuple[str, ...], str], ...]
    """Other columns that are unique together with the contact, and the condition under which."""

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"


class Pair(msgspec.Struct, frozen=True):
    """From one contact of a workspace to another, at a time."""

    workspace_id: uuid.UUID
    source: uuid.UUID
    target: uuid.UUID
    at: datetime

    @property
    def parameters(self) -> dict[str, Any]:
        return {"workspace": self.workspace_id, "source": self.source, "target": self.target}


def all_of() -> list[Reference]:
    """Every reference to a contact that there is, of rows with an id: what a table has one of for a contact stays."""
    found = []
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            if key.referred_table.name != "contacts" or "id" not in table.c:
                continue
            column = next(column.name for column in key.columns if column.name != "workspace_id")
            found.append(Reference(table.name, column, "updated_at" in table.c, tuple(_laws(table, column))))
    return found


def _laws(table: Table, column: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for item in (*table.constraints, *table.indexes):
        if isinstance(item, UniqueConstraint) or (isinstance(item, Index) and item.unique):
            names = [named.name for named in item.columns]
            if column in names:
                where = item.dialect_options["postgresql"].get("where") if isinstance(item, Index) else None
                others = tuple(name for name in names if name not in ("workspace_id", column))
                yield others, "true" if where is None else str(where)


async def move(db: AsyncSession, reference: Reference, pair: Pair) -> list[str]:
    """The source's rows are the target's; their ids. Locked in the order of their ids, as everybody does."""
    stamp = ", updated_at = :at" if reference.stamped else ""
    moved = await db.execute(
        text(
            f"WITH held AS MATERIALIZED (SELECT id FROM {reference.table} WHERE workspace_id = :workspace"
            f" AND {reference.column} = :source ORDER BY id FOR NO KEY UPDATE)"
            f" UPDATE {reference.table} t SET {reference.column} = :target{stamp} FROM held"
            " WHERE t.workspace_id = :workspace AND t.id = held.id RETURNING t.id"
        ),
        pair.parameters | ({"at": pair.at} if reference.stamped else {}),
    )
    return [str(row_id) for row_id in moved.scalars()]


async def give_back(db: AsyncSession, reference: Reference, pair: Pair, row_ids: Sequence[str]) -> list[str]:
    """Those of the rows that are the source's still, are the target's; their ids."""
    stamp = ", updated_at = :at" if reference.stamped else ""
    given = await db.execute(
        text(
            f"WITH held AS MATERIALIZED (SELECT id FROM {reference.table} WHERE workspace_id = :workspace"
            f" AND id = ANY(CAST(:ids AS uuid[])) AND {reference.column} = :source ORDER BY id FOR NO KEY UPDATE)"
            f" UPDATE {reference.table} t SET {reference.column} = :target{stamp} FROM held"
            " WHERE t.workspace_id = :workspace AND t.id = held.id RETURNING t.id"
        ),
        pair.parameters | {"ids": list(row_ids)} | ({"at": pair.at} if reference.stamped else {}),
    )
    return [str(row_id) for row_id in given.scalars()]


async def remove_rivals(db: AsyncSession, reference: Reference, pair: Pair) -> list[dict[str, Any]]:
    """The source's rows that the target has its own of are gone; how they were."""
    removed: list[dict[str, Any]] = []
    for others, where in reference.laws:
        beside = " AND ".join(f"k.{name} = o.{name}" for name in others) or "true"
        mine = f"SELECT * FROM {reference.table} WHERE workspace_id = :workspace AND ({where}) AND {reference.column}"
        gone = await db.execute(
            text(
                f"DELETE FROM {reference.table} r WHERE r.workspace_id = :workspace AND r.id IN ("
                f"SELECT o.id FROM ({mine} = :source) o JOIN ({mine} = :target) k ON {beside}"
                ") RETURNING to_jsonb(r) AS row"
            ).columns(row=JSONB),
            pair.parameters,
        )
        removed += gone.scalars()
    return removed


async def put_back(db: AsyncSession, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Rows that were removed are there again, as they were."""
    there = {column.name for column in Base.metadata.tables[table].columns if column.computed is None}
    for row in rows:
        names = ", ".join(sorted(there & set(row)))
        await db.execute(
            text(
                f"INSERT INTO {table} ({names}) SELECT {names}"
                f" FROM jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb)) ON CONFLICT DO NOTHING"
            ),
            {"row": msgspec.json.encode(row).decode()},
        )
