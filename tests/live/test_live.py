"""The websocket as a client meets it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, update

from comms import credentials, metrics
from comms.database import Database
from comms.hub import Hub
from comms.service import Service
from handlers.app import create_app
from models.base import new_id
from models.core import AccessToken, WorkspaceMember
from tests.handlers.descriptions import api
from tests.screens import Office, application, eventually, screen, serving, watching


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    hub = Hub(database, heartbeat_seconds=1)
    await hub.start()
    database.on_told = hub.told
    yield hub
    await hub.stop()


async def ticket_for(database: Database, acme: Office) -> str:
    identity = await credentials.identify(database, acme.token)
    async with database.workspace(acme.workspace_id) as db:
        return await credentials.issue_ticket(db, identity)


# Who are you


async def test_a_forged_token_is_turned_away(url: str, acme: Office) -> None:
    async with screen(url, "ck_" + acme.token[:2:-1]) as forged:
        assert await forged.closed() == (4401, "we do not know who you are")
    async with watching(url, acme.token):
        pass


@pytest.mark.parametrize(
    "first", ['{"type":"ping"}', "{", "[]", '{"type":"auth"}', '{"type":"auth","token":7}', b"\x00\xff"]
)
async def test_anything_but_auth_first_is_turned_away(url: str, first: str | bytes) -> None:
    async with screen(url, None) as silent:
        await silent.connection.send(first)
        assert (await silent.closed())[0] == 4401


@pytest.mark.parametrize(
    ("further", "why"),
    [
        ('"after":-1', "Expected `int` >= 0"),
        ('"after":"x"', "Expected `int | null`"),
        ('"topics":7', "Expected `array"),
    ],
)
async def test_a_wish_that_is_none_is_named_in_the_first_frame_too(
    url: str, acme: Office, further: str, why: str
) -> None:
    async with screen(url, None) as wishful:
        await wishful.connection.send(f'{{"type":"auth","token":"{acme.token}",{further}}}')
        code, reason = await wishful.closed()
        assert code == 1008
        assert reason.startswith(why)


async def test_whoever_we_close_on_is_counted_by_the_code(url: str, acme: Office) -> None:
    def counted(code: int) -> float:
        return metrics.CLOSED.labels(str(code))._value.get()

    before = {code: counted(code) for code in (1008, 4401)}
    async with screen(url, "ck_nobody") as forged:
        await forged.closed()
    async with screen(f"{url}?topics=nonsense", acme.token) as unknown:
        await unknown.closed()
    async with watching(url, acme.token) as chatty:
        for _ in range(20):
            await chatty.connection.send("{")
        await chatty.closed()
    assert {code: counted(code) - before[code] for code in before} == {1008: 2, 4401: 1}


async def test_who_says_nothing_is_turned_away(hub: Hub, url: str) -> None:
    hub.auth_seconds = 0.3
    async with screen(url, None) as silent:
        assert await silent.closed() == (4401, "no auth frame in time")


async def test_whose_token_takes_us_long_to_look_up_is_not_turned_away_for_it(
    admin: Any, hub: Hub, url: str, acme: Office
) -> None:
    hub.auth_seconds = 0.2
    async with screen(url, None) as patient:
        async with admin.transaction():
            await admin.execute("LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE")
            await patient.say(type="auth", token=acme.token)
            await asyncio.sleep(0.4)
        await patient.next("ready")


async def test_a_ticket_opens_once(database: Database, url: str, acme: Office) -> None:
    ticket = await ticket_for(database, acme)
    await acme.happens(times=2)
    async with screen(f"{url}?ticket={ticket}&after=1", None) as first:
        assert (await first.next("ready"))["userId"] == str(acme.user_id)
        assert await first.seqs(1) == [2]
    async with screen(f"{url}?ticket={ticket}", None) as second:
        assert (await second.closed())[0] == 4401


async def test_a_revoked_token_ends_what_it_began(database: Database, url: str, acme: Office) -> None:
    async with (
        watching(url, acme.token) as revoked,
        screen(f"{url}?ticket={await ticket_for(database, acme)}", None) as by_ticket,
    ):
        await by_ticket.next("ready")
        async with database.everywhere() as db:
            await db.execute(update(AccessToken).values(revoked_at=func.now()))
        assert await revoked.closed() == (4401, "your access has ended")
        assert await by_ticket.closed() == (4401, "your access has ended")


async def test_a_deactivated_member_is_shown_out(database: Database, url: str, acme: Office) -> None:
    async with watching(url, acme.token) as left:
        async with database.everywhere() as db:
            await db.execute(update(WorkspaceMember).values(is_active=False))
        assert await left.closed() == (4401, "your access has ended")


async def test_a_member_who_is_deactivated_is_shown_out_at_once_when_it_is_told(
    database: Database, acme: Office
) -> None:
    hub = Hub(database)  # with its long rounds
    await hub.start()
    database.on_told = hub.told
    async with serving(application(database, hub)) as url, watching(url, acme.token) as left:
        async with database.everywhere() as db:
            await db.execute(update(WorkspaceMember).values(is_active=False))
        await acme.happens("workspace_member.updated")
        assert (await left.closed(within=4))[0] == 4401
    await hub.stop()


async def test_more_sockets_than_the_process_takes_are_sent_elsewhere(database: Database, acme: Office) -> None:
    hub = Hub(database, max_sockets=1)
    await hub.start()
    async with (
        serving(application(database, hub)) as url,
        watching(url, acme.token),
        screen(url, acme.token) as second,
    ):
        assert (await second.closed())[0] == 1013
    await hub.stop()


# What clients say


async def test_topics_narrow_what_is_heard(url: str, acme: Office) -> None:
    mine, other = new_id(), new_id()
    async with watching(url, acme.token) as one, watching(url, acme.token, topics=["contacts", "inbox"]) as two:
        await one.say(type="subscribe", topics=[f"conversation:{mine}", "team_messages"])
        assert await one.next("topics") == {"type": "topics", "topics": [f"conversation:{mine}", "team_messages"]}
        await acme.happens("message.received", conversation_id=mine)
        await acme.happens("message.received", conversation_id=other)
        await acme.happens("contact.created")
        await acme.happens("team_message.updated")
        assert await one.seqs(2) == [1, 4]
        assert await two.seqs(3) == [1, 2, 3]
        await one.say(type="unsubscribe", topics=["team_messages"])
        await one.next("topics")
        await acme.happens("team_message.updated")
        await acme.happens("conversation.assigned", conversation_id=mine)
        assert await one.seqs(1) == [6]
        await one.say(type="subscribe", topics=["workspace"])
        assert (await one.next("topics"))["topics"] == ["workspace"]
        await acme.happens("anything.new")
        assert await one.seqs(1) == [7]


async def test_a_channel_a_call_and_a_member_are_topics_of_their_own(url: str, acme: Office) -> None:
    channel, call, user = str(new_id()), str(new_id()), str(new_id())
    told = [
        ("team_message.created", {"channelId": channel}),
        ("team_message.created", {"channelId": str(new_id())}),
        ("call_leg.updated", {"callId": call, "userId": user}),
        ("call_offer.created", {"callId": str(new_id()), "userIds": [str(new_id()), user]}),
        ("conversation.assigned", {"assignedTo": user}),
        ("conversation.assigned", {"assignedTo": None}),
    ]
    async with (
        watching(url, acme.token, topics=[f"channel:{channel}"]) as of_channel,
        watching(url, acme.token, topics=[f"call:{call}"]) as of_call,
        watching(url, acme.token, topics=[f"user:{user}"]) as of_user,
    ):
        seqs = [await acme.happens(event, **data) for event, data in told]
        assert await of_channel.seqs(1) == [seqs[0]]
        assert await of_call.seqs(1) == [seqs[2]]
        assert await of_user.seqs(3) == seqs[2:5]


async def test_a_resumed_client_is_told_only_of_its_topics(url: str, acme: Office) -> None:
    for event in ("team_message.created", "contact.created", "team_message.updated"):
        await acme.happens(event)
    async with watching(f"{url}?after=0&topics=team_messages", acme.token) as screen:
        assert await screen.seqs(2) == [1, 3]
        await acme.happens("contact.updated")
        await acme.happens("team_message.updated")
        assert await screen.seqs(1) == [5]


async def test_heartbeats_say_where_to_resume(url: str, acme: Office) -> None:
    async with watching(url, acme.token, topics=["team_messages"]) as screen:
        await acme.happens("contact.created", times=3)
        async with asyncio.timeout(5):
            while (await screen.next("heartbeat"))["seq"] != 3:
                pass


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("{", "truncated"),
        ("[]", "Expected"),
        ('{"type":"dance"}', "dance"),
        ('{"type":"typing"}', "either conversationId or channelId"),
        ('{"type":"subscribe"}', "topics"),
        ('{"type":"subscribe","topics":["contact"]}', "there is no topic contact"),
        ('{"type":"subscribe","topics":["conversation:1"]}', "there is no topic"),
        ('{"type":"typing","conversationId":"x"}', "UUID"),
        ('{"type":"presence","status":"asleep"}', "asleep"),
        (b"\x01", "text"),
        ("[" * 5000, "Expected"),
    ],
)
async def test_a_malformed_frame_is_answered_and_forgiven(url: str, acme: Office, frame: str | bytes, why: str) -> None:
    async with watching(url, acme.token) as screen:
        await screen.connection.send(frame)
        assert why in (await screen.next("error"))["detail"]
        await screen.say(type="ping")
        assert await screen.next() == {"type": "pong"}


async def test_twenty_malformed_frames_are_enough(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        for _ in range(20):
            await screen.say(type="dance")
        assert await screen.closed() == (1008, "too many malformed frames")


async def test_a_flood_is_ended(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        for _ in range(300):
            await screen.say(type="ping")
        assert await screen.closed() == (1008, "too many frames")


async def test_a_frame_that_is_too_large_closes(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        await screen.say(type="ping", padding="x" * 17_000)
        assert (await screen.closed())[0] == 1009


@pytest.mark.parametrize("after", ["-1", "abc", "1.5", str(2**63)])
async def test_a_position_that_is_none_is_refused(url: str, acme: Office, after: str) -> None:
    async with screen(f"{url}?after={after}", acme.token) as confused:
        assert (await confused.closed())[0] == 1008


# The server


async def test_a_plain_request_is_told_to_upgrade(url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url.replace("ws://", "http://"))
    assert answer.status_code == answer.json()["status"] == 426


async def test_another_websocket_implementation_is_refused_with_a_reason(
    database: Database, hub: Hub, acme: Office
) -> None:
    async with serving(application(database, hub), ws="websockets-sansio") as url, screen(url, None) as confused:
        assert await confused.closed() == (1011, "the server is not set up for this")


async def test_who_leaves_is_forgotten(hub: Hub, url: str, acme: Office) -> None:
    async with watching(url, acme.token), watching(url, acme.token) as broken:
        assert hub.sockets == 2
        broken.connection.transport.abort()
        await eventually(lambda: hub.sockets == 1)
    await eventually(lambda: hub.sockets == 0)


async def test_the_whole_application_shows_what_its_api_did(service: Service, owner: Any) -> None:
    async with serving(create_app(service, api())) as url, watching(url, owner.token) as screen:
        made = await owner.post("/api/v1/contacts", json={"firstName": "Ada"})
        assert made.status_code == 201, made.text
        event = await screen.next("event")
        assert (event["event"], event["data"]) == ("contact.created", made.json())


async def test_a_database_that_is_away_sends_clients_off_to_try_again(
    admin: Any, database: Database, url: str, acme: Office
) -> None:
    await admin.execute("ALTER ROLE comms_worker NOLOGIN")
    try:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        async with screen(url, acme.token) as waiting:
            assert await waiting.closed() == (1013, "try again later")
    finally:
        await admin.execute("ALTER ROLE comms_worker LOGIN")
    await asyncio.sleep(0.5)
    async with watching(url, acme.token) as back:
        await acme.close()
        acme._connection = None
        await acme.happens()
        assert await back.seqs(1) == [1]
