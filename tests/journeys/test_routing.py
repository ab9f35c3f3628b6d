"""Texts find their person over two processes, whose two workers decide: who frees up first has the next, and why."""

import asyncio
import uuid
from typing import Any

import httpx

from comms import credentials, workspaces
from comms.database import Database, Urls, as_role
from comms.settings import Secret
from models.tenancy import WEB, WORKER
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, listed, phone
from tests.journeys.lines import Line
from tests.journeys.waiting import until
from tests.screens import Screen, watching

API = "/api/v1"


async def _hired(pair: Pair, desk: Desk, name: str) -> tuple[str, str]:
    """Somebody new at the desk, and their token."""
    owner = Secret(pair.owner_url)
    database = Database(Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER)), pool_size=1)
    async with database.everywhere() as db:
        email = f"{name}-{uuid.uuid4()}@desk.example"
        member = await workspaces.enter(db, desk.workspace_id, email=email, role="member")
        _, token = await credentials.issue(db, member)
    await database.close()
    return str(member.user_id), token


async def _made(agent: httpx.AsyncClient, resource: str, **body: Any) -> str:
    answer = await agent.post(f"{API}/{resource}", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _owners(agent: httpx.AsyncClient) -> list[str | None]:
    """Whose the conversations are, in the order in which they came."""
    return [row["assignedTo"] for row in await listed(agent, "conversations", sort="createdAt")]


async def _next(screen: Screen, name: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (event := await screen.next("event"))["event"] != name:
            pass
    data: dict[str, Any] = event["data"]
    return data


async def test_a_conversation_is_routed_to_who_frees_up_first_and_the_decision_says_why(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient
) -> None:
    (ann, _), (ben, bens) = await _hired(pair, desk, "ann"), await _hired(pair, desk, "ben")
    team = await _made(agent, "teams", name="Support")
    for user in (ann, ben):
        await _made(agent, "team-members", teamId=team, userId=user)
        await _made(agent, "routing-profiles", userId=user, capacity=1, needsPresence=user == ben)
    rule = await _made(agent, "routing-rules", name="Texts", teamId=team, channels=["sms"])
    lines = [Line(port) for port in pair.ports]

    async def holds(*owners: str | None) -> None:
        async def as_said() -> bool:
            return await _owners(agent) == list(owners)

        await until(as_said, within=10, every=0.1)

    for number in range(3):
        assert await lines[number % 2].post(desk.text(phone(number))) == 200
        await holds(ann, *[None] * number)
    async with watching(pair.other.screen_url, bens) as screen:
        await holds(ann, ben, None)  # for now he is online
        waiting = await listed(agent, "routing-places")
        talks = [row["id"] for row in await listed(agent, "conversations", sort="createdAt")]
        assert [place["conversationId"] for place in waiting] == talks[2:]
        assert (await agent.post(f"{API}/conversations/{talks[1]}/closure")).status_code == 201
        decision = await _next(screen, "routing_decision.created")
        while decision["conversationId"] != talks[2]:
            decision = await _next(screen, "routing_decision.created")
    assert (decision["userId"], decision["ruleId"]) == (ben, rule)
    assert decision["reason"] == "the only one who was free: 0 of 1 places taken"
    because = {one["userId"]: (one["verdict"], one["because"]) for one in decision["considered"]}
    assert because == {ben: ("chosen", decision["reason"]), ann: ("full", "1 of 1 places taken")}
    assert await listed(agent, "routing-decisions", conversationId=talks[2]) == [decision]
    await holds(ann, ben, ben)
