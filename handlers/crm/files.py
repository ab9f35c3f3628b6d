"""Contacts in CSV files: uploaded, previewed, imported, and exported."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from comms.contacts import files as stories
from comms.contacts.files.importing import Counts, PreviewedRow
from comms.errors import Invalid
from comms.service import Service
from handlers import forms
from handlers.crm.contacts import contacts
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import reader, writer
from handlers.listing import LIMIT, Page, refuse_unknown
from handlers.resource import READ, crud, listed
from handlers.signatures import own_of, taking
from models.crm import ContactImport, ContactImportError, ContactImportErrorView, ContactImportView

CSV_TYPES = frozenset({"text/csv", "application/csv", "application/vnd.ms-excel"})
LARGEST_FILE = 32 * 1024 * 1024


class UploadedContacts(ContactImportView, kw_only=True):
    """An import that has not begun: its first rows as they would become contacts, and what would come of all of them.

    Both by the guessed `mapping`; of `counts`, `existing` is updated only if the import is started so.
    """

    preview: list[PreviewedRow]
    counts: Counts


class ImportStart(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How to import. ``mapping`` says of columns what they become, null for nothing; without it the guess holds.

    With ``updateExisting`` a row whose address a contact already has changes that contact.
    """

    mapping: dict[str, str | None] | None = None
    update_existing: bool = False


imports = crud(
    "/contact-imports",
    ContactImport,
    ContactImportView,
    search=("filename",),
    filters=("status", "created_by"),
    verbs=("list", "get", "delete"),
)
errors = crud(
    "/contact-import-errors",
    ContactImportError,
    ContactImportErrorView,
    filters=("import_id", "row_number", "field"),
    verbs=READ,
)


@post(
    "/imports",
    operation_id="upload_contacts",
    guards=[writer],
    request_max_body_size=LARGEST_FILE,
    consumes="text/csv",
    example="First name,Mobile\nAda,+14155550123\n",
)
async def upload(request: Request, db: Db, identity: Asker) -> UploadedContacts:
    """Keep a CSV file of contacts and say what would come of importing it. No contact is made yet.

    The body is the file as `text/csv`, or a form with it as `file`; UTF-8, columns named in the first line, 32 MiB at
    most: divide what is larger. `POST /contact-imports/{id}/start` imports it.
    """
    raw, filename = await _file(request)
    row, preview, counts = await stories.upload(db, identity, raw, filename)
    view = await imports.tell(db, identity, "created", row)
    return UploadedContacts(**msgspec.structs.asdict(view), preview=preview, counts=counts)


@post("/{row_id:uuid}/start", operation_id="start_contact_import", guards=[writer], status_code=202)
async def start(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ImportStart]) -> ContactImportView:
    """The rows become contacts from now on, some hundred at a time.

    The import tells how far it is as `contact_import.progressed`, at last `contact_import.completed`; rows that became
    no contact are listed with their reasons under `…/errors`.
    """
    row = await imports.find(db, identity, row_id, to_change=True)
    await stories.start(db, row, data.mapping, data.update_existing)
    view: ContactImportView = await imports.tell(db, identity, "started", row)
    return view


@listed(errors, "/{import_id:uuid}/errors", operation_id="list_errors_of_contact_import")
async def of_import(
    request: Request, db: Db, identity: Asker, import_id: FromPath[uuid.UUID], asked: Any
) -> Page[ContactImportErrorView]:
    """The rows of an import that became no contact, and why; `sort=rowNumber` has them in the order of the file."""
    await imports.find(db, identity, import_id)
    return await errors.listing.page(db, request, asked, ContactImportError.import_id == import_id)


async def _export(request: Request, service: Here, identity: Asker, **asked: Any) -> Stream:
    """All contacts that the filters leave, as CSV, oldest first.

    What a spreadsheet would take for a formula has an apostrophe before it. An import takes the file again and leaves
    out `id`, `ownerId`, `customFields` and the times, which stay as they are in contacts that are there. `timezone` is
    not in it.
    """
    refuse_unknown(request, _FILTERS)
    conditions = contacts.listing.matching(request, asked | {"by_limit": LIMIT, "by_sort": "-createdAt"})
    return Stream(
        _lines(service, identity.workspace_id, conditions),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": 'attachment; filename="contacts.csv"', "Cache-Control": "no-store"},
    )


async def _lines(service: Service, workspace_id: uuid.UUID, conditions: Any) -> AsyncIterator[bytes]:
    async with service.database.workspace(workspace_id) as db:
        async for chunk in stories.lines(db, conditions):
            yield chunk


_FILTERS = {
    name: parameter
    for name, parameter in contacts.listing.parameters.items()
    if name not in ("limit", "cursor", "sort", "q")
}


def _with_filters(fn: Any) -> Any:
    """``fn`` with the filters of contacts' list as its parameters."""

    async def export(**given: Any) -> Any:
        return await fn(**given)

    return taking(export, [*own_of(fn), *_FILTERS.values()], Stream, fn.__doc__)


export = get("/export", operation_id="export_contacts", guards=[reader], media_type="text/csv")(_with_filters(_export))


async def _file(request: Request) -> tuple[bytes, str | None]:
    """The uploaded file and its name; 415 for anything but CSV or a form."""
    kind, parameters = request.content_type
    if kind in CSV_TYPES:
        if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
            raise Invalid({"": "the file must be UTF-8: save it as CSV UTF-8"})
        return await request.body(), None
    if kind != "multipart/form-data":
        raise HTTPException("Send the file as text/csv, or as `file` of a multipart/form-data form.", status_code=415)
    if (found := forms.file_in(await request.body(), parameters.get("boundary", ""))) is not None:
        return found
    raise Invalid({"file": "is required: the CSV file, as a part of the form"})


routes: list[Router] = [
    Router("/contacts", route_handlers=[upload, export]),
    imports.router(start, of_import),
    errors.router(),
]
