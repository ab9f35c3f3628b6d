"""What is sent: every mistake in it is named by its place, in words that say what to do."""

import uuid
from datetime import datetime
from typing import get_args

import httpx
import msgspec
import pytest

from comms import reading
from comms.errors import Invalid
from handlers.me import Channel
from handlers.shapes import limits_of
from models.crm import Deal
from tests.conftest import Client
from tests.handlers.descriptions import described, operations

API = "/api/v1"


def reasons(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    return {error["field"]: error["reason"] for error in answer.json()["errors"]}


async def test_every_figure_beyond_its_limits_is_named_with_them(owner: Client) -> None:
    deal = {"name": "x", "probability": 101, "value": "-1", "currency": "EURO", "stage": "won"}
    said = reasons(await owner.post(f"{API}/deals", json=deal))
    assert said["probability"] == "must be from 0 to 100"
    assert said["value"] == "must be at least 0"
    assert said["stage"].startswith("must be one of ")
    assert "closed_won" in said["stage"]
    assert set(said) == {"probability", "value", "currency", "stage"}
    expense = {"amount": "0", "receipt": "ftp://x", "date": "2026-13-01"}
    said = reasons(await owner.post(f"{API}/expenses", json=expense))
    assert said["amount"] == "must be more than 0"
    assert said["receipt"] == "must match ^https?://"
    assert said["date"] == "must be a date, such as 2026-01-31"
    assert reasons(await owner.post(f"{API}/contacts", json={"leadScore": -1})) == {
        "leadScore": "must be from 0 to 100"
    }


def test_the_limits_are_those_of_the_table() -> None:
    columns = Deal.__table__.c
    assert limits_of(columns["probability"])[:3] == (0, None, 100)  # type: ignore[arg-type]  # a column it is
    assert limits_of(columns["value"]).ge == 0  # type: ignore[arg-type]  # likewise
    assert limits_of(columns["name"]) == (None,) * 4  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize(
    "written", ["1_000", "٣", " 5 ", "5 ", "+5", "1e5", "1E+1", ".5", "5.", "0x10", "NaN", "", "５"]
)
async def test_money_is_written_in_plain_digits(written: str, owner: Client) -> None:
    deal = await owner.post(f"{API}/deals", json={"name": "N", "value": written})
    assert reasons(deal) == {"value": 'must be a decimal string, such as "12.50", or a whole number'}
    line = {"description": "x", "quantity": written, "unitPrice": written}
    invoice = await owner.post(f"{API}/invoices", json={"customerId": str(uuid.uuid4()), "lineItems": [line]})
    assert set(reasons(invoice)) == {"lineItems[0].quantity", "lineItems[0].unitPrice"}


@pytest.mark.parametrize("written", ["12.500", "12.505", "0.000", "1200.0000"])
async def test_money_with_more_than_two_decimals_is_refused_for_it_may_mean_thousands(
    written: str, owner: Client
) -> None:
    too_many = "must have at most 2 decimals"
    deal = await owner.post(f"{API}/deals", json={"name": "N", "value": written})
    assert reasons(deal) == {"value": too_many}
    made = await owner.post(f"{API}/deals", json={"name": "N", "value": "12.5"})
    assert made.json()["value"] == "12.50"
    changed = await owner.patch(f"{API}/deals/{made.json()['id']}", json={"value": written})
    assert reasons(changed) == {"value": too_many}
    customer = (await owner.post(f"{API}/customers", json={"name": "N"})).json()["id"]
    bill = {"customerId": customer, "amount": written, "tax": written}
    assert reasons(await owner.post(f"{API}/invoices", json=bill)) == {"amount": too_many, "tax": too_many}
    line = {"description": "x", "quantity": "1.0000", "unitPrice": written, "amount": written}
    bill = {"customerId": customer, "lineItems": [line]}
    assert set(reasons(await owner.post(f"{API}/invoices", json=bill))) == {"lineItems[0].amount"}


async def test_every_mistake_inside_a_list_or_an_object_has_its_place(owner: Client) -> None:
    lines = [{"description": 1}, {"quantity": "x"}, {"bogus": 1}, 7]
    said = reasons(await owner.post(f"{API}/invoices", json={"lineItems": lines, "nope": 1}))
    assert said == {
        "lineItems[0].description": "must be text",
        "lineItems[0].quantity": "is required",
        "lineItems[0].unitPrice": "is required",
        "lineItems[1].quantity": 'must be a decimal string, such as "12.50", or a whole number',
        "lineItems[1].description": "is required",
        "lineItems[1].unitPrice": "is required",
        "lineItems[2].bogus": "is not a field here",
        "lineItems[2].description": "is required",
        "lineItems[2].quantity": "is required",
        "lineItems[2].unitPrice": "is required",
        "lineItems[3]": "must be a JSON object",
        "nope": "is not a field here",
        "customerId": "is required",
    }
    preferences = {"x": 1, "theme": "zz", "timezone": 5, "notifications": {"sound": 1, "channels": ["fax", "push"]}}
    assert reasons(await owner.patch(f"{API}/me", json={"preferences": preferences})) == {
        "preferences.x": "is not a field here",
        "preferences.theme": "must be one of light, dark, system",
        "preferences.timezone": "must be text",
        "preferences.notifications.sound": "must be true or false",
        "preferences.notifications.channels[0]": f"must be one of {', '.join(get_args(Channel))}",
    }


async def test_words_that_cannot_be_kept_are_found_wherever_they_are(owner: Client) -> None:
    body = {"tags": ["a", "b\0"], "customFields": {"a": ["\0"]}, "firstName": "x\0"}
    assert reasons(await owner.post(f"{API}/contacts", json=body)) == dict.fromkeys(
        ("tags[1]", "customFields", "firstName"), "must not contain NUL"
    )


class Visit(msgspec.Struct):
    """Something with times in it."""

    at: datetime
    others: list[datetime] = []
    named: dict[str, datetime] = {}


def test_a_time_has_its_offset_wherever_it_stands() -> None:
    naive, whole = "2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00"
    with pytest.raises(Invalid) as refused:
        reading.read(Visit, {"at": naive, "others": [whole, naive], "named": {"a": whole, "b": naive}})
    assert set(refused.value.errors) == {"at", "others[1]", "named.b"}
    assert set(refused.value.errors.values()) == {"needs a time zone, such as 2026-01-31T12:00:00Z"}


def test_a_long_list_of_mistakes_is_not_read_to_its_end() -> None:
    with pytest.raises(Invalid) as refused:
        reading.read(Visit, {"at": 1, "others": [None] * 100_000})
    assert len(refused.value.errors) <= reading.MOST_MISTAKES + 1


@pytest.mark.parametrize("noun", ["sessions", "deals", "invoices", "contact-points"])
async def test_a_body_that_is_not_there_is_one_without_its_fields(owner: Client, noun: str) -> None:
    empty, absent = await owner.post(f"{API}/{noun}", json={}), await owner.post(f"{API}/{noun}")
    assert absent.json() == empty.json()
    assert reasons(absent)
    assert set(reasons(absent).values()) == {"is required"}


async def test_where_every_field_may_be_left_out_the_body_may_too(owner: Client) -> None:
    customer = (await owner.post(f"{API}/customers", json={"name": "Globex"})).json()["id"]
    line = {"description": "x", "quantity": "1", "unitPrice": "5"}
    made = (await owner.post(f"{API}/invoices", json={"customerId": customer, "lineItems": [line]})).json()
    await owner.post(f"{API}/invoices/{made['id']}/sent")
    paid = await owner.post(f"{API}/invoices/{made['id']}/payment")
    assert (paid.status_code, paid.json()["status"]) == (201, "paid"), paid.text


@described
def test_the_document_says_which_bodies_may_be_left_out() -> None:
    said = {operation.name: operation.said.get("requestBody", {}).get("required") for operation in operations()}
    assert (said["create_deal"], said["create_session"]) == (True, True)
    assert said["pay_invoice"] is said["approve_agent_pending_action"] is said["start_contact_import"] is False


async def sent(owner: Client, path: str) -> dict[str, str]:
    return reasons(await owner.get(f"{API}{path}"))


async def test_parameters_are_named_as_they_are_sent(owner: Client) -> None:
    assert await sent(owner, "/events?from=x") == {
        "from": "must be a time with its offset, such as 2026-01-31T12:00:00Z"
    }
    assert await sent(owner, "/events?from=2026-01-01T00:00:00") == {
        "from": "needs a time zone, such as 2026-01-31T12:00:00Z"
    }
    assert await sent(owner, "/events?subjectId=x&limit=0") == {
        "subjectId": "must be a UUID",
        "limit": "must be from 1 to 200",
    }
    assert await sent(owner, "/search?limit=1") == {"q": "is required"}
    said = await sent(owner, "/contacts?createdAfter=x&limit=many&status=y&sort=z")
    assert set(said) == {"createdAfter", "limit", "status", "sort"}
    assert said["limit"] == "must be a whole number"
    assert said["status"].startswith("must be one of ")
    assert said["sort"].startswith("must be one of ")


async def test_a_field_with_words_of_its_own_has_its_columns_law_all_the_same(owner: Client) -> None:
    answer = await owner.post(f"{API}/workspace-mail-addresses", json={"address": "a@b.example", "inboundAddress": "x"})
    assert reasons(answer) == {"inboundAddress": "is not an e-mail address, such as jane@example.com"}
