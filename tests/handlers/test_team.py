"""Channels and who belongs to them, pins, announcements, and whom a message calls on."""

import asyncio
from typing import Any

import pytest

from comms.service import Service
from tests.conftest import Client
from tests.make import notices

API = "/api/v1"


async def _channel(client: Client, **body: Any) -> str:
    answer = await client.post(f"{API}/team-channels", json={"name": "sales"} | body)
    assert answer.status_code == 201, answer.text
    return f"{API}/team-channels/{answer.json()['id']}"


async def _said(client: Client, channel: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(
        f"{API}/team-messages", json={"channelId": channel.rpartition("/")[2], "content": "Hi"} | body
    )
    assert answer.status_code == 201, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def _count(client: Client, channel: str) -> int:
    """What the channel counts, which is what is there."""
    there = (await client.get(f"{channel}/members")).json()["items"]
    count: int = (await client.get(channel)).json()["memberCount"]
    assert count == len(there)
    return count


async def test_a_channel_counts_who_belongs_to_it(owner: Client, member: Client, admin_member: Client) -> None:
    channel = await _channel(owner)
    assert await _count(owner, channel) == 1
    joined = await member.post(f"{channel}/members", json={})
    assert (joined.status_code, joined.json()["userId"]) == (201, str(member.user_id))
    assert (await member.post(f"{channel}/members", json={})).status_code == 409
    assert (await owner.post(f"{channel}/members", json={"userId": str(admin_member.user_id)})).status_code == 201
    assert await _count(owner, channel) == 3
    assert (await member.delete(f"{channel}/members/{admin_member.user_id}")).status_code == 403
    assert (await member.delete(f"{channel}/members/{member.user_id}")).status_code == 204
    assert (await member.delete(f"{channel}/members/{member.user_id}")).status_code == 404
    assert (await admin_member.delete(f"{channel}/members/{owner.user_id}")).status_code == 204
    assert await _count(owner, channel) == 1
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told.count("team_channel_member.created") == 3
    assert told.count("team_channel_member.deleted") == 2


async def test_members_who_come_and_go_at_once_are_counted_right(
    owner: Client, member: Client, admin_member: Client
) -> None:
    channel = await _channel(owner)
    clients = (member, admin_member)
    for _ in range(3):
        answers = await asyncio.gather(
            *(client.post(f"{channel}/members", json={}) for client in clients * 2),
            *(client.delete(f"{channel}/members/{client.user_id}") for client in clients),
        )
        assert {answer.status_code for answer in answers} <= {201, 204, 404, 409}
        await _count(owner, channel)


async def test_nobody_but_an_active_member_belongs(owner: Client, viewer: Client, stranger: Client) -> None:
    channel = await _channel(owner)
    answer = await owner.post(f"{channel}/members", json={"userId": str(stranger.user_id)})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "userId")
    assert (await stranger.post(f"{channel}/members", json={})).status_code == 404
    assert (await stranger.get(f"{channel}/members")).status_code == 404
    assert (await viewer.post(f"{channel}/members", json={})).status_code == 403


async def test_a_message_is_pinned_once_for_everybody(owner: Client, member: Client, viewer: Client) -> None:
    channel = await _channel(owner)
    address = f"{API}/team-messages/{(await _said(owner, channel))['id']}/pin"
    assert (await viewer.put(address)).status_code == 403
    for _ in range(2):
        assert (await member.put(address)).json()["isPinned"] is True
    assert len((await owner.get(f"{channel}/messages", params={"isPinned": True})).json()["items"]) == 1
    for _ in range(2):
        assert (await member.delete(address)).json()["isPinned"] is False
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told[-2:] == ["team_message.pinned", "team_message.unpinned"]


async def test_only_administrators_announce(owner: Client, admin_member: Client, member: Client) -> None:
    channel = await _channel(member, type="announcement")
    body = {"channelId": channel.rpartition("/")[2], "content": "Hi"}
    assert (await member.post(f"{API}/team-messages", json=body)).status_code == 403
    for client in (owner, admin_member):
        assert (await client.post(f"{API}/team-messages", json=body)).status_code == 201


async def test_whom_a_message_mentions_is_told_once(
    service: Service, owner: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    channel = await _channel(owner)
    said = await _said(owner, channel, content=f"@[{member.user_id}] @[{member.user_id}] @[{owner.user_id}]")
    assert set(said["mentions"]) == {str(member.user_id), str(owner.user_id)}
    address = f"{API}/team-messages/{said['id']}"
    content = f"@[{member.user_id}] @[{viewer.user_id}]"
    assert (await owner.patch(address, json={"content": content})).json()["isEdited"] is True

    async def mentions(client: Client) -> list[str]:
        return [notice["data"]["messageId"] for notice in await notices.notices(client, type="mention")]

    await notices.told(service)
    assert [await mentions(client) for client in (owner, member, viewer)] == [[], [said["id"]], [said["id"]]]
    body = {"channelId": channel.rpartition("/")[2], "content": "Hi", "mentions": [str(stranger.user_id)]}
    answer = await owner.post(f"{API}/team-messages", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "mentions")


async def test_an_answer_taken_back_is_no_longer_counted(owner: Client) -> None:
    channel = await _channel(owner)
    said = await _said(owner, channel)
    answers = [await _said(owner, channel, parentMessageId=said["id"]) for _ in range(2)]
    await owner.delete(f"{API}/team-messages/{answers[0]['id']}")
    assert (await owner.get(f"{API}/team-messages/{said['id']}")).json()["threadCount"] == 1


@pytest.mark.parametrize("noun", ["messages", "members"])
async def test_what_a_channel_holds_is_its_own(owner: Client, stranger: Client, noun: str) -> None:
    channel, other = await _channel(owner), await _channel(owner, name="other")
    await _said(owner, channel)
    assert len((await owner.get(f"{channel}/{noun}")).json()["items"]) == 1
    assert len((await owner.get(f"{other}/{noun}")).json()["items"]) == (0 if noun == "messages" else 1)
    assert (await stranger.get(f"{channel}/{noun}")).status_code == 404
