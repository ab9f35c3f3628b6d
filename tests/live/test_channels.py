"""Channels live: a screen that hears the frames shows what a fresh fetch shows, and no outsider hears a thing."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest

from comms.hub import Hub
from comms.service import Service
from tests.conftest import Client
from tests.live.channels import DONE, Board, fetched
from tests.make.team import API, CHANNELS, MESSAGES, channel, direct, ok, said
from tests.screens import Screen, application, serving, watching

EMOJI = [quote(one) for one in ("👍", "❤️", "🎉")]


@pytest.fixture
async def urls_of_two(service: Service) -> AsyncIterator[tuple[str, str]]:
    """The sockets of two processes: one that answers the API, and one that only hears of it."""
    other = Hub(service.database)
    await other.start()
    async with (
        serving(application(service.database, service.hub)) as here,
        serving(application(service.database, other)) as there,
    ):
        yield here, there
    await other.stop()


async def over(owner: Client) -> None:
    """A while is over."""
    await ok(await owner.post(f"{API}/contacts", json={}))


class Actions:
    """Whatever members may do in channels, at random: some of it is refused, and then nothing has happened."""

    def __init__(self, clients: list[Client], seed: int) -> None:
        self.clients = clients
        self.chance = random.Random(seed)
        self.channels: list[str] = []
        self.messages: list[dict[str, Any]] = []

    async def one(self) -> None:
        """Something."""
        client, chance = self.chance.choice(self.clients), self.chance
        other = chance.choice(self.clients)
        here = chance.choice(self.channels)
        message = chance.choice(self.messages) if self.messages else {"id": here, "channelId": here}
        of_message, of_channel = f"{MESSAGES}/{message['id']}", f"{CHANNELS}/{here}"
        answer = message["id"] if message["channelId"] == here else None
        text = chance.choice(["Hi", "@channel", f"@[{other.user_id}]", f"@[{client.user_id}] and @[{other.user_id}]"])
        body = {"channelId": here, "content": text}
        does: list[tuple[int, Awaitable[Any]]] = [
            (20, client.post(MESSAGES, json=body)),
            (15, client.post(MESSAGES, json=body | {"parentMessageId": answer})),
            (5, client.patch(of_message, json={"content": text})),
            (4, client.delete(of_message)),
            (6, client.put(f"{of_message}/reactions/{chance.choice(EMOJI)}")),
            (4, client.delete(f"{of_message}/reactions/{chance.choice(EMOJI)}")),
            (2, client.put(f"{of_message}/pin")),
            (1, client.delete(f"{of_message}/pin")),
            (4, client.put(f"{of_channel}/reading", json={"messageId": answer})),
            (2, client.put(f"{of_message}/following")),
            (2, client.delete(f"{of_message}/following")),
            (4, client.post(f"{of_channel}/members", json={"userId": str(other.user_id)})),
            (4, client.delete(f"{of_channel}/members/{other.user_id}")),
            (3, client.patch(of_channel, json={"isPrivate": chance.random() < 0.5})),
            (2, client.patch(of_channel, json={"name": text, "type": chance.choice(["group", "announcement"])})),
            (2, client.put(f"{of_channel}/posters/{other.user_id}")),
            (2, client.put(f"{CHANNELS}/direct/{other.user_id}")),
            (2, client.post(CHANNELS, json={"name": "new", "isPrivate": chance.random() < 0.5})),
            (1, client.delete(of_channel)),
        ]
        chosen = chance.choices(range(len(does)), [weight for weight, _ in does])[0]
        for place, (_, doing) in enumerate(does):
            if place != chosen:
                doing.close()  # type: ignore[attr-defined]  # it is a coroutine
        done = await does[chosen][1]
        assert done.status_code < 500, done.text
        if done.status_code in (200, 201) and done.content:
            row = done.json()
            if "lastPosition" in row and row["id"] not in self.channels:
                self.channels.append(row["id"])
            elif "position" in row and done.status_code == 201:
                self.messages.append(row)


async def test_a_screen_that_hears_shows_what_a_fresh_fetch_shows(
    owner: Client, admin_member: Client, member: Client, viewer: Client, urls_of_two: tuple[str, str]
) -> None:
    clients = [owner, admin_member, member, viewer]
    actions = Actions(clients, seed=22)
    actions.channels += [await channel(owner, member), await channel(member, viewer, isPrivate=True)]
    actions.channels.append(await direct(admin_member, member))
    boards = [Board(client) for client in clients]
    compared = 0
    for turn in range(8):
        is_broken = turn % 3 == 2
        async with AsyncExitStack() as stack:
            screens = []
            for place, board in enumerate(boards):
                # Now in one process and now in the other; who comes back hears what they missed.
                url = urls_of_two[(turn + place) % 2]
                wish = {} if board.seq is None else {"after": board.seq}
                screens.append(await stack.enter_async_context(watching(url, board.client.token, **wish)))
                if board.is_stale:
                    await board.fetch()
            await asyncio.gather(*(actions.one() for _ in range(6)))
            if is_broken:
                for screen in screens:
                    screen.connection.transport.abort()
            await asyncio.gather(*(actions.one() for _ in range(6)))
            await over(owner)
            for board, screen in zip(boards, screens, strict=True):
                for _ in range(0 if is_broken else 2 if turn and turn % 3 == 0 else 1):
                    await board.hear(screen)
        for board in [] if is_broken else boards:
            if board.is_stale:
                await board.fetch()
                continue
            compared += 1
            again = await fetched(board.client)
            for name, rows in again.items():
                assert board.rows[name] == rows, (turn, board.client.user_id, name)
    assert compared > 10
    assert len(actions.messages) > 8


async def test_a_private_word_is_heard_by_no_outsider(
    owner: Client, admin_member: Client, member: Client, viewer: Client, stranger: Client, urls_of_two: tuple[str, str]
) -> None:
    """A private note is the team's; a direct message is two people's, and a private channel its members'."""
    talk = await ok(await owner.post(f"{API}/conversations", json={"channel": "email"}))
    private = await channel(owner, member, isPrivate=True)
    async with AsyncExitStack() as stack:
        outside, inside, note_only = [
            await stack.enter_async_context(watching(url, client.token))
            for url, client in ((urls_of_two[1], viewer), (urls_of_two[1], member), (urls_of_two[0], admin_member))
        ]
        foreign = await stack.enter_async_context(watching(urls_of_two[0], stranger.token))
        await outside.say(type="subscribe", topics=["workspace", f"channel:{private}", f"user:{member.user_id}"])
        await outside.next("topics")
        pair = await direct(owner, member)
        whispered = await said(owner, pair, f"between us @[{member.user_id}]")
        spoken = await said(owner, private, "the merger")
        await ok(await owner.put(f"{MESSAGES}/{spoken['id']}/reactions/{EMOJI[0]}"))
        await ok(await owner.patch(f"{MESSAGES}/{spoken['id']}", json={"content": "no merger"}))
        await ok(await owner.put(f"{MESSAGES}/{spoken['id']}/pin"))
        await ok(await owner.post(f"{API}/uploads", content=b"plan", params={"isPrivate": True}))
        await ok(await owner.delete(f"{MESSAGES}/{whispered['id']}"))
        await ok(await owner.post(f"{API}/conversations/{talk['id']}/notes", json={"content": "rude"}))
        await over(owner)
        await ok(await stranger.post(f"{API}/contacts", json={}))
        heard = {screen: await names(screen) for screen in (outside, inside, note_only, foreign)}
    assert heard[foreign] == [DONE]
    assert heard[outside] == heard[note_only] == ["message.created", DONE]
    assert heard[inside].count("team_message.created") == 2
    assert {"team_message_reaction.created", "team_message.updated", "team_message.pinned"} <= set(heard[inside])
    for client in (viewer, admin_member):
        events = (await ok(await client.get(f"{API}/events", params={"limit": 200})))["items"]
        assert not [event for event in events if event["subjectType"].startswith("team_") or "merger" in str(event)]


