"""Many rows in one request."""

from typing import Any

from comms.service import Service
from tests.conftest import Client
from tests.handlers.test_resources import counted

API = "/api/v1"
CONTACTS = f"{API}/contacts/batch"
NUMBERS = f"{API}/workspace-phone-numbers"


async def results(client: Client, path: str, items: list[Any]) -> list[dict[str, Any]]:
    answer = await client.post(path, json={"items": items})
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["results"]
    return listed


async def test_a_row_that_breaks_a_law_of_the_database_harms_no_other(owner: Client) -> None:
    items = [{"firstName": f"{number}", "phone": f"+1415555{number:04d}"} for number in range(20)]
    items[7] = {"firstName": "7", "ownerId": "0198c0de-0000-7000-8000-000000000000"}
    items[12] = items[11] | {"firstName": "12"}
    outcome = await results(owner, CONTACTS, items)
    assert [result["index"] for result in outcome if result["status"] != 201] == [7, 12]
    assert outcome[7]["problem"]["errors"] == [
        {"field": "ownerId", "reason": "refers to nothing in this workspace"},
    ]
    assert outcome[12]["status"] == 409
    assert outcome[12]["problem"]["title"] == "Conflict"
    there = (await owner.get(f"{API}/contacts", params={"limit": 100})).json()["items"]
    made = [result["item"]["firstName"] for result in outcome if result["status"] == 201]
    assert sorted(row["firstName"] for row in there) == sorted(made)
    told = (await owner.get(f"{API}/events", params={"limit": 100})).json()["items"]
    assert [fact["data"]["firstName"] for fact in told if fact["event"] == "contact.created"] == made


async def test_the_row_in_the_way_is_named_even_if_it_is_of_the_same_batch(owner: Client) -> None:
    row = {"phoneNumber": "+14155550100", "provider": "twilio"}
    first, second, third = await results(
        owner, f"{NUMBERS}/batch", [row, row, row | {"phoneNumber": "+1 415 555 0100"}]
    )
    assert [first["status"], second["status"], third["status"]] == [201, 409, 409]
    for result in (second, third):
        assert result["problem"]["conflictingId"] == first["item"]["id"]
        assert result["problem"]["errors"] == [{"field": "phoneNumber", "reason": "is taken"}]


async def test_the_row_in_the_way_is_named_when_one_is_made_or_changed(owner: Client) -> None:
    body = {"phoneNumber": "+14155550100", "provider": "twilio"}
    first = (await owner.post(NUMBERS, json=body)).json()
    other = (await owner.post(NUMBERS, json=body | {"phoneNumber": "+14155550101"})).json()
    made = await owner.post(NUMBERS, json=body)
    changed = await owner.patch(f"{NUMBERS}/{other['id']}", json={"phoneNumber": "+14155550100"})
    for answer in (made, changed):
        assert answer.status_code == 409
        assert answer.json()["conflictingId"] == first["id"]


async def test_a_batch_in_which_nothing_will_do_makes_nothing(owner: Client) -> None:
    outcome = await results(owner, CONTACTS, [{"phone": "12"}, None, [], {"leadScore": 101}, {"tags": "x"}])
    assert {result["status"] for result in outcome} == {400}
    assert (await owner.get(f"{API}/events")).json()["items"] == []


async def test_plain_rows_take_as_many_statements_however_many_they_are(service: Service, owner: Client) -> None:
    path = f"{API}/customers/batch"
    await results(owner, path, [{"name": "warm"}])
    with counted() as statements:
        await results(owner, path, [{"name": "one"}, {"name": "two"}])
        for_two = statements()
    with counted() as statements:
        assert len(await results(owner, path, [{"name": f"{number}"} for number in range(500)])) == 500
        assert statements() == for_two


async def test_a_batch_under_a_key_is_made_once(owner: Client) -> None:
    keyed = {"Idempotency-Key": "import 1"}
    body = {"items": [{"firstName": "Ada"}, {"nope": 1}]}
    first = await owner.post(CONTACTS, json=body, headers=keyed)
    again = await owner.post(CONTACTS, json=body, headers=keyed)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert len((await owner.get(f"{API}/contacts")).json()["items"]) == 1


async def test_an_item_that_is_nested_too_deeply_or_holds_nul_is_refused_by_itself(owner: Client) -> None:
    outcome = await results(
        owner, CONTACTS, [{"firstName": "a\x00b"}, {"customFields": {"a": ["\x00"]}}, {"firstName": "🙂 ﷽"}]
    )
    assert [result["status"] for result in outcome] == [400, 400, 201]
    assert outcome[2]["item"]["firstName"] == "🙂 ﷽"
