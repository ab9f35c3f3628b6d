"""The API's description: that nothing is missing from it, and that what it says is so."""

import asyncio
import keyword
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import openapi_spec_validator
import pytest
from litestar.routes import HTTPRoute

from comms.service import Service
from handlers.openapi import serving
from handlers.resource import RESOURCES, Resource
from handlers.shapes import msgspec_camel
from tests.conftest import Client
from tests.handlers.descriptions import Operation, api, described, document, mistakes, operations, resolved, walk
from tests.make import rows

pytestmark = described

JSON = "application/json"
PROBLEM = "application/problem+json"


def components() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document()["components"]["schemas"]
    return found


def properties() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}.{field}", schema)
        for name, component in components().items()
        for field, schema in component["properties"].items()
    ]


def test_an_independent_validator_finds_nothing() -> None:
    assert document()["openapi"].startswith("3.1")
    openapi_spec_validator.validate(document())


def test_every_route_is_described() -> None:
    routed = {
        (route.path_format or "/", method.lower())
        for route in api().routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.resolve_include_in_schema()  # not pages for people, and what they are made of
        for method in handler.http_methods
        if method != "OPTIONS"
    }
    assert routed == {(operation.path, operation.method) for operation in operations()}


def test_every_operation_says_what_it_does_and_who_may() -> None:
    tags = {tag["name"]: tag["description"] for tag in document()["tags"]}
    silent = []
    for operation in operations():
        said = operation.said
        who = "**Who may:**" in said["description"] or not said.get("security")
        if not (said["summary"] and said["description"].split("**Who may:**")[0].strip() and who):
            silent.append(operation.name)
        assert len(said["tags"]) == 1, operation.name
        assert set(said["tags"]) <= set(tags), operation.name
        is_open = not operation.path.startswith("/api/") or "without a credential" in said["description"]
        assert said.get("security") == (None if is_open else [{"bearer": []}]), operation.name
    assert silent == [], "say it in the docstring; the right is the guard beside the route"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("list_contacts", "every member. A token with scopes needs `read` or a wider one."),
        ("create_contact", "owner or admin or member. A token with scopes needs `write` or a wider one."),
        ("create_workspace_api_key", "owner or admin. A token with scopes needs `admin`."),
    ],
)
def test_who_may_is_what_the_guard_beside_the_route_says(name: str, said: str) -> None:
    operation = next(operation for operation in operations() if operation.name == name)
    assert operation.said["description"].endswith(f"**Who may:** {said}")


def test_every_operation_shows_what_is_sent_and_answered() -> None:
    wrong = []
    for operation in operations():
        responses = operation.said["responses"].items()
        contents = [operation.said.get("requestBody", {}).get("content", {})]
        contents += [resolved(response).get("content", {}) for _, response in responses]
        successes = [status for status, _ in responses if status.startswith("2")]
        assert len(successes) == 1 or (operation.method, successes) == ("put", ["200", "201"]), operation.name
        for content in contents:
            for media_type, shown in content.items():
                if "example" not in shown:
                    wrong.append(f"{operation.name}: {media_type} has no example")
                else:
                    wrong += [f"{operation.name}: {said}" for said in mistakes(shown["schema"], shown["example"])]
        for status, response in responses:
            assert resolved(response)["description"], f"{operation.name} {status}"
    assert wrong == []


def test_the_problems_of_an_operation_are_those_that_can_occur() -> None:
    for operation in operations():
        statuses = {int(status) for status in operation.said["responses"] if int(status) >= 400}
        for status in statuses - {503}:
            content = resolved(operation.said["responses"][str(status)])["content"]
            assert list(content) == [PROBLEM], f"{operation.name} {status}"
        expected = set()
        if operation.said.get("security"):
            expected |= {401, 503}
        if "requestBody" in operation.said:
            expected |= {400, 413, 415}
        if operation.path.startswith("/api/") and operation.method != "get":
            expected |= {400}  # of a header that is not honoured
        if "{" in operation.path:
            expected |= {404}
        if any(parameter["in"] == "query" for parameter in operation.said.get("parameters", ())):
            expected |= {400}
        assert expected <= statuses, operation.name
    assert "headers" in resolved({"$ref": "#/components/responses/Unauthorized"})
    assert "Retry-After" in resolved({"$ref": "#/components/responses/ServiceUnavailable"})["headers"]


