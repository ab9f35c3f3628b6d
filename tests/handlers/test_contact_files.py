"""Contacts in CSV files."""

import asyncio
import csv
import io
import uuid
from typing import Any

import pytest

from comms.contacts import files
from comms.contacts.files import importing, reading
from comms.service import Service
from tests.conftest import Client
from tests.handlers.test_resources import counted

API = "/api/v1"
CSV = {"Content-Type": "text/csv"}
FILE = """First Name,Surname,E-Mail,Mobile Number,Tags,Shoe size
Jane,Doe,Jane@EXAMPLE.com,+1 415 555 0123,"vip, news",41
John,,john@example.com,,,
,,not an address,12,,
Jane again,,jane@example.com,,,
"""


async def uploaded(client: Client, text: str | bytes = FILE) -> dict[str, Any]:
    content = text.encode() if isinstance(text, str) else text
    answer = await client.post(f"{API}/contacts/imports", content=content, headers=CSV)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def imported(client: Client, service: Service, text: str | bytes = FILE, **how: Any) -> dict[str, Any]:
    row = await uploaded(client, text)
    answer = await client.post(f"{API}/contact-imports/{row['id']}/start", json=how)
    assert answer.status_code == 202, answer.text
    await files.run(service.database, client.workspace_id, uuid.UUID(row["id"]))
    done: dict[str, Any] = (await client.get(f"{API}/contact-imports/{row['id']}")).json()
    return done


