"""Errors: what they say, and what they never say."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import exc, text

from comms.database import Urls
from comms.errors import Conflict, Forbidden, Invalid, Missing, Stale, Unauthenticated
from comms.service import Service
from comms.settings import Secret, Settings
from handlers import shapes
from handlers.app import create_api
from handlers.given import Db, Here
from handlers.guards import authenticated
from handlers.problems import encoded, problem_of
from tests.conftest import PUBLIC_URL, Client
from tests.handlers.descriptions import described, document

API = "/api/v1"


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (Invalid({"name": "is required"}), 400, None),
        (Unauthenticated(), 401, "WWW-Authenticate"),
        (Forbidden(), 403, None),
        (Missing(), 404, None),
        (Conflict(), 409, None),
        (Stale(), 412, None),
        (HTTPException("gone", status_code=410), 410, None),
        (exc.TimeoutError(), 503, "Retry-After"),
        (ConnectionRefusedError(), 503, "Retry-After"),
        (TimeoutError(), 503, "Retry-After"),
        (asyncpg.CannotConnectNowError("starting up"), 503, "Retry-After"),
        (asyncpg.TooManyConnectionsError("full"), 503, "Retry-After"),
        (exc.InterfaceError("SELECT", {}, Exception("connection is closed")), 503, "Retry-After"),
        (exc.OperationalError("SELECT", {}, Exception("server closed the connection")), 503, "Retry-After"),
        (ExceptionGroup("cleanup", [ConnectionResetError()]), 503, "Retry-After"),
        (FileNotFoundError("/etc/comms/secret"), 500, None),
        (KeyError("secret"), 500, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_status(error: Exception, status: int, header: str | None) -> None:
    problem, headers = problem_of(error)
    assert problem.status == status
    assert list(headers) == ([header] if header else [])


def test_what_is_in_the_way_is_named_by_its_id() -> None:
    row_id = uuid.uuid4()
    problem, _ = problem_of(Conflict("taken", conflicting_id=row_id))
    assert json.loads(encoded(problem))["conflictingId"] == str(row_id)
    assert "conflictingId" not in json.loads(encoded(problem_of(Conflict("taken"))[0]))


@get("/broken")
async def broken() -> None:
    """Fails as no handler should."""
    raise RuntimeError("the password is hunter2")


@post("/late", guards=[authenticated])
async def late(db: Db) -> dict[str, bool]:
    """Says yes, and fails only when it is committed: the constraint is deferred."""
    await db.execute(
        text(
            "INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, created_at, updated_at)"
            " SELECT id, gen_random_uuid(), gen_random_uuid(), 'phone', '+14155550123', now(), now() FROM workspaces"
        )
    )
    return {"done": True}


@post("/lost", guards=[authenticated])
async def lost(db: Db) -> None:
    """Loses its connection on the way."""
    await db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@post("/in-use", guards=[authenticated])
async def in_use(service: Here) -> None:
    """Deletes what is referred to."""
    async with service.database.everywhere() as db:  # the web's role may not even try
        await db.execute(text("DELETE FROM workspace_members"))


of_faults = pytest.mark.xdist_group("faults")


@cache
def faulty() -> Litestar:
    """The API with routes that fail: to make one takes a second."""
    api = create_api()
    for route in (broken, late, lost, in_use):
        api.register(route)
    return api


@pytest.fixture
async def with_faults(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who asks the API with routes that fail."""
    faulty().state.service = service
    transport = httpx.ASGITransport(faulty(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client


@of_faults
async def test_our_own_fault_is_told_by_a_request_id_and_nothing_else(with_faults: httpx.AsyncClient) -> None:
    answer = await with_faults.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["requestId"]) == 32
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


@of_faults
async def test_a_commit_that_fails_is_not_a_success(with_faults: httpx.AsyncClient, owner: Client, admin: Any) -> None:
    answer = await with_faults.post("/late", headers={"Authorization": f"Bearer {owner.token}"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "contactId", "reason": "refers to nothing in this workspace"}]
    assert await admin.fetchval("SELECT count(*) FROM contact_points") == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("GET", "/api/v1/contacts/not-a-uuid", 404),
        ("PUT", "/api/v1/contacts", 405),
        ("DELETE", "/api/v1/contacts", 405),
    ],
)
async def test_a_wrong_address_is_a_problem_too(owner: Client, method: str, path: str, status: int) -> None:
    answer = await owner.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    if status == 405:
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 201),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"firstName": "\xff"}', 400),
        (b'{"firstName": "\\ud800"}', 400),
        (b'{"firstName": "a\\u0000b"}', 400),
        (b'{"customFields": {"a": ["\\u0000"]}}', 400),
        (b'{"customFields": {"\\u0000": 1}}', 400),
        (b'{"leadScore": 1e999}', 400),
        (b'{"leadScore": "5"}', 400),
        (b'{"leadScore": 99999999999999999999}', 400),
        (b'{"leadScore": 101}', 400),
        (b'{"customFields": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"firstName": "' + b"x" * 1001 + b'"}', 400),
        (b'{"firstName": "' + b"x" * 3_000_000 + b'"}', 413),
        (b'{"firstName": "x"}', 201),
    ],
    ids=range(17),
)
async def test_a_body_we_cannot_keep_is_refused(owner: Client, body: bytes, status: int) -> None:
    answer = await owner.post(f"{API}/contacts", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if status != 201:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_money_is_never_a_binary_fraction(owner: Client) -> None:
    body = {"phoneNumber": "+14155550100", "provider": "twilio"}
    for price in (1.15, 0.1, 1e300):
        answer = await owner.post(f"{API}/workspace-phone-numbers", json=body | {"monthlyPrice": price})
        assert answer.status_code == 400, price
        assert answer.json()["errors"][0]["field"] == "monthlyPrice"
    for place, price in enumerate(("1.15", 2, "3")):
        number = f"+1415555020{place}"
        answer = await owner.post(
            f"{API}/workspace-phone-numbers", json=body | {"phoneNumber": number, "monthlyPrice": price}
        )
        assert answer.status_code == 201, answer.text
        assert (answer.json()["monthlyPrice"], answer.json()["currency"]) == (f"{float(price):.2f}", "USD")
    for price in ("1.155", "NaN", "Infinity", "1000000000000", True, "", "-1"):
        answer = await owner.post(f"{API}/workspace-phone-numbers", json=body | {"monthlyPrice": price})
        assert answer.status_code == 400, price


class Line(msgspec.Struct):
    """A line of something."""

    price: Decimal


class Bill(msgspec.Struct):
    """Something of lines."""

    lines: list[Line]
    due_at: datetime | None = None


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"lines": [{"price": 0.1}]}, "lines"),
        ({"lines": [{"price": "0.10"}], "due_at": "2026-01-01T00:00:00"}, "due_at"),
        ({"lines": [{"price": "0.10"}], "due_at": "2026-01-01"}, "due_at"),
        ({"lines": [{"price": "0.10"}], "due_at": 0}, "due_at"),
    ],
)
def test_the_same_holds_in_lines_and_in_shapes_written_by_hand(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        shapes.read(Bill, sent)
    assert {name.partition("[")[0] for name in refused.value.errors} == {field}
    assert shapes.read(Bill, {"lines": [{"price": 1}], "due_at": "2026-01-01T00:00:00+02:00"}).lines[0].price == 1


async def test_what_is_searched_for_is_text_and_no_pattern(owner: Client) -> None:
    for name in ("100%", "100 %", "a_b", "axb", "back\\slash"):
        assert (await owner.post(f"{API}/contacts", json={"firstName": name})).status_code == 201
    # Words are sought, and what stands between them only parts them: docs/search.md.
    for sought, found in (("100%", {"100%", "100 %"}), ("a_b", {"a_b"}), ("back\\", {"back\\slash"}), ("%", set())):
        items = (await owner.get(f"{API}/contacts", params={"q": sought})).json()["items"]
        assert {item["firstName"] for item in items} == found, sought


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "application/json"}, b'{"firstName": "x"}', 201),
        ({"Content-Type": "application/json; charset=utf-8"}, b'{"firstName": "x"}', 201),
        ({"Content-Type": "text/plain"}, b'{"firstName": "x"}', 415),
        ({"Content-Type": "application/xml"}, b"<firstName/>", 415),
    ],
)
async def test_a_body_of_another_kind_is_refused_as_such(
    owner: Client, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = await owner.post(f"{API}/contacts", content=content, headers=headers)
    assert answer.status_code == status, answer.text


async def test_all_mistakes_are_named_at_once(owner: Client) -> None:
    body = {"phone": "12", "email": "x", "leadScore": "x", "status": "y", "tags": ["ok", 5], "nope": 1, "id": "z"}
    answer = await owner.post(f"{API}/contacts", json=body)
    reasons = {error["field"]: error["reason"] for error in answer.json()["errors"]}
    assert set(reasons) == {"phone", "email", "leadScore", "status", "tags[1]", "nope", "id"}
    assert reasons["id"] == "is read-only"
    for field in reasons:
        assert field in answer.json()["detail"]


async def test_what_is_taken_says_by_which_field(owner: Client) -> None:
    body = {"phoneNumber": "+14155550100", "provider": "twilio"}
    assert (await owner.post(f"{API}/workspace-phone-numbers", json=body)).status_code == 201
    answer = await owner.post(f"{API}/workspace-phone-numbers", json=body)
    assert answer.status_code == 409
    assert answer.json()["errors"] == [{"field": "phoneNumber", "reason": "is taken"}]


@of_faults
async def test_what_is_still_in_use_is_not_deleted(owner: Client, with_faults: httpx.AsyncClient) -> None:
    await owner.post(f"{API}/contacts", json={"ownerId": str(owner.user_id)})
    answer = await with_faults.post("/in-use", headers={"Authorization": f"Bearer {owner.token}"})
    assert answer.status_code == 409
    assert "referred to" in answer.json()["detail"]


@of_faults
@pytest.mark.parametrize("address", ["127.0.0.1:1/comms", "/comms?host=/nowhere"], ids=["refused", "no socket"])
async def test_a_database_that_is_away_is_503(owner: Client, settings: Settings, address: str) -> None:
    nowhere = Secret(f"postgresql://comms@{address}")
    faulty().state.service = Service(settings, Urls(owner=nowhere, web=nowhere, worker=nowhere), worker=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(faulty()), base_url=PUBLIC_URL) as client:
        answer = await client.get(f"{API}/contacts", headers={"Authorization": f"Bearer {owner.token}"})
        ready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "127.0.0.1" not in answer.text
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert alive.status_code == 200


@of_faults
async def test_a_connection_lost_in_the_middle_is_503_and_the_next_request_gets_through(
    with_faults: httpx.AsyncClient, owner: Client
) -> None:
    answer = await with_faults.post("/lost", headers={"Authorization": f"Bearer {owner.token}"})
    assert answer.status_code == 503
    assert (await owner.get(f"{API}/contacts")).status_code == 200


async def test_the_figures_are_there_for_everybody(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}
    ready = await anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["database"], ready.json()["migrations"]) == (200, True, True)
    figures = await anonymous.get("/metrics")
    assert figures.headers["content-type"] == CONTENT_TYPE_LATEST
    assert "comms_hub_lag_seconds" in figures.text


@described
async def test_the_api_describes_itself(anonymous: httpx.AsyncClient) -> None:
    schema = document()
    assert schema["info"]["title"] == "comms"
    operations = [
        operation for item in schema["paths"].values() for verb, operation in item.items() if verb != "parameters"
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation["tags"] for operation in operations)
    change = schema["components"]["schemas"]["ContactChange"]
    assert "createdAt" not in change["properties"]
    assert change.get("required", []) == []
    assert (await anonymous.get("/schema")).headers["content-type"].startswith("text/html")