def test_every_parameter_is_described_and_shown() -> None:
    wrong = []
    for operation in operations():
        for parameter in operation.said.get("parameters", ()):
            name = f"{operation.name}: {parameter['name']}"
            if not parameter.get("description"):
                wrong.append(f"{name} has no description")
            if parameter["name"] == "cursor":  # whatever it said would be refused
                continue
            wrong += [f"{name}: {said}" for said in mistakes(parameter["schema"], parameter["example"])]
    assert wrong == []


def test_every_field_is_described() -> None:
    silent = [name for name, schema in properties() if not schema.get("description")]
    assert silent == [], 'say it beside the field: Annotated[…, msgspec.Meta(description="…")], or in the glossary'


def test_every_field_shows_a_value_that_it_allows() -> None:
    wrong = [
        f"{name}: {said}"
        for name, schema in properties()
        for said in mistakes(schema, schema.get("examples", [...])[0])
    ]
    wrong += [
        f"{name}: {said}"
        for name, schema in components().items()
        for said in mistakes(schema, schema.get("examples", [...])[0])
    ]
    assert wrong == []


def test_fields_are_as_strict_as_the_api() -> None:
    contact, new, change = (components()[name] for name in ("Contact", "NewContact", "ContactChange"))
    assert contact["properties"]["createdAt"]["readOnly"]
    assert contact["properties"]["createdAt"]["format"] == "date-time"
    assert contact["properties"]["ownerId"] == contact["properties"]["ownerId"] | {
        "type": ["string", "null"],
        "format": "uuid",
    }
    assert set(contact["required"]) == set(contact["properties"]), "an answer has all its fields"
    assert contact["properties"]["leadScore"]["maximum"] == new["properties"]["leadScore"]["maximum"] == 100
    assert new["properties"]["email"]["format"] == "email"
    assert new["properties"]["firstName"]["maxLength"] == 1000
    assert new["properties"]["status"]["enum"][0] == new["properties"]["status"]["default"] == "lead"
    assert "createdAt" not in new["properties"]
    assert new["additionalProperties"] is False
    assert change["additionalProperties"] is False
    assert change["required"] == []
    price = components()["WorkspacePhoneNumber"]["properties"]["monthlyPrice"]
    assert price["pattern"] == r"^-?\d{1,12}(\.\d{1,2})?$"


def test_what_refuses_unknown_fields_says_so() -> None:
    sent = {
        resolved(body["schema"])["title"]
        for operation in operations()
        for body in operation.said.get("requestBody", {}).get("content", {}).values()
        if "$ref" in body["schema"]
    }
    assert sent
    for name in sent:
        assert components()[name]["additionalProperties"] is False, name
        for field, schema in components()[name]["properties"].items():
            assert not schema.get("readOnly"), f"{name}.{field}"


# What a generator of clients needs.


def test_operations_have_names_of_their_own_that_are_names_in_any_language() -> None:
    names = Counter(operation.name for operation in operations())
    assert [name for name, times in names.items() if times > 1] == []
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name} has no operation_id"
        assert not keyword.iskeyword(name), name


def test_references_lead_somewhere_and_shapes_have_their_names_as_titles() -> None:
    for place, found in walk(document()):
        if isinstance(found.get("$ref"), str) and "/examples/" not in place:
            assert resolved(found), place
    for name, component in components().items():
        assert component["title"] == name, f"two shapes are called {component['title']}: rename one"
        assert name.isidentifier()
        assert component["type"] == "object"


def test_alternatives_can_be_told_apart() -> None:
    for place, found in walk(document()["components"]["schemas"]):
        options = found.get("oneOf")
        if isinstance(options, list) and sum("$ref" in option for option in options) > 1:
            assert "discriminator" in found, place
        assert not (isinstance(found.get("type"), str) and isinstance(found.get("anyOf"), list)), place


def makers() -> list[tuple[Resource, Operation]]:
    """The resources of which one can make rows, and the operations that do.

    Not those that take no credential: what proves who one is, such as a password, is right for nobody in an example.
    """
    by_path = {operation.path: operation for operation in operations() if operation.method == "post"}
    found = [(resource, by_path.get(f"/api/v1{resource.path}")) for resource in RESOURCES]
    return [(resource, operation) for resource, operation in found if operation is not None and _makes(operation)]


