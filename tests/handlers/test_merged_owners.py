"""Two conversations become one with their contacts: whose it is then, what still leaves, and whose they are again."""

import itertools
from typing import Any

import pytest

from comms import ownership
from comms.directory import Connection
from comms.outbox.fencing import STALE
from comms.ownership import ByMember
from comms.service import Service
from models.communications import Conversation
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.handoffs import hand, seen

API = "/api/v1"
HAVE = ("nobody", "agent", "handoff", "member")
"""Who may have a conversation, each before those named earlier once two become one."""


async def given(service: Service, owner: Client, who: str, name: str, phone: str, busy: int) -> dict[str, Any]:
    """A conversation that has changed hands ``busy`` times, and is now with somebody; an agent has said something."""
    talk = await make.talk(service, owner.workspace_id, phone)
    agent_id = await make.agent(service, owner.workspace_id, name)
    for _ in range(busy):
        async with make.held(service, talk) as (db, row):
            await ownership.give(db, row, ByMember(owner.user_id), why="test")
        async with make.held(service, talk) as (db, row):
            await ownership.release(db, row, why="test")
    handoff = None
    if who == "agent":
        fence = await make.claim(service, talk, agent_id)
        await make.reply(service, talk, agent_id, fence, "Let me see")
    elif who == "member":
        async with make.held(service, talk) as (db, row):
            await ownership.give(db, row, ByMember(owner.user_id), why="test")
    elif who == "handoff":
        handoff = await hand(owner, talk, {"userId": str(owner.user_id)})
    return {"talk": talk, "agent": agent_id, "handoff": handoff, "who": who}


def whose(row: Conversation) -> tuple[Any, Any]:
    return row.assigned_to, row.agent_id


async def open_ones(admin: Any) -> dict[str, str]:
    rows = await admin.fetch("SELECT id, conversation_id FROM conversation_handoffs WHERE status = 'open'")
    return {str(row["id"]): str(row["conversation_id"]) for row in rows}


@pytest.mark.parametrize(("other", "into"), list(itertools.product(HAVE, HAVE)))
async def test_the_united_conversation_is_whose_it_has_to_be_and_each_is_whose_it_was_again(
    owner: Client, service: Service, line: Connection, admin: Any, other: str, into: str
) -> None:
    # In half of the cases the kept one has changed hands more often, in half the other.
    busy = (0, 2) if (HAVE.index(other) + HAVE.index(into)) % 2 else (2, 0)
    gone = await given(service, owner, other, "Ada", "+14155550123", busy[0])
    kept = await given(service, owner, into, "Bob", "+14155550999", busy[1])
    before = [await make.now_of(service, one["talk"]) for one in (gone, kept)]
    waiting = len(await open_ones(admin))
    url = f"{API}/contacts/{kept['talk'].contact_id}"
    merge = (await owner.post(f"{url}/merge", json={"contactId": str(gone["talk"].contact_id)})).json()
    won = gone if HAVE.index(other) > HAVE.index(into) else kept
    empty, united = [await make.now_of(service, one["talk"]) for one in (gone, kept)]
    assert whose(united) == whose(before[0] if won is gone else before[1])
    assert united.fence > max(row.fence for row in before)
    assert (whose(empty), empty.status, empty.fence > before[0].fence) == ((None, None), "archived", True)
    told = await open_ones(admin)
    assert set(told.values()) <= {str(united.id)}
    assert list(told) == ([won["handoff"]["id"]] if won["who"] == "handoff" else [])
    # What the agent has said that has the conversation leaves, what another has said never does.
    rows = await admin.fetch(
        f"SELECT m.sender_agent_id AS agent, {STALE} AS is_stale FROM outgoing_messages o"
        " JOIN conversation_messages m USING (workspace_id, id)"
    )
    speakers = {one["agent"]: one is won for one in (gone, kept) if one["who"] == "agent"}
    assert {row["agent"]: row["is_stale"] for row in rows} == {agent: False for agent, has in speakers.items() if has}
    canceled = await admin.fetch("SELECT sender_agent_id AS agent FROM conversation_messages WHERE status = 'canceled'")
    assert {row["agent"] for row in canceled} == {agent for agent, has in speakers.items() if not has}

    assert (await owner.delete(f"{url}/merges/{merge['id']}")).status_code == 200
    for one, was in zip((gone, kept), before, strict=True):
        row = await make.now_of(service, one["talk"])
        assert row.fence > was.fence
        # An agent's lease is not given back: it claims again.
        agent = row.agent_id if one is won is kept else None
        assert whose(row) == (was.assigned_to, agent)
    again = await open_ones(admin)
    if won["who"] == "handoff":
        assert again == {won["handoff"]["id"]: str(won["talk"].id)}
    assert len(again) <= waiting


@pytest.mark.parametrize("which", ["kept", "gone"])
async def test_whose_it_is_since_the_merge_stays_so_when_that_is_undone(
    owner: Client, service: Service, line: Connection, admin: Any, which: str
) -> None:
    gone = await given(service, owner, "handoff", "Ada", "+14155550123", 0)
    kept = await given(service, owner, "nobody", "Bob", "+14155550999", 0)
    url = f"{API}/contacts/{kept['talk'].contact_id}"
    merge = (await owner.post(f"{url}/merge", json={"contactId": str(gone["talk"].contact_id)})).json()
    taken, other = (kept, gone) if which == "kept" else (gone, kept)
    answer = await owner.put(f"{API}/conversations/{taken['talk'].id}/ownership")
    assert answer.status_code == 200, answer.text
    is_asked = which == "gone"
    assert (await seen(owner, gone["handoff"]["id"]))["status"] == ("open" if is_asked else "accepted")
    assert (await owner.delete(f"{url}/merges/{merge['id']}")).status_code == 200
    assert whose(await make.now_of(service, taken["talk"])) == (owner.user_id, None)
    assert whose(await make.now_of(service, other["talk"])) == (None, None)
    assert await open_ones(admin) == ({gone["handoff"]["id"]: str(kept["talk"].id)} if is_asked else {})
