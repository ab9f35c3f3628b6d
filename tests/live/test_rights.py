"""Who may hear what is looked at again whenever it changes: before the next event is told, in every process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from comms import credentials, sessions
from comms.database import Database
from comms.events import Fact, encode, tell
from comms.hub import Hub, replay, rights
from comms.identity import Identity
from comms.service import Service
from comms.sessions import From
from models.base import new_id, now
from models.core import Workspace, WorkspaceMember
from tests.conftest import Client
from tests.screens import Screen, application, eventually, screen, serving, watching

API = "/api/v1"
ENDED = (4401, "your access has ended")
IN_TIME = 2.5  # a second is what is promised; where three workers share two cores a screen itself hears later
BOTH = {"topics": ["workspace", "presence"]}


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with serving(application(service.database, service.hub)) as url:
        yield url


@pytest.fixture
async def there(service: Service) -> AsyncIterator[str]:
    """The address of another process, which hears by NOTIFY of what the first commits."""
    database = Database(service.database.urls, pool_size=2)
    hub = Hub(database)
    await hub.start()
    async with serving(application(database, hub)) as url:
        yield url
    await hub.stop()
    await database.close()


async def happens(service: Service, client: Client, event: str, **data: Any) -> None:
    fact = Fact(client.workspace_id, event, event.partition(".")[0], new_id(), encode(data), now())
    async with service.database.alone() as db:
        told = await tell(db, [fact])
    service.hub.told(told)


async def ok(answer: Any) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def membership(owner: Client, client: Client) -> str:
    query = {"userId": str(client.user_id)}
    rows = (await ok(await owner.get(f"{API}/workspace-members", params=query)))["items"]
    return f"{API}/workspace-members/{rows[0]['id']}"


async def session_of(service: Service, client: Client) -> tuple[Any, str]:
    async with service.database.everywhere() as db:
        member = await db.get(WorkspaceMember, (client.workspace_id, await _member_id(db, client)))
        workspace = await db.get(Workspace, client.workspace_id)
        assert member is not None
        assert workspace is not None
        begun = await sessions.begin(db, member, workspace, From())
        return begun.session.id, begun.token


async def _member_id(db: Any, client: Client) -> Any:
    query = WorkspaceMember.__table__.select().where(WorkspaceMember.user_id == client.user_id)
    return (await db.execute(query)).one().id


async def heard(screen: Screen, until: str) -> list[dict[str, Any]]:
    """The events it hears, up to that one."""
    frames = [await screen.next("event")]
    while frames[-1]["event"] != until:
        frames.append(await screen.next("event"))
    return frames


async def last_words(screen: Screen) -> list[str]:
    """The events it still hears until it is shown out."""
    frames, *how = await screen.rest()
    assert tuple(how) == ENDED
    return [frame["event"] for frame in frames if frame["type"] == "event"]


# What somebody does


async def test_who_is_deactivated_is_shown_out_and_hears_nothing_that_follows(
    service: Service, owner: Client, member: Client, url: str, there: str
) -> None:
    address = await membership(owner, member)
    async with watching(url, member.token) as here, watching(there, member.token) as far:
        began = time.monotonic()
        await ok(await owner.delete(address))
        await happens(service, owner, "contact.created")
        assert "contact.created" not in await last_words(here)
        assert "contact.created" not in await last_words(far)
        assert time.monotonic() - began < IN_TIME


@pytest.mark.parametrize("how", ["revoked", "signed out"])
async def test_a_credential_that_ends_shows_out_whom_it_let_in_and_nobody_else(
    service: Service, owner: Client, member: Client, url: str, there: str, how: str
) -> None:
    if how == "revoked":
        async with service.database.workspace(owner.workspace_id) as db:
            row, token = await credentials.issue(db, member)
        address = f"{API}/access-tokens/{row.id}"
    else:
        id_, token = await session_of(service, member)
        address = f"{API}/sessions/{id_}"
    async with (
        watching(url, token) as here,
        watching(there, token) as far,
        watching(url, member.token) as stays,
        watching(there, member.token) as stays_there,
    ):
        began = time.monotonic()
        await ok(await member.delete(address))
        await happens(service, owner, "contact.created")
        assert "contact.created" not in await last_words(here) + await last_words(far)
        assert time.monotonic() - began < IN_TIME
        for screen in (stays, stays_there):
            await heard(screen, "contact.created")


async def test_with_its_workspace_everybody_is_shown_out(
    service: Service, owner: Client, member: Client, admin: Any, url: str, there: str
) -> None:
    async with watching(url, member.token) as here, watching(there, owner.token) as far:
        began = time.monotonic()
        await admin.execute("UPDATE workspaces SET is_active = false WHERE id = $1", owner.workspace_id)
        await happens(service, owner, "workspace.updated")
        assert await here.closed() == await far.closed() == ENDED
        assert time.monotonic() - began < IN_TIME


async def test_who_is_permitted_less_or_more_hears_so_of_the_very_next_event(
    service: Service, owner: Client, member: Client, url: str, there: str
) -> None:
    address = await membership(owner, member)
    async with watching(url, member.token) as here, watching(there, member.token) as far:
        for permissions, hears in (({"billing": "none"}, False), ({}, True), ({"members": "none"}, True)):
            await ok(await owner.patch(address, json={"permissions": permissions}))
            await happens(service, owner, "invoice.sent")
            await happens(service, owner, "contact.updated")
            for screen in (here, far):
                events = [frame["event"] for frame in await heard(screen, "contact.updated")]
                assert ("invoice.sent" in events) is hears
                assert ("workspace_member.updated" in events) is ("members" not in permissions)


async def test_a_role_that_is_taken_or_given_is_felt_by_the_very_next_event(
    service: Service, owner: Client, admin_member: Client, url: str, there: str
) -> None:
    address = await membership(owner, admin_member)
    async with watching(url, admin_member.token) as here, watching(there, admin_member.token) as far:
        for role, hears in (("member", False), ("admin", True)):
            await ok(await owner.patch(address, json={"role": role}))
            await happens(service, owner, "workspace_api_key.created")
            await happens(service, owner, "contact.updated")
            for screen in (here, far):
                events = [frame["event"] for frame in await heard(screen, "contact.updated")]
                assert ("workspace_api_key.created" in events) is hears


async def test_who_is_removed_from_a_closed_channel_hears_nothing_more(
    owner: Client, member: Client, url: str, there: str
) -> None:
    made = await ok(await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True}))
    address = f"{API}/team-channels/{made['id']}"
    await ok(await owner.post(f"{address}/members", json={"userId": str(member.user_id)}))
    topics = [f"channel:{made['id']}", "contacts"]
    async with (
        watching(url, member.token, topics=topics) as here,
        watching(there, member.token, topics=topics) as far,
        watching(there, owner.token, topics=topics) as stays,
        watching(url, owner.token, topics=topics) as stays_here,
    ):
        await ok(await owner.post(f"{API}/team-messages", json={"channelId": made["id"], "content": "one"}))
        await ok(await owner.delete(f"{address}/members/{member.user_id}"))
        await ok(await owner.post(f"{API}/team-messages", json={"channelId": made["id"], "content": "two"}))
        await stays.say(type="typing", channelId=made["id"])
        await stays_here.next("typing")
        await ok(await owner.post(f"{API}/contacts", json={}))
        for screen, hears in ((here, False), (far, False), (stays, True)):
            frames = await heard(screen, "contact.created")
            said = {frame["data"].get("content") for frame in frames if frame["type"] == "event"}
            assert "one" in said
            assert ("two" in said) is hears
            assert "typing" not in {frame["type"] for frame in frames}


# What the clock does


async def test_what_expires_shows_out_whom_it_let_in_within_a_second(
    service: Service, owner: Client, member: Client, admin: Any, url: str
) -> None:
    id_, of_session = await session_of(service, member)
    expires_at = now() + timedelta(seconds=0.8)
    await admin.execute("UPDATE sessions SET expires_at = $1 WHERE id = $2", expires_at, id_)
    async with service.database.workspace(owner.workspace_id) as db:
        _, token = await credentials.issue(db, member, expires_at=expires_at)
        _, longer = await credentials.issue(db, member, expires_at=expires_at + timedelta(hours=1))
    identity = await credentials.identify(service.database, token)
    async with service.database.workspace(owner.workspace_id) as db:
        ticket = await credentials.issue_ticket(db, identity)
    async with (
        watching(url, of_session) as one,
        watching(url, token) as two,
        screen(f"{url}?ticket={ticket}", None) as three,
        watching(url, longer) as stays,
    ):
        for ended in (one, two, three):
            assert await ended.closed(within=3) == ENDED
        assert 0 <= (now() - expires_at).total_seconds() < IN_TIME
        await stays.say(type="ping")
        await stays.next("pong")


async def test_a_session_that_is_used_meanwhile_keeps_its_sockets(
    service: Service, member: Client, admin: Any, url: str
) -> None:
    id_, token = await session_of(service, member)
    await admin.execute("UPDATE sessions SET expires_at = now() + interval '0.3 seconds' WHERE id = $1", id_)
    async with watching(url, token) as screen:
        await admin.execute("UPDATE sessions SET expires_at = now() + interval '1 hour' WHERE id = $1", id_)
        await asyncio.sleep(0.5)
        await screen.say(type="ping")
        await screen.next("pong")


async def test_whom_somebody_else_vouches_for_has_to_prove_it_again_after_a_while(
    service: Service, member: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "UNPROVEN_SECONDS", 0.3)
    async with service.database.workspace(member.workspace_id) as db:
        ticket = await credentials.issue_ticket(db, Identity(member.workspace_id, member.user_id, "member"))
    async with screen(f"{url}?ticket={ticket}", None) as by_clerk, watching(url, member.token) as stays:
        await by_clerk.next("ready")
        assert await by_clerk.closed(within=IN_TIME) == ENDED
        await stays.say(type="ping")
        await stays.next("pong")


async def test_who_loses_their_right_while_they_are_let_in_is_not(
    service: Service, member: Client, admin: Any, url: str
) -> None:
    """Known by now, and in no room yet: what ends their right at this moment is an event that nobody reads to them."""
    async with screen(url, None) as entering:
        async with admin.transaction():
            await admin.execute("LOCK TABLE event_counters IN ACCESS EXCLUSIVE MODE")
            await entering.say(type="auth", token=member.token)
            await eventually(lambda: service.hub.sockets == 1)
            await admin.execute("UPDATE access_tokens SET revoked_at = now() WHERE user_id = $1", member.user_id)
        assert await entering.closed(within=IN_TIME) == ENDED


# Who comes back


async def test_who_reads_the_past_slowly_is_told_by_the_rights_of_then_and_not_of_the_beginning(
    service: Service, owner: Client, member: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "STALE_SECONDS", 0.0)
    monkeypatch.setattr(replay, "PIECE_BYTES", 1)
    made = await ok(await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True}))
    address = f"{API}/team-channels/{made['id']}"
    await ok(await owner.post(f"{address}/members", json={"userId": str(member.user_id)}))
    for number in range(12):
        body = {"channelId": made["id"], "content": f"{number} " + "x" * 9_000}
        await ok(await owner.post(f"{API}/team-messages", json=body))
        await happens(service, owner, "contact.updated", padding="x" * 50_000)
    await happens(service, owner, "contact.deleted")
    async with screen(url, None) as slow:
        slow.connection.transport.pause_reading()
        await slow.say(type="auth", token=member.token, after=0)
        await eventually(lambda: any(one.wire.waiting for one in service.hub._sockets))
        await ok(await owner.delete(f"{address}/members/{member.user_id}"))
        slow.connection.transport.resume_reading()
        frames = await heard(slow, "team_channel_member.deleted")
        assert [frame["event"] for frame in frames if frame.get("event", "").startswith("contact.")] == (
            ["contact.updated"] * 12 + ["contact.deleted"]
        )
        told = [frame for frame in frames if frame.get("event") == "team_message.created"]
        assert 0 < len(told) < 12


# Presence


async def test_who_may_not_list_the_members_sees_nobody(
    owner: Client, member: Client, viewer: Client, url: str, there: str
) -> None:
    address = await membership(owner, viewer)
    await ok(await owner.patch(address, json={"permissions": {"members": "none"}}))
    async with watching(url, viewer.token, **BOTH) as screen, watching(there, viewer.token, **BOTH) as far:
        assert (await screen.next("here"))["users"] == (await far.next("here"))["users"] == []
        async with watching(url, member.token, **BOTH) as other:
            await other.say(type="presence", status="busy")
            while (await other.next("presence"))["status"] != "busy":
                pass
            await ok(await owner.patch(address, json={"permissions": {}}))
            for one in (screen, far):
                frames = [await one.next()]
                while frames[-1]["type"] != "here":
                    frames.append(await one.next())
                assert "presence" not in {frame["type"] for frame in frames}
                if one is screen:
                    shown = {user["userId"]: user["status"] for user in frames[-1]["users"]}
                    assert shown[str(member.user_id)] == "busy"
            await ok(await owner.patch(address, json={"permissions": {"members": "none"}}))
            assert (await screen.next("here"))["users"] == []
            await other.say(type="presence", status="online")
            while (await other.next("presence"))["status"] != "online":
                pass
            await ok(await owner.post(f"{API}/contacts", json={}))
            assert "presence" not in {frame["type"] for frame in await heard(screen, "contact.created")}


# What is not to be learned


@pytest.mark.parametrize("kind", ["conversation", "channel", "call", "user"])
async def test_what_one_may_not_know_of_is_subscribed_to_like_what_there_is_not(
    owner: Client, member: Client, url: str, kind: str
) -> None:
    made = await ok(await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True}))
    hidden, none = f"{kind}:{made['id'] if kind == 'channel' else owner.user_id}", f"{kind}:{new_id()}"
    answers = []
    async with watching(url, member.token) as screen, watching(url, owner.token) as other:
        for topic in (hidden, none):
            await screen.say(type="subscribe", topics=[topic])
            answer = await screen.next()
            assert answer == {"type": "topics", "topics": sorted({topic, *answers})}
            answers.append(topic)
        for place in (made["id"], str(new_id())):
            await screen.say(type="typing", channelId=place)
            await screen.say(type="ping")
            assert await screen.next() == {"type": "pong"}
        await ok(await owner.post(f"{API}/team-messages", json={"channelId": made["id"], "content": "psst"}))
        assert "typing" not in {frame["type"] for frame in await heard(other, "team_message.created")}
        with suppress(TimeoutError):  # it is quiet, but for the beat of its heart
            frame = await screen.next(within=0.3)
            assert frame["type"] == "heartbeat", frame
