"""The webhook of a schedule: whoever has its secret has the agent run, once a call, and nobody else does."""

import asyncio
import json
import time
import uuid
from typing import Any

import httpx
import pytest

from comms.hooks import signing
from tests.conftest import PUBLIC_URL, Client
from tests.make import agents as make
from tests.make.agents import API

BODY = json.dumps({"order": "A-17"}).encode()


@pytest.fixture
async def hook(owner: Client) -> dict[str, Any]:
    """The schedule of an active agent, and where and with what it is called."""
    agent = await make.agent(owner, status="active")
    row = await make.made(owner, "/agent-schedules", {"agentId": agent["id"], "triggerType": "webhook"})
    return row | (await owner.post(f"{API}/agent-schedules/{row['id']}/webhook-secret")).json()


async def call(app: Any, hook: dict[str, Any], body: bytes = BODY, **more: Any) -> httpx.Response:
    said = {"id": "msg_1", "at": int(time.time()), "secret": hook["webhookSecret"], "url": hook["webhookUrl"]} | more
    headers = signing.headers_of(said["id"], said["at"], body, [said["secret"]])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as nobody:
        return await nobody.post(said["url"], content=more.get("sent", body), headers=headers)


async def test_a_signed_call_is_one_run_however_often_it_comes(app: Any, owner: Client, hook: dict[str, Any]) -> None:
    answers = await asyncio.gather(*[call(app, hook) for _ in range(3)])
    assert {answer.status_code for answer in answers} == {202}, answers[0].text
    [run_id] = {answer.json()["executionId"] for answer in answers}
    other = (await call(app, hook, id="msg_2")).json()["executionId"]
    runs = (await owner.get(f"{API}/agent-executions")).json()["items"]
    assert {run["id"] for run in runs} == {run_id, other}
    first = next(run for run in runs if run["id"] == run_id)
    assert (first["input"], first["status"], first["scheduleId"]) == ({"order": "A-17"}, "pending", hook["id"])
    row = (await owner.get(f"{API}/agent-schedules/{hook['id']}")).json()
    assert (row["lastRunStatus"], row["lastRunAt"] is None) == ("pending", False)


async def test_what_is_forged_old_or_elsewhere_makes_no_run(
    app: Any, owner: Client, stranger: Client, hook: dict[str, Any]
) -> None:
    wrong = [
        (403, {"secret": signing.new_secret()}),
        (403, {"at": int(time.time()) - 600}),
        (403, {"sent": b'{"order": "A-18"}'}),
        (403, {"id": ""}),
        (400, {"body": b"[1]"}),
        (400, {"body": b"{"}),
        (404, {"url": hook["webhookUrl"].replace(str(owner.workspace_id), str(stranger.workspace_id))}),
        (404, {"url": hook["webhookUrl"].replace(hook["id"], str(uuid.uuid4()))}),
        (404, {"url": hook["webhookUrl"] + "x"}),
    ]
    for status, more in wrong:
        answer = await call(app, hook, **more)
        assert answer.status_code == status, (more, answer.text)
    await owner.put(f"{API}/agents/{hook['agentId']}/status", json={"status": "paused"})
    assert (await call(app, hook)).status_code == 409
    await owner.put(f"{API}/agents/{hook['agentId']}/status", json={"status": "active"})
    await owner.patch(f"{API}/agent-schedules/{hook['id']}", json={"enabled": False})
    assert (await call(app, hook)).status_code == 409
    assert (await owner.get(f"{API}/agent-executions")).json()["items"] == []
    await owner.patch(f"{API}/agent-schedules/{hook['id']}", json={"enabled": True})
    assert (await call(app, hook)).status_code == 202
