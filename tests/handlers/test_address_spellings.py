"""However an e-mail address is capitalised, it is one address, shown as it was written.

An international domain is one domain in its own letters and in those of the DNS, and shown in the latter.
"""

import asyncio
from typing import Any

import httpx
import pytest

from comms import senders
from comms.directory import Connection
from comms.providers.base import Address
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.test_contact_files import imported
from tests.handlers.webhooks import post
from tests.make.communications import OUR_MAIL
from tests.make.mail import mail

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
    bought = await owner.post(f"{API}/customers", json={"name": "Jane", "email": "Jane.Buys@example.com"})
    assert bought.status_code == 201, bought.text
    for path, there in (
        ("contacts", "Jane.Doe@example.com"),
        ("customers", "Jane.Buys@example.com"),
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


@pytest.mark.alters_the_schema  # what was read is counted from a database's beginning
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


@pytest.mark.alters_the_schema  # what was read is counted from a database's beginning
@pytest.mark.parametrize(
    ("table", "query", "more"),
    [
        ("customers", "email", {"name": "''"}),
        ("mails", "senderAddress", {"message_id": "gen_random_uuid()"}),
        ("mail_events", "address", {"connection_id": "gen_random_uuid()", "kind": "'opened'", "at": "now()"}),
    ],
)
async def test_among_many_others_too_an_address_is_found_by_an_index(
    service: Service, owner: Client, admin: Any, table: str, query: str, more: dict[str, str]
) -> None:
    column = "sender_address" if table == "mails" else query
    more = more | ({"provider_event_id": "n::text"} if table == "mail_events" else {})
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        f"INSERT INTO {table} (workspace_id, id, {column}, created_at, updated_at, {', '.join(more)})"
        f" SELECT $1, gen_random_uuid(), CASE n WHEN 7 THEN 'Jane' ELSE 'C' || n END || '@example.com', now(), now(),"
        f" {', '.join(more.values())} FROM generate_series(1, 20000) n",
        owner.workspace_id,
    )
    await admin.execute("SET session_replication_role = origin")
    await admin.execute(f"VACUUM ANALYZE {table}")
    path = f"{API}/{table.replace('_', '-')}"
    for asked in ("jane@example.com", "JANE@Example.com"):
        for sort in ("-createdAt", "createdAt"):
            for _ in range(4):
                found = (await owner.get(path, params={query: asked, "sort": sort})).json()["items"]
                assert [item[query] for item in found] == ["Jane@example.com"]
    assert (await owner.get(path, params={query: "c7@example.com"})).json()["items"] == []
    await service.database.close()  # whose connections report what they did when they end
    counted = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname = $1"
    assert 0 < await admin.fetchval(counted, table) < 1_000


async def test_an_address_of_ours_is_found_however_it_is_written(owner: Client) -> None:
    ours = await owner.post(f"{API}/workspace-mail-addresses", json={"address": "Support@acme.example"})
    assert ours.status_code == 201, ours.text
    body = {"address": "Jane@example.com", "sender": "Support@acme.example", "says": "stop", "reason": "by phone"}
    said = await owner.post(f"{API}/consent-entries", json=body)
    assert said.status_code == 201, said.text
    for path, name in (("workspace-mail-addresses", "address"), ("consents", "sender"), ("consent-entries", "sender")):
        for asked in ("support@acme.example", "SUPPORT@ACME.example", "Support@acme.example"):
            found = await owner.get(f"{API}/{path}", params={name: asked})
            assert len(found.json()["items"]) == 1, (path, asked)
        assert (await owner.get(f"{API}/{path}", params={name: "upport@acme.example"})).json()["items"] == []


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


# International domains

WRITTEN, KEPT = "jane@exämple.com", "jane@xn--exmple-cua.com"
OTHERWISE = ["jane@EXÄMPLE.com", "Jane@exa\u0308mple.com.", "JANE@XN--EXMPLE-CUA.COM"]


async def said(client: Client, to: str, **more: Any) -> httpx.Response:
    return await client.post(f"{API}/messages", json={"to": to, "channel": "email", "content": "Hello"} | more)


async def entered(client: Client, address: str, says: str, **more: Any) -> None:
    body = {"address": address, "says": says, "reason": "She said so on the phone."} | more
    answer = await client.post(f"{API}/consent-entries", json=body)
    assert answer.status_code == 201, answer.text


