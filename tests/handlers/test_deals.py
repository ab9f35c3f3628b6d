"""Deals, prospects and interactions: what they are moved through, and what moves with them."""

import asyncio
import uuid
from typing import Any

import asyncpg
import pytest

from tests.conftest import Client

API = "/api/v1"


async def made(client: Client, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(API + path, json=body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def moved(client: Client, path: str, stage: str) -> Any:
    return await client.put(f"{API}{path}/stage", json={"stage": stage})


async def events(client: Client, row_id: str) -> list[str]:
    answer = await client.get(f"{API}/events", params={"subjectId": row_id})
    return [item["event"] for item in answer.json()["items"]]


async def changes(client: Client, deal_id: str) -> list[tuple[str, str]]:
    answer = await client.get(f"{API}/deals/{deal_id}/stage-changes", params={"sort": "createdAt"})
    assert answer.status_code == 200, answer.text
    return [(item["fromStage"], item["toStage"]) for item in answer.json()["items"]]


async def test_a_deal_begins_at_an_open_stage_as_likely_as_it_is(owner: Client) -> None:
    assert (await made(owner, "/deals", name="A"))["probability"] == 10
    assert (await made(owner, "/deals", name="B", stage="proposal"))["probability"] == 50
    deal = await made(owner, "/deals", name="C", stage="proposal", probability=65, value="1200.50", currency="eur")
    assert (deal["probability"], deal["value"], deal["currency"]) == (65, "1200.50", "EUR")
    for body, field in (
        ({"stage": "closed_won"}, "stage"),
        ({"stage": "nowhere"}, "stage"),
        ({"probability": 101}, "probability"),
        ({"value": "-1"}, "value"),
        ({"value": 1.234}, "value"),
        ({"currency": "euro"}, "currency"),
        ({"lostReason": "x"}, "lostReason"),
        ({"contactId": str(uuid.uuid4())}, "contactId"),
    ):
        answer = await owner.post(f"{API}/deals", json={"name": "D"} | body)
        assert answer.status_code == 400, body
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_moving_a_deal_sets_its_probability_and_keeps_who_moved_it(owner: Client, member: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots", probability=33)
    address = f"/deals/{deal['id']}"
    after = await moved(member, address, "negotiation")
    assert (after.json()["stage"], after.json()["probability"]) == ("negotiation", 75)
    assert (await moved(member, address, "negotiation")).json() == after.json()
    items = (await owner.get(f"{API}{address}/stage-changes")).json()["items"]
    assert len(items) == 1
    change = items[0]
    assert (change["fromStage"], change["toStage"], change["changedBy"]) == (
        "qualification",
        "negotiation",
        str(member.user_id),
    )
    assert (change["fromProbability"], change["toProbability"]) == (33, 75)
    assert await events(owner, deal["id"]) == ["deal.created", "deal.stage_changed"]


async def test_a_patch_does_not_move_a_deal(owner: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots")
    answer = await owner.patch(f"{API}/deals/{deal['id']}", json={"stage": "proposal", "name": "X"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "stage", "reason": "is read-only"}]
    assert (await owner.get(f"{API}/deals/{deal['id']}")).json() == deal


async def test_a_deal_is_lost_for_a_reason_and_taken_up_where_it_was(owner: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots", stage="proposal", probability=42)
    closure = f"{API}/deals/{deal['id']}/closure"
    for body, field in (
        ({"outcome": "lost"}, "lostReason"),
        ({"outcome": "lost", "lostReason": "  "}, "lostReason"),
        ({"outcome": "won", "lostReason": "x"}, "lostReason"),
        ({"outcome": "drawn"}, "outcome"),
    ):
        answer = await owner.post(closure, json=body)
        assert answer.status_code == 400, body
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    lost = {"outcome": "lost", "lostReason": "too dear", "actualCloseDate": "2026-03-01"}
    closed = (await owner.post(closure, json=lost)).json()
    assert (closed["stage"], closed["probability"]) == ("closed_lost", 0)
    assert (closed["lostReason"], closed["actualCloseDate"]) == ("too dear", "2026-03-01")
    for refused in (
        await moved(owner, f"/deals/{deal['id']}", "proposal"),
        await owner.post(closure, json={"outcome": "won"}),
    ):
        assert refused.status_code == 409
        assert "DELETE" in refused.json()["detail"]
    again = (await owner.delete(closure)).json()
    assert {name for name in deal if again[name] != deal[name]} == {"updatedAt"}
    assert (await owner.delete(closure)).status_code == 409
    assert await changes(owner, deal["id"]) == [("proposal", "closed_lost"), ("closed_lost", "proposal")]
    assert await events(owner, deal["id"]) == ["deal.created", "deal.closed", "deal.reopened"]


async def test_a_won_deal_has_a_date(owner: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots")
    won = (await owner.post(f"{API}/deals/{deal['id']}/closure", json={"outcome": "won"})).json()
    assert (won["stage"], won["probability"], won["lostReason"]) == ("closed_won", 100, None)
    assert won["actualCloseDate"] == won["updatedAt"][:10]


async def test_a_deal_moved_and_closed_by_many_at_once_has_one_history(owner: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots")
    stages = ("discovery", "proposal", "negotiation")
    answers = await asyncio.gather(
        *(moved(owner, f"/deals/{deal['id']}", stage) for stage in stages),
        *(owner.post(f"{API}/deals/{deal['id']}/closure", json={"outcome": "won"}) for _ in range(3)),
    )
    assert [answer.status_code for answer in answers[3:]].count(201) == 1
    steps = await changes(owner, deal["id"])
    assert [step[0] for step in steps] == ["qualification", *(step[1] for step in steps[:-1])]
    assert steps[-1][1] == "closed_won"


async def test_a_prospect_becomes_a_deal_that_knows_what_it_knew(owner: Client) -> None:
    jane = await made(owner, "/contacts", firstName="Jane", lastName="Doe", company="Acme")
    prospect = await made(
        owner,
        "/prospects",
        contactId=jane["id"],
        value="500.00",
        currency="EUR",
        notes="likes tea",
        ownerId=str(owner.user_id),
        expectedCloseDate="2026-12-01",
        stage="proposal",
    )
    assert prospect["probability"] == 50
    conversion = f"{API}/prospects/{prospect['id']}/conversion"
    after = (await owner.post(conversion, json={"to": "deal"})).json()
    assert (after["stage"], after["probability"], after["customerId"]) == ("won", 100, None)
    assert after["convertedAt"] is not None
    deal = (await owner.get(f"{API}/deals/{after['dealId']}")).json()
    assert (deal["name"], deal["stage"]) == ("Acme", "proposal")
    for name in ("contactId", "value", "currency", "notes", "ownerId", "expectedCloseDate"):
        assert deal[name] == prospect[name], name
    twice = await owner.post(conversion, json={"to": "customer"})
    assert (twice.status_code, twice.json()["conflictingId"]) == (409, deal["id"])
    stuck = await moved(owner, f"/prospects/{prospect['id']}", "lost")
    assert (stuck.status_code, stuck.json()["conflictingId"]) == (409, deal["id"])
    assert await events(owner, prospect["id"]) == ["prospect.created", "prospect.converted"]
    assert await events(owner, deal["id"]) == ["deal.created"]


async def test_a_prospect_becomes_a_customer_who_is_its_contact(owner: Client) -> None:
    jane = await made(owner, "/contacts", firstName="Jane", email="jane@example.com", phone="+14155550123", tags=["a"])
    prospect = await made(owner, "/prospects", contactId=jane["id"])
    conversion = f"{API}/prospects/{prospect['id']}/conversion"
    after = (await owner.post(conversion, json={"to": "customer", "name": "Jane's Teas"})).json()
    customer = (await owner.get(f"{API}/customers/{after['customerId']}")).json()
    assert (customer["name"], customer["contactId"]) == ("Jane's Teas", jane["id"])
    assert (customer["email"], customer["phone"], customer["tags"]) == ("jane@example.com", "+14155550123", ["a"])
    assert await events(owner, customer["id"]) == ["customer.created"]


@pytest.mark.parametrize(("to", "table"), [("deal", "deals"), ("customer", "customers")])
async def test_a_prospect_is_converted_once_whatever_becomes_of_what_it_became(
    owner: Client, to: str, table: str
) -> None:
    address = f"{API}/prospects/{(await made(owner, '/prospects'))['id']}"
    became = (await owner.post(f"{address}/conversion", json={"to": to})).json()[f"{to}Id"]
    assert (await owner.delete(f"{API}/{table}/{became}")).status_code == 204
    twice = await owner.post(f"{address}/conversion", json={"to": to})
    assert twice.status_code == 409
    assert "deleted" in twice.json()["detail"]
    assert (await owner.put(f"{address}/stage", json={"stage": "new"})).status_code == 409


async def test_of_conversions_at_once_one_is_made(owner: Client) -> None:
    prospect = await made(owner, "/prospects")
    conversion = f"{API}/prospects/{prospect['id']}/conversion"
    answers = await asyncio.gather(
        *(owner.post(conversion, json={"to": to}) for to in ("deal", "customer", "deal", "customer"))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    deals = (await owner.get(f"{API}/deals")).json()["items"]
    customers = (await owner.get(f"{API}/customers")).json()["items"]
    assert len(deals) + len(customers) == 1


async def test_a_lost_prospect_is_not_converted_until_it_is_found_again(owner: Client) -> None:
    prospect = await made(owner, "/prospects")
    address = f"/prospects/{prospect['id']}"
    assert (await moved(owner, address, "lost")).json()["probability"] == 0
    refused = await owner.post(f"{API}{address}/conversion", json={"to": "deal"})
    assert refused.status_code == 409
    assert "another stage" in refused.json()["detail"]
    assert (await moved(owner, address, "qualified")).json()["probability"] == 25
    assert (await owner.post(f"{API}{address}/conversion", json={"to": "deal"})).status_code == 201
    assert (await owner.patch(f"{API}{address}", json={"stage": "new"})).status_code == 400


async def test_a_viewer_moves_nothing_and_a_stranger_finds_nothing(
    owner: Client, viewer: Client, stranger: Client
) -> None:
    deal = await made(owner, "/deals", name="Teapots")
    prospect = await made(owner, "/prospects")
    for client, status in ((viewer, 403), (stranger, 404)):
        answers = [
            await moved(client, f"/deals/{deal['id']}", "proposal"),
            await client.post(f"{API}/deals/{deal['id']}/closure", json={"outcome": "won"}),
            await client.delete(f"{API}/deals/{deal['id']}/closure"),
            await moved(client, f"/prospects/{prospect['id']}", "won"),
            await client.post(f"{API}/prospects/{prospect['id']}/conversion", json={"to": "deal"}),
        ]
        assert {answer.status_code for answer in answers} == {status}
    assert (await stranger.get(f"{API}/deals/{deal['id']}/stage-changes")).status_code == 404


async def test_a_completed_outbound_interaction_moves_the_last_contact_forward(owner: Client) -> None:
    jane = await made(owner, "/contacts", firstName="Jane")

    async def last() -> str | None:
        at: str | None = (await owner.get(f"{API}/contacts/{jane['id']}")).json()["lastContactedAt"]
        return at

    about = {"contactId": jane["id"], "type": "call"}
    await made(owner, "/crm-interactions", **about, direction="inbound", completedAt="2026-03-01T10:00:00Z")
    planned = await made(owner, "/crm-interactions", **about, direction="outbound", scheduledAt="2026-03-02T10:00:00Z")
    assert await last() is None
    assert planned["userId"] == str(owner.user_id)
    address = f"{API}/crm-interactions/{planned['id']}"
    done = (await owner.patch(address, json={"completedAt": "2026-03-02T10:30:00Z", "duration": 600})).json()
    assert done["occurredAt"] == done["completedAt"] == await last() == "2026-03-02T10:30:00Z"
    await made(owner, "/crm-interactions", **about, direction="outbound", completedAt="2026-02-01T10:00:00Z")
    assert await last() == "2026-03-02T10:30:00Z"
    await made(owner, "/crm-interactions", **about, direction="outbound", completedAt="2099-01-01T10:00:00Z")
    at = await last()
    assert at is not None
    assert "2026-03-02" < at < "2099"
    assert await events(owner, jane["id"]) == ["contact.created", "contact.updated", "contact.updated"]
    found = (await owner.get(f"{API}/crm-interactions", params={"direction": "inbound", "type": "call"})).json()[
        "items"
    ]
    assert len(found) == 1
    wrong = await owner.post(f"{API}/crm-interactions", json=about | {"duration": -1, "type": "fax"})
    assert wrong.status_code == 400


async def test_how_likely_a_closed_deal_is_has_been_settled(owner: Client) -> None:
    deal = await made(owner, "/deals", name="Teapots")
    future = {"outcome": "won", "actualCloseDate": "2999-01-01"}
    refused = await owner.post(f"{API}/deals/{deal['id']}/closure", json=future)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "actualCloseDate")
    won = await owner.post(f"{API}/deals/{deal['id']}/closure", json={"outcome": "won"})
    assert won.status_code in (200, 201), won.text
    refused = await owner.patch(f"{API}/deals/{deal['id']}", json={"probability": 3})
    assert refused.status_code == 409, refused.text
    assert "closure" in refused.json()["detail"]
    kept = await owner.patch(f"{API}/deals/{deal['id']}", json={"probability": 100, "notes": "paid"})
    assert (kept.status_code, kept.json()["notes"]) == (200, "paid")


async def test_how_likely_a_won_prospect_is_has_been_settled(owner: Client) -> None:
    refused = await owner.post(f"{API}/prospects", json={"stage": "lost", "probability": 3})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "probability")
    prospect = await made(owner, "/prospects", stage="won")
    refused = await owner.patch(f"{API}/prospects/{prospect['id']}", json={"probability": 3})
    assert refused.status_code == 409, refused.text
    assert (await moved(owner, f"/prospects/{prospect['id']}", "qualified")).json()["probability"] == 25


@pytest.mark.parametrize("table", ["deals", "prospects"])
async def test_the_database_keeps_what_is_decided_certain(owner: Client, admin: Any, table: str) -> None:
    row = await made(owner, f"/{table}", **({"name": "Teapots"} if table == "deals" else {}))
    stage, close = ("closed_won", ", actual_close_date = now()") if table == "deals" else ("won", "")
    with pytest.raises(asyncpg.CheckViolationError, match="probability_certain"):
        await admin.execute(f"UPDATE {table} SET stage = $2, probability = 3{close} WHERE id = $1", row["id"], stage)
