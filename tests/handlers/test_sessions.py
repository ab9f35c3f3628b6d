"""Signing in with a password, and what a session is worth."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from comms import limits
from comms.limits import Allowance
from comms.passwords import Passwords
from comms.service import Service
from models.core import User
from tests.conftest import Client
from tests.make import core as make
from tests.make.core import PASSWORD

API = "/api/v1"
EMAIL = "member@acme.example"


async def sign_in(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post(f"{API}/sessions", json={"email": EMAIL, "password": PASSWORD} | body)


@pytest.fixture
async def known(member: Client, service: Service) -> Client:
    """The member, who has a password."""
    await make.password(service, member.user_id)
    return member


async def test_a_password_opens_a_session_in_the_workspace(
    known: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    answer = await sign_in(anonymous, email="Member@ACME.example")
    assert answer.status_code == 201, answer.text
    signed_in = answer.json()
    assert signed_in["token"].startswith("cs_")
    assert signed_in["workspace"]["slug"] == "acme"
    anonymous.headers["Authorization"] = f"Bearer {signed_in['token']}"
    assert (await anonymous.get(f"{API}/contacts")).status_code == 200
    assert (await anonymous.post(f"{API}/contacts", json={})).status_code == 201
    assert (await anonymous.get(f"{API}/workspace-api-keys")).status_code == 403
    assert await admin.fetchval(
        "SELECT last_login_at > now() - interval '1 minute' FROM users WHERE id = $1", known.user_id
    )
    told = (await known.get(f"{API}/events", params={"subjectType": "session"})).json()["items"]
    assert [item["event"] for item in told] == ["session.created"]
    assert signed_in["token"] not in str(told) + str(await admin.fetch("SELECT * FROM sessions"))


async def test_whoever_has_an_international_domain_signs_in_however_they_write_it(
    known: Client, anonymous: httpx.AsyncClient, service: Service
) -> None:
    async with service.database.everywhere() as db:
        (await db.get_one(User, known.user_id)).email = "Jane@exämple.com"
    for email in ("jane@exämple.com", "jane@EXÄMPLE.com", "jane@xn--exmple-cua.com"):
        assert (await sign_in(anonymous, email=email)).status_code == 201


async def test_who_is_unknown_and_who_mistypes_are_answered_alike(
    known: Client, anonymous: httpx.AsyncClient, owner: Client
) -> None:
    wrong = await sign_in(anonymous, password="not the password")
    unknown = await sign_in(anonymous, email="nobody@acme.example")
    without = await sign_in(anonymous, email="owner@acme.example")  # a user who has no password
    assert wrong.status_code == unknown.status_code == without.status_code == 401
    assert wrong.content == unknown.content == without.content
    assert (await sign_in(anonymous)).status_code == 201


async def test_a_hash_is_computed_for_the_unknown_too(
    service: Service, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    hasher = Passwords(memory_kib=64)
    before = hasher._compare

    def compare(kept: str, plain: str) -> bool:
        compared.append(kept)
        return before(kept, plain)

    hasher._compare = compare
    monkeypatch.setattr(service, "passwords", hasher)
    assert (await sign_in(anonymous, email="nobody@acme.example")).status_code == 401
    assert len(compared) == 1
    assert compared[0].startswith("$argon2id$")


async def test_several_workspaces_are_named_only_to_who_knows_the_password(
    known: Client, stranger: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    await admin.execute(
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, is_active, created_at, updated_at)"
        " VALUES ($1, gen_random_uuid(), $2, 'viewer', true, now(), now())",
        stranger.workspace_id,
        known.user_id,
    )
    assert (await sign_in(anonymous, password="not the password")).status_code == 401
    several = await sign_in(anonymous)
    assert several.status_code == 409
    assert [error["reason"] for error in several.json()["errors"]] == ["acme", "rival"]
    chosen = await sign_in(anonymous, workspace="rival")
    assert chosen.json()["workspace"]["id"] == str(stranger.workspace_id)
    assert (await sign_in(anonymous, workspace="elsewhere")).status_code == 403


async def test_too_many_attempts_are_sent_away_even_with_the_right_password(
    known: Client, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BY_EMAIL", Allowance(3, 60))
    answers = await asyncio.gather(*(sign_in(anonymous, password="not the password") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 5
    refused = await sign_in(anonymous)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await sign_in(anonymous, email="another@acme.example")).status_code == 401


async def test_one_address_tries_only_so_many_people(
    anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, admin: Any
) -> None:
    monkeypatch.setattr(limits, "BY_ADDRESS", Allowance(2, 60))
    answers = [(await sign_in(anonymous, email=f"{number}@acme.example")).status_code for number in range(4)]
    assert answers == [401, 401, 429, 429]
    await admin.execute("UPDATE sign_in_limits SET until = until - interval '61 seconds'")
    assert (await sign_in(anonymous, email="5@acme.example")).status_code == 401


async def test_who_gets_it_right_may_mistype_again(
    known: Client, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BY_EMAIL", Allowance(2, 60))
    for _ in range(2):
        assert (await sign_in(anonymous, password="not the password")).status_code == 401
        assert (await sign_in(anonymous)).status_code == 201


async def test_a_flood_of_passwords_is_sent_away(
    known: Client, service: Service, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "passwords", Passwords(at_once=1, waiting=1))
    answers = await asyncio.gather(*(sign_in(anonymous, email=f"{number}@x.example") for number in range(6)))
    assert {answer.status_code for answer in answers} == {401, 429}
    assert (await sign_in(anonymous)).status_code == 201


async def test_a_session_lives_as_long_as_it_is_used(known: Client, anonymous: httpx.AsyncClient, admin: Any) -> None:
    token = (await sign_in(anonymous)).json()["token"]
    anonymous.headers["Authorization"] = f"Bearer {token}"
    await admin.execute(
        "UPDATE sessions SET last_used_at = now() - interval '2 days', expires_at = now() + interval '1 hour'"
    )
    assert (await anonymous.get(f"{API}/me")).status_code == 200
    assert await admin.fetchval("SELECT expires_at > now() + interval '13 days' FROM sessions")
    await admin.execute(
        "UPDATE sessions SET created_at = now() - interval '89 days', last_used_at = now() - interval '1 day'"
    )
    assert (await anonymous.get(f"{API}/me")).status_code == 200
    assert await admin.fetchval("SELECT expires_at < now() + interval '25 hours' FROM sessions")
    await admin.execute("UPDATE sessions SET expires_at = now()")
    assert (await anonymous.get(f"{API}/me")).status_code == 401


async def test_everybody_sees_and_ends_their_own_sessions_only(
    known: Client, owner: Client, anonymous: httpx.AsyncClient
) -> None:
    first, second = [(await sign_in(anonymous)).json() for _ in range(2)]
    assert (await owner.get(f"{API}/sessions/{first['id']}")).status_code == 404
    assert (await owner.delete(f"{API}/sessions/{first['id']}")).status_code == 404
    listed = (await known.get(f"{API}/sessions")).json()["items"]
    assert {item["id"] for item in listed} == {first["id"], second["id"]}
    anonymous.headers["Authorization"] = f"Bearer {first['token']}"
    assert (await anonymous.delete(f"{API}/sessions/{second['id']}")).status_code == 204
    assert (await anonymous.delete(f"{API}/sessions/current")).status_code == 204
    for gone in (first, second):
        anonymous.headers["Authorization"] = f"Bearer {gone['token']}"
        assert (await anonymous.get(f"{API}/me")).status_code == 401
    assert (await known.delete(f"{API}/sessions/current")).status_code == 409


async def test_who_has_left_cannot_sign_in(known: Client, anonymous: httpx.AsyncClient, admin: Any) -> None:
    token = (await sign_in(anonymous)).json()["token"]
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", known.user_id)
    assert (await sign_in(anonymous)).status_code == 403
    anonymous.headers["Authorization"] = f"Bearer {token}"
    assert (await anonymous.get(f"{API}/me")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "x\x00@acme.example"}, "email"),
        ({"password": "x" * 201}, "password"),
        ({"password": 7}, "password"),
        ({"token": "x"}, "token"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused_by_name(
    anonymous: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await sign_in(anonymous, **body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_no_password_is_readable_by_the_web(known: Client, service: Service) -> None:
    for statement in ("SELECT hash FROM user_passwords", "SELECT key FROM sign_in_limits"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with service.database.workspace(known.workspace_id) as db:
                await db.execute(text(statement))
