"""Teams of agents: one coordinator, an order, and nobody twice; and what agents tell each other."""

import asyncio
import uuid
from typing import Any

from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told
from tests.make.runtimes import AGENT, runtime


async def members(client: Client, team: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Who is in the team, in which role, at which place."""
    answer = await client.get(f"{API}/agent-teams/{team['id']}/members")
    assert answer.status_code == 200, answer.text
    return [(item["agentId"], item["role"], item["priority"]) for item in answer.json()["items"]]


async def coordinator(client: Client, team: dict[str, Any]) -> str | None:
    answer = await client.get(f"{API}/agent-teams/{team['id']}")
    found: str | None = answer.json()["coordinatorAgentId"]
    return found


async def test_a_coordinator_becomes_a_member(owner: Client) -> None:
    ada = await make.agent(owner, "Ada")
    team = await make.team(owner, coordinatorAgentId=ada["id"])
    assert await members(owner, team) == [(ada["id"], "coordinator", 1)]


async def test_another_coordinator_takes_the_place_of_the_one_before(owner: Client) -> None:
    ada, bob = await make.agent(owner, "Ada"), await make.agent(owner, "Bob")
    team = await make.team(owner, coordinatorAgentId=ada["id"])
    answer = await owner.patch(f"{API}/agent-teams/{team['id']}", json={"coordinatorAgentId": bob["id"]})
    assert answer.status_code == 200, answer.text
    assert await members(owner, team) == [(ada["id"], "specialist", 1), (bob["id"], "coordinator", 2)]
    assert await told(owner, team["id"]) == ["agent_team.created", "agent_team.updated"]
    await owner.patch(f"{API}/agent-teams/{team['id']}", json={"coordinatorAgentId": None})
    assert [role for _, role, _ in await members(owner, team)] == ["specialist", "specialist"]


async def test_a_member_in_the_role_of_coordinator_is_the_teams(owner: Client) -> None:
    ada, bob = await make.agent(owner, "Ada"), await make.agent(owner, "Bob")
    team = await make.team(owner, coordinatorAgentId=ada["id"])
    row = await make.member(owner, team, bob, role="coordinator")
    assert await coordinator(owner, team) == bob["id"]
    assert await members(owner, team) == [(ada["id"], "specialist", 1), (bob["id"], "coordinator", 2)]
    path = f"{API}/agent-team-members/{row['id']}"
    assert (await owner.patch(path, json={"role": "support"})).json()["role"] == "support"
    assert await coordinator(owner, team) is None
    assert (await owner.patch(path, json={"role": "coordinator"})).status_code == 200
    assert await coordinator(owner, team) == bob["id"]
    assert (await owner.delete(path)).status_code == 204
    assert await coordinator(owner, team) is None
    assert await told(owner, row["id"]) == [
        "agent_team_member.created",
        "agent_team_member.updated",
        "agent_team_member.updated",
        "agent_team_member.deleted",
    ]


async def test_two_who_appoint_at_once_leave_one_coordinator(owner: Client) -> None:
    team = await make.team(owner)
    people = [await make.agent(owner, name) for name in ("Ada", "Bob", "Cid", "Dan")]
    answers = await asyncio.gather(
        *(
            owner.post(
                f"{API}/agent-team-members",
                json={"teamId": team["id"], "agentId": agent["id"], "role": "coordinator"},
            )
            for agent in people
        )
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    there = await members(owner, team)
    assert sorted(place for _, _, place in there) == [1, 2, 3, 4]
    assert [agent for agent, role, _ in there if role == "coordinator"] == [await coordinator(owner, team)]


async def test_an_agent_is_in_a_team_once(owner: Client) -> None:
    ada = await make.agent(owner)
    team = await make.team(owner)
    body = {"teamId": team["id"], "agentId": ada["id"]}
    answers = await asyncio.gather(*(owner.post(f"{API}/agent-team-members", json=body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


async def test_an_agent_of_another_workspace_is_nobody_here(owner: Client, stranger: Client) -> None:
    theirs = await make.agent(stranger)
    body = {"name": "Sales", "coordinatorAgentId": theirs["id"]}
    assert set(errors(await owner.post(f"{API}/agent-teams", json=body))) == {"coordinatorAgentId"}
    team = await make.team(owner)
    member = {"teamId": team["id"], "agentId": theirs["id"]}
    assert set(errors(await owner.post(f"{API}/agent-team-members", json=member))) == {"agentId"}
    assert (await stranger.get(f"{API}/agent-teams/{team['id']}/members")).status_code == 404


async def test_the_order_of_members_is_set_at_once(owner: Client) -> None:
    team = await make.team(owner)
    rows = [await make.member(owner, team, await make.agent(owner, name)) for name in ("Ada", "Bob", "Cid")]
    ids = [row["id"] for row in rows]
    path = f"{API}/agent-teams/{team['id']}/member-order"
    answer = await owner.put(path, json={"memberIds": [ids[2], ids[1], ids[0]]})
    assert answer.status_code == 200, answer.text
    assert [item["id"] for item in answer.json()["items"]] == [ids[2], ids[1], ids[0]]
    assert [agent for agent, _, _ in await members(owner, team)] == [rows[at]["agentId"] for at in (2, 1, 0)]
    assert await told(owner, ids[0]) == ["agent_team_member.created", "agent_team_member.updated"]
    assert await told(owner, ids[1]) == ["agent_team_member.created"]
    assert (await owner.put(path, json={"memberIds": [ids[2], ids[1], ids[0]]})).status_code == 200
    assert await told(owner, ids[0]) == ["agent_team_member.created", "agent_team_member.updated"]


async def test_an_order_that_is_not_all_members_once_is_refused(owner: Client) -> None:
    team = await make.team(owner)
    ids = [(await make.member(owner, team, await make.agent(owner)))["id"] for _ in range(2)]
    path = f"{API}/agent-teams/{team['id']}/member-order"
    for wrong in ([], ids[:1], [ids[0], ids[0]], [*ids, str(uuid.uuid4())], [ids[0], str(uuid.uuid4())]):
        assert set(errors(await owner.put(path, json={"memberIds": wrong}))) == {"memberIds"}, wrong
    assert (await owner.put(path, json={"memberIds": ids[::-1]})).status_code == 200


async def test_a_member_keeps_what_a_change_does_not_name(owner: Client, viewer: Client, stranger: Client) -> None:
    row = await make.member(owner, await make.team(owner), await make.agent(owner))
    path = f"{API}/agent-team-members/{row['id']}"
    changed = (await owner.patch(path, json={"priority": 7})).json()
    assert {name for name in row if row[name] != changed[name]} == {"priority", "updatedAt"}
    assert set(errors(await owner.patch(path, json={"agentId": row["agentId"], "priority": -1}))) == {
        "agentId",
        "priority",
    }
    assert (await viewer.patch(path, json={})).status_code == 403
    assert (await stranger.patch(path, json={})).status_code == 404


async def test_a_teams_status_moves_by_its_own_rules(owner: Client) -> None:
    team = await make.team(owner)
    for status in ("paused", "archived", "active"):
        await make.moved(owner, f"/agent-teams/{team['id']}", status)
    await make.moved(owner, f"/agent-teams/{team['id']}", "archived")
    answer = await owner.put(f"{API}/agent-teams/{team['id']}/status", json={"status": "paused"})
    assert answer.status_code == 409
    assert "active" in answer.json()["detail"]


async def test_an_answer_is_in_the_thread_of_what_it_answers(owner: Client) -> None:
    ada, bob = await make.agent(owner, "Ada"), await make.agent(owner, "Bob")
    first = await make.made(
        owner,
        "/agent-messages",
        {"fromAgentId": ada["id"], "toAgentId": bob["id"], "content": {"subject": "Call Jane", "priority": "high"}},
    )
    assert first["threadId"] == first["id"]
    assert first["content"] == {"subject": "Call Jane", "priority": "high"}
    answer = {"fromAgentId": bob["id"], "toAgentId": ada["id"], "messageType": "result"}
    second = await make.made(owner, "/agent-messages", {**answer, "parentMessageId": first["id"]})
    third = await make.made(owner, "/agent-messages", {**answer, "parentMessageId": second["id"]})
    assert second["threadId"] == third["threadId"] == first["id"]
    await make.made(owner, "/agent-messages", answer)
    thread = await owner.get(f"{API}/agent-messages", params={"threadId": first["id"], "sort": "createdAt"})
    assert [item["id"] for item in thread.json()["items"]] == [first["id"], second["id"], third["id"]]


async def test_what_an_agent_answers_to_a_member_or_a_workflow_waits_for_no_agent(app: Any, owner: Client) -> None:
    async with runtime(app, owner) as ada:
        task = await make.made(owner, "/agent-messages", {"toAgentId": str(ada.agent_id)})
        result = {"messageType": "result", "parentMessageId": task["id"]}
        said = await ada.post(f"{AGENT}/messages", json=result)
        assert said.json()["status"] == "processed", said.text
        waiting = (await ada.get(f"{AGENT}/messages", params={"status": "pending"})).json()["items"]
        assert [one["id"] for one in waiting] == [task["id"]]


async def test_a_message_without_an_addressee_or_sense_is_refused_by_name(owner: Client, stranger: Client) -> None:
    ada = await make.agent(owner)
    theirs = await make.made(stranger, "/agent-messages", {"toAgentId": (await make.agent(stranger))["id"]})
    for body, field in (
        ({}, "toAgentId"),
        ({"toAgentId": ada["id"], "threadId": theirs["id"]}, "threadId"),
        ({"toAgentId": ada["id"], "parentMessageId": theirs["id"]}, "parentMessageId"),
        ({"toAgentId": theirs["toAgentId"]}, "toAgentId"),
        ({"toAgentId": ada["id"], "content": {"priority": "soon"}}, "content.priority"),
        ({"toAgentId": ada["id"], "content": {"colour": "red"}}, "content.colour"),
    ):
        assert set(errors(await owner.post(f"{API}/agent-messages", json=body))) == {field}, body


async def test_a_message_goes_forward_only(owner: Client, viewer: Client) -> None:
    row = await make.made(owner, "/agent-messages", {"toAgentId": (await make.agent(owner))["id"]})
    path = f"/agent-messages/{row['id']}"
    for status in ("delivered", "read", "read"):
        assert (await make.moved(owner, path, status))["status"] == status
    back = await owner.put(f"{API}{path}/status", json={"status": "delivered"})
    assert back.status_code == 409
    assert "processed" in back.json()["detail"]
    assert (await viewer.put(f"{API}{path}/status", json={"status": "processed"})).status_code == 403
    assert (await make.moved(owner, path, "processed"))["status"] == "processed"
    assert await told(owner, row["id"]) == ["agent_message.created", *["agent_message.updated"] * 3]


async def test_what_is_said_to_a_team_is_taken_by_the_first_that_acknowledges_it(app: Any, owner: Client) -> None:
    team = await make.team(owner)
    async with runtime(app, owner) as ada, runtime(app, owner, "Bob") as bob:
        for client in (ada, bob):
            await make.member(owner, team, {"id": str(client.agent_id)})
        row = await make.made(owner, "/agent-messages", {"teamId": team["id"], "content": {"body": "Who calls?"}})
        address = f"{AGENT}/messages/{row['id']}/acknowledgement"
        answers = await asyncio.gather(*[client.post(address, json={}) for client in (ada, bob)])
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        won, lost = (ada, bob) if answers[0].status_code == 201 else (bob, ada)
        again = await won.post(address, json={"status": "delivered"})
        assert (again.status_code, again.json()["takenByAgentId"]) == (201, str(won.agent_id))
        for status in ("delivered", "read", "processed"):
            answer = await lost.post(address, json={"status": status})
            assert (answer.status_code, str(won.agent_id) in answer.json()["detail"]) == (409, True)
        assert (await won.post(address, json={"status": "processed"})).status_code == 201
        shown = (await lost.get(f"{AGENT}/messages")).json()["items"]
        assert [(one["status"], one["takenByAgentId"]) for one in shown] == [("processed", str(won.agent_id))]
    assert await told(owner, row["id"]) == ["agent_message.created", *["agent_message.updated"] * 2]
