"""A member's screen of the team's channels: what it fetches first, and what it makes of every frame it hears."""

import asyncio
from typing import Any

from tests.conftest import Client
from tests.make.team import API, ok
from tests.screens import Screen

Rows = dict[str, dict[str, Any]]
SHOWN = {
    "channels": "team-channels",
    "members": "team-channel-members",
    "messages": "team-messages",
    "readings": "team-channel-readings",
    "followings": "team-thread-followings",
}
DONE = "contact.created"
"""What happens when a while is over; everybody hears it."""


async def fetched(client: Client) -> dict[str, Rows]:
    """What a screen shows when it is opened."""
    pages = await asyncio.gather(*(client.get(f"{API}/{path}", params={"limit": 200}) for path in SHOWN.values()))
    found = {}
    for name, answer in zip(SHOWN, pages, strict=True):
        page = await ok(answer)
        assert page["nextCursor"] is None, "too much for this screen"
        found[name] = {row["id"]: row for row in page["items"]}
    return found


class Board:
    """What the member's screen shows; ``is_stale`` when something became visible that only a fetch can bring."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.me = str(client.user_id)
        self.rows: dict[str, Rows] = {}
        self.is_stale = True
        self.seq: int | None = None

    async def fetch(self) -> None:
        """As a fresh screen."""
        self.rows, self.is_stale = await fetched(self.client), False

    async def hear(self, screen: Screen) -> None:
        """All frames until a while is over."""
        while True:
            frame = await screen.next("event")
            self.seq = frame["seq"]
            if frame["event"] == DONE:
                return
            self._take(frame["event"], frame["data"])

    def _take(self, event: str, data: dict[str, Any]) -> None:
        noun, _, past = event.partition(".")
        match noun:
            case "team_channel":
                self._channel(past, data)
            case "team_channel_member":
                self._member(past, data)
            case "team_message":
                self._message(past, data)
            case "team_message_reaction":
                self._reaction(past, data)
            case "team_channel_reading":
                self.rows["readings"][data["id"]] = data
            case "team_thread_following":
                self.rows["followings"][data["id"]] = data
            case "notification" | "upload":
                pass
            case other:
                raise AssertionError(f"nobody has said what a screen does on {other}")

    def _channel(self, past: str, data: dict[str, Any]) -> None:
        if past in ("closed", "deleted"):
            self._forget(data["id"])
            return
        self.is_stale |= past == "updated" and data["id"] not in self.rows["channels"]
        self.rows["channels"][data["id"]] = data

    def _forget(self, channel_id: str) -> None:
        self.rows["channels"].pop(channel_id, None)
        for name in ("members", "messages", "readings", "followings"):
            self.rows[name] = {key: row for key, row in self.rows[name].items() if row["channelId"] != channel_id}

    def _member(self, past: str, data: dict[str, Any]) -> None:
        channel = self.rows["channels"].get(data["channelId"])
        is_me = data["userId"] == self.me
        if past == "deleted":
            self.rows["members"].pop(data["id"], None)
            if channel is not None:
                channel["memberCount"] -= 1
            if is_me:
                mine = self.rows["readings"].items()
                self.rows["readings"] = {key: row for key, row in mine if row["channelId"] != data["channelId"]}
            if is_me and channel is not None and channel["isPrivate"]:
                self._forget(data["channelId"])
            return
        self.rows["members"][data["id"]] = data
        if channel is not None and past == "created":
            channel["memberCount"] += 1
        self.is_stale |= channel is None and is_me  # if it was just made, its own event follows

    def _message(self, past: str, data: dict[str, Any]) -> None:
        messages, before = self.rows["messages"], self.rows["messages"].get(data["id"])
        parent = messages.get(data["parentMessageId"])
        more = {"created": 1, "deleted": -1}.get(past, 0)
        if parent is not None:
            parent["threadCount"] += more
            if parent["deletedAt"] and not parent["threadCount"]:
                del messages[parent["id"]]
        if past == "deleted" and not data["threadCount"]:
            messages.pop(data["id"], None)
        else:
            messages[data["id"]] = data
        if past == "created":
            channel = self.rows["channels"].get(data["channelId"])
            if channel is None:  # just joined, and not yet fetched
                self.is_stale = True
                return
            channel["lastPosition"], channel["lastMessageAt"] = data["position"], data["createdAt"]
        for reading in self.rows["readings"].values():
            is_unread = reading["channelId"] == data["channelId"] and data["position"] > reading["readPosition"]
            if is_unread and data["senderId"] != self.me:
                reading["unreadCount"] += more
                reading["mentionCount"] += self._calls(data) - (0 if before is None else self._calls(before))

    def _calls(self, message: dict[str, Any]) -> int:
        return int(message["mentionsChannel"] or self.me in message["mentions"])

    def _reaction(self, past: str, data: dict[str, Any]) -> None:
        message = self.rows["messages"].get(data["messageId"])
        if message is None:
            return
        found = next((one for one in message["reactions"] if one["emoji"] == data["emoji"]), None)
        if past == "created" and found is None:
            message["reactions"].append({"emoji": data["emoji"], "count": 1, "userIds": [data["userId"]]})
        elif past == "created" and found is not None:
            found["userIds"].append(data["userId"])
            found["count"] += 1
        elif found is not None:
            found["userIds"].remove(data["userId"])
            found["count"] -= 1
            message["reactions"] = [one for one in message["reactions"] if one["count"]]
