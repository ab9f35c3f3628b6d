"""However an e-mail address is capitalised, it is one address, shown as it was written."""

import asyncio
from typing import Any

from comms import senders
from comms.providers.base import Address
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.test_contact_files import imported

API = "/api/v1"


async def made(client: Client, email: str, **further: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/contacts", json={"email": email, **further})
    assert answer.status_code == 201, answer.text
    contact: dict[str, Any] = answer.json()
    return contact


async def points_of(client: Client, contact_id: str) -> list[str]:
    answer = await client.get(f"{API}/contact-points", params={"contactId": contact_id, "sort": "createdAt"})
    return [item["value"] for item in answer.json()["items"]]


async def test_addresses_that_differ_in_case_are_one_contacts(owner: Client) -> None:
    jane = await made(owner, "Jane.Doe@example.com")
    john = (await owner.post(f"{API}/contacts", json={"firstName": "John"})).json()
    assert jane["email"] == "Jane.Doe@example.com"
    taken = [
        await owner.post(f"{API}/contacts", json={"email": "jane.doe@example.com"}),
        await owner.patch(f"{API}/contacts/{john['id']}", json={"email": "JANE.DOE@example.com"}),
        await owner.post(
            f"{API}/contact-points", json={"contactId": john["id"], "kind": "email", "value": "jane.DOE@example.com"}
        ),
    ]
    assert [(answer.status_code, answer.json()["conflictingId"]) for answer in taken] == [(409, jane["id"])] * 3
    again = {"contactId": jane["id"], "kind": "email", "value": "jane.doe@Example.com"}
    assert (await owner.post(f"{API}/contact-points", json=again)).status_code == 409


async def test_a_contact_may_write_its_own_address_in_another_way(owner: Client) -> None:
    jane = await made(owner, "jane@example.com")
    point = (await owner.get(f"{API}/contact-points", params={"contactId": jane["id"]})).json()["items"][0]
    changed = await owner.patch(f"{API}/contacts/{jane['id']}", json={"email": "Jane@example.com"})
    assert (changed.status_code, changed.json()["email"]) == (200, "Jane@example.com")
    after = (await owner.get(f"{API}/contact-points", params={"contactId": jane["id"]})).json()["items"]
    assert [(item["id"], item["value"], item["isPrimary"]) for item in after] == [
        (point["id"], "Jane@example.com", True)
    ]


async def test_a_point_is_found_however_its_address_is_written(owner: Client) -> None:
    await made(owner, "Jane@example.com")
    for asked in ("jane@example.com", "JANE@EXAMPLE.COM", "Jane@example.com"):
        found = (await owner.get(f"{API}/contact-points", params={"value": asked})).json()["items"]
        assert [item["value"] for item in found] == ["Jane@example.com"]
    assert (await owner.get(f"{API}/contact-points", params={"value": "jan@example.com"})).json()["items"] == []


async def test_a_batch_and_many_at_once_leave_one(owner: Client) -> None:
    spellings = ["jane@example.com", "Jane@example.com", "JANE@example.com", "janE@example.com"]
    batch = await owner.post(f"{API}/contacts/batch", json={"items": [{"email": each} for each in spellings]})
    assert [result["status"] for result in batch.json()["results"]] == [201, 409, 409, 409]
    others = [each.replace("jan", "jon") for each in spellings[:1]] + ["Jone@example.com", "JONE@example.com"]
    answers = await asyncio.gather(*(owner.post(f"{API}/contacts", json={"email": each}) for each in others))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


async def test_rows_of_a_file_that_differ_in_case_are_twins(service: Service, owner: Client) -> None:
    jane = await made(owner, "Jane@example.com")
    done = await imported(
        owner, service, "email,company\njane@example.com,One\nann@x.example,Two\nANN@x.example,Three\n"
    )
    assert (done["createdRows"], done["duplicateRows"]) == (1, 2)
    done = await imported(owner, service, "email,company\njane@example.com,One\n", updateExisting=True)
    assert done["updatedRows"] == 1
    after = (await owner.get(f"{API}/contacts/{jane['id']}")).json()
    assert (after["company"], after["email"]) == ("One", "Jane@example.com")
    assert await points_of(owner, jane["id"]) == ["Jane@example.com"]


async def test_a_merge_and_its_undoing_keep_one_of_each_address(owner: Client) -> None:
    jane, other = await made(owner, "Jane@example.com"), await made(owner, "jane@work.example")
    merged = await owner.post(f"{API}/contacts/{jane['id']}/merge", json={"contactId": other["id"]})
    assert merged.status_code in (200, 201), merged.text
    assert (await owner.post(f"{API}/contacts", json={"email": "JANE@work.example"})).status_code == 409


async def test_whoever_writes_is_known_however_they_write_their_address(
    service: Service, owner: Client, admin: Any
) -> None:
    jane = await made(owner, "Jane@example.com")
    workspace_id = await admin.fetchval("SELECT workspace_id FROM contacts")
    strangers = [
        senders.Stranger(
            workspace_id=workspace_id,
            address=Address("email", written, written),  # type: ignore[arg-type]  # the mail's own kind
            name=None,
            source="inbound_email",
            at=now(),
        )
        for written in ("jane@example.com", "New@example.com", "new@example.com")
    ]
    async with service.database.everywhere() as db:
        raw = (await (await db.connection()).get_raw_connection()).driver_connection
        met = await senders.meet(raw, strangers)
    assert [str(met[0].contact_id), met[0].is_new] == [jane["id"], False]
    assert met[1].contact_id == met[2].contact_id
