"""A file of contacts becomes contacts: previewed first, then batch by batch, each batch and its count in one commit.

Killed in the middle, the job begins again where the last commit left it. Two at once take turns by the import's row.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from comms import events, jobs
from comms.contacts.files import reading, taking
from comms.contacts.files.reading import Row
from comms.credentials import Identity
from comms.database import Database
from comms.errors import Conflict
from comms.events import Actor
from models.base import new_id, now
from models.crm import ContactImport, ContactImportError, ContactImportView

log = structlog.get_logger(__name__)

RUN = "contact_import.run"
BATCH = 500
SHOWN = 20
TRIES = 5
DEADLOCK = "40P01"


class PreviewedRow(msgspec.Struct, rename="camel"):
    """A row of the file as it would be imported: its fields, and what is wrong with them."""

    row_number: int
    values: dict[str, Any]
    errors: list[str]


class Counts(msgspec.Struct, rename="camel"):
    """What the rows would become: new contacts, contacts there are, twins of rows before them, and nothing."""

    new: int = 0
    existing: int = 0
    duplicates: int = 0
    failed: int = 0


async def upload(
    db: AsyncSession, member: Identity, raw: bytes, filename: str | None
) -> tuple[ContactImport, list[PreviewedRow], Counts]:
    """The file is kept, with a guess at its columns and at what would come of it; ``Invalid`` when it is no CSV."""
    content = reading.decode(raw)
    sheet = await asyncio.to_thread(reading.sheet_of, content)
    mapping = reading.guess(sheet.columns)
    rows = await asyncio.to_thread(reading.rows_of, sheet, mapping)
    row = ContactImport(
        workspace_id=member.workspace_id,
        id=new_id(),
        filename=filename,
        columns=sheet.columns,
        mapping=mapping,
        total_rows=len(rows),
        content=content,
        created_by=member.user_id,
    )
    db.add(row)
    shown = [
        PreviewedRow(each.number, _named(each.values), [_said(field, reason) for field, reason in each.errors])
        for each in rows[:SHOWN]
    ]
    return row, shown, await _counts(db, member.workspace_id, rows)


async def start(
    db: AsyncSession, row: ContactImport, mapping: Mapping[str, str | None] | None, update_existing: bool
) -> None:
    """The import runs, with this mapping or the one that was guessed; ``Conflict`` when it already did."""
    if row.status != "previewed":
        raise Conflict(f"this import is {row.status}: upload the file again to import it again")
    chosen = dict.fromkeys(row.columns) | dict(row.mapping if mapping is None else mapping)
    reading.check_mapping(row.columns, chosen)
    row.mapping = chosen
    row.update_existing = update_existing
    row.status = "running"
    row.started_at = now()
    await jobs.enqueue(db, RUN, [{"workspaceId": row.workspace_id, "importId": row.id}])


async def run(database: Database, workspace_id: uuid.UUID, import_id: uuid.UUID) -> None:
    """Every row of a running import has become a contact, or an error that says why not."""
    async with database.workspace(workspace_id) as db:
        query = select(ContactImport).where(ContactImport.id == import_id).options(undefer(ContactImport.content))
        found = await db.scalar(query)
    if found is None or found.status != "running":
        return
    rows = await asyncio.to_thread(lambda: reading.rows_of(reading.sheet_of(found.content), found.mapping))
    actor = Actor("user", found.created_by) if found.created_by else Actor()
    while await _batch(database, actor, workspace_id, import_id, rows):
        pass


async def _batch(
    database: Database, actor: Actor, workspace_id: uuid.UUID, import_id: uuid.UUID, rows: Sequence[Row]
) -> bool:
    """The next rows are done; whether there are more."""
    for attempt in range(1, TRIES + 1):
        try:
            async with database.workspace(workspace_id, actor) as db:
                return await _do_next(db, import_id, rows)
        except taking.Overtaken:
            if attempt == TRIES:
                raise
        except DBAPIError as error:
            if attempt == TRIES or getattr(error.orig, "sqlstate", None) != DEADLOCK:
                raise
        log.info("contact_import.again", import_id=str(import_id), attempt=attempt)
    raise AssertionError("unreachable")


async def _do_next(db: AsyncSession, import_id: uuid.UUID, rows: Sequence[Row]) -> bool:
    row = await db.scalar(select(ContactImport).where(ContactImport.id == import_id).with_for_update(key_share=True))
    if row is None or row.status != "running":
        return False
    batch = rows[row.processed_rows : row.processed_rows + BATCH]
    taken = await taking.take(db, row.workspace_id, batch, update_existing=row.update_existing)
    if taken.refused:
        at = now()
        await db.execute(
            insert(ContactImportError),
            [
                {
                    "workspace_id": row.workspace_id,
                    "id": new_id(),
                    "import_id": row.id,
                    "row_number": number,
                    "field": field,
                    "reason": reason,
                    "created_at": at,
                    "updated_at": at,
                }
                for number, field, reason in taken.refused
            ],
        )
    row.created_rows += taken.created
    row.updated_rows += taken.updated
    row.duplicate_rows += taken.duplicates
    row.failed_rows += taken.failed
    row.processed_rows += len(batch)
    is_done = row.processed_rows >= row.total_rows
    if is_done:
        row.status = "completed"
        row.completed_at = now()
    await db.flush()
    view = msgspec.convert(row, ContactImportView, from_attributes=True)
    events.record(db, "contact_import.completed" if is_done else "contact_import.progressed", row, view)
    return not is_done


async def _counts(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Row]) -> Counts:
    counts = Counts()
    for place in range(0, len(rows), 10 * BATCH):
        some = rows[place : place + 10 * BATCH]
        known = await taking.known(db, workspace_id, some)
        for row in some:
            if row.errors:
                counts.failed += 1
            elif row.twin is not None:
                counts.duplicates += 1
            elif any(address in known for address in row.addresses):
                counts.existing += 1
            else:
                counts.new += 1
    return counts


_NAMES = {column: field for field, column in reading.FIELDS.items()} | {"custom_fields": "customFields"}


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES[column]: value for column, value in values.items()}


def _said(field: str | None, reason: str) -> str:
    return f"{field} {reason}" if field else reason
