"""Values that no column could keep, in every field and every question: refused by name, and never our fault."""

import json
import uuid
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any

import httpx
import msgspec
import pytest

from comms.reasons import options_of
from comms.service import Service
from handlers.resource import RESOURCES, Resource
from tests.conftest import Client
from tests.handlers.test_resource_writes import BATCHED_BY_HAND
from tests.handlers.test_resources import API, body_of, named, verbs_of
from tests.make import communications as make

WRITTEN = {"1e400": "1e400", "9…9": "9" * 5_000}
"""Numbers that Python would not write, and what stands for them."""
LONG, LONGEST = 10**400, int("9" * 4000)
EARLY, LATE = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
MONEY = ("1e999999999", "-1e9999999999", "1e-999999999", "1e999999999999999999999", "nan", "-inf")
HOSTILE: dict[Any, tuple[Any, ...]] = {
    str: ("a\0", "a\ud800", "\udc00", LONG),
    bool: (LONG, "\ud800"),
    int: (LONG, -LONGEST, "1e400", 2**63),
    Decimal: (*MONEY, LONG, -LONGEST, "1e400", "\ud800"),
    datetime: (EARLY, LATE, "2026-01-01T00:00:00", 1767225600, LONG),
    date: ("0000-01-01", LONG, "\ud800"),
}
IN_JSON: tuple[Any, ...] = ({"a": "1e400"}, {"a": ["\0"]}, {"a": "\ud800"}, {"\ud800": 1}, {"\0": 1})
"""For what is kept as it is sent, and for what is none of the above."""
NOBODY = "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"
LINE = {"description": "x", "quantity": "1e999999999", "unitPrice": "-1e9999999999"}


def hostile(kind: Any) -> tuple[Any, ...]:
    """What a field of that kind cannot hold."""
    kinds = {option for option, _ in options_of(kind)} - {NoneType}
    return HOSTILE[kinds.pop()] if len(kinds) == 1 and kinds <= set(HOSTILE) else IN_JSON


async def sent(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    """The answer to a body that Python's JSON may hold and a good client's may not."""
    text = json.dumps(body)
    for stands, number in WRITTEN.items():
        text = text.replace(json.dumps(stands), number)
    return await client.post(f"{API}{path}", content=text, headers={"Content-Type": "application/json"})


def is_made(resource: Resource) -> bool:
    return "create" in resource.verbs or resource.path in BATCHED_BY_HAND


async def test_no_field_takes_what_cannot_be_kept(service: Service, owner: Client) -> None:
    wrong, tried = [], 0
    for resource in filter(is_made, RESOURCES):
        body = await body_of(service, resource, owner)
        fields = msgspec.structs.fields(resource.new)
        rows = [(field.encode_name, value) for field in fields for value in hostile(field.type)]
        tried += len(rows)
        answer = await sent(owner, f"{resource.path}/batch", {"items": [body | {name: value} for name, value in rows]})
        if answer.status_code != 200:
            wrong.append(f"{resource.path}: {answer.text[:200]}")
            continue
        for (name, value), result in zip(rows, answer.json()["results"], strict=True):
            refused = [error["field"] for error in result.get("problem", {}).get("errors", ())]
            if result["status"] != 400 or not refused or not all(field.startswith(name) for field in refused):
                wrong.append(f"{resource.path} {name}={value!r:.40}: {result!s:.200}")
    assert wrong == []
    assert tried > 500


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/contacts", {"firstName": "\ud800", "leadScore": "1e400"}, {"firstName", "leadScore"}),
        ("/contacts", {"tags": ["a", "\ud800"], "customFields": {"a": "1e400"}}, {"tags[1]", "customFields"}),
        ("/contacts", {"customFields": "\ud800", "nope": "1e400"}, {"customFields", "nope"}),
        ("/contacts", {"leadScore": "9…9", "customFields": {"a": "9…9"}}, {"leadScore", "customFields"}),
        ("/deals", {"name": "x", "value": "1e999999999"}, {"value"}),
        ("/deals", {"name": "x", "value": "-1e9999999999", "currency": "\0"}, {"value", "currency"}),
        ("/invoices", {"customerId": NOBODY, "lineItems": [LINE]}, {"lineItems[0].quantity", "lineItems[0].unitPrice"}),
        ("/access-tokens", {"name": "x", "expiresAt": EARLY}, {"expiresAt"}),
        ("/access-tokens", {"name": "x", "expiresAt": LATE}, {"expiresAt"}),
    ],
)
async def test_a_mistake_in_numbers_text_and_times_has_its_name(
    owner: Client, path: str, body: dict[str, Any], names: set[str]
) -> None:
    answer = await sent(owner, path, body)
    assert answer.status_code == 400, answer.text
    assert names <= named(answer)


