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


async def emails(client: Client, path: str, asked: str) -> list[str]:
    answer = await client.get(f"{API}/{path}", params={"email": asked})
    assert answer.status_code == 200, answer.text
    return [item["email"] for item in answer.json()["items"]]


async def test_whoever_has_an_address_is_listed_however_it_is_asked_for(owner: Client) -> None:
    await made(owner, "Jane.Doe@example.com")
    invited = await owner.post(f"{API}/workspace-members", json={"email": "New.Hand@example.com"})
    assert invited.status_code == 201, invited.text
    for path, there in (
        ("contacts", "Jane.Doe@example.com"),
        ("workspace-invitations", "New.Hand@example.com"),
        ("users", "owner@acme.example"),
    ):
        for asked in (there, there.lower(), there.upper()):
            assert await emails(owner, path, asked) == [there], (path, asked)
        assert await emails(owner, path, there[1:]) == [], path
    exported = await owner.get(f"{API}/contacts/export", params={"email": "jane.doe@EXAMPLE.com"})
    assert "Jane.Doe@example.com" in exported.text


async def test_only_the_address_that_a_contact_shows_as_its_own_lists_it(owner: Client) -> None:
    jane = await made(owner, "Jane@example.com")
    other = {"contactId": jane["id"], "kind": "email", "value": "Doe@example.com"}
    point = (await owner.post(f"{API}/contact-points", json=other)).json()
    assert (await emails(owner, "contacts", "doe@example.com"), point["isPrimary"]) == ([], False)
    assert (await owner.put(f"{API}/contact-points/{point['id']}/primary")).status_code == 200
    assert await emails(owner, "contacts", "doe@example.com") == ["Doe@example.com"]
    assert await emails(owner, "contacts", "jane@example.com") == []


async def test_among_many_contacts_an_address_is_found_by_an_index(service: Service, owner: Client, admin: Any) -> None:
    await made(owner, "Jane@example.com")
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        """
        WITH made AS (
            INSERT INTO contacts (workspace_id, id, email, created_at, updated_at)
            SELECT $1, gen_random_uuid(), 'c' || n || '@example.com', now(), now() FROM generate_series(1, 20000) n
            RETURNING workspace_id, id, email
        )
        INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)
        SELECT workspace_id, gen_random_uuid(), id, 'email', email, true, now(), now() FROM made
        """,
        owner.workspace_id,
    )
    await admin.execute("SET session_replication_role = origin")
    for table in ("contacts", "contact_points"):
        await admin.execute(f"VACUUM ANALYZE {table}")
    for sort in ("-createdAt", "lastName"):
        for _ in range(8):  # after some, a prepared statement may get one plan for all values
            query = {"email": "jane@example.com", "sort": sort}
            assert len((await owner.get(f"{API}/contacts", params=query)).json()["items"]) == 1
    await service.database.close()  # whose connections report what they did when they end
    read = await admin.fetchval(
        "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables"
        " WHERE relname IN ('contacts', 'contact_points')"
    )
    assert 0 < read < 1_000


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