async def names(screen: Screen) -> list[str]:
    """What is heard until a while is over."""
    heard: list[str] = []
    while not heard or heard[-1] != DONE:
        heard.append((await screen.next("event"))["event"])
    return heard


async def test_who_was_removed_hears_nothing_more_in_any_process(
    owner: Client, member: Client, viewer: Client, urls_of_two: tuple[str, str]
) -> None:
    private = await channel(owner, member, viewer, isPrivate=True)
    thread = await said(member, private, "mine")
    async with AsyncExitStack() as stack:
        screens = [
            await stack.enter_async_context(watching(url, member.token, topics=topics))
            for url in urls_of_two
            for topics in (["workspace"], [f"channel:{private}", "contacts"])
        ]
        staying = await stack.enter_async_context(watching(urls_of_two[1], viewer.token))
        # He is removed while everybody talks: what is said afterwards is not for him.
        await asyncio.gather(
            *(said(owner, private, f"@[{member.user_id}] {number}") for number in range(5)),
            owner.delete(f"{CHANNELS}/{private}/members/{member.user_id}"),
        )
        await said(owner, private, "@channel he is gone", parentMessageId=thread["id"])
        await ok(await owner.put(f"{MESSAGES}/{thread['id']}/reactions/{EMOJI[0]}"))
        await ok(await owner.delete(f"{MESSAGES}/{thread['id']}"))
        await over(owner)
        for screen in screens:
            heard = [name for name in await names(screen) if not name.startswith("notification")]
            left = heard.index("team_channel_member.deleted")
            assert heard[left + 1 :] == [DONE]
            assert set(heard[:left]) <= {"team_message.created"}
        assert (await names(staying)).count("team_message.created") == 6
    assert (await ok(await member.get(f"{API}/team-messages")))["items"] == []
    assert (await ok(await member.get(f"{API}/team-channel-readings")))["items"] == []


async def test_what_is_read_on_one_device_is_read_on_the_other_and_nobody_else_hears(
    owner: Client, member: Client, urls_of_two: tuple[str, str]
) -> None:
    here = await channel(owner, member)
    await said(owner, here, f"@[{member.user_id}]")
    async with (
        watching(urls_of_two[0], member.token, topics=["team_channel_readings", "contacts"]) as phone,
        watching(urls_of_two[1], member.token, topics=[f"channel:{here}"]) as desk,
        watching(urls_of_two[1], owner.token) as other,
    ):
        await ok(await member.put(f"{CHANNELS}/{here}/reading", json={}))
        await over(owner)
        for screen in (phone, desk):
            frame = await screen.next("event")
            assert (frame["event"], frame["data"]["unreadCount"]) == ("team_channel_reading.updated", 0)
        assert await names(other) == [DONE]
