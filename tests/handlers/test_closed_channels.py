"""Private and direct channels: who belongs to one sees, lists, searches and hears what is in it; nobody else does."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from comms.service import Service
from tests.conftest import Client
from tests.make import notices
from tests.screens import application, serving, watching

API = "/api/v1"
CLOSED: list[dict[str, Any]] = [{"isPrivate": True}, {"type": "announcement", "isPrivate": True}]
DIRECT = {"type": "direct"}
OPEN = [{}, {"type": "announcement"}, {"type": "general"}]
HUSH = "the merger"


class Place(msgspec.Struct):
    """A channel with a message that mentions it by name, and somebody who belongs to it."""

    id: str
    message: str
    membership: str

    @property
    def address(self) -> str:
        return f"{API}/team-channels/{self.id}"


async def ok(answer: Any) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def place_of(admin_member: Client, body: dict[str, Any], other: Client | None = None) -> Place:
    """A channel of an administrator, so that they may speak in an announcement channel too; or theirs and another's."""
    if other is not None:
        channel = await ok(await admin_member.put(f"{API}/team-channels/direct/{other.user_id}"))
        channel = await ok(await admin_member.patch(f"{API}/team-channels/{channel['id']}", json={"name": HUSH}))
    else:
        channel = await ok(await admin_member.post(f"{API}/team-channels", json={"name": HUSH} | body))
    said = await ok(await admin_member.post(f"{API}/team-messages", json={"channelId": channel["id"], "content": HUSH}))
    there = await ok(await admin_member.get(f"{API}/team-channels/{channel['id']}/members"))
    own = next(item["id"] for item in there["items"] if item["userId"] == str(admin_member.user_id))
    return Place(channel["id"], said["id"], own)


async def seen(client: Client, place: Place) -> dict[str, bool]:
    """By which ways somebody learns of the channel."""
    lists = {
        "channels": (f"{API}/team-channels", {"q": HUSH}, place.id),
        "messages": (f"{API}/team-messages", {}, place.message),
        "found": (f"{API}/team-messages", {"q": HUSH}, place.message),
        "filtered": (f"{API}/team-messages", {"channelId": place.id}, place.message),
        "members": (f"{API}/team-channel-members", {"channelId": place.id}, place.membership),
        "told of the channel": (f"{API}/events", {"subjectType": "team_channel"}, place.id),
        "told of the message": (f"{API}/events", {"event": "team_message.created"}, place.message),
        "told of the member": (f"{API}/events", {"subjectId": place.membership, "sort": "-seq"}, place.membership),
    }
    ways = {}
    for way, (path, query, row_id) in lists.items():
        items = (await ok(await client.get(path, params=query)))["items"]
        ways[way] = row_id in [item.get("subjectId") or item["id"] for item in items]
    for path in (
        place.address,
        f"{place.address}/members",
        f"{place.address}/messages",
        f"{API}/team-messages/{place.message}",
        f"{API}/team-channel-members/{place.membership}",
    ):
        answer = await client.get(path)
        assert answer.status_code in (200, 404), answer.text
        ways[path] = answer.status_code == 200
    return ways


@pytest.mark.parametrize("body", [*CLOSED, *OPEN], ids=str)
async def test_a_closed_channel_is_there_for_who_belongs_to_it_and_nobody_else(
    owner: Client, admin_member: Client, member: Client, viewer: Client, stranger: Client, body: dict[str, Any]
) -> None:
    place = await place_of(admin_member, body)
    joined = await admin_member.post(f"{place.address}/members", json={"userId": str(member.user_id)})
    assert joined.status_code == 201
    assert set((await seen(admin_member, place)).values()) == {True}
    told_then = {"told of the channel", "told of the message", "told of the member"}
    of_member = await seen(member, place)
    assert {way for way, sees in of_member.items() if not sees} == (told_then if body in CLOSED else set())
    for client in (owner, viewer):
        assert set((await seen(client, place)).values()) == {body in OPEN}, client.user_id
    assert set((await seen(stranger, place)).values()) == {False}
    assert (await member.delete(f"{place.address}/members/{member.user_id}")).status_code == 204
    assert set((await seen(member, place)).values()) == {body in OPEN}


