"""Customers and projects."""

from typing import Any

from tests.conftest import Client

API = "/api/v1"


def named(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {error["field"] for error in answer.json()["errors"]}


async def test_a_project_ends_no_earlier_than_it_starts(owner: Client) -> None:
    body = {"name": "P", "startDate": "2026-02-01", "endDate": "2026-01-31", "actualEndDate": "2026-01-01"}
    assert named(await owner.post(f"{API}/projects", json=body)) == {"endDate", "actualEndDate"}
    made = await owner.post(f"{API}/projects", json=body | {"endDate": "2026-02-01", "actualEndDate": None})
    assert made.status_code == 201
    address = f"{API}/projects/{made.json()['id']}"
    assert named(await owner.patch(address, json={"startDate": "2026-02-02"})) == {"endDate"}
    assert named(await owner.patch(address, json={"endDate": "2026-01-01T00:00:00Z"})) == {"endDate"}
    moved = await owner.patch(address, json={"startDate": "2026-03-01", "endDate": "2026-03-02"})
    assert moved.status_code == 200


async def test_the_manager_of_a_project_is_a_member(owner: Client, member: Client, stranger: Client) -> None:
    assert named(await owner.post(f"{API}/projects", json={"name": "P", "managerId": str(stranger.user_id)})) == {
        "managerId"
    }
    answer = await owner.post(f"{API}/projects", json={"name": "P", "managerId": str(member.user_id), "budget": "-1"})
    assert named(answer) == {"budget"}
    assert (
        await owner.post(f"{API}/projects", json={"name": "P", "managerId": str(member.user_id)})
    ).status_code == 201


async def test_a_deleted_contact_leaves_its_customer(owner: Client) -> None:
    contact = (await owner.post(f"{API}/contacts", json={"firstName": "Jane"})).json()["id"]
    customer = (await owner.post(f"{API}/customers", json={"name": "Globex", "contactId": contact})).json()
    found = (await owner.get(f"{API}/customers", params={"contactId": contact})).json()["items"]
    assert [item["id"] for item in found] == [customer["id"]]
    assert (await owner.delete(f"{API}/contacts/{contact}")).status_code == 204
    assert (await owner.get(f"{API}/customers/{customer['id']}")).json()["contactId"] is None


async def test_a_customers_phone_and_email_are_normalised(owner: Client) -> None:
    body = {"name": "Globex", "phone": "+1 (415) 555-0123", "email": "Hank@GLOBEX.com", "lifetimeValue": "10.00"}
    made = (await owner.post(f"{API}/customers", json=body)).json()
    assert (made["phone"], made["email"]) == ("+14155550123", "Hank@globex.com")
    assert named(await owner.post(f"{API}/customers", json=body | {"lifetimeValue": "-1"})) == {"lifetimeValue"}
