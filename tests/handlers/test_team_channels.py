"""Direct and announcement channels, and whose law is in the database; who closes, deletes and leaves a channel."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from comms.service import Service
from models.base import new_id
from tests.conftest import Client
from tests.make.team import CHANNELS, MESSAGES, channel, direct, ok, said, told, wrong


async def test_two_people_have_one_direct_channel_however_many_ask_at_once(owner: Client, member: Client) -> None:
    answers = await asyncio.gather(
        *(owner.put(f"{CHANNELS}/direct/{member.user_id}") for _ in range(4)),
        *(member.put(f"{CHANNELS}/direct/{owner.user_id}") for _ in range(4)),
    )
    found = [await ok(answer) for answer in answers]
    assert len({one["id"] for one in found}) == 1
    assert (found[0]["type"], found[0]["isPrivate"], found[0]["memberCount"]) == ("direct", True, 2)
    there = (await ok(await member.get(f"{CHANNELS}/{found[0]['id']}/members")))["items"]
    assert {one["userId"] for one in there} == {str(owner.user_id), str(member.user_id)}
    for client in (owner, member):
        assert await told(client, "team_channel", "team_channel_member") == [
            "team_channel_member.created",
            "team_channel_member.created",
            "team_channel.created",
        ]


async def test_a_direct_channel_is_of_two_members_of_the_workspace(
    owner: Client, viewer: Client, stranger: Client
) -> None:
    for other in (stranger.user_id, uuid.uuid4(), owner.user_id):
        assert wrong(await owner.put(f"{CHANNELS}/direct/{other}")) == (400, ["userId"])
    assert wrong(await owner.post(CHANNELS, json={"name": "us", "type": "direct"})) == (400, ["type"])
    assert (await viewer.put(f"{CHANNELS}/direct/{owner.user_id}")).status_code == 403
    with_viewer = await direct(owner, viewer)
    assert (await viewer.get(f"{CHANNELS}/{with_viewer}")).status_code == 200


async def test_a_direct_channel_stays_what_it_is_whoever_asks(
    owner: Client, admin_member: Client, member: Client
) -> None:
    address = f"{CHANNELS}/{await direct(owner, member)}"
    for attempt in (
        owner.patch(address, json={"type": "group"}),
        owner.patch(address, json={"isPrivate": False}),
        owner.post(f"{address}/members", json={"userId": str(admin_member.user_id)}),
        owner.delete(f"{address}/members/{owner.user_id}"),
        owner.delete(f"{address}/members/{member.user_id}"),
        owner.delete(address),
        member.delete(address),
    ):
        assert (await attempt).status_code == 409
    group = f"{CHANNELS}/{await channel(owner, member)}"
    assert (await owner.patch(group, json={"type": "direct"})).status_code == 409
    assert (await ok(await member.get(address)))["memberCount"] == 2
    assert (await ok(await owner.patch(address, json={"name": "The two of us"})))["name"] == "The two of us"


@pytest.fixture
async def web(service: Service, workspace_id: uuid.UUID) -> AsyncIterator[Any]:
    """A connection as our own web process has it, in the workspace."""
    connection = await asyncpg.connect(service.database.urls.web.plain)
    await connection.execute("SELECT set_config('app.workspace_id', $1, false)", str(workspace_id))
    yield connection
    await connection.close()


async def _refused(web: Any, error: type[Exception], *statements: tuple[Any, ...]) -> None:
    """The statements are not kept, and it is the database that says so."""

    async def tried() -> None:
        async with web.transaction():
            for statement, *values in statements:
                await web.execute(statement, *values)

    with pytest.raises(error):
        await tried()


BELONGS = """
INSERT INTO team_channel_members (workspace_id, id, channel_id, channel_type, user_id, seat, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, now(), now())
"""
PAIR = """
INSERT INTO team_channels
    (workspace_id, id, name, type, is_private, first_user_id, second_user_id, created_at, updated_at)
