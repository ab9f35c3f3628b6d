"""An agent's token: what it opens is decided once, and it opens nothing else."""

import re
import uuid
from typing import Any

import httpx
import pytest

from comms.limits import Allowance, Pace
from comms.service import Service
from handlers.guards import Right
from tests.conftest import Client
from tests.handlers.test_who_may import GUARDED, ask
from tests.make import agents as make
from tests.make.agents import API, errors
from tests.make.runtimes import AGENT, runtime, token_of


async def test_an_agents_token_opens_the_agent_api_and_no_other_route(
    app: Any, owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "agents_pace", Pace(Allowance(len(GUARDED) + 1, 1)))
    async with runtime(app, owner) as ada:
        me = (await ada.get(AGENT)).json()
        assert (me["agent"]["id"], me["workspaceId"]) == (str(ada.agent_id), str(owner.workspace_id))
        opened = set()
        for asked in GUARDED:
            answer = await ask(ada, asked, uuid.uuid4())
            if answer.status_code != 403:
                opened.add(asked.name)
        meant = {asked.name for asked in GUARDED if isinstance(asked.right, Right) and asked.right.is_agents}
        assert opened == meant
        assert len(meant) > 20
        assert {re.sub(r"/agent(/|$).*", "/agent", asked.path) for asked in GUARDED if asked.name in meant} == {AGENT}


async def test_no_member_is_an_agent(app: Any, owner: Client) -> None:
    answer = await owner.get(AGENT)
    assert answer.status_code == 403
    assert "agentId" in answer.json()["detail"]


async def test_a_token_for_an_agent_takes_who_may_write_agents(
    owner: Client, member: Client, viewer: Client, stranger: Client, admin: Any
) -> None:
    agent = await make.agent(owner, status="active")
    body = {"name": "runtime", "agentId": agent["id"]}
    assert (await member.post(f"{API}/access-tokens", json=body)).json()["agentId"] == agent["id"]
    assert (await viewer.post(f"{API}/access-tokens", json=body)).status_code == 403
    assert set(errors(await stranger.post(f"{API}/access-tokens", json=body))) == {"agentId"}
    query = "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2"
    await admin.execute(query, '{"agents": "read"}', member.user_id)
    assert (await member.post(f"{API}/access-tokens", json=body)).status_code == 403


@pytest.mark.parametrize("status", ["paused", "archived"])
async def test_an_agent_that_rests_is_let_in_nowhere(app: Any, owner: Client, status: str) -> None:
    agent = await make.agent(owner, status="active")
    async with runtime(app, owner, agent=agent) as ada:
        assert (await ada.get(AGENT)).status_code == 200
        await make.moved(owner, f"/agents/{agent['id']}", status)
        answer = await ada.get(AGENT)
        assert answer.status_code == 403
        assert status in answer.json()["detail"]


async def test_a_revoked_token_and_one_whose_maker_has_left_are_no_good(
    app: Any, owner: Client, member: Client, admin: Any
) -> None:
    agent = await make.agent(owner, status="active")
    async with runtime(app, owner, agent=agent) as ada, runtime(app, member, agent=agent) as other:
        assert (await owner.delete(f"{API}/access-tokens/{ada.token_id}")).status_code == 204
        assert (await ada.get(AGENT)).status_code == 401
        assert (await other.get(AGENT)).status_code == 200
        await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", member.user_id)
        assert (await other.get(AGENT)).status_code == 401


async def test_a_token_to_read_writes_nothing(app: Any, owner: Client) -> None:
    async with runtime(app, owner, scopes=["read"]) as ada:
        assert (await ada.get(f"{AGENT}/memory")).status_code == 200
        assert (await ada.put(f"{AGENT}/memory", json={"key": "a", "value": 1})).status_code == 403


async def test_a_key_is_the_agents_whichever_token_it_uses_and_nobody_elses(
    app: Any, owner: Client, member: Client
) -> None:
    agent = await make.agent(owner, status="active")
    keyed = {"Idempotency-Key": "the same"}
    async with (
        runtime(app, owner, agent=agent) as ada,
        runtime(app, member, agent=agent) as again,
        runtime(app, owner, "Bob") as bob,
    ):
        answers: list[httpx.Response] = []
        for client in (ada, again, bob):
            answers.append(await client.post(f"{AGENT}/executions", json={"input": {}}, headers=keyed))
        first, repeated, other = (answer.json()["id"] for answer in answers)
        assert first == repeated != other
        assert (await owner.post(f"{API}/contacts", json={}, headers=keyed)).status_code == 201


async def test_an_agents_token_is_no_proof_of_who_made_it(app: Any, owner: Client) -> None:
    agent = await make.agent(owner, status="active")
    token = await token_of(owner, agent)
    async with runtime(app, owner, agent=agent) as ada:
        refused = await ada.post(f"{API}/access-tokens", json={"name": "more"})
        assert refused.status_code == 403
        assert token["token"] not in refused.text
        answer = await ada.post(f"{API}/invitations/nonsense/acceptance", json={})
        assert answer.status_code in (400, 403, 404)
        assert (await ada.get(f"{API}/me")).status_code == 403


async def test_a_runtime_that_runs_away_is_told_to_wait_and_nobody_else_is(
    app: Any, owner: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "agents_pace", Pace(Allowance(3, 60)))
    async with runtime(app, owner) as ada, runtime(app, owner, "Bob") as bob:
        assert [(await ada.get(AGENT)).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = await ada.post(f"{AGENT}/conversations/{uuid.uuid4()}/claim", json={})
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert (await bob.get(AGENT)).status_code == 200
        for _ in range(5):
            assert (await owner.get(f"{API}/me")).status_code == 200


async def test_an_agent_whose_token_a_viewer_has_made_by_now_looks_and_does_nothing(
    app: Any, owner: Client, member: Client, admin: Any
) -> None:
    agent = await make.agent(owner, status="active")
    async with runtime(app, member, agent=agent) as ada:
        query = "UPDATE workspace_members SET role = 'viewer', permissions = $1 WHERE user_id = $2"
        await admin.execute(query, '{"agents": "write"}', member.user_id)
        assert (await ada.get(AGENT)).status_code == 200
        for noun in ("executions", f"conversations/{uuid.uuid4()}/claim", "actions"):
            answer = await ada.post(f"{AGENT}/{noun}", json={"actionType": "x", "title": "x"})
            assert (answer.status_code, "viewer" in answer.json()["detail"]) == (403, True), noun
