"""Whose a conversation is, and what may be said in it under which fence."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from comms import ownership
from comms.outbox import lines
from comms.ownership import ByAgent, ByMember, Owned, Stale
from comms.service import Service
from models.base import now
from models.communications import Conversation
from tests.conftest import Client
from tests.make import ownership as make


async def told(admin: Any, talk: Conversation) -> list[str]:
    rows = await admin.fetch("SELECT event FROM events WHERE conversation_id = $1 ORDER BY seq", talk.id)
    return [row["event"] for row in rows]


async def lapse(admin: Any) -> None:
    await admin.execute(
        "UPDATE conversations SET lease_expires_at = now() - interval '1 second' WHERE agent_id IS NOT NULL"
    )


async def test_an_agent_claims_what_nobody_has_and_renews_it_under_the_same_fence(
    service: Service, talk: Conversation, ada: uuid.UUID, admin: Any
) -> None:
    assert (talk.fence, talk.waiting_since is None) == (0, False)
    assert await make.claim(service, talk, ada, 30) == 1
    first = await make.now_of(service, talk)
    assert (first.agent_id, first.waiting_since, first.ownership_reason) == (ada, None, "claimed by the agent")
    assert await make.claim(service, talk, ada, 90) == 1
    async with make.held(service, talk) as (db, row):
        await ownership.renew(db, row, ada, 1, 120)
    last = await make.now_of(service, talk)
    assert first.lease_expires_at
    assert last.lease_expires_at
    assert last.lease_expires_at - first.lease_expires_at > timedelta(seconds=80)
    assert await told(admin, talk) == ["conversation.claimed"]


async def test_of_many_who_claim_at_once_one_has_it_and_the_others_are_told_who(
    service: Service, talk: Conversation, workspace_id: uuid.UUID
) -> None:
    agents = [await make.agent(service, workspace_id, f"Agent {number}") for number in range(4)]
    outcomes = await asyncio.gather(*(make.claim(service, talk, one) for one in agents), return_exceptions=True)
    owner = (await make.now_of(service, talk)).agent_id
    assert [outcome for outcome in outcomes if not isinstance(outcome, Owned)] == [1]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Owned)]
    assert {(one.owner.agent_id, one.owner.fence) for one in refused} == {(owner, 1)}


async def test_a_lease_that_is_over_can_be_claimed_by_another_or_runs_out(
    service: Service, talk: Conversation, ada: uuid.UUID, bob: uuid.UUID, admin: Any
) -> None:
    await make.claim(service, talk, ada)
    assert await ownership.expire_leases(service.database) == 0
    await lapse(admin)
    assert await make.claim(service, talk, bob) == 2
    await lapse(admin)
    assert await ownership.expire_leases(service.database) == 1
    row = await make.now_of(service, talk)
    assert (row.agent_id, row.fence, row.lease_expires_at) == (None, 3, None)
    assert row.waiting_since is not None
    assert await told(admin, talk) == ["conversation.claimed", "conversation.claimed", "conversation.lease_expired"]
    assert await ownership.expire_leases(service.database) == 0


async def test_an_agent_replies_under_the_current_fence_alone(
    service: Service, talk: Conversation, ada: uuid.UUID, bob: uuid.UUID, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    view = await make.reply(service, talk, ada, fence)
    assert (view.sender_type, view.sender_id) == ("agent", ada)
    kept = await admin.fetchrow("SELECT sender_agent_id, sender_id FROM conversation_messages WHERE id = $1", view.id)
    assert tuple(kept) == (ada, ada)
    for agent_id, said in ((ada, fence - 1), (ada, fence + 1), (ada, None), (bob, fence)):
        with pytest.raises(Stale) as refused:
            await make.reply(service, talk, agent_id, said)
        assert (refused.value.owner.agent_id, refused.value.owner.fence) == (ada, fence)
    await lapse(admin)
    with pytest.raises(Stale, match="lease is over"):
        await make.reply(service, talk, ada, fence)
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages") == 1


async def test_a_person_takes_over_at_once_and_the_agents_late_reply_is_refused(
    service: Service, talk: Conversation, ada: uuid.UUID, member: Client, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    async with make.held(service, talk) as (db, row):
        await ownership.take_over(db, row, member.user_id)
    with pytest.raises(Stale) as refused:
        await make.reply(service, talk, ada, fence)
    assert (refused.value.owner.user_id, refused.value.owner.fence) == (member.user_id, fence + 1)
    with pytest.raises(Owned):
        await make.claim(service, talk, ada)
    assert (await told(admin, talk))[:2] == ["conversation.claimed", "conversation.taken_over"]


async def test_a_person_who_answers_takes_the_conversation_over_in_the_same_commit(
    service: Service, talk: Conversation, ada: uuid.UUID, member: Client, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    with pytest.raises(Stale):
        await make.say(service, talk, sender_type="user", sender_user_id=member.user_id, fence=fence + 7)
    await make.say(service, talk, sender_type="system")
    assert (await make.now_of(service, talk)).agent_id == ada
    await make.say(service, talk, sender_type="user", sender_user_id=member.user_id)
    row = await make.now_of(service, talk)
    assert (row.assigned_to, row.agent_id, row.fence, row.message_count) == (member.user_id, None, fence + 1, 2)
    assert (await told(admin, talk))[-3:] == [
        "conversation.taken_over",
        "conversation_participant.created",
        "message.queued",
    ]


async def test_what_an_agent_has_scheduled_never_leaves_once_the_conversation_has_moved(
    service: Service, talk: Conversation, ada: uuid.UUID, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    kept = await make.say(service, talk, sender_type="system", scheduled_at=now() + timedelta(hours=1))
    said = await make.reply(service, talk, ada, fence)
    later = await make.reply(service, talk, ada, fence, scheduled_at=now() + timedelta(hours=1))
    async with make.held(service, talk) as (db, row):
        await ownership.release(db, row, why="done here")
    assert (await make.now_of(service, talk)).waiting_since is not None
    waiting = {row["id"] for row in await admin.fetch("SELECT id FROM outgoing_messages")}
    assert waiting == {kept.id, said.id}
    status = await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", later.id)
    assert status == "canceled"
    assert "message.canceled" in await told(admin, talk)


async def test_what_an_agent_says_waits_in_line_no_more_when_a_person_takes_over(
    service: Service, talk: Conversation, ada: uuid.UUID, member: Client, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    leaving = await make.reply(service, talk, ada, fence, "first")
    await admin.execute("UPDATE outgoing_messages SET state = 'sending'")
    waits = await make.reply(service, talk, ada, fence, "second")
    async with make.held(service, talk) as (db, row):
        await ownership.take_over(db, row, member.user_id)
    assert [row["id"] for row in await admin.fetch("SELECT id FROM outgoing_messages")] == [leaving.id]
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", waits.id) == "canceled"


async def test_what_was_put_off_until_the_morning_does_not_leave_when_the_conversation_has_moved_meanwhile(
    service: Service, talk: Conversation, ada: uuid.UUID, admin: Any
) -> None:
    fence = await make.claim(service, talk, ada)
    said = await make.reply(service, talk, ada, fence)
    await admin.execute("UPDATE outgoing_messages SET state = 'sending'")
    async with make.held(service, talk) as (db, row):
        await ownership.release(db, row, why="done here")
    await admin.execute("UPDATE outgoing_messages SET (state, is_head, line_at) = ('scheduled', false, now())")
    await lines.release(service.database)
    assert await admin.fetchval("SELECT count(*) FROM outgoing_messages") == 0
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", said.id) == "canceled"


async def test_giving_moves_it_on_with_the_reason_and_giving_it_to_who_has_it_changes_nothing(
    service: Service, talk: Conversation, ada: uuid.UUID, member: Client, admin: Any
) -> None:
    for owner in (ByMember(member.user_id), ByMember(member.user_id), ByAgent(ada), ByAgent(ada), None, None):
        async with make.held(service, talk) as (db, row):
            await ownership.give(db, row, owner, why=f"to {owner}")
    row = await make.now_of(service, talk)
    assert (row.fence, row.ownership_reason) == (3, "to None")
    moves = [event for event in await told(admin, talk) if event.startswith("conversation.")]
    assert moves == ["conversation.assigned", "conversation.claimed", "conversation.released"]


async def test_the_database_knows_no_conversation_without_an_owner_or_a_place_nor_one_with_two(
    talk: Conversation, ada: uuid.UUID, member: Client, admin: Any
) -> None:
    for change in (
        "waiting_since = NULL",
        f"assigned_to = '{member.user_id}'",
        f"agent_id = '{ada}', waiting_since = NULL",
        f"agent_id = '{ada}', assigned_to = '{member.user_id}', waiting_since = NULL, lease_expires_at = now()",
        "lease_expires_at = now()",
        "fence = -1",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await admin.execute(f"UPDATE conversations SET {change} WHERE id = $1", talk.id)
