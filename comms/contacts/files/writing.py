"""Contacts as lines of CSV that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.contacts.files.reading import FIELDS
from models.crm import Contact

AT_ONCE = 500
_COLUMNS = {
    "id": "id",
    **FIELDS,
    "ownerId": "owner_id",
    "lastContactedAt": "last_contacted_at",
    "createdAt": "created_at",
    "customFields": "custom_fields",
}
_ARMED = ("=", "+", "-", "@", "\t", "\r")


async def lines(db: AsyncSession, conditions: Sequence[ColumnElement[bool]]) -> AsyncIterator[bytes]:
    """The header, then the contacts, oldest first, some hundred a chunk: a cursor, so that no more are in memory."""
    yield _written([list(_COLUMNS)])
    query = select(Contact).where(*conditions).order_by(Contact.created_at, Contact.id)
    found = await db.stream_scalars(query.execution_options(yield_per=AT_ONCE))
    async for some in found.partitions():
        yield _written([_row(contact) for contact in some])
        for contact in some:
            db.expunge(contact)


def _row(contact: Contact) -> list[str]:
    return [_cell(name, getattr(contact, column)) for name, column in _COLUMNS.items()]


def _cell(name: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case list():
            said = ", ".join(value)
        case dict():
            said = msgspec.json.encode(value).decode() if value else ""
        case datetime():
            said = value.isoformat()
        case _:
            said = str(value)
    # A number in E.164 is digits behind its plus, and no formula does anything with those.
    return f"'{said}" if said.startswith(_ARMED) and name != "phone" else said


def _written(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