async def test_who_unsubscribes_by_mail_is_the_contact_of_an_international_domain(
    anonymous: httpx.AsyncClient, owner: Client, mailbox: Connection, admin: Any
) -> None:
    jane = await made(owner, WRITTEN)
    assert (await said(owner, WRITTEN)).status_code == 201
    for sender in (KEPT, WRITTEN):
        dkim = "{@xn--exmple-cua.com : pass}"
        answer = await post(anonymous, mail(mailbox, sender=sender, subject="unsubscribe", dkim=dkim))
        assert answer.status_code == 200
    assert [str(row["id"]) for row in await admin.fetch("SELECT id FROM contacts")] == [jane["id"]]
    (stands,) = (await owner.get(f"{API}/contacts/{jane['id']}/consents")).json()["items"]
    assert (stands["address"], stands["state"]) == (KEPT, "opted_out")
    for to in (WRITTEN, KEPT, *OTHERWISE):
        assert (await said(owner, to)).status_code == 422
    (talk,) = await admin.fetch("SELECT id FROM conversations")
    answer = await owner.post(f"{API}/conversations/{talk['id']}/messages", json={"content": "Hello"})
    assert answer.status_code == 422


@pytest.mark.parametrize(("stopped", "to"), [(WRITTEN, KEPT), (KEPT, WRITTEN), *((KEPT, one) for one in OTHERWISE)])
async def test_a_stop_for_one_spelling_of_a_domain_holds_for_every_other(
    owner: Client, mailbox: Connection, stopped: str, to: str
) -> None:
    assert (await said(owner, to)).status_code == 201
    await entered(owner, stopped, "stop")
    assert (await said(owner, to)).status_code == 422
    (stands,) = (await owner.get(f"{API}/consents", params={"address": stopped})).json()["items"]
    assert stands["address"] == KEPT


async def test_a_contact_is_one_however_its_international_domain_is_written(service: Service, owner: Client) -> None:
    jane = await made(owner, WRITTEN)
    assert jane["email"] == KEPT
    for other in (KEPT, *OTHERWISE):
        taken = await owner.post(f"{API}/contacts", json={"email": other})
        assert (taken.status_code, taken.json().get("conflictingId")) == (409, jane["id"])
        found = (await owner.get(f"{API}/contact-points", params={"value": other})).json()["items"]
        assert [item["value"] for item in found] == [KEPT]
    john = await made(owner, "john@example.com")
    point = {"contactId": john["id"], "kind": "email", "value": OTHERWISE[0]}
    assert (await owner.post(f"{API}/contact-points", json=point)).status_code == 409
    done = await imported(owner, service, f"email,company\n{KEPT},One\n", updateExisting=True)
    assert (done["updatedRows"], done["createdRows"]) == (1, 0)


async def test_a_mail_leaves_to_the_address_that_the_dns_knows(owner: Client, mailbox: Connection) -> None:
    first = (await said(owner, OTHERWISE[1])).json()
    assert first["toAddress"] == "Jane@xn--exmple-cua.com"
    again = await owner.post(
        f"{API}/conversations/{first['conversationId']}/messages", json={"content": "Hello", "to": WRITTEN}
    )
    assert again.json()["toAddress"] == KEPT


async def test_an_address_of_ours_may_be_written_in_its_own_letters(
    anonymous: httpx.AsyncClient, owner: Client, mailbox: Connection, admin: Any
) -> None:
    ours = await owner.post(f"{API}/workspace-mail-addresses", json={"address": "hallo@bücher.example"})
    assert ours.status_code == 201, ours.text
    assert ours.json()["address"] == "hallo@xn--bcher-kva.example"
    sent = await said(owner, "jane@example.com", **{"from": "hallo@Bücher.example"})
    assert (sent.status_code, sent.json()["fromAddress"]) == (201, "hallo@xn--bcher-kva.example")
    for to in ("hallo@bücher.example", "hallo@xn--bcher-kva.example"):
        assert (await post(anonymous, mail(mailbox, to=to))).status_code == 200
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE direction = 'inbound'") == 2
    await entered(owner, "jane@example.com", "stop", sender="hallo@bücher.example")
    refused = await said(owner, "jane@example.com", **{"from": "hallo@bücher.example"})
    assert refused.status_code == 422
    assert (await said(owner, "jane@example.com", **{"from": OUR_MAIL})).status_code == 201


async def test_what_is_no_domain_in_any_letters_is_refused_by_name(owner: Client) -> None:
    for wrong in ("jane@ex..ämple.com", f"jane@{'ä' * 64}.com", "jane@\u2067.com", "jane@..."):
        answer = await owner.post(f"{API}/contacts", json={"email": wrong})
        assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (400, ["email"]), wrong
