"""Who gets in: tokens, roles, scopes, and tickets."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from comms import credentials
from comms.credentials import Unauthenticated, identify, redeem_ticket
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.handlers.descriptions import described, document

API = "/api/v1"


def bearing(client: httpx.AsyncClient, authorization: str | None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.get(f"{API}/contacts", headers=headers)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer ck_", "Bearer nonsense", "Basic b3duZXI6cHc=", "ck_x", "Bearer ck_\xff"],
)
async def test_without_a_token_of_ours_nobody_gets_in(anonymous: httpx.AsyncClient, authorization: str | None) -> None:
    answer = await bearing(anonymous, authorization and authorization.encode("latin-1"))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@described
async def test_no_route_of_the_api_is_open_that_does_not_say_so(anonymous: httpx.AsyncClient) -> None:
    paths = document()["paths"]
    somewhere = "01a203d8-cafb-7417-9ded-3051a61781d8"
    asked = 0
    for path, item in paths.items():
        for method in ("get", "post", "patch", "delete", "put"):
            if method in item and path.startswith(API) and item[method].get("security"):
                concrete = "/".join(somewhere if part.startswith("{") else part for part in path.split("/"))
                answer = await anonymous.request(method, concrete, content=b"not json")
                assert answer.status_code == 401, f"{method} {path}"
                asked += 1
    assert asked > 60


async def test_a_token_in_the_query_is_no_token(owner: Client, anonymous: httpx.AsyncClient) -> None:
    assert (await bearing(anonymous, f"bearer {owner.token}")).status_code == 200
    assert (await anonymous.get(f"{API}/contacts?access_token={owner.token}")).status_code == 401


async def test_a_revoked_token_opens_nothing(owner: Client, anonymous: httpx.AsyncClient) -> None:
    issued = (await owner.post(f"{API}/access-tokens", json={"name": "script"})).json()
    assert (await bearing(anonymous, f"Bearer {issued['token']}")).status_code == 200
    assert (await owner.delete(f"{API}/access-tokens/{issued['id']}")).status_code == 204
    assert (await bearing(anonymous, f"Bearer {issued['token']}")).status_code == 401
    assert (await owner.get(f"{API}/access-tokens/{issued['id']}")).json()["revokedAt"] is not None


async def test_an_expired_token_opens_nothing(owner: Client, anonymous: httpx.AsyncClient, admin: Any) -> None:
    body = {"name": "short", "expiresAt": (now() + timedelta(hours=1)).isoformat()}
    issued = (await owner.post(f"{API}/access-tokens", json=body)).json()
    assert (await bearing(anonymous, f"Bearer {issued['token']}")).status_code == 200
    await admin.execute("UPDATE access_tokens SET expires_at = now() WHERE id = $1", issued["id"])
    assert (await bearing(anonymous, f"Bearer {issued['token']}")).status_code == 401


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE workspace_members SET is_active = false WHERE user_id = $1",
        "UPDATE workspaces SET is_active = false WHERE id IN"
        " (SELECT workspace_id FROM workspace_members WHERE user_id = $1)",
    ],
)
async def test_who_has_left_is_out_at_once(owner: Client, admin: Any, statement: str) -> None:
    assert (await owner.get(f"{API}/contacts")).status_code == 200
    await admin.execute(statement, owner.user_id)
    assert (await owner.get(f"{API}/contacts")).status_code == 401


async def test_the_token_is_kept_as_a_hash_and_never_shown_again(owner: Client, admin: Any) -> None:
    issued = (await owner.post(f"{API}/access-tokens", json={"name": "script"})).json()
    again = await owner.get(f"{API}/access-tokens/{issued['id']}")
    assert issued["token"].startswith("ck_")
    assert "token" not in again.json()
    assert again.json()["lastFour"] == issued["token"][-4:]
    everything = str(await admin.fetch("SELECT * FROM access_tokens")) + str(await admin.fetch("SELECT * FROM events"))
    assert issued["token"] not in everything


@pytest.mark.parametrize(
    ("scopes", "reads", "writes", "administers"),
    [([], 200, 201, 200), (["read"], 200, 403, 403), (["write"], 200, 201, 403), (["admin"], 200, 201, 200)],
)
async def test_a_token_may_no_more_than_its_scopes(
    owner: Client, anonymous: httpx.AsyncClient, scopes: list[str], reads: int, writes: int, administers: int
) -> None:
    issued = (await owner.post(f"{API}/access-tokens", json={"name": "x", "scopes": scopes})).json()
    anonymous.headers["Authorization"] = f"Bearer {issued['token']}"
    assert (await anonymous.get(f"{API}/contacts")).status_code == reads
    assert (await anonymous.post(f"{API}/contacts", json={})).status_code == writes
    assert (await anonymous.get(f"{API}/workspace-api-keys")).status_code == administers
    read = await anonymous.put(f"{API}/conversations/{uuid.uuid4()}/read-state", json={})
    assert read.status_code == (403 if writes == 403 else 404)  # to have read is one's own affair, and is written


async def test_a_limited_token_makes_no_wider_one(owner: Client, anonymous: httpx.AsyncClient) -> None:
    issued = (await owner.post(f"{API}/access-tokens", json={"name": "x", "scopes": ["write"]})).json()
    anonymous.headers["Authorization"] = f"Bearer {issued['token']}"
    for scopes in ([], ["admin"], ["write", "admin"]):
        answer = await anonymous.post(f"{API}/access-tokens", json={"name": "y", "scopes": scopes})
        assert answer.status_code == 400
    same = await anonymous.post(f"{API}/access-tokens", json={"name": "y", "scopes": ["write"]})
    assert same.status_code == 201


async def test_nobody_touches_the_tokens_of_who_stands_above_them(owner: Client, admin_member: Client) -> None:
    above = (await owner.post(f"{API}/access-tokens", json={"name": "x"})).json()["id"]
    below = (await admin_member.post(f"{API}/access-tokens", json={"name": "y"})).json()["id"]
    address = f"{API}/access-tokens/{above}"
    assert (await admin_member.get(address)).status_code == 200
    assert (await admin_member.patch(address, json={"name": "mine"})).status_code == 403
    assert (await admin_member.delete(address)).status_code == 403
    assert (await owner.delete(f"{API}/access-tokens/{below}")).status_code == 204


async def test_members_see_their_own_tokens_and_administrators_all(owner: Client, member: Client) -> None:
    mine = (await owner.post(f"{API}/access-tokens", json={"name": "x"})).json()["id"]
    theirs = (await member.post(f"{API}/access-tokens", json={"name": "y"})).json()["id"]
    assert (await member.get(f"{API}/access-tokens/{mine}")).status_code == 404
    assert (await member.delete(f"{API}/access-tokens/{mine}")).status_code == 404
    assert (await owner.get(f"{API}/access-tokens/{theirs}")).status_code == 200
    log = (await member.get(f"{API}/events")).json()["items"]
    assert {item["subjectId"] for item in log} == {theirs}


async def test_the_last_use_is_noted_once_a_minute(owner: Client, service: Service, admin: Any) -> None:
    async def used() -> Any:
        return await admin.fetchrow("SELECT last_used_at, updated_at FROM access_tokens ORDER BY created_at LIMIT 1")

    await admin.execute("UPDATE access_tokens SET last_used_at = NULL")
    await asyncio.gather(*(owner.get(f"{API}/contacts") for _ in range(5)))
    first = await used()
    assert first["last_used_at"] is not None
    await owner.get(f"{API}/contacts")
    assert await used() == first
    await admin.execute("UPDATE access_tokens SET last_used_at = now() - interval '61 seconds'")
    await owner.get(f"{API}/contacts")
    assert (await used())["last_used_at"] > first["last_used_at"] - timedelta(seconds=1)
    assert (await used())["updated_at"] == first["updated_at"]


async def test_a_ticket_is_good_once(viewer: Client, service: Service) -> None:
    ticket = (await viewer.post(f"{API}/ws-tickets")).json()
    identity = await redeem_ticket(service.database, ticket["ticket"])
    assert identity is not None
    assert (identity.workspace_id, identity.user_id, identity.role) == (viewer.workspace_id, viewer.user_id, "viewer")
    assert await redeem_ticket(service.database, ticket["ticket"]) is None
    assert await redeem_ticket(service.database, "nonsense") is None


async def test_a_ticket_redeemed_twice_at_once_lets_one_in(viewer: Client, service: Service) -> None:
    ticket = (await viewer.post(f"{API}/ws-tickets")).json()["ticket"]
    redeemed = await asyncio.gather(*(redeem_ticket(service.database, ticket) for _ in range(4)))
    assert sum(identity is not None for identity in redeemed) == 1


async def test_a_ticket_is_worth_what_its_token_is(owner: Client, service: Service, app: Any) -> None:
    issued = (await owner.post(f"{API}/access-tokens", json={"name": "screen", "scopes": ["read"]})).json()
    headers = {"Authorization": f"Bearer {issued['token']}"}
    tickets = [(await owner.post(f"{API}/ws-tickets", headers=headers)).json()["ticket"] for _ in range(2)]
    identity = await redeem_ticket(service.database, tickets[0])
    assert identity is not None
    assert (identity.scopes, str(identity.token_id)) == (("read",), issued["id"])
    await owner.delete(f"{API}/access-tokens/{issued['id']}")
    assert await redeem_ticket(service.database, tickets[1]) is None


async def test_an_old_ticket_is_good_for_nothing(viewer: Client, service: Service, admin: Any) -> None:
    ticket = (await viewer.post(f"{API}/ws-tickets")).json()["ticket"]
    await admin.execute("UPDATE ws_tickets SET expires_at = now() - interval '1 second'")
    assert await redeem_ticket(service.database, ticket) is None


async def test_who_a_token_is_of_is_known_only_by_it(owner: Client, service: Service) -> None:
    identity = await identify(service.database, owner.token)
    assert (identity.workspace_id, identity.user_id, identity.role) == (owner.workspace_id, owner.user_id, "owner")
    for wrong in (owner.token[:-1], owner.token + "x", owner.token.upper(), credentials.PREFIX):
        with pytest.raises(Unauthenticated):
            await identify(service.database, wrong)


async def test_who_has_become_a_viewer_can_still_revoke_their_own_tokens(
    member: Client, owner: Client, admin: Any
) -> None:
    mine = (await member.post(f"{API}/access-tokens", json={"name": "script"})).json()
    others = (await owner.post(f"{API}/access-tokens", json={"name": "script"})).json()
    await admin.execute("UPDATE workspace_members SET role = 'viewer' WHERE user_id = $1", member.user_id)
    assert (await member.post(f"{API}/access-tokens", json={"name": "more"})).status_code == 403
    assert (await member.delete(f"{API}/access-tokens/{others['id']}")).status_code == 404
    assert (await member.delete(f"{API}/access-tokens/{mine['id']}")).status_code == 204