@pytest.mark.parametrize("body", [CLOSED[0], DIRECT], ids=str)
async def test_who_does_not_belong_can_do_nothing_in_it(
    owner: Client, admin_member: Client, member: Client, viewer: Client, body: dict[str, Any]
) -> None:
    place = await place_of(admin_member, body, viewer if body == DIRECT else None)
    message = f"{API}/team-messages/{place.message}"
    for client in (owner, member):
        me = str(client.user_id)
        attempts = [
            ("PATCH", place.address, {"name": "x"}),
            ("DELETE", place.address, None),
            ("POST", f"{place.address}/members", {}),
            ("DELETE", f"{place.address}/members/{me}", None),
            ("DELETE", f"{place.address}/members/{admin_member.user_id}", None),
            ("PATCH", message, {"content": "x"}),
            ("PUT", f"{message}/pin", None),
            ("DELETE", f"{message}/pin", None),
            ("DELETE", message, None),
            ("GET", f"{message}/revisions", None),
            ("GET", f"{message}/answers", None),
            ("PUT", f"{message}/reactions/%F0%9F%91%8D", None),
            ("DELETE", f"{message}/reactions/%F0%9F%91%8D", None),
            ("PUT", f"{message}/following", None),
            ("GET", f"{message}/attachments/{uuid.uuid4()}/content", None),
            ("GET", f"{place.address}/reading", None),
            ("PUT", f"{place.address}/reading", {}),
        ]
        for method, path, sent in attempts:
            answer = await client.request(method, path, json=sent)
            assert answer.status_code == 404, (method, path, answer.text)
        nowhere = {"channelId": str(uuid.uuid4()), "content": "x"}
        here = await client.post(f"{API}/team-messages", json=nowhere | {"channelId": place.id})
        none = await client.post(f"{API}/team-messages", json=nowhere)
        assert (here.status_code, here.json()) == (none.status_code, none.json()) == (400, none.json())
    assert set((await seen(admin_member, place)).values()) == {True}


