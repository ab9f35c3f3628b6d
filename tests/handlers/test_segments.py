"""Segments: what can be said of contacts, and who is meant by it."""

from collections.abc import Mapping
from typing import Any

import pytest

from comms.conditions import FIELDS, OPERATORS
from models.marketing import Operator
from tests.conftest import Client

API = "/api/v1"
PEOPLE: Mapping[str, dict[str, Any]] = {
    "ada": {
        "email": "ada@Example.com",
        "company": "100% Engines",
        "jobTitle": "Chief Engineer",
        "status": "customer",
        "tags": ["vip", "maths"],
        "leadScore": 80,
        "customFields": {"plan": "gold", "seats": 12, "trial": False, "langs": ["en", "fr"]},
    },
    "bob": {
        "phone": "+14155550100",
        "company": "engines ltd",
        "tags": ["maths"],
        "leadScore": 10,
        "customFields": {"plan": "silver", "seats": "12", "trial": True},
    },
    "eve": {"customFields": {"plan": None, "langs": ["de"]}},
}


@pytest.fixture
async def people(owner: Client, stranger: Client) -> Mapping[str, str]:
    """The ids of three contacts, by name; a stranger has one like the first."""
    ids = {}
    for name, values in PEOPLE.items():
        owned = {"ownerId": str(owner.user_id)} if name == "ada" else {}
        answer = await owner.post(f"{API}/contacts", json={"firstName": name, **values, **owned})
        ids[name] = answer.json()["id"]
    await stranger.post(f"{API}/contacts", json={"firstName": "ada", **PEOPLE["ada"]})
    return ids


