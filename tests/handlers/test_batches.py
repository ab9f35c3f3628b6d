"""Many rows in one request."""

import asyncio
from typing import Any

import pytest

from comms.service import Service
from handlers.resource import Resource
from models.agents import Agent
from tests.conftest import Client
from tests.handlers.test_resource_writes import batched
from tests.handlers.test_resources import API, body_of, counted
from tests.make import rows

CONTACTS = f"{API}/contacts/batch"
NUMBERS = f"{API}/workspace-phone-numbers"


async def results(client: Client, path: str, items: list[Any]) -> list[dict[str, Any]]:
    answer = await client.post(path, json={"items": items})
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["results"]
    return listed


async def test_a_row_that_breaks_a_law_of_the_database_harms_no_other(owner: Client) -> None:
    items = [{"name": f"{number}", "phone": f"+1415555{number:04d}"} for number in range(20)]
    items[7] |= {"contactId": "0198c0de-0000-7000-8000-000000000000"}
    outcome = await results(owner, f"{API}/customers/batch", items)
    assert [result["index"] for result in outcome if result["status"] != 201] == [7]
    assert outcome[7]["problem"]["errors"] == [
        {"field": "contactId", "reason": "refers to nothing in this workspace"},
    ]
    there = (await owner.get(f"{API}/customers", params={"limit": 100})).json()["items"]
    made = [result["item"]["name"] for result in outcome if result["status"] == 201]
    assert sorted(row["name"] for row in there) == sorted(made)
    told = (await owner.get(f"{API}/events", params={"limit": 100})).json()["items"]
    assert [fact["data"]["name"] for fact in told if fact["event"] == "customer.created"] == made


async def test_of_two_contacts_with_one_address_the_first_is_made(owner: Client) -> None:
    items = [{"firstName": f"{number}", "phone": f"+1415555{number:04d}"} for number in range(3)]
    items[2] = items[1] | {"firstName": "2"}
    outcome = await results(owner, CONTACTS, items)
    assert [result["status"] for result in outcome] == [201, 201, 409]
    assert outcome[2]["problem"]["title"] == "Conflict"
    told = (await owner.get(f"{API}/events", params={"limit": 100})).json()["items"]
    assert [fact["data"]["firstName"] for fact in told if fact["event"] == "contact.created"] == ["0", "1"]


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


@pytest.mark.parametrize(
    ("noun", "row", "most"),
    [
        ("customers", {"name": "{}"}, 7),
        ("contacts", {"firstName": "{}", "phone": "+1415{:07d}", "email": "{}@example.com"}, 13),
        ("team-channels", {"name": "{}"}, 11),
    ],
)
async def test_five_hundred_rows_take_as_many_statements_as_two(
    owner: Client, noun: str, row: dict[str, str], most: int
) -> None:
    path = f"{API}/{noun}/batch"

    def rows(first: int, after: int) -> list[dict[str, str]]:
        return [{name: text.format(2_000_000 + n) for name, text in row.items()} for n in range(first, after)]

    await results(owner, path, rows(0, 1))
    with counted() as statements:
        await results(owner, path, rows(1, 3))
        for_two = statements()
    assert for_two <= most
    with counted() as statements:
        assert {result["status"] for result in await results(owner, path, rows(3, 503))} == {201}
        assert statements() == for_two


async def test_contacts_who_are_there_already_take_no_more_statements_and_name_who_is_there(owner: Client) -> None:
    items = [{"phone": f"+1415555{number:04d}", "email": f"{number}@example.com"} for number in range(40)]
    made = [result["item"]["id"] for result in await results(owner, CONTACTS, items[::2])]
    with counted() as statements:
        outcome = await results(owner, CONTACTS, [*items, items[1]])
        assert statements() <= 13
    assert [result["status"] for result in outcome] == [409, 201] * 20 + [409]
    assert [result["problem"]["conflictingId"] for result in outcome[:40:2]] == made
    assert outcome[40]["problem"]["conflictingId"] == outcome[1]["item"]["id"]


async def test_of_batches_at_once_each_address_is_one_contacts(owner: Client) -> None:
    items = [{"phone": f"+1415555{number:04d}"} for number in range(30)]
    answers = await asyncio.gather(*(results(owner, CONTACTS, batch) for batch in (items, items[::-1], items)))
    ends = [result["status"] for outcome in answers for result in outcome]
    assert (ends.count(201), ends.count(409)) == (30, 60)
    named = {result["problem"]["conflictingId"] for outcome in answers for result in outcome if "problem" in result}
    there = (await owner.get(f"{API}/contacts", params={"limit": 200})).json()["items"]
    assert {row["id"] for row in there} == named
    points = (await owner.get(f"{API}/contact-points", params={"limit": 200})).json()["items"]
    assert {(row["value"], row["isPrimary"]) for row in points} == {(item["phone"], True) for item in items}


