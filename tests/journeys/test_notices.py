"""An agent is told of what happens, on two devices at two processes whose workers tell it."""

import asyncio
from typing import Any

import httpx

from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, listed, phone
from tests.journeys.lines import Line
from tests.screens import Screen, watching


async def _counted(screen: Screen, unread: int, notice: dict[str, Any]) -> None:
    """The device is told until it shows so many unread, and the one notice as it is now."""
    async with asyncio.timeout(20):
        while True:
            event = await screen.next("event")
            if event["subjectType"] == "notification":
                notice |= event["data"]
            if event["subjectType"] == "notification_read_state":
                notice["unread"] = event["data"]["unreadCount"]
            if notice.get("unread") == unread and notice["count"] == 10:
                return


async def ten(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What is told of ten messages; of the first one the worker may have told before it was read."""
    return [notice for notice in await listed(client, "notifications") if notice["count"] == 10]


async def test_ten_messages_make_one_notice_read_on_one_device_and_gone_on_the_other(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient
) -> None:
    assert await Line(pair.ports[0]).post(desk.text(phone(1))) == 200
    [talk] = await listed(agent, "conversations")
    assert (await agent.put(f"/api/v1/conversations/{talk['id']}/following")).status_code == 200
    # Read, so that it is told of nowhere, however late the worker is.
    await agent.put(f"/api/v1/conversations/{talk['id']}/read-state", json={"at": "2036-01-01T00:00:00Z"})
    topics = ["notifications", "notification_read_states"]
    async with (
        watching(pair.one.screen_url, desk.token, topics=topics) as one,
        watching(pair.other.screen_url, desk.token, topics=topics) as other,
        desk.client(pair.other.url) as elsewhere,
    ):
        lines = [Line(port) for port in pair.ports]
        for number in range(10):
            assert await lines[number % 2].post(desk.text(phone(1), f"text {number}")) == 200
        shown: list[dict[str, Any]] = [{}, {}]
        await asyncio.gather(_counted(one, 1, shown[0]), _counted(other, 1, shown[1]))
        [notice] = await ten(agent)
        assert all(device.items() >= notice.items() for device in shown)
        read = await elsewhere.put("/api/v1/notifications/read-state", json={"subjectId": talk["id"]})
        assert read.json()["unreadCount"] == 0
        await asyncio.gather(_counted(one, 0, shown[0]), _counted(other, 0, shown[1]))
        assert [device["isRead"] for device in shown] == [True, True]
    [notice] = await ten(agent)
    assert all(device.items() >= notice.items() for device in shown)
