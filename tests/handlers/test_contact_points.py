"""A contact's many addresses, of which one of each kind is its own."""

import asyncio
from typing import Any

from tests.conftest import Client

API = "/api/v1"
JANE = {"firstName": "Jane", "phone": "+14155550123", "email": "jane@example.com"}


async def added(client: Client, contact_id: str, value: str, kind: str = "phone") -> dict[str, Any]:
    answer = await client.post(f"{API}/contact-points", json={"contactId": contact_id, "kind": kind, "value": value})
    assert answer.status_code == 201, answer.text
    point: dict[str, Any] = answer.json()
    return point


async def own(client: Client, contact_id: str, kind: str = "phone") -> set[tuple[str, bool]]:
    answer = await client.get(f"{API}/contact-points", params={"contactId": contact_id, "kind": kind})
    return {(item["value"], item["isPrimary"]) for item in answer.json()["items"]}


async def test_the_primary_address_is_switched_and_the_contact_follows(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    work = await added(owner, jane["id"], "+1 (415) 555-0777")
    mail = await added(owner, jane["id"], "jane@Work.example", "email")
    assert (work["value"], work["isPrimary"], mail["value"]) == ("+14155550777", False, "jane@work.example")
    before = len((await owner.get(f"{API}/events", params={"limit": 200})).json()["items"])
    switched = await owner.put(f"{API}/contact-points/{work['id']}/primary")
    assert (switched.status_code, switched.json()["isPrimary"]) == (200, True)
    assert await own(owner, jane["id"]) == {("+14155550777", True), ("+14155550123", False)}
    after = (await owner.get(f"{API}/contacts/{jane['id']}")).json()
    assert (after["phone"], after["email"]) == ("+14155550777", "jane@example.com")
    told = (await owner.get(f"{API}/events", params={"limit": 200})).json()["items"][before:]
    assert [item["event"] for item in told] == ["contact_point.updated"] * 2 + ["contact.updated"]
    assert (await owner.put(f"{API}/contact-points/{work['id']}/primary")).json() == switched.json()
    assert len((await owner.get(f"{API}/events", params={"limit": 200})).json()["items"]) == before + 3
    assert (await owner.put(f"{API}/contact-points/{mail['id']}/primary")).status_code == 200
    assert (await owner.get(f"{API}/contacts/{jane['id']}")).json()["email"] == "jane@work.example"


async def test_the_first_address_of_a_kind_is_the_contacts_own(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json={"firstName": "Jane"})).json()
    answers = await asyncio.gather(*(added(owner, jane["id"], f"+1415555010{place}") for place in range(4)))
    assert [point["isPrimary"] for point in answers].count(True) == 1
    primary = next(point["value"] for point in answers if point["isPrimary"])
    assert (await owner.get(f"{API}/contacts/{jane['id']}")).json()["phone"] == primary


async def test_of_switches_at_once_one_address_is_primary(owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    points = [await added(owner, jane["id"], f"+1415555077{place}") for place in range(4)]
    answers = await asyncio.gather(*(owner.put(f"{API}/contact-points/{point['id']}/primary") for point in points * 2))
    assert {answer.status_code for answer in answers} == {200}
    phone = (await owner.get(f"{API}/contacts/{jane['id']}")).json()["phone"]
    assert [value for value, is_primary in await own(owner, jane["id"]) if is_primary] == [phone]


async def test_a_taken_address_names_the_contact_who_has_it(owner: Client, viewer: Client, stranger: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json=JANE)).json()
    john = (await owner.post(f"{API}/contacts", json={"firstName": "John"})).json()
    taken = [
        await owner.post(f"{API}/contacts", json={"phone": "+1 415 555 0123"}),
        await owner.patch(f"{API}/contacts/{john['id']}", json={"email": "jane@EXAMPLE.com"}),
        await owner.post(
            f"{API}/contact-points", json={"contactId": john["id"], "kind": "phone", "value": "+14155550123"}
        ),
    ]
    for answer in taken:
        assert (answer.status_code, answer.json()["conflictingId"]) == (409, jane["id"])
    point = (await owner.get(f"{API}/contact-points", params={"kind": "phone"})).json()["items"][0]
    assert (await viewer.put(f"{API}/contact-points/{point['id']}/primary")).status_code == 403
    assert (await stranger.put(f"{API}/contact-points/{point['id']}/primary")).status_code == 404
