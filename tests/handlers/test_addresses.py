"""What an address answers to methods, bodies and questions that it is not made for."""

import httpx
import pytest

from tests.conftest import Client

CONTACTS = "/api/v1/contacts"
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "json", "é"],
)
async def test_a_body_that_says_it_is_no_json_is_415_and_changes_nothing(owner: Client, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")}
    answer = await owner.post(CONTACTS, content=b'{"firstName": "Ada"}', headers=headers)
    assert answer.status_code == 415
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["accept"] == "application/json"
    assert "application/json" in answer.json()["detail"]
    assert (await owner.get(CONTACTS)).json()["items"] == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json", None]
)
async def test_a_body_that_is_json_or_does_not_say_is_read(owner: Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await owner.post(CONTACTS, content=b'{"firstName": "Ada"}', headers=headers)
    assert answer.status_code == 201, answer.text


async def test_head_says_what_get_would(owner: Client) -> None:
    shown, asked = await owner.get(CONTACTS), await owner.head(CONTACTS)
    assert (asked.status_code, asked.content) == (200, b"")
    for header in ("content-type", "content-length"):
        assert asked.headers[header] == shown.headers[header]


async def test_head_is_refused_as_get_is(anonymous: httpx.AsyncClient, owner: Client) -> None:
    assert (await anonymous.head(CONTACTS)).status_code == 401
    assert (await owner.head(f"{CONTACTS}?limit=0")).status_code == 400
    assert (await owner.head("/nowhere")).status_code == 404
    only_post = await owner.head("/api/v1/ws-tickets")
    assert only_post.status_code == 405
    assert only_post.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (CONTACTS, "GET, HEAD, OPTIONS, POST"),
        (f"{CONTACTS}/01a20479-d890-70d0-b838-39a282337a2d", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/v1/ws-tickets", "OPTIONS, POST"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_names_the_methods_to_anybody(anonymous: httpx.AsyncClient, path: str, allowed: str) -> None:
    answer = await anonymous.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == allowed
    refused = await anonymous.request("PROPFIND", path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == allowed
    assert refused.headers["content-type"] == PROBLEM


async def test_options_of_nothing_is_404(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.options("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/api/v2/contacts", f"{CONTACTS}/%00", f"{CONTACTS}/%ff", f"{CONTACTS}/1/2/3", "//", "/é"],
)
async def test_an_address_that_does_not_exist_is_a_problem(owner: Client, path: str) -> None:
    answer = await owner.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["title"] == "Not Found"


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ("q=%00", "q"),
        ("%ff=1", "\ufffd"),
        ("limit=1.5", "limit"),
        ("ownerId=me", "ownerId"),
        ("status=unheard-of", "status"),
        ("createdBefore=2026-13-01T00:00:00Z", "createdBefore"),
        ("Limit=5", "Limit"),
    ],
)
async def test_a_question_that_cannot_be_answered_names_what_is_wrong(owner: Client, question: str, field: str) -> None:
    answer = await owner.get(f"{CONTACTS}?{question}")
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("declared", [True, False], ids=["with a length", "in chunks"])
async def test_a_body_beyond_measure_is_413(owner: Client, declared: bool) -> None:
    body = b'{"firstName": "' + b"x" * 2_200_000 + b'"}'

    async def pieces():
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    answer = await owner.post(CONTACTS, content=body if declared else pieces(), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM
