"""A POST that is sent again under its key does nothing, whatever went wrong in between."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from litestar import post
from sqlalchemy import text

from comms import idempotency
from comms.identity import Identity
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


async def test_what_is_installed_again_under_its_key_is_made_once(owner: Client, stranger: Client) -> None:
    agent = {"name": "Desk", "type": "sms", "config": {"model": "small", "systemPrompt": "Be kind."}}
    template = await owner.post(f"{API}/agent-templates", json=agent | {"slug": "desk"})
    assert template.status_code == 201, template.text
    pack = await owner.post(f"{API}/agent-packs", json={"name": "Desks", "slug": "desks", "agentTemplates": [agent]})
    assert pack.status_code == 201, pack.text
    for table, row in (("agent-templates", template.json()), ("agent-packs", pack.json())):
        await owner.post(f"{API}/{table}/{row['id']}/publication")
        address, key = f"{API}/{table}/{row['id']}/installation", {"Idempotency-Key": table}
        answers = await asyncio.gather(*(client.post(address, headers=key) for client in (owner, owner, stranger)))
        assert [answer.status_code for answer in answers] == [201] * 3, [answer.text for answer in answers]
        assert answers[0].content == answers[1].content != answers[2].content
        assert (await owner.get(f"{API}/{table}/{row['id']}")).json()["installCount"] == 2
    assert len((await owner.get(f"{API}/agents")).json()["items"]) == 2


async def test_a_key_is_of_one_workspace_also_where_the_work_is_across_them(
    owner: Client, stranger: Client, service: Service, admin: Any
) -> None:
    """Somebody who is a member of two workspaces has the key in each."""
    asked = idempotency.Question("k", "POST /x", b"")
    here = Identity(owner.workspace_id, owner.user_id, "owner")
    await admin.execute(
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, created_at, updated_at)"
        " VALUES ($1, gen_random_uuid(), $2, 'member', now(), now())",
        stranger.workspace_id,
        owner.user_id,
    )
    there = msgspec.structs.replace(here, workspace_id=stranger.workspace_id)
    told = []
    for who in (here, there, here, there):
        async with service.database.everywhere() as db:
            claim = await idempotency.claim(db, service.vault, who, asked)
            if isinstance(claim, idempotency.Answer):
                told.append(claim.body)
            else:
                answer = idempotency.Answer(201, {}, str(who.workspace_id).encode())
                await idempotency.keep(db, service.vault, who, claim, answer)
    assert told == [str(who.workspace_id).encode() for who in (here, there)]


async def test_a_merge_that_is_asked_for_again_under_its_key_is_answered_as_the_first_time(owner: Client) -> None:
    kept, other = [(await owner.post(CONTACTS, json={"firstName": name})).json()["id"] for name in ("Ada", "Ada")]
    address, body = f"{CONTACTS}/{kept}/merge", {"contactId": other}
    first = await owner.post(address, json=body, headers=KEYED)
    assert (await owner.post(address, json=body)).status_code == 400
    again = await owner.post(address, json=body, headers=KEYED)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


async def test_where_a_key_cannot_be_honoured_it_is_refused(owner: Client) -> None:
    path = f"{API}/webhook-receipts/0198c0de-0000-7000-8000-000000000000/replay"
    assert (await owner.post(path)).status_code == 404
    answer = await owner.post(path, headers=KEYED)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert (await owner.post(path, headers={"If-Match": "*"})).status_code == 400
