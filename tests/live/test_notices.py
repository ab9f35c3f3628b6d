"""What members are told, live: on all of their devices, on nobody else's, and the count with it."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from models.communications import Conversation
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make import communications as make
from tests.make.notices import API, notices, told, unread
from tests.screens import Screen, serving, watching


@pytest.fixture
async def url(app: Any) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


class Device(Screen):
    """What a client of the notifications shows: what it has fetched, and what it has heard since."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen.connection)
        self.heard = screen.heard  # held against the log when the screen goes
        self.shown: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.names: list[str] = []

    async def fetched(self, client: Client) -> None:
        self.shown = {item["id"]: item for item in await notices(client)}
        self.count = await unread(client)

    async def hears(self, until: int) -> None:
        """All that was told up to there, applied as a client does."""
        await self.say(type="ping")
        while True:
            frame = await self.next()
            if frame["type"] == "event":
                self._applied(frame)
            if frame["type"] in ("event", "heartbeat") and frame["seq"] >= until:
                return

    def _applied(self, event: dict[str, Any]) -> None:
        self.names.append(event["event"])
        if event["event"] == "notification.deleted":
            del self.shown[event["subjectId"]]
        elif event["subjectType"] == "notification":
            self.shown[event["subjectId"]] = event["data"]
        elif event["subjectType"] == "notification_read_state":
            self.count = event["data"]["unreadCount"]


async def last(admin: Any, client: Client) -> int:
    """The number of the last event that the client may hear."""
    seq: int = await admin.fetchval(
        "SELECT max(seq) FROM events WHERE workspace_id = $1 AND (subject_type NOT LIKE 'notification%'"
        " OR data->>'userId' = $2)",
        client.workspace_id,
        str(client.user_id),
    )
    return seq


@pytest.fixture
async def talk(service: Service, owner: Client, member: Client) -> Conversation:
    contact = (await owner.post(f"{API}/contacts", json={"firstName": "Ada", "phone": "+14155550123"})).json()
    talk = await make.conversation(service, owner.workspace_id, uuid.UUID(contact["id"]))
    await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    return talk


async def test_ten_messages_make_one_notice_that_is_read_on_one_device_and_gone_on_the_other(
    service: Service,
    url: str,
    owner: Client,
    member: Client,
    talk: Conversation,
    line: Connection,
    anonymous: httpx.AsyncClient,
    admin: Any,
) -> None:
    await told(service)
    await member.put(f"{API}/notifications/read-state")
    async with (
        watching(url, member.token, topics=[f"user:{member.user_id}"]) as phone,
        watching(url, member.token) as desk,
        watching(url, owner.token) as others,
    ):
        devices = [Device(phone), Device(desk)]
        for device in devices:
            await device.fetched(member)
        assert [device.count for device in devices] == [0, 0]
        for number in range(10):
            body = text(line, sender="+14155550123", body=f"text {number}", sid=f"SM{number:032}")
            assert (await post(anonymous, body)).status_code == 200
            if number % 3 == 0:
                await told(service)
        await told(service)
        for device in devices:
            await device.hears(await last(admin, member))
            [new] = [item for item in device.shown.values() if not item["isRead"]]
            assert (new["count"], new["message"], device.count) == (10, "text 9", 1)
            assert device.names.count("notification.created") == 1
        address = f"{API}/conversations/{talk.id}/read-state"
        assert (await member.put(address, json={"at": "2036-01-01T00:00:00Z"})).status_code == 200
        for device in devices:
            await device.hears(await last(admin, member))
            assert (device.count, device.shown[new["id"]]["isRead"]) == (0, True)
        again = Device(phone)
        await again.fetched(member)
        for device in devices:  # first fetch + frames heard = second fetch
            assert (device.shown, device.count) == (again.shown, again.count)
        outsider = Device(others)
        await outsider.hears(await last(admin, owner))
        assert not [event for event in outsider.names if event.startswith("notification")]
        assert "message.received" in outsider.names


async def test_whatever_is_done_with_notices_a_device_that_came_back_shows_what_a_fresh_fetch_does(
    service: Service, url: str, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await told(service)
    async with watching(url, member.token) as screen:
        device, seq = Device(screen), screen.ready["seq"]
        await device.fetched(member)
    channel = (await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True})).json()["id"]
    await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(member.user_id)})
    for _ in range(2):
        said = {"channelId": channel, "content": f"@[{member.user_id}] psst"}
        await owner.post(f"{API}/team-messages", json=said)
        await owner.post(f"{API}/conversations/{talk.id}/notes", json={"content": "hm"})
        await told(service)
        newest = (await notices(member))[0]
        await member.patch(f"{API}/notifications/{newest['id']}", json={"isRead": True})
    await member.delete(f"{API}/notifications/{newest['id']}")
    await owner.delete(f"{API}/team-channels/{channel}/members/{member.user_id}")
    await told(service)
    async with watching(url, member.token, after=seq) as screen:
        back = Device(screen)
        back.shown, back.count = device.shown, device.count
        await back.hears(await last(admin, member))
    fresh = Device(screen)
    await fresh.fetched(member)
    assert (back.shown, back.count) == (fresh.shown, fresh.count)
    assert not any("psst" in str(item) for item in back.shown.values())