VALUES ($1, $2, 'x', 'direct', true, $3, $4, now(), now())
"""


async def test_the_database_keeps_a_direct_channel_to_its_two(
    owner: Client, admin_member: Client, member: Client, web: Any, workspace_id: uuid.UUID
) -> None:
    here = uuid.UUID(await direct(owner, member))
    group = uuid.UUID(await channel(owner, member))
    first, second = sorted((owner.user_id, member.user_id))
    third = admin_member.user_id
    unique, check, key = (
        asyncpg.UniqueViolationError,
        asyncpg.CheckViolationError,
        asyncpg.ForeignKeyViolationError,
    )
    for seat, kind, error in (
        (1, "direct", unique),
        (3, "direct", check),
        (None, "direct", check),
        (None, "group", key),
    ):
        await _refused(web, error, (BELONGS, workspace_id, new_id(), here, kind, third, seat))
    await _refused(web, key, ("DELETE FROM team_channel_members WHERE channel_id = $1 AND user_id = $2", here, first))
    await _refused(
        web, key, ("UPDATE team_channel_members SET user_id = $2 WHERE channel_id = $1 AND seat = 1", here, third)
    )
    await _refused(web, unique, (PAIR, workspace_id, new_id(), first, second))
    await _refused(web, check, (PAIR, workspace_id, new_id(), second, first))
    await _refused(web, key, (PAIR, workspace_id, new_id(), *sorted((first, third))))
    for change in ("type = 'group'", "is_private = false", "first_user_id = NULL"):
        await _refused(web, check, (f"UPDATE team_channels SET {change} WHERE id = $1", here))
    pair = "UPDATE team_channels SET type = 'direct', is_private = true, first_user_id = $2, second_user_id = $3"
    await _refused(web, asyncpg.IntegrityConstraintViolationError, (f"{pair} WHERE id = $1", group, first, second))
    await _refused(web, check, ("UPDATE team_channels SET type = 'general', is_private = true WHERE id = $1", group))
    assert await web.fetchval("SELECT count(*) FROM team_channel_members WHERE channel_id = $1", here) == 2


SPEAK = """
INSERT INTO team_messages (workspace_id, id, channel_id, sender_id, content, position, created_at, updated_at)
VALUES ($1, $2, $3, $4, 'x', $5, now(), now())
"""


async def test_the_database_lets_nobody_speak_who_may_not(
    owner: Client, admin_member: Client, member: Client, viewer: Client, web: Any, workspace_id: uuid.UUID
) -> None:
    here, private = await direct(owner, member), await channel(owner, isPrivate=True)
    news, group = await channel(owner, member, viewer, type="announcement"), await channel(owner)
    await ok(await owner.put(f"{CHANNELS}/{news}/posters/{member.user_id}"))
    denied = asyncpg.InsufficientPrivilegeError
    place = 100

    async def speaks(channel_id: str, client: Client, *, may: bool) -> None:
        nonlocal place
        place += 1
        statement = (SPEAK, workspace_id, new_id(), uuid.UUID(channel_id), client.user_id, place)
        if may:
            await web.execute(*statement)
        else:
            await _refused(web, denied, statement)

    await speaks(here, member, may=True)
    await speaks(here, admin_member, may=False)
    await speaks(private, owner, may=True)
    await speaks(private, admin_member, may=False)
    for client in (owner, admin_member, member):
        await speaks(news, client, may=True)
    await speaks(news, viewer, may=False)
    await speaks(group, viewer, may=True)
    await ok(await owner.delete(f"{CHANNELS}/{news}/posters/{member.user_id}"))
    await speaks(news, member, may=False)


async def test_whom_an_administrator_names_announces_and_others_do_not(
    owner: Client, member: Client, viewer: Client
) -> None:
    news = await channel(owner, member, type="announcement")
    body = {"channelId": news, "content": "Hi"}
    posters = f"{CHANNELS}/{news}/posters"
    assert (await member.post(MESSAGES, json=body)).status_code == 403
    assert (await member.put(f"{posters}/{member.user_id}")).status_code == 403
    assert (await owner.put(f"{posters}/{viewer.user_id}")).status_code == 404
    for _ in range(2):
        assert (await ok(await owner.put(f"{posters}/{member.user_id}")))["isPoster"] is True
    message = (await ok(await member.post(MESSAGES, json=body)))["id"]
    await ok(await member.put(f"{MESSAGES}/{message}/pin"))
    for _ in range(2):
        assert (await ok(await owner.delete(f"{posters}/{member.user_id}")))["isPoster"] is False
    assert (await member.post(MESSAGES, json=body)).status_code == 403
    assert (await member.patch(f"{MESSAGES}/{message}", json={"content": "Ho"})).status_code == 403
    assert (await member.delete(f"{MESSAGES}/{message}/pin")).status_code == 403
    assert (await told(owner, "team_channel_member")).count("team_channel_member.updated") == 2
    group = await channel(owner, member)
    assert (await owner.put(f"{CHANNELS}/{group}/posters/{member.user_id}")).status_code == 409


async def test_who_made_a_channel_and_administrators_are_in_charge_of_it(
    owner: Client, admin_member: Client, member: Client
) -> None:
    theirs, ours = f"{CHANNELS}/{await channel(owner, member)}", f"{CHANNELS}/{await channel(member)}"
    for change in ({"type": "announcement"}, {"isPrivate": True}):
        assert (await member.patch(theirs, json=change)).status_code == 403
    assert (await member.delete(theirs)).status_code == 403
    assert (await ok(await member.patch(theirs, json={"name": "new"})))["name"] == "new"
    assert (await ok(await member.patch(ours, json={"type": "announcement"})))["type"] == "announcement"
    assert wrong(
        await member.patch(f"{CHANNELS}/{await channel(member, type='general')}", json={"isPrivate": True})
    ) == (
        400,
        ["isPrivate"],
    )
    assert (await admin_member.delete(ours)).status_code == 204
    assert (await owner.delete(theirs)).status_code == 204


async def test_the_last_one_does_not_leave_a_private_channel_behind(
    owner: Client, member: Client, viewer: Client
) -> None:
    private = f"{CHANNELS}/{await channel(owner, member, viewer, isPrivate=True)}"
    assert (await viewer.delete(f"{private}/members/{viewer.user_id}")).status_code == 204
    left = await asyncio.gather(*(one.delete(f"{private}/members/{one.user_id}") for one in (owner, member)))
    assert sorted(answer.status_code for answer in left) == [204, 409]
    last = owner if left[0].status_code == 409 else member
    assert (await ok(await last.get(private)))["memberCount"] == 1
    assert (await owner.delete(f"{CHANNELS}/{await channel(owner)}/members/{owner.user_id}")).status_code == 204


async def test_who_is_removed_and_speaks_at_once_is_heard_before_or_not_at_all(owner: Client, member: Client) -> None:
    private = await channel(owner, member, isPrivate=True)
    answers = await asyncio.gather(
        *(member.post(MESSAGES, json={"channelId": private, "content": str(number)}) for number in range(4)),
        owner.delete(f"{CHANNELS}/{private}/members/{member.user_id}"),
        *(member.post(MESSAGES, json={"channelId": private, "content": str(number)}) for number in range(4, 8)),
    )
    assert answers[4].status_code == 204
    assert {answer.status_code for answer in answers[:4] + answers[5:]} <= {201, 400}
    there = (await ok(await owner.get(f"{CHANNELS}/{private}/messages")))["items"]
    kept = [answer.json()["id"] for answer in answers[:4] + answers[5:] if answer.status_code == 201]
    assert {one["id"] for one in there} == set(kept)
    assert (await told(member, "team_message", "team_channel")) == []
    heard = await told(owner, "team_message", "team_channel_member")
    assert heard[-1] == "team_channel_member.deleted"
    await said(owner, private)