async def contacts(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/contacts", params={"sort": "createdAt", "limit": 200, **query})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def reasons(client: Client, import_id: str) -> list[tuple[int, str | None, str]]:
    answer = await client.get(f"{API}/contact-imports/{import_id}/errors", params={"sort": "rowNumber"})
    return [(item["rowNumber"], item["field"], item["reason"]) for item in answer.json()["items"]]


async def test_an_upload_says_what_would_come_of_it_and_makes_nobody(owner: Client) -> None:
    await owner.post(f"{API}/contacts", json={"email": "john@example.com"})
    row = await uploaded(owner, FILE + "Joan,,jane@Example.COM,+14155550123,,\n")
    assert row["mapping"] == {
        "First Name": "firstName",
        "Surname": "lastName",
        "E-Mail": "email",
        "Mobile Number": "phone",
        "Tags": "tags",
        "Shoe size": None,
    }
    assert row["counts"] == {"new": 1, "existing": 1, "duplicates": 2, "failed": 1}
    assert (row["status"], row["totalRows"], row["processedRows"]) == ("previewed", 5, 0)
    first, _, wrong, *_ = row["preview"]
    assert first == {
        "rowNumber": 2,
        "values": {
            "firstName": "Jane",
            "lastName": "Doe",
            "email": "Jane@example.com",
            "phone": "+14155550123",
            "tags": ["vip", "news"],
        },
        "errors": [],
    }
    assert [error.split()[0] for error in wrong["errors"]] == ["email", "phone"]
    assert len(await contacts(owner)) == 1


async def test_an_import_makes_contacts_and_names_the_rows_it_refuses(owner: Client, service: Service) -> None:
    row = await imported(owner, service)
    assert (row["status"], row["processedRows"]) == ("completed", 4)
    assert (row["createdRows"], row["duplicateRows"], row["failedRows"]) == (2, 1, 1)
    jane, john = await contacts(owner)
    assert (jane["phone"], jane["email"], jane["tags"]) == ("+14155550123", "Jane@example.com", ["vip", "news"])
    assert jane["source"] == "import"
    assert john["firstName"] == "John"
    found = await reasons(owner, row["id"])
    assert [(number, field) for number, field, _ in found] == [(4, "email"), (4, "phone"), (5, None)]
    told = (await owner.get(f"{API}/events", params={"subjectId": jane["id"]})).json()["items"]
    assert [item["event"] for item in told] == ["contact.created"]
    assert told[0]["data"] == (await owner.get(f"{API}/contacts/{jane['id']}")).json()
    answer = await owner.get(f"{API}/contact-points", params={"contactId": jane["id"], "kind": "phone"})
    assert [item["isPrimary"] for item in answer.json()["items"]] == [True]


async def test_the_mapping_can_be_chosen_and_must_make_sense(owner: Client, service: Service) -> None:
    row = await uploaded(owner)
    address = f"{API}/contact-imports/{row['id']}/start"
    for mapping, field in (
        ({"Nonsense": "email"}, "mapping.Nonsense"),
        ({"Tags": "shoes"}, "mapping.Tags"),
        ({"Tags": "email"}, "mapping.Tags"),
        (dict.fromkeys(row["columns"]), "mapping"),
    ):
        full = mapping if len(mapping) > 1 else row["mapping"] | mapping
        answer = await owner.post(address, json={"mapping": full})
        assert answer.status_code == 400, mapping
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    mapping = {"First Name": "fullName", "E-Mail": "email", "Shoe size": "customFields.shoeSize"}
    assert (await owner.post(address, json={"mapping": mapping})).status_code == 202
    again = await owner.post(address, json={})
    assert again.status_code == 409
    await files.run(service.database, owner.workspace_id, uuid.UUID(row["id"]))
    jane = (await contacts(owner))[0]
    assert (jane["customFields"], jane["phone"]) == ({"shoeSize": "41"}, None)


async def test_who_is_there_already_is_left_alone_or_updated(owner: Client, service: Service) -> None:
    body = {"firstName": "Jane", "lastName": "Roe", "phone": "+14155550123", "tags": ["old"], "customFields": {"a": 1}}
    jane = (await owner.post(f"{API}/contacts", json=body)).json()
    text = "first name,phone,email,tags\nJanet,+14155550123,jane@example.com,new\n,+14155550123,,\n"
    row = await imported(owner, service, text)
    assert (row["duplicateRows"], row["updatedRows"], await contacts(owner)) == (2, 0, [jane])
    assert f"is the contact {jane['id']} already" in [reason for _, _, reason in await reasons(owner, row["id"])]
    row = await imported(owner, service, text, updateExisting=True)
    assert (row["duplicateRows"], row["updatedRows"]) == (1, 1)
    (after,) = await contacts(owner)
    assert (after["firstName"], after["lastName"], after["email"]) == ("Janet", "Roe", "jane@example.com")
    assert (after["tags"], after["customFields"]) == (["old", "new"], {"a": 1})
    told = (await owner.get(f"{API}/events", params={"subjectId": jane["id"]})).json()["items"]
    assert [item["event"] for item in told] == ["contact.created", "contact.updated"]
    assert told[-1]["data"] == after


async def test_addresses_of_two_contacts_are_no_contact(owner: Client, service: Service) -> None:
    await owner.post(f"{API}/contacts", json={"phone": "+14155550123"})
    await owner.post(f"{API}/contacts", json={"email": "jane@example.com"})
    row = await imported(owner, service, "phone,email\n+14155550123,jane@example.com\n", updateExisting=True)
    assert (row["failedRows"], row["updatedRows"]) == (1, 0)
    assert "several contacts" in (await reasons(owner, row["id"]))[0][2]


def many(count: int) -> str:
    rows = [f"Person {place},person{place}@example.com,+1415555{place:04}" for place in range(count)]
    return "\n".join(["name,email,phone", *rows])


async def test_a_run_that_was_killed_goes_on_where_it_stopped(
    owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    row = await uploaded(owner, many(45))
    await owner.post(f"{API}/contact-imports/{row['id']}/start", json={})
    running = asyncio.create_task(files.run(service.database, owner.workspace_id, uuid.UUID(row["id"])))
    half = row
    while half["processedRows"] == 0:
        half = (await owner.get(f"{API}/contact-imports/{row['id']}")).json()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    half = (await owner.get(f"{API}/contact-imports/{row['id']}")).json()
    assert half["status"] == "running"
    assert half["processedRows"] == half["createdRows"] == len(await contacts(owner)) < 45
    await asyncio.gather(*(files.run(service.database, owner.workspace_id, uuid.UUID(row["id"])) for _ in range(2)))
    done = (await owner.get(f"{API}/contact-imports/{row['id']}")).json()
    assert (done["status"], done["processedRows"], done["createdRows"]) == ("completed", 45, 45)
    assert len(await contacts(owner)) == 45
    told = (await owner.get(f"{API}/events", params={"subjectId": row["id"], "limit": 200})).json()["items"]
    assert [item["event"].split(".")[1] for item in told] == ["created", "started", *["progressed"] * 4, "completed"]
    assert [item["data"]["processedRows"] for item in told] == [0, 0, 10, 20, 30, 40, 45]


async def test_two_imports_of_the_same_people_at_once_make_them_once(
    owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    started = []
    for _ in range(3):
        row = await uploaded(owner, many(40))
        await owner.post(f"{API}/contact-imports/{row['id']}/start", json={})
        started.append(row["id"])
    await asyncio.gather(
        *(files.run(service.database, owner.workspace_id, uuid.UUID(row_id)) for row_id in started),
        owner.post(f"{API}/contacts", json={"phone": "+14155550035"}),
    )
    done = [(await owner.get(f"{API}/contact-imports/{row_id}")).json() for row_id in started]
    assert {row["status"] for row in done} == {"completed"}
    found = await contacts(owner)
    assert len({row["phone"] for row in found}) == len(found) == 40
    assert sum(row["createdRows"] for row in done) in (39, 40)


async def test_a_few_statements_make_a_batch(owner: Client, service: Service) -> None:
    async def statements(rows: int) -> int:
        text = many(rows).replace("person", f"p{rows}").replace("+1415555", f"+14{rows:02}555")
        with counted() as sent:
            row = await imported(owner, service, text)
            assert row["createdRows"] == rows
            return sent()

    await statements(10)
    assert await statements(20) == await statements(60)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (FILE.encode("utf-16"), "UTF-8"),
        ("name\nJürgen".encode("latin-1"), "UTF-8"),
        (b"name\nJ\x00", "NUL"),
        (b"", "first line"),
        (b"name,,email\nx,y,z", "first line"),
        (b"name,name\nx,y", "more than one"),
        (b"name\n\n\n", "no rows"),
        (b'name\n"x', "not CSV"),
    ],
)
async def test_what_is_no_csv_in_utf8_is_refused_in_words(owner: Client, content: bytes, says: str) -> None:
    answer = await owner.post(f"{API}/contacts/imports", content=content, headers=CSV)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


async def test_a_form_a_byte_order_mark_and_semicolons_are_read(owner: Client) -> None:
    content = "\ufeffName;Email\r\nJürgen Müller;j@example.com\r\n".encode()
    answer = await owner.post(
        f"{API}/contacts/imports", files={"file": ("leute.csv", content, "text/csv")}, data={"note": "x"}
    )
    assert answer.status_code == 201, answer.text
    row = answer.json()
    assert row["filename"] == "leute.csv"
    assert row["preview"][0]["values"] == {"firstName": "Jürgen", "lastName": "Müller", "email": "j@example.com"}
    missing = await owner.post(f"{API}/contacts/imports", files={"other": ("x.csv", content, "text/csv")})
    assert missing.status_code == 400
    assert missing.json()["errors"][0]["field"] == "file"
    assert (await owner.post(f"{API}/contacts/imports", json={})).status_code == 415
    latin = {"Content-Type": "text/csv; charset=iso-8859-1"}
    assert (await owner.post(f"{API}/contacts/imports", content=b"name\nx", headers=latin)).status_code == 400


async def test_a_file_may_be_larger_than_other_bodies_and_is_told_how_large(owner: Client) -> None:
    content = b"name,note\n" + b"".join(b"Ada %d,%s\n" % (n, b"x" * 900) for n in range(3_000))
    for sent in ({"content": content, "headers": CSV}, {"files": {"file": ("many.csv", content, "text/csv")}}):
        answer = await owner.post(f"{API}/contacts/imports", **sent)  # type: ignore[arg-type]  # either way
        assert (answer.status_code, answer.json()["counts"]["new"]) == (201, 3_000), answer.text
    answer = await owner.post(f"{API}/contacts/imports", content=b"x" * (32 * 1024 * 1024 + 1), headers=CSV)
    assert (answer.status_code, "32 MiB" in answer.json()["detail"]) == (413, True)
    answer = await owner.post(f"{API}/contacts", content=b"x" * (2 * 1024 * 1024 + 1))
    assert (answer.status_code, "2 MiB" in answer.json()["detail"]) == (413, True)


async def test_a_file_of_nothing_but_cells_is_refused_before_it_fills_the_memory(owner: Client) -> None:
    for content in (b"name\n" + b"x\n" * 200_001, b"name\n" + (b"," * 9_999 + b"\n") * 201):
        answer = await owner.post(f"{API}/contacts/imports", content=content, headers=CSV)
        assert (answer.status_code, "divide it" in answer.json()["detail"]) == (400, True)


async def test_viewers_and_strangers_import_nothing(owner: Client, viewer: Client, stranger: Client) -> None:
    row = await uploaded(owner)
    assert (await viewer.post(f"{API}/contacts/imports", content=FILE, headers=CSV)).status_code == 403
    assert (await viewer.post(f"{API}/contact-imports/{row['id']}/start", json={})).status_code == 403
    assert (await stranger.post(f"{API}/contact-imports/{row['id']}/start", json={})).status_code == 404
    assert (await stranger.get(f"{API}/contact-imports/{row['id']}/errors")).status_code == 404


async def test_an_export_is_safe_in_a_spreadsheet_and_can_be_imported_again(
    owner: Client, stranger: Client, service: Service
) -> None:
    formula = "=cmd|'/c calc'!A0"
    await owner.post(
        f"{API}/contacts",
        json={
            "firstName": formula,
            "lastName": "-1+1",
            "phone": "+14155550123",
            "tags": ["@x", "b"],
            "status": "active",
        },
    )
    await owner.post(f"{API}/contacts", json={"company": 'Quotes "and", commas\nand lines'})
    answer = await owner.get(f"{API}/contacts/export")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert (rows[0]["firstName"], rows[0]["lastName"]) == (f"'{formula}", "'-1+1")
    assert (rows[0]["phone"], rows[0]["tags"]) == ("+14155550123", "'@x, b")
    assert rows[1]["company"] == 'Quotes "and", commas\nand lines'
    row = await imported(stranger, service, answer.content)
    assert (row["createdRows"], row["failedRows"]) == (2, 0)
    copied = (await contacts(stranger))[0]
    assert (copied["firstName"], copied["lastName"], copied["tags"]) == (formula, "-1+1", ["@x", "b"])
    filtered = await owner.get(f"{API}/contacts/export", params={"status": "active"})
    assert len(list(csv.reader(io.StringIO(filtered.text)))) == 2
    for query in ({"status": "nonsense"}, {"limit": 1}, {"q": "x"}, {"createdAfter": "2026-01-01T00:00:00"}):
        assert (await owner.get(f"{API}/contacts/export", params=query)).status_code == 400


def test_a_column_is_guessed_once_and_names_win_over_a_name() -> None:
    assert reading.guess(["Name", "Full name"]) == {"Name": "fullName", "Full name": None}
    assert reading.guess(["Name", "Vorname"]) == {"Name": None, "Vorname": "firstName"}
    assert reading.guess(["id", "email", "E-mail Address"]) == {"id": None, "email": "email", "E-mail Address": None}
