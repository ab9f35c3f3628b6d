"""CSV files of contacts, bytes in, values out: what the columns mean, and what is wrong with which row."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from comms.errors import Invalid
from models.crm import ContactStatus
from models.types import Email, Phone, address_key

FIELDS: Mapping[str, str] = {
    "firstName": "first_name",
    "lastName": "last_name",
    "email": "email",
    "phone": "phone",
    "company": "company",
    "jobTitle": "job_title",
    "source": "source",
    "status": "status",
    "tags": "tags",
    "leadScore": "lead_score",
}
"""What a column can become, besides ``fullName`` and ``customFields.<name>``."""
FULL_NAME = "fullName"
CUSTOM = "customFields."

_ALIASES: Mapping[str, Sequence[str]] = {
    "firstName": ("firstname", "givenname", "forename", "first", "vorname", "prenom"),
    "lastName": ("lastname", "surname", "familyname", "last", "nachname", "nom"),
    FULL_NAME: ("name", "fullname", "contact", "contactname", "displayname"),
    "email": ("email", "emailaddress", "mail", "email1value", "primaryemail"),
    "phone": ("phone", "phonenumber", "mobile", "mobilephone", "mobilenumber", "telephone", "tel", "cell", "cellphone"),
    "company": ("company", "companyname", "organization", "organisation", "account", "accountname"),
    "jobTitle": ("jobtitle", "title", "position", "role"),
    "source": ("source", "leadsource"),
    "status": ("status", "leadstatus", "lifecyclestage"),
    "tags": ("tags", "labels", "groups"),
    "leadScore": ("leadscore", "score"),
}
_STATUSES: Sequence[str] = get_args(ContactStatus)
_DISARMED = re.compile(r"'[=+\-@\t\r]")
MOST_COLUMNS = 200
MOST_ROWS, MOST_CELLS = 200_000, 2_000_000  # each costs memory, however little is in it: some 300 MB for all
MOST_TAGS = 100
LONGEST = 1_000


class Sheet(msgspec.Struct, frozen=True):
    """A file: its columns, and its rows with their numbers as a spreadsheet counts them."""

    columns: list[str]
    rows: list[tuple[int, list[str]]]


class Row(msgspec.Struct):
    """A row as a contact: its fields by column of our table, or what is wrong; ``twin`` is an earlier row's number."""

    number: int
    values: dict[str, Any]
    errors: list[tuple[str | None, str]]
    twin: int | None = None

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """What the contact would be found by: kind and value, however that is written."""
        return [(kind, address_key(kind, value)) for kind, value in self.points]

    @property
    def points(self) -> list[tuple[str, str]]:
        """Its addresses as they are written: kind and value."""
        return [(kind, self.values[kind]) for kind in ("phone", "email") if kind in self.values]


def decode(raw: bytes) -> str:
    """The file as text; raises ``Invalid`` when it is not UTF-8, with or without a byte order mark."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid({"": f"the file is not UTF-8 (at byte {error.start}): save it as CSV UTF-8"}) from None
    if "\x00" in text:
        raise Invalid({"": "the file must not contain NUL: save it as CSV UTF-8"})
    return text


def sheet_of(text: str) -> Sheet:
    """The file's columns and rows, the empty ones left out; raises ``Invalid`` when it is no CSV with a header."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        columns = [cell.strip() for cell in next(reader, [])]
        rows, count = [], 0
        for number, cells in enumerate(reader, start=2):
            count += len(cells)
            if number > MOST_ROWS + 1 or count > MOST_CELLS:
                most = f"{MOST_ROWS:,} rows or {MOST_CELLS:,} cells"
                raise Invalid({"": f"the file has more than {most}: divide it, or leave columns out"})
            if any(cell.strip() for cell in cells):
                rows.append((number, cells))
    except csv.Error as error:
        raise Invalid({"": f"the file is not CSV: line {reader.line_num}: {error}"}) from None
    while columns and not columns[-1]:
        columns.pop()
    if not columns or not all(columns):
        raise Invalid({"": "the first line must name every column"})
    if len(columns) > MOST_COLUMNS or max(map(len, columns)) > LONGEST:
        raise Invalid({"": f"the file may have {MOST_COLUMNS} columns, with names of {LONGEST} characters at most"})
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise Invalid({"": f"the file has more than one column {twice[0]!r}"})
    if not rows:
        raise Invalid({"": "the file has no rows below its header"})
    return Sheet(columns, rows)


