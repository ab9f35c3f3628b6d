"""Invoices that add up and are numbered without gaps."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from comms import invoices
from comms.service import Service
from models.base import now
from tests.conftest import Client

API = "/api/v1"
LINES = [
    {"description": "Consulting", "quantity": "2.5", "unitPrice": "100.00", "taxRate": "19"},
    {"description": "Messages", "quantity": "333", "unitPrice": "0.0075"},
    {"description": "Discount", "quantity": "1", "unitPrice": "-10.00", "taxRate": "19"},
]


@pytest.fixture
async def customer(owner: Client) -> str:
    """The id of a customer."""
    answer = await owner.post(f"{API}/customers", json={"name": "Globex"})
    return str(answer.json()["id"])


async def draft(client: Client, customer: str, **values: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/invoices", json={"customerId": customer, "lineItems": LINES, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def sent(client: Client, customer: str, **values: Any) -> dict[str, Any]:
    made = await draft(client, customer, **values)
    answer = await client.post(f"{API}/invoices/{made['id']}/sent")
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def told(client: Client, subject: str) -> list[str]:
    items = (await client.get(f"{API}/events", params={"subjectId": subject})).json()["items"]
    return [item["event"] for item in items]


def errors(answer: Any) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    return {error["field"]: error["reason"] for error in answer.json()["errors"]}


async def test_what_is_left_out_is_added_up_from_the_lines(owner: Client, customer: str) -> None:
    made = await draft(owner, customer)
    assert [line["amount"] for line in made["lineItems"]] == ["250.00", "2.50", "-10.00"]
    assert (made["tax"], made["amount"]) == ("45.60", "288.10")
    assert (made["status"], made["invoiceNumber"]) == ("draft", None)


async def test_a_line_says_nothing_of_less_than_nothing(owner: Client, customer: str) -> None:
    line = {"description": "x", "quantity": "2", "unitPrice": "-0", "taxRate": "-0.0"}
    [kept] = (await draft(owner, customer, lineItems=[line]))["lineItems"]
    assert (kept["quantity"], kept["unitPrice"], kept["taxRate"], kept["amount"]) == ("2", "0", "0.0", "0.00")


async def test_lines_that_do_not_add_up_are_refused_with_the_right_figure(owner: Client, customer: str) -> None:
    body = {"customerId": customer, "lineItems": LINES, "amount": "288.11", "tax": "45"}
    wrong = errors(await owner.post(f"{API}/invoices", json=body))
    assert set(wrong) == {"amount", "tax"}
    assert "288.10" in wrong["amount"]
    assert "45.60" in wrong["tax"]
    lines = [{**LINES[0], "amount": "249.99"}, LINES[1]]
    wrong = errors(await owner.post(f"{API}/invoices", json={"customerId": customer, "lineItems": lines}))
    assert "250.00" in wrong["lineItems[0].amount"]
    right = {**body, "amount": "288.10", "tax": "45.60"}
    assert (await owner.post(f"{API}/invoices", json=right)).status_code == 201


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"quantity": "-1"}, "lineItems[0].quantity"),
        ({"quantity": "1e400"}, "lineItems[0].quantity"),
        ({"quantity": "NaN"}, "lineItems[0].quantity"),
        ({"quantity": "1.23456"}, "lineItems[0].quantity"),
        ({"quantity": "many"}, "lineItems[0].quantity"),
        ({"unitPrice": "99999999999"}, "lineItems[0].unitPrice"),
        ({"taxRate": "101"}, "lineItems[0].taxRate"),
        ({"unitPrice": "-1"}, "lineItems"),
        ({"quantity": "999999999", "unitPrice": "9999999999"}, "lineItems"),
        ({"description": ""}, "lineItems[0].description"),
        ({"price": "1"}, "lineItems[0].price"),
    ],
)
async def test_a_line_that_makes_no_sense_is_named(
    owner: Client, customer: str, line: dict[str, str], field: str
) -> None:
    body = {"customerId": customer, "lineItems": [{"description": "x", "quantity": "1", "unitPrice": "1"} | line]}
    assert set(errors(await owner.post(f"{API}/invoices", json=body))) == {field}


async def test_an_amount_without_lines_stands_for_itself(owner: Client, customer: str) -> None:
    made = await draft(owner, customer, lineItems=[], amount="119.00", tax="19.00")
    assert (made["amount"], made["tax"]) == ("119.00", "19.00")
    address = f"{API}/invoices/{made['id']}"
    assert set(errors(await owner.patch(address, json={"tax": "119.01"}))) == {"tax"}
    assert set(errors(await owner.patch(address, json={"amount": "-1"}))) == {"amount"}


async def test_changing_the_lines_of_a_draft_adds_it_up_again(owner: Client, customer: str) -> None:
    made = await draft(owner, customer)
    address = f"{API}/invoices/{made['id']}"
    again = await owner.patch(address, json={"lineItems": made["lineItems"]})
    assert again.json() == made
    fewer = (await owner.patch(address, json={"lineItems": made["lineItems"][:1]})).json()
    assert (fewer["amount"], fewer["tax"]) == ("297.50", "47.50")
    assert set(errors(await owner.patch(address, json={"amount": "1.00"}))) == {"amount"}


async def test_a_project_of_another_customer_is_refused(owner: Client, customer: str) -> None:
    other = (await owner.post(f"{API}/customers", json={"name": "Initech"})).json()["id"]
    project = (await owner.post(f"{API}/projects", json={"name": "P", "customerId": other})).json()["id"]
    body = {"customerId": customer, "projectId": project, "amount": "1"}
    assert set(errors(await owner.post(f"{API}/invoices", json=body))) == {"projectId"}
    assert (await owner.post(f"{API}/invoices", json=body | {"customerId": other})).status_code == 201


async def test_sending_gives_the_next_number_with_the_workspaces_prefix(
    owner: Client, stranger: Client, customer: str
) -> None:
    assert (await sent(owner, customer))["invoiceNumber"] == "INV-00001"
    workspace = f"{API}/workspaces/{owner.workspace_id}"
    refused = await owner.patch(workspace, json={"settings": {"invoicePrefix": 7}})
    assert set(errors(refused)) == {"settings.invoicePrefix"}
    assert (await owner.patch(workspace, json={"settings": {"invoicePrefix": "ACME/"}})).status_code == 200
    made = await sent(owner, customer)
    assert made["invoiceNumber"] == "ACME/00002"
    assert made["sentAt"] is not None
    assert await told(owner, made["id"]) == ["invoice.created", "invoice.sent"]
    theirs = (await stranger.post(f"{API}/customers", json={"name": "Them"})).json()["id"]
    assert (await sent(stranger, theirs))["invoiceNumber"] == "INV-00001"


async def test_fifty_sent_at_once_have_the_numbers_one_to_fifty(owner: Client, customer: str) -> None:
    drafts = [await draft(owner, customer) for _ in range(50)]
    answers = await asyncio.gather(*(owner.post(f"{API}/invoices/{made['id']}/sent") for made in drafts))
    assert {answer.status_code for answer in answers} == {201}
    numbers = sorted(answer.json()["invoiceNumber"] for answer in answers)
    assert numbers == [f"INV-{number:05d}" for number in range(1, 51)]


async def test_of_many_who_send_one_invoice_at_once_one_does_and_no_number_is_lost(
    owner: Client, customer: str
) -> None:
    for number in range(1, 4):
        made = await draft(owner, customer)
        answers = await asyncio.gather(*(owner.post(f"{API}/invoices/{made['id']}/sent") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        shown = (await owner.get(f"{API}/invoices/{made['id']}")).json()
        assert shown["invoiceNumber"] == f"INV-{number:05d}"


async def test_what_was_sent_is_neither_changed_nor_deleted(owner: Client, customer: str) -> None:
    made = await sent(owner, customer)
    address = f"{API}/invoices/{made['id']}"
    for answer in (await owner.patch(address, json={"notes": "x"}), await owner.delete(address)):
        assert answer.status_code == 409
        assert "paid or cancelled" in answer.json()["detail"]
    assert (await owner.get(address)).json() == made


async def test_an_invoice_that_asks_for_nothing_is_not_sent(owner: Client, customer: str) -> None:
    made = await draft(owner, customer, lineItems=[])
    assert (await owner.post(f"{API}/invoices/{made['id']}/sent")).status_code == 409


async def test_payment_can_be_undone_and_a_paid_invoice_not_cancelled(owner: Client, customer: str) -> None:
    made = await sent(owner, customer)
    address = f"{API}/invoices/{made['id']}"
    assert set(errors(await owner.post(f"{address}/payment", json={"paidAt": "2999-01-01T00:00:00Z"}))) == {"paidAt"}
    assert set(errors(await owner.post(f"{address}/payment", json={"paidAt": "2020-01-01T00:00:00"}))) == {"paidAt"}
    paid = await owner.post(f"{address}/payment", json={"paidAt": "2026-01-01T00:00:00+01:00"})
    assert (paid.json()["status"], paid.json()["paidAt"]) == ("paid", "2025-12-31T23:00:00Z")
    assert (await owner.post(f"{address}/payment", json={})).status_code == 409
    refused = await owner.post(f"{address}/cancellation", json={"reason": "x"})
    assert refused.status_code == 409
    assert "unpaid" in refused.json()["detail"]
    undone = await owner.delete(f"{address}/payment")
    assert (undone.status_code, undone.json()["status"], undone.json()["paidAt"]) == (200, "sent", None)
    assert set(errors(await owner.post(f"{address}/cancellation", json={}))) == {"reason"}
    cancelled = (await owner.post(f"{address}/cancellation", json={"reason": "twice"})).json()
    assert (cancelled["status"], cancelled["cancellationReason"]) == ("cancelled", "twice")
    assert cancelled["invoiceNumber"] == made["invoiceNumber"]
    assert (await owner.post(f"{address}/payment", json={})).status_code == 409
    assert await told(owner, made["id"]) == [
        "invoice.created",
        "invoice.sent",
        "invoice.paid",
        "invoice.payment_undone",
        "invoice.cancelled",
    ]


async def test_a_draft_is_neither_paid_nor_cancelled(owner: Client, customer: str) -> None:
    address = f"{API}/invoices/{(await draft(owner, customer))['id']}"
    assert (await owner.post(f"{address}/payment", json={})).status_code == 409
    assert (await owner.post(f"{address}/cancellation", json={"reason": "x"})).status_code == 409


async def test_of_payment_and_cancellation_at_once_one_happens(owner: Client, customer: str) -> None:
    for _ in range(4):
        made = await sent(owner, customer)
        address = f"{API}/invoices/{made['id']}"
        answers = await asyncio.gather(
            owner.post(f"{address}/payment", json={}), owner.post(f"{address}/cancellation", json={"reason": "x"})
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_what_is_past_its_due_date_becomes_overdue_once_and_can_be_paid(
    service: Service, owner: Client, customer: str
) -> None:
    today = now().date()
    late = await sent(owner, customer, dueDate=str(today - timedelta(days=1)))
    await sent(owner, customer, dueDate=str(today))
    await sent(owner, customer)
    await draft(owner, customer, dueDate="2020-01-01")
    assert await invoices.fall_due(service.database) == 1
    assert await invoices.fall_due(service.database) == 0
    listed = (await owner.get(f"{API}/invoices", params={"status": "overdue"})).json()["items"]
    assert [item["id"] for item in listed] == [late["id"]]
    assert await told(owner, late["id"]) == ["invoice.created", "invoice.sent", "invoice.became_overdue"]
    assert (await owner.post(f"{API}/invoices/{late['id']}/payment", json={})).json()["status"] == "paid"


async def test_two_sweeps_at_once_tell_each_invoice_once(
    service: Service, owner: Client, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [await sent(owner, customer, dueDate="2020-01-01") for _ in range(5)]
    monkeypatch.setattr(invoices, "AT_ONCE", 2)
    fallen = await asyncio.gather(*(invoices.fall_due(service.database) for _ in range(2)))
    await invoices.fall_due(service.database)
    assert sum(fallen) <= 5
    for made in late:
        assert (await told(owner, made["id"])).count("invoice.became_overdue") == 1


async def test_invoices_are_written_with_billing_write_and_read_with_billing_read(
    owner: Client, member: Client, viewer: Client, customer: str
) -> None:
    made = await draft(owner, customer)
    address = f"{API}/invoices/{made['id']}"
    assert (await member.get(address)).status_code == 200
    for method, path in (
        ("POST", f"{API}/invoices"),
        ("PATCH", address),
        ("DELETE", address),
        ("POST", f"{address}/sent"),
        ("POST", f"{address}/payment"),
        ("DELETE", f"{address}/payment"),
        ("POST", f"{address}/cancellation"),
    ):
        for client in (member, viewer):
            assert (await client.request(method, path, json={})).status_code == 403, (method, path)


async def test_a_customer_with_invoices_stays(owner: Client, customer: str) -> None:
    await draft(owner, customer)
    answer = await owner.delete(f"{API}/customers/{customer}")
    assert answer.status_code == 409
    assert "invoices" in answer.json()["detail"]


# Whose projects are invoiced


async def test_an_invoiced_project_becomes_no_other_customers(owner: Client, customer: str) -> None:
    other = (await owner.post(f"{API}/customers", json={"name": "Initech"})).json()["id"]
    project = (await owner.post(f"{API}/projects", json={"name": "Move", "customerId": customer})).json()["id"]
    address = f"{API}/projects/{project}"
    made = await draft(owner, customer, projectId=project)
    refused = await owner.patch(address, json={"customerId": other})
    assert (refused.status_code, refused.json()["conflictingId"]) == (409, made["id"])
    assert made["id"] in refused.json()["detail"]
    number = (await owner.post(f"{API}/invoices/{made['id']}/sent")).json()["invoiceNumber"]
    assert number in (await owner.patch(address, json={"customerId": other})).json()["detail"]
    for allowed in ({"customerId": customer, "name": "Moved"}, {"customerId": None}, {"customerId": customer}):
        assert (await owner.patch(address, json=allowed)).status_code == 200


async def test_of_an_invoice_and_another_customer_for_its_project_at_once_one_is_refused(
    owner: Client, customer: str
) -> None:
    other = (await owner.post(f"{API}/customers", json={"name": "Initech"})).json()["id"]
    for _ in range(5):
        project = (await owner.post(f"{API}/projects", json={"name": "Move", "customerId": customer})).json()["id"]
        answers = await asyncio.gather(
            owner.patch(f"{API}/projects/{project}", json={"customerId": other}),
            owner.post(f"{API}/invoices", json={"customerId": customer, "amount": "1.00", "projectId": project}),
        )
        assert [answer.status_code for answer in answers] in ([409, 201], [200, 400])