def _makes(operation: Operation) -> bool:
    is_a_file = JSON not in operation.said.get("requestBody", {}).get("content", {JSON})
    return "201" in operation.said["responses"] and "security" in operation.said and not is_a_file


async def test_the_example_of_what_makes_a_row_makes_one(service: Service, owner: Client) -> None:
    assert len(makers()) > 25
    wrong = []
    for resource, operation in makers():
        answer = await owner.post(operation.path, json=await example_of(resource, operation, service, owner))
        if answer.status_code == 201:
            shape = operation.said["responses"]["201"]["content"][JSON]["schema"]
            wrong += [f"{operation.name}: {said}" for said in mistakes(shape, answer.json())]
        else:
            wrong.append(f"{operation.name}: {answer.text}")
    assert wrong == []


async def example_of(resource: Resource, operation: Operation, service: Service, owner: Client) -> dict[str, Any]:
    """What the description shows as a body, with references to rows that are there."""
    body = dict(operation.said["requestBody"]["content"][JSON]["example"])
    for column in resource.table.__table__.columns:
        target = rows.referred(column)
        name = msgspec_camel(column.name)
        if target is None or name not in body:
            continue
        there = (
            await rows.row(
                service,
                rows.class_of(target),
                workspace_id=owner.workspace_id,
                user_id=owner.user_id,
            )
            if target not in ("workspace_members", "users")
            else None
        )
        body[name] = str(there.id if there is not None else owner.user_id)
    return body


async def test_the_document_is_served_as_it_is_made_and_nobody_waits_meanwhile(
    anonymous: httpx.AsyncClient,
) -> None:
    api().state.description = serving.Served(serving.MAKE)
    waits = []

    async def others() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            waits.append(time.perf_counter() - began)

    working = asyncio.create_task(others())
    answers = await asyncio.gather(*(anonymous.get("/schema/openapi.json") for _ in range(3)))
    working.cancel()
    assert len(waits) > 20, "it took no time, and so proves nothing"
    assert max(waits) < 1
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json() == document(), "made by another process, it is the same every time"


async def test_a_document_that_could_not_be_made_is_made_for_who_asks_next(
    anonymous: httpx.AsyncClient, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    api().state.description = serving.Served(f"import pathlib; print(pathlib.Path({str(ready)!r}).read_text())")
    try:
        assert (await anonymous.get("/schema/openapi.json")).status_code == 503
        ready.write_text("{}")
        assert (await anonymous.get("/schema/openapi.json")).json() == {}
    finally:
        api().state.description = serving.Served(serving.MAKE)


async def test_the_docs_page_needs_no_other_server(anonymous: httpx.AsyncClient) -> None:
    page = (await anonymous.get("/schema")).text
    assert "https://" not in page
    for asset in ("/assets/docs/swagger-ui-bundle.js", "/assets/docs/swagger-ui.css"):
        assert asset in page
        assert (await anonymous.get(asset)).status_code == 200


OTHERWISE = {
    "/batch": 200,
    "/check": 200,
    "/replay": 200,
    "/sweep": 200,
    "/voice-flow-preview": 200,
    "/message-previews": 200,
    "/contact-imports/{row_id}/start": 202,
    "/calls": 202,
    "/hang-up": 204,
}
"""What a POST to an address that ends so answers: how it went, that it has begun, or nothing. All others make."""


def test_whatever_is_posted_is_made() -> None:
    for operation in operations():
        if operation.method == "post":
            expected = next((code for end, code in OTHERWISE.items() if operation.path.endswith(end)), 201)
            assert [code for code in operation.said["responses"] if code < "300"] == [str(expected)], operation.path


def test_what_can_be_refused_without_a_credential_is_said() -> None:
    said = {operation.name: set(operation.said["responses"]) for operation in operations()}
    assert {"401", "403", "429", "503"} <= said["create_session"] & said["accept_invitation"]
    assert "503" in said["read_invitation"]


def test_what_may_be_there_already_is_answered_in_two_ways() -> None:
    [put] = [operation for operation in operations() if operation.name == "put_agent_shared_memory"]
    found, made = put.said["responses"]["200"], put.said["responses"]["201"]
    assert (found["content"], found["headers"]) == (made["content"], made["headers"])
