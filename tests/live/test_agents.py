"""What an agent's runtime hears: what is the agent's, and what waits for it; and nothing of anybody else's."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API
from tests.make.runtimes import AGENT, Runtime, asked, runtime
from tests.screens import Screen, screen, serving, watching


@pytest.fixture
async def address(app: Any) -> AsyncIterator[str]:
    async with serving(app) as address:
        yield address


@pytest.fixture
async def ada(app: Any, owner: Client) -> AsyncIterator[Runtime]:
    async with runtime(app, owner) as client:
        yield client


async def heard(seen: Screen, last: str) -> list[str]:
    """The events up to the one of that name."""
    events = []
    while not events or events[-1] != last:
        events.append((await seen.next("event"))["event"])
    return events


async def marked(client: Client, ada: Runtime) -> None:
    """Something that the agent hears in any case: what was told before it was told first."""
    await make.made(client, "/agent-messages", {"toAgentId": str(ada.agent_id), "content": {"body": "mark"}})


async def test_it_hears_what_waits_and_what_it_has_and_no_more_once_a_person_has_it(
    address: str, ada: Runtime, owner: Client, member: Client, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    async with watching(address, ada.token, judged=False) as seen:
        await make.made(owner, "/contacts", {"firstName": "Nobody's business"})
        talk = await asked(anonymous, line, owner)
        assert await heard(seen, "message.received") == ["conversation.created", "message.received"]
        fence = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
        assert await heard(seen, "conversation.claimed") == ["conversation.claimed"]
        await ada.post(f"{AGENT}/conversations/{talk}/replies", json={"fence": fence, "content": "Yes"})
        assert await heard(seen, "message.queued") == ["message.queued"]
        await member.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(member.user_id)})
        taken = await seen.next("event")
        assert (taken["event"], taken["data"]["assignedTo"]) == ("conversation.assigned", str(member.user_id))
        await asked(anonymous, line, owner, body="And 4pm?")
        await marked(owner, ada)
        assert await heard(seen, "agent_message.created") == ["agent_message.created"]


async def test_a_message_between_agents_is_delivered_and_acknowledged(
    app: Any, address: str, ada: Runtime, owner: Client
) -> None:
    async with runtime(app, owner, "Bob") as bob, runtime(app, owner, "Eve") as eve:
        team = await make.team(owner)
        await make.member(owner, team, {"id": str(ada.agent_id)})
        async with (
            watching(address, ada.token, judged=False) as hers,
            watching(address, bob.token, judged=False) as his,
            watching(address, eve.token, judged=False) as others,
        ):
            task = {"toAgentId": str(ada.agent_id), "messageType": "task", "content": {"body": "Find the invoice"}}
            sent = (await bob.post(f"{AGENT}/messages", json=task)).json()
            assert (await hers.next("event"))["data"] == sent
            path = f"{AGENT}/messages/{sent['id']}/acknowledgement"
            assert (await eve.post(path, json={})).status_code == 404
            assert (await bob.post(path, json={})).status_code == 403
            for status in ("delivered", "delivered", "processed"):
                answer = await ada.post(path, json={"status": status})
                assert (answer.status_code, answer.json()["status"]) == (201, status)
            assert (await ada.post(path, json={"status": "read"})).status_code == 409
            statuses = [(await his.next("event"))["data"]["status"] for _ in range(3)]
            assert statuses == ["pending", "delivered", "processed"]
            result = {"toAgentId": str(bob.agent_id), "messageType": "result", "parentMessageId": sent["id"]}
            answered = (await ada.post(f"{AGENT}/messages", json=result)).json()
            assert (answered["threadId"], answered["fromAgentId"]) == (sent["threadId"], str(ada.agent_id))
            await his.next("event")
            to_team = (await bob.post(f"{AGENT}/messages", json={"teamId": team["id"], "messageType": "query"})).json()
            while (await hers.next("event"))["data"]["id"] != to_team["id"]:
                pass
            await marked(owner, eve)
            assert [(await others.next("event"))["data"]["content"]["body"]] == ["mark"]


async def test_what_it_missed_is_told_when_it_comes_back_and_again_only_what_is_its_own(
    address: str, ada: Runtime, owner: Client, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    async with watching(address, ada.token, judged=False) as seen:
        before = seen.ready["seq"]
    talk = await asked(anonymous, line, owner)
    await make.made(owner, "/contacts", {"firstName": "Nobody's business"})
    await marked(owner, ada)
    async with watching(address, ada.token, judged=False, after=before) as seen:
        assert await heard(seen, "agent_message.created") == [
            "conversation.created",
            "message.received",
            "agent_message.created",
        ]
    await owner.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(owner.user_id)})
    async with watching(address, ada.token, judged=False, after=before) as seen:
        assert await heard(seen, "agent_message.created") == ["agent_message.created"]


async def test_an_approval_and_a_run_asked_for_are_heard_by_whose_they_are(
    app: Any, address: str, ada: Runtime, owner: Client, member: Client
) -> None:
    async with runtime(app, owner, "Bob") as bob, watching(address, bob.token, judged=False) as others:
        async with watching(address, ada.token, judged=False) as seen:
            body = {"actionType": "email.send", "title": "May I?"}
            action = (await ada.post(f"{AGENT}/actions", json=body)).json()
            await member.post(f"{API}/agent-pending-actions/{action['id']}/approval")
            await make.made(owner, f"/agents/{ada.agent_id}/executions", {"input": {}})
            assert await heard(seen, "agent_execution.created") == [
                "agent_pending_action.created",
                "agent_pending_action.approved",
                "agent_execution.created",
            ]
        await marked(owner, bob)
        assert await heard(others, "agent_message.created") == ["agent_message.created"]


@pytest.mark.parametrize("how", ["paused", "revoked"])
async def test_an_agent_that_is_paused_or_loses_its_token_hears_no_more(
    address: str, ada: Runtime, owner: Client, how: str
) -> None:
    async with watching(address, ada.token, judged=False) as seen:
        if how == "paused":
            await make.moved(owner, f"/agents/{ada.agent_id}", "paused")
        else:
            await owner.delete(f"{API}/access-tokens/{ada.token_id}")
        assert (await seen.closed())[0] == 4401
    async with screen(address, ada.token) as again:
        assert (await again.closed())[0] == (4403 if how == "paused" else 4401)


async def test_an_agent_is_nobody_who_is_here_and_sees_nobody(
    address: str, ada: Runtime, owner: Client, member: Client, anonymous: httpx.AsyncClient, line: Connection
) -> None:
    talk = await asked(anonymous, line, owner)
    async with watching(address, member.token, judged=False, topics=["presence", "inbox"]) as person:
        async with watching(address, ada.token, judged=False, topics=["presence", "inbox"]) as seen:
            assert (await seen.next("here"))["users"] == []
            await seen.say(type="typing", conversationId=talk)
            await seen.say(type="presence", status="busy")
            await person.say(type="typing", conversationId=talk)
            await marked(owner, ada)
            await seen.say(type="ping")
            assert await frames_until(seen, "pong") == []
        await person.say(type="ping")
        spoken = await frames_until(person, "pong")
        assert [frame for frame in spoken if str(owner.user_id) in str(frame)] == []


async def frames_until(seen: Screen, kind: str) -> list[dict[str, Any]]:
    """What comes before the next of a kind."""
    frames = []
    while (frame := await seen.next())["type"] != kind:
        frames.append(frame)
    return frames
