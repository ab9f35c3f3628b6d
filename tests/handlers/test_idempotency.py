"""A POST that is sent again under its key does nothing, whatever went wrong in between."""

import asyncio
from typing import Any

import httpx
import pytest
from litestar import post
from sqlalchemy import text

from comms import idempotency
from comms.service import Service
from handlers.app import create_api
from handlers.communications.team import channels
from handlers.given import Asker, Db
from handlers.guards import authenticated
from handlers.preconditions import Answer
from tests.conftest import PUBLIC_URL, Client

API = "/api/v1"
CONTACTS = f"{API}/contacts"
KEYED = {"Idempotency-Key": "k"}


async def names(client: Client) -> list[str]:
    return [row["firstName"] for row in (await client.get(CONTACTS)).json()["items"]]


async def test_twenty_at_once_make_one_row_and_hear_the_same(owner: Client) -> None:
    answers = await asyncio.gather(*(owner.post(CONTACTS, json={"firstName": "Ada"}, headers=KEYED) for _ in range(20)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 19
    assert await names(owner) == ["Ada"]


async def test_a_key_is_of_one_request(owner: Client) -> None:
    await owner.post(CONTACTS, json={"firstName": "Ada"}, headers=KEYED)
    for path, body in ((CONTACTS, {"firstName": "Bob"}), (f"{API}/team-channels", {"name": "Ada"})):
        answer = await owner.post(path, json=body, headers=KEYED)
        assert answer.status_code == 422
        assert "POST /api/v1/contacts" in answer.json()["detail"]
    assert await names(owner) == ["Ada"]


async def test_a_key_is_of_one_member(owner: Client, member: Client, stranger: Client) -> None:
    for client in (owner, member, stranger):
        answer = await client.post(CONTACTS, json={"firstName": "Ada"}, headers=KEYED)
        assert answer.status_code == 201
        assert "idempotency-replayed" not in answer.headers
    assert await names(owner) == ["Ada", "Ada"]
    assert await names(stranger) == ["Ada"]


async def test_what_was_refused_may_be_tried_again_under_its_key(owner: Client) -> None:
    body = {"phoneNumber": "+14155550100", "provider": "twilio"}
    first = (await owner.post(f"{API}/workspace-phone-numbers", json=body)).json()
    assert (await owner.post(f"{API}/workspace-phone-numbers", json=body, headers=KEYED)).status_code == 409
    await owner.delete(f"{API}/workspace-phone-numbers/{first['id']}")
    assert (await owner.post(f"{API}/workspace-phone-numbers", json=body, headers=KEYED)).status_code == 201


async def test_who_may_not_do_it_hears_nothing_of_what_was_done(owner: Client, service: Service) -> None:
    await owner.post(CONTACTS, json={"firstName": "Ada"}, headers=KEYED)
    async with service.database.everywhere() as db:
        await db.execute(text("UPDATE workspace_members SET role = 'viewer'"))
    assert (await owner.post(CONTACTS, json={"firstName": "Ada"}, headers=KEYED)).status_code == 403


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(owner: Client, key: str) -> None:
    answer = await owner.post(CONTACTS, json={"firstName": "Ada"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await names(owner) == []


async def test_a_secret_shown_once_is_shown_again_to_who_asked_and_kept_sealed(owner: Client, admin: Any) -> None:
    first = await owner.post(f"{API}/access-tokens", json={"name": "ci"}, headers=KEYED)
    again = await owner.post(f"{API}/access-tokens", json={"name": "ci"}, headers=KEYED)
    token = first.json()["token"]
    assert again.json()["token"] == token
    [kept] = await admin.fetch("SELECT * FROM idempotency_keys")
    assert kept["status"] == 201
    assert token.encode() not in b"".join(value for value in kept.values() if isinstance(value, bytes))
    assert token not in str(list(kept.values()))


async def test_what_dies_before_its_commit_leaves_neither_the_row_nor_the_key(
    service: Service, owner: Client, admin: Any
) -> None:
    dying = [True, False]

    @post("/dying", guards=[authenticated], response_class=Answer)
    async def die(db: Db, identity: Asker) -> dict[str, str]:
        """Does its work; the first time, its connection is lost before the commit."""
        await channels.create(db, identity, {"name": "half"})
        await db.flush()
        if dying.pop(0):
            await db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return {"done": "yes"}

    api = create_api()
    api.state.service = service
    api.register(die)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    headers = KEYED | {"Authorization": f"Bearer {owner.token}"}
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers) as client:
        assert (await client.post("/dying")).status_code == 503
        assert await admin.fetchval("SELECT count(*) FROM team_channels") == 0
        assert await admin.fetchval("SELECT count(*) FROM idempotency_keys") == 0
        answers = [await client.post("/dying") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
        assert await admin.fetchval("SELECT count(*) FROM team_channels") == 1


async def test_keys_are_forgotten_after_a_day(owner: Client, service: Service, admin: Any) -> None:
    for name, age in (("old", "25 hours"), ("young", "23 hours")):
        await owner.post(CONTACTS, json={"firstName": name}, headers={"Idempotency-Key": name})
        await admin.execute(f"UPDATE idempotency_keys SET created_at = now() - interval '{age}' WHERE key = $1", name)
    await idempotency.sweep(service.database)
    assert [row["key"] for row in await admin.fetch("SELECT key FROM idempotency_keys")] == ["young"]
    again = await owner.post(CONTACTS, json={"firstName": "old"}, headers={"Idempotency-Key": "old"})
    assert "idempotency-replayed" not in again.headers


async def test_where_a_key_cannot_be_honoured_it_is_refused(owner: Client) -> None:
    path = f"{API}/webhook-receipts/0198c0de-0000-7000-8000-000000000000/replay"
    assert (await owner.post(path)).status_code == 404
    answer = await owner.post(path, headers=KEYED)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert (await owner.post(path, headers={"If-Match": "*"})).status_code == 400