async def test_a_name_that_is_no_text_is_shown_as_it_was_written(owner: Client) -> None:
    answer = await sent(owner, "/contacts", {"a\ud800": 1})
    assert answer.status_code == 400, answer.text
    assert named(answer) == {"a\\ud800"}


async def test_what_is_no_json_at_all_is_no_json_with_strange_numbers_in_it(owner: Client) -> None:
    for text in ('{"leadScore": NaN}', '{"leadScore": -Infinity}', '{"firstName": "\\ud800"', '{"leadScore": 1e400,}'):
        answer = await owner.post(f"{API}/contacts", content=text)
        assert answer.status_code == 400, answer.text
        assert "errors" not in answer.json()


@pytest.mark.parametrize("value", [LONG, -LONGEST, "1e400", "9…9"], ids=["long", "longest", "float", "longer"])
async def test_no_condition_is_about_a_number_of_hundreds_of_digits(owner: Client, value: Any) -> None:
    rule = {"field": "leadScore", "operator": "equals", "value": value}
    custom = {"field": "customFields.a", "operator": "in", "value": [value]}
    answer = await sent(owner, "/segments", {"name": "s", "rules": [rule, custom]})
    assert answer.status_code == 400, answer.text
    assert named(answer) == {"rules[0].value", "rules[1].value"}
    answer = await sent(owner, "/lead-routing-rules", {"name": "s", "conditions": [rule]})
    assert answer.status_code == 400, answer.text
    assert "conditions[0].value" in named(answer)


TIMES = (EARLY, LATE, "0001-01-01T00:00:00Z", "1767225600", "1e9", "1" * 400, "2026-01-01T00:00:00", "null")


async def test_no_list_is_asked_for_what_cannot_be(owner: Client) -> None:
    wrong = []
    for resource in RESOURCES:
        if "list" not in verbs_of(resource):
            continue
        asked = resource.listing.parameters
        kinds = {name: {option for option, _ in options_of(each.annotation)} for name, each in asked.items()}
        texts = [name for name, kind in kinds.items() if kind <= {str, NoneType}]
        wrong += await refused(owner, resource.path, dict.fromkeys(texts, "a\0"))
        for early, late in ((EARLY, "1767225600"), ("1e9", LATE)):
            wrong += await refused(owner, resource.path, {"createdAfter": early, "createdBefore": late})
    assert wrong == []


async def refused(client: Client, path: str, query: dict[str, str]) -> list[str]:
    """What is wrong with the refusal, which should name all of the query."""
    answer = await client.get(f"{API}{path}", params=query)
    if answer.status_code == 400 and named(answer) == set(query):
        return []
    return [f"{path} {query!s:.90}: {answer.status_code} {answer.text:.150}"]


async def test_no_time_in_an_address_is_anything_but_one_to_reckon_with(
    owner: Client, service: Service, workspace_id: uuid.UUID
) -> None:
    delivery = f"/workspace-phone-numbers/{(await make.number(service, workspace_id)).id}/delivery"
    assert (await owner.get(f"{API}{delivery}", params={"until": "1900-01-01T00:00:00Z"})).status_code == 200
    wrong = await refused(owner, "/contacts", {"limit": "1" * 400})
    for path, names in (
        ("/events", ("from", "until")),
        ("/contacts/export", ("createdAfter", "createdBefore")),
        (delivery, ("since", "until")),
    ):
        for value in TIMES:
            wrong += await refused(owner, path, dict.fromkeys(names, value))
    assert wrong == []