def guess(columns: Sequence[str]) -> dict[str, str | None]:
    """Which field each column most likely is; no field twice."""
    mapping: dict[str, str | None] = dict.fromkeys(columns)
    for field, names in _ALIASES.items():
        for column in columns:
            if mapping[column] is None and re.sub(r"[^a-z0-9]", "", column.lower()) in names:
                mapping[column] = field
                break
    if "firstName" in mapping.values() or "lastName" in mapping.values():
        mapping = {column: None if field == FULL_NAME else field for column, field in mapping.items()}
    return mapping


def check_mapping(columns: Sequence[str], mapping: Mapping[str, str | None]) -> None:
    """``Invalid`` names every column that is not there, every field there is none of, and every field given twice."""
    errors: dict[str, str] = {}
    taken: dict[str, str] = {}
    for column, field in mapping.items():
        if column not in columns:
            errors[f"mapping.{column}"] = "is not a column of this file"
        elif field is None:
            continue
        elif field not in FIELDS and field != FULL_NAME and not (field.startswith(CUSTOM) and field != CUSTOM):
            known = ", ".join((*FIELDS, FULL_NAME, f"{CUSTOM}<name>"))
            errors[f"mapping.{column}"] = f"becomes one of {known}, or null for none"
        elif field in taken:
            errors[f"mapping.{column}"] = f"becomes {field}, as {taken[field]!r} does"
        else:
            taken[field] = column
    if not errors and not taken:
        errors["mapping"] = "must say of at least one column what it becomes"
    if errors:
        raise Invalid(errors)


def rows_of(sheet: Sheet, mapping: Mapping[str, str | None]) -> list[Row]:
    """Every row as a contact; a row with an address that a row before it has is that row's twin."""
    wanted = [(place, field) for place, name in enumerate(sheet.columns) if (field := mapping.get(name)) is not None]
    first: dict[tuple[str, str], int] = {}
    rows = []
    for number, cells in sheet.rows:
        row = _read(number, cells, wanted, len(sheet.columns))
        if not row.errors:
            row.twin = next((first[address] for address in row.addresses if address in first), None)
            if row.twin is None:
                first |= dict.fromkeys(row.addresses, number)
        rows.append(row)
    return rows


def _read(number: int, cells: Sequence[str], wanted: Sequence[tuple[int, str]], width: int) -> Row:
    row = Row(number, {}, [])
    if any(cell.strip() for cell in cells[width:]):
        row.errors.append((None, f"has {len(cells)} cells, the header {width}"))
        return row
    for place, field in wanted:
        said = cells[place].strip() if place < len(cells) else ""
        if _DISARMED.match(said):
            said = said[1:]  # our own export put it there
        if not said:
            continue
        try:
            _take(row.values, field, said)
        except ValueError as error:
            row.errors.append((field, str(error)))
    if not row.errors and not row.values:
        row.errors.append((None, "has nothing in the columns that are imported"))
    return row


def _take(values: dict[str, Any], field: str, said: str) -> None:
    if len(said) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    match field:
        case "fullName":
            first, _, last = said.rpartition(" ")
            values |= {"first_name": first.strip(), "last_name": last} if first else {"first_name": last}
        case "email":
            values["email"] = Email().normalise(said)
        case "phone":
            values["phone"] = Phone().normalise(said)
        case "status":
            if said.lower() not in _STATUSES:
                raise ValueError(f"must be one of {', '.join(_STATUSES)}")
            values["status"] = said.lower()
        case "leadScore":
            if not re.fullmatch(r"\d{1,3}", said, re.ASCII) or int(said) > 100:
                raise ValueError("must be a whole number from 0 to 100")
            values["lead_score"] = int(said)
        case "tags":
            tags = list(dict.fromkeys(tag.strip() for tag in re.split(r"[,;|]", said) if tag.strip()))
            if len(tags) > MOST_TAGS:
                raise ValueError(f"may be {MOST_TAGS} at most")
            values["tags"] = tags
        case _ if field.startswith(CUSTOM):
            values.setdefault("custom_fields", {})[field.removeprefix(CUSTOM)] = said
        case _:
            values[FIELDS[field]] = said


def _delimiter(text: str) -> str:
    """What the header is divided by: spreadsheets of half the world write semicolons."""
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(",;\t", key=header.count)