async def test_many_addresses_find_their_contacts_who_follow_the_first_of_a_kind(owner: Client) -> None:
    jane, john = [(await owner.post(f"{API}/contacts", json={"firstName": name})).json() for name in ("Jane", "John")]
    items = [
        {"contactId": jane["id"], "kind": "phone", "value": "+1 415 555 0101"},
        {"contactId": jane["id"], "kind": "phone", "value": "+14155550102"},
        {"contactId": john["id"], "kind": "phone", "value": "+14155550101"},
        {"contactId": john["id"], "kind": "email", "value": "John@Example.com"},
        {"contactId": john["id"], "kind": "email", "value": "nonsense"},
        {"contactId": "0198c0de-0000-7000-8000-000000000000", "kind": "email", "value": "x@example.com"},
        {"contactId": jane["id"], "kind": "phone", "value": "+14155550102"},
    ]
    outcome = await results(owner, f"{API}/contact-points/batch", items)
    assert [result["status"] for result in outcome] == [201, 201, 409, 201, 400, 400, 409]
    assert [outcome[place]["item"]["isPrimary"] for place in (0, 1, 3)] == [True, False, True]
    assert [outcome[place]["problem"]["conflictingId"] for place in (2, 6)] == [jane["id"]] * 2
    assert [outcome[place]["problem"]["errors"][0]["field"] for place in (4, 5)] == ["value", "contactId"]
    after = [(await owner.get(f"{API}/contacts/{row['id']}")).json() for row in (jane, john)]
    assert [(row["phone"], row["email"]) for row in after] == [("+14155550101", None), (None, "John@example.com")]
    told = (await owner.get(f"{API}/events", params={"event": "contact.updated"})).json()["items"]
    assert {fact["subjectId"]: list(fact["changes"]) for fact in told} == {jane["id"]: ["phone"], john["id"]: ["email"]}


async def test_many_messages_are_counted_by_their_conversations(owner: Client) -> None:
    one, two = [(await owner.post(f"{API}/conversations", json={"channel": "sms"})).json()["id"] for _ in range(2)]
    items = [{"conversationId": place, "direction": "outbound"} for place in (one, two, one)]
    sent = {"provider": "twilio", "providerMessageId": "SM1"}
    items += [items[0] | sent, items[1] | sent, items[0] | {"direction": "inbound"}]
    items.append(items[0] | {"conversationId": "0198c0de-0000-7000-8000-000000000000"})
    outcome = await results(owner, f"{API}/conversation-messages/batch", items)
    assert [result["status"] for result in outcome] == [201, 201, 201, 201, 409, 400, 400]
    assert outcome[4]["problem"]["conflictingId"] == outcome[3]["item"]["id"]
    assert outcome[6]["problem"]["errors"][0]["field"] == "conversationId"
    assert [result["item"]["status"] for result in outcome[:4]] == ["accepted"] * 3 + ["sent"]
    counts = [(await owner.get(f"{API}/conversations/{place}")).json()["messageCount"] for place in (one, two)]
    assert counts == [3, 1]
    told = (await owner.get(f"{API}/events", params={"subjectType": "message"})).json()["items"]
    assert [fact["event"] for fact in told] == ["message.created"] * 3 + ["message.sent"]


async def test_agents_come_into_a_team_in_their_order_and_one_coordinates(service: Service, owner: Client) -> None:
    team = (await owner.post(f"{API}/agent-teams", json={"name": "support"})).json()["id"]
    here = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    agents = [str((await rows.row(service, Agent, **here)).id) for _ in range(3)]
    items: list[dict[str, Any]] = [{"teamId": team, "agentId": agent} for agent in agents]
    items[1]["role"] = "coordinator"
    outcome = await results(
        owner, f"{API}/agent-team-members/batch", [*items, items[0], items[0] | {"teamId": agents[0]}]
    )
    assert [result["status"] for result in outcome] == [201, 201, 201, 409, 400]
    assert outcome[3]["problem"]["conflictingId"] == outcome[0]["item"]["id"]
    there = (await owner.get(f"{API}/agent-teams/{team}/members")).json()["items"]
    assert [(row["agentId"], row["role"]) for row in there] == list(
        zip(agents, ["specialist", "coordinator", "specialist"], strict=True)
    )
    assert (await owner.get(f"{API}/agent-teams/{team}")).json()["coordinatorAgentId"] == agents[1]


async def test_credentials_of_many_channels_are_never_shown(owner: Client) -> None:
    items = [
        {"type": "email", "name": "one", "config": {"credentials": {"key": "hush"}}},
        {"type": "email", "name": "two", "config": {"apiKey": "hush"}},
    ]
    outcome = await results(owner, f"{API}/marketing-channels/batch", items)
    assert [result["status"] for result in outcome] == [201, 400]
    assert "hush" not in str(outcome)


ONE_BY_ONE = {
    "/team-messages": "each may answer, mention and call on others",
    "/agent-shared-memory": "each may oust one",
}


@batched
async def test_a_batch_takes_as_many_statements_however_many_rows_it_makes(
    resource: Resource, service: Service, owner: Client
) -> None:
    path = f"{API}{resource.path}/batch"
    taken = []
    for number in (1, 2, 5):  # the first is for what is found out once
        items = [await body_of(service, resource, owner) for _ in range(number)]
        with counted() as statements:
            outcome = await results(owner, path, items)
            taken.append(statements())
        assert {result["status"] for result in outcome} == {201}, outcome
    if resource.path not in ONE_BY_ONE:
        assert taken[1] == taken[2]


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