async def test_whom_a_closed_channel_does_not_know_is_not_called_into_it(
    service: Service, owner: Client, admin_member: Client, member: Client
) -> None:
    place = await place_of(admin_member, CLOSED[0])
    await ok(await admin_member.post(f"{place.address}/members", json={"userId": str(member.user_id)}))
    text = f"{HUSH} @[{owner.user_id}] @[{member.user_id}]"
    body = {"channelId": place.id, "content": text}
    said = await ok(await admin_member.post(f"{API}/team-messages", json=body))
    assert said["mentions"] == [str(member.user_id)]
    edited = await ok(await admin_member.patch(f"{API}/team-messages/{said['id']}", json={"content": text + "!"}))
    assert edited["mentions"] == [str(member.user_id)]
    refused = await admin_member.post(f"{API}/team-messages", json=body | {"mentions": [str(owner.user_id)]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "mentions")
    await notices.told(service)
    assert [notice["kind"] for notice in await notices.notices(member)][-1:] == ["mention"]
    assert await notices.notices(owner) == []


async def test_two_have_a_direct_channel_and_nobody_else_knows_of_it(
    owner: Client, admin_member: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    place = await place_of(admin_member, {}, member)
    for client in (admin_member, member):
        assert set((await seen(client, place)).values()) == {True}
    for client in (owner, viewer, stranger):
        assert set((await seen(client, place)).values()) == {False}


async def test_a_channel_is_closed_by_who_belongs_to_it_and_what_was_said_is_closed_too(
    owner: Client, admin_member: Client
) -> None:
    place = await place_of(admin_member, {})
    assert set((await seen(owner, place)).values()) == {True}
    assert (await owner.patch(place.address, json={"isPrivate": True})).status_code == 409
    await ok(await admin_member.patch(place.address, json={"isPrivate": True, "name": "the secret merger"}))
    told = (await ok(await owner.get(f"{API}/events", params={"subjectId": place.id})))["items"]
    [(event, name, changes)] = [(event["event"], event["data"]["name"], event["changes"]) for event in told]
    assert (event, name, changes) == ("team_channel.closed", HUSH, None), "not even what has changed"
    told = (await ok(await admin_member.get(f"{API}/events", params={"event": "team_channel.updated"})))["items"]
    assert [set(event["changes"]) for event in told] == [{"isPrivate", "name"}]
    assert {way for way, sees in (await seen(owner, place)).items() if sees} == {"told of the channel"}
    await ok(await admin_member.patch(place.address, json={"isPrivate": False}))
    assert (await seen(owner, place))["messages"] is True


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with serving(application(service.database, service.hub)) as url:
        yield url


async def test_a_closed_channel_is_heard_by_who_belongs_to_it(
    owner: Client, admin_member: Client, member: Client, url: str
) -> None:
    async with (
        watching(url, owner.token) as theirs,
        watching(url, admin_member.token) as ours,
        watching(url, member.token) as joiner,
    ):
        place = await place_of(admin_member, CLOSED[0])
        await ok(await admin_member.post(f"{place.address}/members", json={"userId": str(member.user_id)}))
        assert (await admin_member.delete(f"{place.address}/members/{member.user_id}")).status_code == 204
        assert (await admin_member.delete(place.address)).status_code == 204
        await ok(await admin_member.post(f"{API}/contacts", json={}))
        told = [(await ours.next("event"))["event"] for _ in range(8)]
        assert told == [
            "team_channel_member.created",
            "team_channel_reading.created",
            "team_channel.created",
            "team_message.created",
            "team_channel_member.created",
            "team_channel_member.deleted",
            "team_channel.deleted",
            "contact.created",
        ]
        heard = [(await joiner.next("event"))["event"] for _ in range(4)]
        assert heard == [
            "team_channel_member.created",
            "team_channel_reading.created",
            "team_channel_member.deleted",
            "contact.created",
        ]
        assert (await theirs.next("event"))["event"] == "contact.created"
    for client, first in ((owner, "contact.created"), (admin_member, told[0]), (member, heard[0])):
        async with watching(url, client.token, after=0) as again:
            assert (await again.next("event"))["event"] == first
        listed = (await ok(await client.get(f"{API}/events")))["items"]
        assert listed[0]["event"] == first


async def test_who_comes_back_after_they_left_hears_that_and_nothing_else(
    owner: Client, admin_member: Client, member: Client, url: str
) -> None:
    place = await place_of(admin_member, CLOSED[0])
    await ok(await admin_member.post(f"{place.address}/members", json={"userId": str(member.user_id)}))
    await ok(await admin_member.post(f"{API}/team-messages", json={"channelId": place.id, "content": HUSH}))
    assert (await admin_member.delete(f"{place.address}/members/{member.user_id}")).status_code == 204
    await ok(await admin_member.post(f"{API}/contacts", json={}))
    expected = ["team_channel_member.deleted", "contact.created"]
    async with watching(url, member.token, after=0) as again:
        assert [(await again.next("event"))["event"] for _ in range(2)] == expected
    assert [item["event"] for item in (await ok(await member.get(f"{API}/events")))["items"]] == expected


async def test_who_was_away_when_a_channel_was_closed_hears_it_when_they_come_back(
    owner: Client, admin_member: Client, url: str
) -> None:
    place = await place_of(admin_member, {})
    await ok(await admin_member.patch(place.address, json={"isPrivate": True}))
    await ok(await admin_member.post(f"{API}/team-messages", json={"channelId": place.id, "content": HUSH}))
    await ok(await admin_member.post(f"{API}/contacts", json={}))
    async with watching(url, owner.token, after=0) as again:
        assert [(await again.next("event"))["event"] for _ in range(2)] == ["team_channel.closed", "contact.created"]
