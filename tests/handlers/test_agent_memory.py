"""What agents remember together: one value a key and scope, until it expires."""

import asyncio
from datetime import timedelta
from typing import Any

from comms.agents import memory as stories
from comms.agents.sweeps import until_done
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told

PATH = f"{API}/agent-shared-memory"


async def remembered(client: Client, key: str = "tone", value: Any = "warm", **body: Any) -> dict[str, Any]:
    return await make.made(client, "/agent-shared-memory", {"key": key, "value": value, **body})


async def expire(admin: Any, *rows: dict[str, Any]) -> None:
    ids = [row["id"] for row in rows]
    done = await admin.execute("UPDATE agent_shared_memory SET expires_at = now() WHERE id = ANY($1)", ids)
    assert done == f"UPDATE {len(ids)}"


async def test_a_key_is_taken_once_in_each_scope(owner: Client, stranger: Client) -> None:
    agent, team = await make.agent(owner), await make.team(owner)
    scopes: list[dict[str, Any]] = [
        {},
        {"agentId": agent["id"]},
        {"teamId": team["id"]},
        {"agentId": agent["id"], "teamId": team["id"]},
    ]
    for scope in scopes:
        row = await remembered(owner, **scope)
        again = await owner.post(PATH, json={"key": "tone", "value": "cold", **scope})
        assert again.status_code == 409, scope
        assert again.json()["conflictingId"] == row["id"]
        assert (await owner.get(f"{PATH}/{row['id']}")).json()["value"] == "warm"
    await remembered(stranger)


async def test_putting_by_key_makes_or_changes(owner: Client) -> None:
    body = {"key": "tone", "value": {"words": ["warm"]}, "importance": 80}
    first = await owner.put(f"{PATH}/by-key", json=body)
    assert first.status_code == 201, first.text
    second = await owner.put(f"{PATH}/by-key", json={"key": "tone", "value": None})
    assert second.status_code == 200, second.text
    assert second.json()["id"] == first.json()["id"]
    assert (second.json()["value"], second.json()["importance"]) == (None, 50)
    third = await owner.put(f"{PATH}/by-key", json={"key": "tone", "value": None})
    assert third.json() == second.json()
    assert await told(owner, first.json()["id"]) == ["agent_shared_memory.created", "agent_shared_memory.updated"]


async def test_many_who_put_at_once_leave_one_row(owner: Client) -> None:
    answers = await asyncio.gather(
        *(owner.put(f"{PATH}/by-key", json={"key": "tone", "value": number}) for number in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    rows = (await owner.get(PATH)).json()["items"]
    assert len(rows) == 1


async def test_what_has_expired_is_not_there(owner: Client, admin: Any) -> None:
    row, other = await remembered(owner), await remembered(owner, "name")
    path = f"{PATH}/{row['id']}"
    assert (await owner.get(path)).status_code == 200
    await expire(admin, row)
    assert [item["id"] for item in (await owner.get(PATH)).json()["items"]] == [other["id"]]
    assert (await owner.get(path)).status_code == 404
    assert (await owner.patch(path, json={"value": 1})).status_code == 404
    assert (await owner.delete(path)).status_code == 404
    again = await remembered(owner, value="cold")
    assert again["id"] != row["id"]
    assert await told(owner, row["id"]) == ["agent_shared_memory.created", "agent_shared_memory.expired"]


async def test_the_sweep_forgets_what_has_expired_in_every_workspace(
    owner: Client, stranger: Client, admin: Any, service: Service
) -> None:
    ours, theirs, kept = await remembered(owner), await remembered(stranger), await remembered(owner, "kept")
    await expire(admin, ours, theirs)
    assert await until_done(service.database, stories.forget_expired) == 2
    assert await until_done(service.database, stories.forget_expired) == 0
    left = await admin.fetch("SELECT id FROM agent_shared_memory")
    assert [str(row["id"]) for row in left] == [kept["id"]]
    assert (await told(owner, ours["id"]))[-1] == "agent_shared_memory.expired"
    assert (await told(stranger, theirs["id"]))[-1] == "agent_shared_memory.expired"


async def test_a_search_reads_keys_and_values(owner: Client) -> None:
    text = await remembered(owner, "greeting", "Grüß Gott, 100% sicher")
    nested = await remembered(owner, "deal", {"stage": "Proposal", "notes": ["likes Grüß"]})
    for q, found in (
        ("greet", [text]),
        ("grüß", [nested, text]),
        ("PROPOSAL", [nested]),
        ("0% s", [text]),
        ("_", []),
    ):
        items = (await owner.get(PATH, params={"q": q})).json()["items"]
        assert [item["id"] for item in items] == [row["id"] for row in found], q


async def test_what_makes_no_sense_is_refused_by_name(owner: Client, stranger: Client) -> None:
    theirs = await make.agent(stranger)
    for body, field in (
        ({"importance": 101}, "importance"),
        ({"importance": -1}, "importance"),
        ({"expiresAt": (now() - timedelta(seconds=1)).isoformat()}, "expiresAt"),
        ({"expiresAt": "2099-01-01T00:00:00"}, "expiresAt"),
        ({"metadata": {"confidence": 2}}, "metadata.confidence"),
        ({"metadata": {"lastAccessed": "now"}}, "metadata.lastAccessed"),
        ({"agentId": theirs["id"]}, "agentId"),
        ({"value": "a\x00b"}, "value"),
    ):
        for method, path in (("POST", PATH), ("PUT", f"{PATH}/by-key")):
            answer = await owner.request(method, path, json={"key": "k", "value": 1, **body})
            assert set(errors(answer)) == {field}, (method, body)


async def test_what_an_agent_recalls_is_marked_as_accessed(owner: Client, service: Service, admin: Any) -> None:
    row = await remembered(owner, metadata={"source": "call"})
    async with service.database.workspace(owner.workspace_id) as db:
        found = await stories.recall(db, owner.workspace_id, "tone")
        assert found is not None
        assert found.value == "warm"
    seen = (await owner.get(f"{PATH}/{row['id']}")).json()["metadata"]
    assert set(seen) == {"source", "lastAccessed"}
    changed = (await owner.patch(f"{PATH}/{row['id']}", json={"metadata": {"source": "mail"}})).json()["metadata"]
    assert changed == {"source": "mail", "lastAccessed": seen["lastAccessed"]}
    await expire(admin, row)
    async with service.database.workspace(owner.workspace_id) as db:
        assert await stories.recall(db, owner.workspace_id, "tone") is None
