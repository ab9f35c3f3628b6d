"""What an agent has said does not leave once somebody else has the conversation, however late that is found out."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from comms import ownership
from comms.directory import Connection
from comms.outbox import fencing, leasing, lines, settling
from comms.ownership import ByAgent
from comms.service import Service
from models.base import now
from models.communications import Conversation, ConversationMessageView
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.sending import NONE_WAITS, Outside, outside, until


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        yield world


@pytest.fixture
async def said(service: Service, talk: Conversation, ada: uuid.UUID) -> ConversationMessageView:
    """What an agent has just said, and has not left."""
    return await make.reply(service, talk, ada, await make.claim(service, talk, ada), is_reply=True)


async def is_called_back(admin: Any, said: ConversationMessageView) -> bool:
    """Whether it never leaves, says why, and everybody was told so once."""
    row = await admin.fetchrow("SELECT status, error_message FROM conversation_messages WHERE id = $1", said.id)
    told = await admin.fetch("SELECT event FROM events WHERE subject_id = $1 ORDER BY seq", said.id)
    waits = await admin.fetchval("SELECT count(*) FROM outgoing_messages WHERE id = $1", said.id)
    if row["status"] != "canceled":
        return False
    assert (row["error_message"], waits) == (fencing.CALLED_BACK, 0)
    assert [one["event"] for one in told][-1] == "message.canceled"
    assert [one["event"] for one in told].count("message.canceled") == 1
    return True


async def tried(service: Service, talk: Conversation) -> leasing.Lease:
    """The message is with whoever gives it to its provider."""
    async with service.database.alone() as db:
        [lease] = await leasing.lease(db, {talk.workspace_id: 5}, 30, 0)
        return lease


async def put_back(service: Service, lease: leasing.Lease, outcome: settling.Outcome, **more: Any) -> None:
    """The provider did not take it."""
    async with service.database.alone() as db:
        other = msgspec.structs.replace(lease.route, from_address="+14155550142")
        route = other if outcome == "elsewhere" else None
        await settling.settle(db, [settling.Result(lease=lease, outcome=outcome, route=route, **more)])


@asynccontextmanager
async def taken_over(service: Service, talk: Conversation, by: Client) -> AsyncIterator[None]:
    """A person has taken over, which is committed at the end."""
    async with make.held(service, talk) as (db, row):
        await ownership.take_over(db, row, by.user_id)
        yield


@pytest.mark.parametrize("outcome", ["later", "again", "elsewhere"])
@pytest.mark.parametrize("comes_back", ["before the commit", "after it"])
async def test_what_comes_back_from_its_provider_does_not_leave_once_a_person_has_taken_over(
    world: Outside,
    service: Service,
    talk: Conversation,
    said: ConversationMessageView,
    member: Client,
    admin: Any,
    outcome: settling.Outcome,
    comes_back: str,
) -> None:
    lease = await tried(service, talk)
    async with taken_over(service, talk, member):
        if comes_back == "before the commit":
            await put_back(service, lease, outcome)
    if comes_back == "after it":
        await put_back(service, lease, outcome)
    answer = await make.say(service, talk, "I am a person", sender_type="user", sender_user_id=member.user_id)
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert [one.body for one in world.exchange.sent] == [answer.content]
    assert await is_called_back(admin, said)


async def test_what_may_have_left_already_is_looked_up_first_and_then_called_back(
    world: Outside, service: Service, talk: Conversation, said: ConversationMessageView, member: Client, admin: Any
) -> None:
    world.exchange.faults.append("never")
    async with world.sending():
        await until(admin, "EXISTS (SELECT FROM outgoing_messages WHERE state <> 'queued')")
        async with taken_over(service, talk, member):
            pass
        await until(admin, NONE_WAITS)
    assert world.exchange.sent == []
    assert await is_called_back(admin, said)


async def test_what_was_put_off_until_the_morning_does_not_leave_once_a_person_has_taken_over(
    service: Service, talk: Conversation, said: ConversationMessageView, member: Client, admin: Any
) -> None:
    lease = await tried(service, talk)
    async with taken_over(service, talk, member):
        pass
    await put_back(service, lease, "later", until=now() + timedelta(hours=1))
    await admin.execute("UPDATE outgoing_messages SET line_at = now()")
    await lines.release(service.database)
    assert await is_called_back(admin, said)


@pytest.mark.parametrize("way", ["taken over", "assigned", "answered", "routed", "another agent's", "claimed again"])
async def test_what_waits_when_an_agent_lets_go_is_called_back_as_soon_as_anybody_has_the_conversation(
    service: Service,
    talk: Conversation,
    ada: uuid.UUID,
    said: ConversationMessageView,
    member: Client,
    admin: Any,
    way: str,
) -> None:
    async with make.held(service, talk) as (db, row):
        await ownership.release(db, row, why="done here")
    assert not await is_called_back(admin, said)
    bob = await make.agent(service, talk.workspace_id, "Bob")
    if way == "answered":
        await make.say(service, talk, sender_type="user", sender_user_id=member.user_id)
    else:
        async with make.held(service, talk) as (db, row):
            match way:
                case "taken over":
                    await ownership.take_over(db, row, member.user_id)
                case "assigned":
                    await ownership.give(db, row, ownership.ByMember(member.user_id), why=way)
                case "routed":
                    await ownership.give_waiting(db, [(row, member.user_id, way)])
                case "another agent's":
                    await ownership.give(db, row, ByAgent(bob), why=way)
                case _:
                    await ownership.claim(db, row, ada, 60)
    assert await is_called_back(admin, said)


async def test_what_an_agent_said_before_it_let_go_leaves_while_nobody_has_the_conversation(
    world: Outside, service: Service, talk: Conversation, said: ConversationMessageView, admin: Any
) -> None:
    lease = await tried(service, talk)
    async with make.held(service, talk) as (db, row):
        await ownership.release(db, row, why="a colleague takes it")
    await put_back(service, lease, "later")
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert [one.body for one in world.exchange.sent] == [said.content]


@pytest.mark.parametrize("status", ["paused", "archived"])
async def test_what_an_agent_said_does_not_leave_once_it_is_out_of_work(
    service: Service, talk: Conversation, ada: uuid.UUID, said: ConversationMessageView, admin: Any, status: str
) -> None:
    await admin.execute("UPDATE agents SET status = $1", status)
    lease = await tried(service, talk)
    assert lease.is_stale
