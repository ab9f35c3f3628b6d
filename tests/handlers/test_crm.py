"""Contacts and the addresses they are found by."""

import asyncio
from typing import Any

from tests.conftest import Client

API = "/api/v1"
JANE = {"firstName": "Jane", "phone": "+1 (415) 555-0123", "email": "Jane@EXAMPLE.com"}


async def points(client: Client, **query: Any) -> set[tuple[str, str, bool]]:
    answer = await client.get(f"{API}/contact-points", params=query)
    return {(item["kind"], item["value"], item["isPrimary"]) for item in answer.json()["items"]}


async def test_a_contact_is_found_by_its_phone_and_email(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    assert (jane["phone"], jane["email"]) == ("+14155550123", "Jane@example.com")
    assert await points(owner, contactId=jane["id"]) == {
        ("phone", "+14155550123", True),
        ("email", "Jane@example.com", True),
    }


async def test_an_address_has_one_contact(owner: Client, stranger: Client) -> None:
    assert (await owner.post(f"{API}/contacts", json=JANE)).status_code == 201
    answer = await owner.post(f"{API}/contacts", json={"firstName": "John", "phone": "+14155550123"})
    assert answer.status_code == 409
    assert "+14155550123" in answer.json()["detail"]
    assert len((await owner.get(f"{API}/contacts")).json()["items"]) == 1
    assert (await stranger.post(f"{API}/contacts", json=JANE)).status_code == 201


async def test_of_many_who_claim_an_address_at_once_one_gets_it(owner: Client) -> None:
    answers = await asyncio.gather(*(owner.post(f"{API}/contacts", json=JANE) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len((await owner.get(f"{API}/contacts")).json()["items"]) == 1


async def test_a_new_phone_frees_the_old_one(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    address = f"{API}/contacts/{jane['id']}"
    changed = await owner.patch(address, json={"phone": "+14155550999"})
    assert changed.json()["phone"] == "+14155550999"
    assert await points(owner, kind="phone") == {("phone", "+14155550999", True)}
    assert (await owner.post(f"{API}/contacts", json={"phone": "+14155550123"})).status_code == 201
    taken = await owner.patch(address, json={"phone": "+14155550123", "firstName": "X"})
    assert taken.status_code == 409
    assert (await owner.get(address)).json() == changed.json()


async def test_a_cleared_phone_is_no_address_and_the_email_stays(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    changed = await owner.patch(f"{API}/contacts/{jane['id']}", json={"phone": None})
    assert changed.json()["phone"] is None
    assert await points(owner) == {("email", "Jane@example.com", True)}


async def test_a_further_address_can_become_the_contacts_own(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    added = await owner.post(
        f"{API}/contact-points",
        json={"contactId": jane["id"], "kind": "phone", "value": "+1 415 555 0777", "label": "work"},
    )
    assert added.status_code == 201
    assert added.json()["value"] == "+14155550777"
    await owner.patch(f"{API}/contacts/{jane['id']}", json={"phone": "+14155550777"})
    assert await points(owner, kind="phone") == {("phone", "+14155550777", True)}


async def test_the_contacts_own_address_is_removed_only_on_the_contact(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    other = {"contactId": jane["id"], "kind": "phone", "value": "+14155550777"}
    added = (await owner.post(f"{API}/contact-points", json=other)).json()
    assert (await owner.post(f"{API}/contact-points", json=other)).status_code == 409
    assert (await owner.delete(f"{API}/contact-points/{added['id']}")).status_code == 204
    own = (await owner.get(f"{API}/contact-points", params={"kind": "phone"})).json()["items"][0]["id"]
    assert (await owner.delete(f"{API}/contact-points/{own}")).status_code == 409


async def test_a_deleted_contact_frees_its_addresses_and_keeps_its_conversations(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    talk = (await owner.post(f"{API}/conversations", json={"channel": "sms", "contactId": jane["id"]})).json()
    assert (await owner.delete(f"{API}/contacts/{jane['id']}")).status_code == 204
    assert await points(owner) == set()
    assert (await owner.get(f"{API}/conversations/{talk['id']}")).json()["contactId"] is None


async def test_a_search_takes_wildcards_literally_and_case_not(owner: Client) -> None:
    for name in ("100% Cotton", "1000 Cotton", "a_b", "axb", "back\\slash"):
        await owner.post(f"{API}/contacts", json={"company": name})

    async def found(text: str) -> set[str]:
        items = (await owner.get(f"{API}/contacts", params={"q": text})).json()["items"]
        return {item["company"] for item in items}

    assert await found("100% c") == {"100% Cotton"}
    assert await found("A_B") == {"a_b"}
    assert await found("back\\sl") == {"back\\slash"}
    assert await found("cotton") == {"100% Cotton", "1000 Cotton"}
    assert await found("cot 100") == set()
    assert await found("%") == await found("\\") == await found("'; --") == set()


async def test_filters_narrow_together_and_null_asks_for_none(owner: Client) -> None:
    mine = (await owner.post(f"{API}/contacts", json={"ownerId": str(owner.user_id), "tags": ["vip", "b"]})).json()
    nobodys = (await owner.post(f"{API}/contacts", json={"status": "customer", "tags": ["vip"]})).json()

    async def found(**query: str) -> set[str]:
        answer = await owner.get(f"{API}/contacts", params=query)
        assert answer.status_code == 200, answer.text
        return {item["id"] for item in answer.json()["items"]}

    assert await found(tags="vip") == {mine["id"], nobodys["id"]}
    assert await found(tags="b") == {mine["id"]}
    assert await found(ownerId=str(owner.user_id)) == {mine["id"]}
    assert await found(ownerId="null") == {nobodys["id"]}
    assert await found(status="customer", tags="b") == set()
    assert await found(createdAfter=nobodys["createdAt"]) == {nobodys["id"]}
    assert await found(createdBefore=nobodys["createdAt"]) == {mine["id"]}