async def segment(client: Client, *rules: Any, **values: Any) -> dict[str, Any]:
    sent = [dict(zip(("field", "operator", "value"), rule, strict=False)) for rule in rules]
    answer = await client.post(f"{API}/segments", json={"name": "S", "rules": sent, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def names_in(client: Client, made: Mapping[str, Any], **query: Any) -> set[str]:
    answer = await client.get(f"{API}/segments/{made['id']}/contacts", params=query)
    assert answer.status_code == 200, answer.text
    return {item["firstName"] for item in answer.json()["items"]}


LATER, EARLIER = "2999-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"


RULES = [
    (("firstName", "equals", "ada"), "ada"),
    (("firstName", "equals", "Ada"), ""),
    (("firstName", "not_equals", "ada"), "bob eve"),
    (("firstName", "in", ["ada", "eve"]), "ada eve"),
    (("company", "contains", "ENGINES"), "ada bob"),
    (("company", "contains", "0% e"), "ada"),
    (("company", "contains", "_"), ""),
    (("company", "not_contains", "100%"), "bob eve"),
    (("company", "starts_with", "Engines"), "bob"),
    (("company", "ends_with", "LTD"), "bob"),
    (("company", "is_set"), "ada bob"),
    (("company", "is_not_set"), "eve"),
    (("jobTitle", "not_in", ["Chief Engineer"]), "bob eve"),
    (("email", "equals", "ada@EXAMPLE.com"), "ada"),
    (("phone", "in", ["+1 415 555 0100"]), "bob"),
    (("phone", "is_not_set"), "ada eve"),
    (("status", "equals", "customer"), "ada"),
    (("status", "not_in", ["customer", "blocked"]), "bob eve"),
    (("ownerId", "is_set"), "ada"),
    (("tags", "contains", "maths"), "ada bob"),
    (("tags", "not_contains", "vip"), "bob eve"),
    (("tags", "contains_any", ["vip", "x"]), "ada"),
    (("tags", "contains_all", ["vip", "maths"]), "ada"),
    (("tags", "is_not_set"), "eve"),
    (("leadScore", "at_least", 10), "ada bob"),
    (("leadScore", "greater_than", 10.5), "ada"),
    (("leadScore", "less_than", 80), "bob"),
    (("leadScore", "not_equals", 80), "bob eve"),
    (("leadScore", "is_not_set"), "eve"),
    (("createdAt", "within_days", 1), "ada bob eve"),
    (("createdAt", "not_within_days", 1), ""),
    (("createdAt", "before", LATER), "ada bob eve"),
    (("createdAt", "after", LATER), ""),
    (("lastContactedAt", "not_within_days", 30), "ada bob eve"),
    (("lastContactedAt", "within_days", 30), ""),
    (("customFields.plan", "equals", "gold"), "ada"),
    (("customFields.plan", "not_equals", "gold"), "bob eve"),
    (("customFields.plan", "in", ["gold", "silver", 7]), "ada bob"),
    (("customFields.plan", "not_in", ["gold"]), "bob eve"),
    (("customFields.plan", "starts_with", "GO"), "ada"),
    (("customFields.plan", "is_set"), "ada bob"),
    (("customFields.plan", "is_not_set"), "eve"),
    (("customFields.seats", "equals", 12), "ada"),
    (("customFields.seats", "equals", "12"), "bob"),
    (("customFields.seats", "at_least", 12), "ada"),
    (("customFields.trial", "equals", False), "ada"),
    (("customFields.langs", "contains", "fr"), "ada"),
    (("customFields.langs", "not_contains", "fr"), "bob eve"),
    (("customFields.no'such", "is_not_set"), "ada bob eve"),
]


async def test_a_rule_means_these_contacts(owner: Client, people: Any) -> None:
    wrong = []
    for rule, whom in RULES:
        made = await segment(owner, rule)
        if (found := await names_in(owner, made)) != set(whom.split()):
            wrong.append(f"{rule} means {found}")
        calculated = (await owner.post(f"{API}/segments/{made['id']}/calculation")).json()
        if calculated["contactCount"] != len(whom.split()) or calculated["lastCalculatedAt"] is None:
            wrong.append(f"{rule} is calculated as {calculated}")
    assert wrong == []


def test_every_operator_belongs_to_some_field() -> None:
    known = {name for names in OPERATORS.values() for name in names}
    assert known == set(Operator.__args__)
    assert {kind for kind, _ in FIELDS.values()} | {"custom"} == set(OPERATORS)


async def test_rules_are_all_true_or_any(owner: Client, people: Any) -> None:
    rules = [("tags", "contains", "maths"), ("leadScore", "is_not_set")]
    assert await names_in(owner, await segment(owner, *rules)) == set()
    assert await names_in(owner, await segment(owner, *rules, match="any")) == {"ada", "bob", "eve"}


async def test_a_segment_without_rules_is_empty(owner: Client, people: Any) -> None:
    for match in ("all", "any"):
        assert await names_in(owner, await segment(owner, match=match)) == set()


async def test_other_rules_forget_the_count(owner: Client, people: Any) -> None:
    made = await segment(owner, ("firstName", "is_set"))
    address = f"{API}/segments/{made['id']}"
    assert (await owner.post(f"{address}/calculation")).json()["contactCount"] == 3
    assert (await owner.patch(address, json={"name": "T", "rules": made["rules"]})).json()["contactCount"] == 3
    changed = (await owner.patch(address, json={"match": "any"})).json()
    assert (changed["contactCount"], changed["lastCalculatedAt"]) == (None, None)


async def test_the_contacts_of_a_segment_are_paged_filtered_and_shown_as_ever(owner: Client, people: Any) -> None:
    made = await segment(owner, ("firstName", "is_set"))
    address = f"{API}/segments/{made['id']}/contacts"
    first = (await owner.get(address, params={"limit": 2, "sort": "createdAt"})).json()
    cursor = first["nextCursor"]
    rest = (await owner.get(address, params={"limit": 2, "sort": "createdAt", "cursor": cursor})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == list(people.values())
    assert first["items"][0] == (await owner.get(f"{API}/contacts/{people['ada']}")).json()
    assert await names_in(owner, made, status="customer") == {"ada"}
    assert await names_in(owner, made, q="engines") == {"ada", "bob"}


async def test_another_workspace_neither_sees_nor_calculates_it(owner: Client, stranger: Client, people: Any) -> None:
    made = await segment(owner, ("firstName", "is_set"))
    assert (await stranger.get(f"{API}/segments/{made['id']}/contacts")).status_code == 404
    assert (await stranger.post(f"{API}/segments/{made['id']}/calculation")).status_code == 404


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        (("salary", "equals", "x"), "field"),
        (("customFields.", "equals", "x"), "field"),
        (("workspaceId", "equals", "x"), "field"),
        (("firstName", "greater_than", 1), "operator"),
        (("leadScore", "contains", "x"), "operator"),
        (("firstName", "sounds_like", "x"), "operator"),
        (("firstName", "equals", 7), "value"),
        (("firstName", "equals"), "value"),
        (("firstName", "equals", ""), "value"),
        (("firstName", "in", "ada"), "value"),
        (("firstName", "in", []), "value"),
        (("firstName", "is_set", True), "value"),
        (("status", "equals", "rich"), "value"),
        (("status", "equals", ["lead"]), "value"),
        (("ownerId", "equals", "me"), "value"),
        (("email", "equals", "nobody"), "value"),
        (("leadScore", "at_least", "10"), "value"),
        (("leadScore", "at_least", True), "value"),
        (("leadScore", "at_least", 1e300), "value"),
        (("createdAt", "before", "2026-01-01T00:00:00"), "value"),
        (("createdAt", "before", "0001-01-01T00:00:00+14:00"), "value"),
        (("createdAt", "within_days", 0), "value"),
        (("customFields.x", "at_least", "1"), "value"),
        (("customFields.x", "equals", {"a": 1}), "value"),
        (("customFields.x", "equals", None), "value"),
    ],
    ids=repr,
)
async def test_a_rule_that_makes_no_sense_is_named(owner: Client, rule: Any, part: str) -> None:
    rules = [{"field": "tags", "operator": "is_set"}, dict(zip(("field", "operator", "value"), rule, strict=False))]
    answer = await owner.post(f"{API}/segments", json={"name": "S", "rules": rules})
    assert answer.status_code == 400, answer.text
    assert {error["field"] for error in answer.json()["errors"]} == {f"rules[1].{part}"}
