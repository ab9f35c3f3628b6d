"""What a member has read of a channel: counted right, forward only, and nobody else's to know."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.make.team import API, CHANNELS, MESSAGES, channel, ok, said, told, wrong

EMOJI = "%F0%9F%91%8D"


async def unread(client: Client, channel_id: str) -> tuple[int, int]:
    """How much a member has not read, and how much of it calls on them; the same in the list as by itself."""
    one = await ok(await client.get(f"{CHANNELS}/{channel_id}/reading"))
    listed = (await ok(await client.get(f"{API}/team-channel-readings", params={"channelId": channel_id})))["items"]
    assert listed == [one]
    return one["unreadCount"], one["mentionCount"]


async def read(client: Client, channel_id: str, message: dict[str, Any] | None = None) -> Any:
    body = {} if message is None else {"messageId": message["id"]}
    return await ok(await client.put(f"{CHANNELS}/{channel_id}/reading", json=body))


async def test_what_others_say_is_unread_until_it_is_read(owner: Client, member: Client, viewer: Client) -> None:
    here = await channel(owner, member)
    await said(owner, here, "before anybody came")
    await ok(await owner.post(f"{CHANNELS}/{here}/members", json={"userId": str(viewer.user_id)}))
    assert await unread(viewer, here) == (0, 0)
    first = await said(owner, here, f"@[{member.user_id}] look")
    await said(member, here, "my own")
    await said(owner, here, "@channel lunch", parentMessageId=first["id"])
    assert await unread(member, here) == (3, 2)
    assert await unread(viewer, here) == (3, 1)
    assert await unread(owner, here) == (1, 0)
    after = await read(member, here, first)
    assert (after["readPosition"], after["unreadCount"], after["mentionCount"]) == (first["position"], 1, 1)
    assert (await read(viewer, here))["unreadCount"] == 0


async def test_what_was_deleted_or_no_longer_calls_is_not_counted(owner: Client, member: Client) -> None:
    here = await channel(owner, member)
    gone, edited, own = [await said(one, here, f"@[{member.user_id}]") for one in (owner, owner, member)]
    assert await unread(member, here) == (2, 2)
    await ok(await owner.delete(f"{MESSAGES}/{gone['id']}"))
    await ok(await owner.patch(f"{MESSAGES}/{edited['id']}", json={"content": "never mind"}))
    await ok(await member.delete(f"{MESSAGES}/{own['id']}"))
    assert await unread(member, here) == (1, 0)
    await read(member, here)
    await ok(await owner.delete(f"{MESSAGES}/{edited['id']}"))
    assert await unread(member, here) == (0, 0)


async def test_what_was_read_on_one_device_does_not_become_unread_on_another(owner: Client, member: Client) -> None:
    here = await channel(owner, member)
    old, new = await said(owner, here), await said(owner, here)
    answers = await asyncio.gather(*(read(member, here, one) for one in (new, old, new, old)))
    assert max(answer["readPosition"] for answer in answers) == new["position"]
    assert await unread(member, here) == (0, 0)
    assert (await read(member, here, old))["readPosition"] == new["position"]
    moves = (await told(member, "team_channel_reading")).count("team_channel_reading.updated")
    assert moves in (1, 2)  # forward, by one step or by two
    await read(member, here)
    assert (await told(member, "team_channel_reading")).count("team_channel_reading.updated") == moves


async def test_nobody_learns_what_another_has_read(
    owner: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    here = await channel(owner, member, isPrivate=True)
    await said(owner, here)
    await read(member, here)
    reading = (await ok(await member.get(f"{CHANNELS}/{here}/reading")))["id"]
    for client in (owner, viewer, stranger):
        assert (await client.get(f"{API}/team-channel-readings/{reading}")).status_code == 404
        assert reading not in str((await ok(await client.get(f"{API}/events", params={"limit": 200})))["items"])
    for client in (viewer, stranger):
        assert (await client.put(f"{CHANNELS}/{here}/reading", json={})).status_code == 404
    there = (await ok(await owner.get(f"{CHANNELS}/{here}/members")))["items"]
    assert not any("readPosition" in one for one in there)


async def test_who_does_not_belong_has_read_nothing_and_a_message_of_elsewhere_is_none(
    owner: Client, member: Client
) -> None:
    here, elsewhere = await channel(owner), await channel(owner)
    assert (await member.get(f"{CHANNELS}/{here}/reading")).status_code == 404
    assert (await member.put(f"{CHANNELS}/{here}/reading", json={})).status_code == 404
    message = await said(owner, elsewhere)
    answer = await owner.put(f"{CHANNELS}/{here}/reading", json={"messageId": message["id"]})
    assert wrong(answer) == (400, ["messageId"])
    await ok(await owner.delete(f"{CHANNELS}/{here}/members/{owner.user_id}"))
    assert (await ok(await owner.get(f"{API}/team-channel-readings")))["items"][0]["channelId"] == elsewhere


@pytest.mark.parametrize("path", ["/team-channel-readings", "/team-messages", "/team-channels"])
async def test_a_list_takes_as_many_queries_however_much_was_said(owner: Client, member: Client, path: str) -> None:
    async def asked() -> httpx.Response:
        return await ok(await owner.get(f"{API}{path}"))  # type: ignore[no-any-return]  # whatever it is

    async def talk() -> None:
        here = await channel(owner, member)
        for _ in range(3):
            message = await said(member, here, f"@[{owner.user_id}]")
            await ok(await owner.put(f"{MESSAGES}/{message['id']}/reactions/{EMOJI}"))

    await talk()
    await asked()
    with counted() as statements:
        await asked()
        few = statements()
    await talk()
    await talk()
    with counted() as statements:
        await asked()
        assert statements() == few
