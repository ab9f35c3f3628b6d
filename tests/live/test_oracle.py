"""*First fetch + frames heard = second fetch*: that the oracle sees what is wrong, and that nothing is."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from comms.database import Database
from comms.hub import Hub
from comms.service import Service
from handlers.app import create_app
from tests import oracle
from tests.conftest import Client
from tests.handlers.descriptions import api
from tests.screens import Office, Screen, application, serving, watching

API = "/api/v1"


def _loses(heard: list[Any]) -> None:
    del heard[1]


def _doubles(heard: list[Any]) -> None:
    heard.insert(1, heard[1])


def _turns(heard: list[Any]) -> None:
    heard[0], heard[1] = heard[1], heard[0]


def _changes(heard: list[Any]) -> None:
    heard[1] = heard[1] | {"data": {"number": 99}}


def _invents(heard: list[Any]) -> None:
    heard[0] = heard[0] | {"seq": 0}


@pytest.mark.parametrize("harm", [_loses, _doubles, _turns, _changes, _invents])
async def test_the_oracle_sees_what_is_missing_twice_out_of_order_or_wrong(
    url: str, acme: Office, harm: Callable[[list[Any]], None]
) -> None:
    async with watching(url, acme.token, judged=False) as screen:
        await acme.happens("contact.created", times=3)
        await screen.seqs(3)
        await oracle.judge(screen, url, acme.token, None)
        harm(screen.heard)
        with pytest.raises(AssertionError):
            await oracle.judge(screen, url, acme.token, None)


async def test_the_oracle_waits_for_what_nobody_has_read_and_sees_what_is_nobodys_business(
    url: str, acme: Office
) -> None:
    async with watching(url, acme.token, judged=False) as screen:
        await acme.happens("contact.created", times=3)
        await oracle.judge(screen, url, acme.token, None)
        assert len(screen.heard) == 3
        await acme.happens("deal.created")
        with pytest.raises(AssertionError):
            await oracle.judge(screen, url, acme.token, ["contacts"])


# What a client of the whole API sees

KEPT = ("contacts", "deals", "conversations", "team-channels", "team-messages", "invoices")
LINES = [{"description": "Work", "quantity": "3", "unitPrice": "9.99"}]
State = dict[str, dict[str, Any]]


@pytest.fixture
async def urls_of_both(service: Service) -> AsyncIterator[tuple[str, str]]:
    """The sockets of two processes; the API is the first's."""
    database = Database(service.database.urls, pool_size=2)
    hub = Hub(database)
    await hub.start()
    async with serving(create_app(service, api())) as here, serving(application(database, hub)) as there:
        yield here, there
    await hub.stop()
    await database.close()


async def fetched(client: Client, resource: str) -> dict[str, Any]:
    """All rows that the client may see; none of what they may not list."""
    answer = await client.get(f"{API}/{resource}", params={"limit": "200"})
    return {row["id"]: row for row in answer.json()["items"]} if answer.status_code == 200 else {}


async def ok(answer: Any) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


class Mirror:
    """What a client keeps of a workspace: it fetches once, and then believes the frames."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.kept: State = {}

    async def fetch(self, *resources: str) -> None:
        for resource in resources:
            self.kept[resource] = await fetched(self._client, resource)

    async def hear(self, frame: dict[str, Any]) -> None:
        """As docs/live.md says: put in its place, take away, and fetch where a right has changed."""
        noun, _, what = frame["event"].partition(".")
        data, me = frame["data"], str(self._client.user_id)
        resource = f"{noun.replace('_', '-')}s"
        if resource in self.kept:
            self.kept[resource].pop(data["id"], None)
            if what != "deleted":
                self.kept[resource][data["id"]] = data
        if what == "deleted":  # what referred to it refers to nothing
            for row in [row for rows in self.kept.values() for row in rows.values()]:
                row.update({name: None for name, value in row.items() if name.endswith("Id") and value == data["id"]})
        if noun == "workspace_member" and data["userId"] == me:
            await self.fetch("invoices")
        if noun == "team_channel_member" and data["userId"] == me:
            await self.fetch("team-channels", "team-messages")


async def test_a_client_that_fetched_once_has_what_a_fresh_one_fetches(
    owner: Client, member: Client, urls_of_both: tuple[str, str]
) -> None:
    """Over two processes, with lines that break, edits, deletions, and rights that come and go."""
    over = asyncio.Event()
    mirror = Mirror(member)
    seq = None
    places = itertools.cycle(urls_of_both)

    async def follow() -> None:
        nonlocal seq
        lengths = itertools.cycle((3, 1, 7, 2))
        while not over.is_set() or seq is None or seq < await last(owner):
            after = {} if seq is None else {"after": seq}
            async with watching(next(places), member.token, judged=False, **after) as screen:
                if seq is None:
                    seq = screen.ready["seq"]
                    await mirror.fetch(*KEPT)
                for _ in range(next(lengths)):
                    if (frame := await heard(screen)) is not None:
                        seq = max(seq, frame["seq"])
                        if frame["type"] == "event":
                            await mirror.hear(frame)
                screen.connection.transport.abort()

    following = asyncio.create_task(follow())
    try:
        await work(owner, member)
        over.set()
        await asyncio.wait_for(following, 20)
    finally:
        following.cancel()
    for resource in KEPT:
        assert mirror.kept[resource] == await fetched(member, resource), resource
    assert len(mirror.kept["contacts"]) == 4
    assert {row["name"] for row in mirror.kept["team-channels"].values()} == {"open", "stays"}


async def heard(screen: Screen) -> dict[str, Any] | None:
    try:
        return await screen.next(within=0.1)
    except TimeoutError:
        return None


async def last(client: Client) -> int:
    """The number of the last event that is to be heard by the member too."""
    query = {"sort": "-seq", "limit": "1", "event": "contact.created"}
    return int((await ok(await client.get(f"{API}/events", params=query)))["items"][0]["seq"])


async def work(owner: Client, member: Client) -> None:
    """What a team does in a second or two, and at the end somebody new."""
    query = {"userId": str(member.user_id)}
    rows = (await ok(await owner.get(f"{API}/workspace-members", params=query)))["items"]
    membership = f"{API}/workspace-members/{rows[0]['id']}"
    channels = {}
    for name, is_private in (("open", False), ("hush", True), ("stays", True)):
        made = await ok(await owner.post(f"{API}/team-channels", json={"name": name, "isPrivate": is_private}))
        channels[name] = f"{API}/team-channels/{made['id']}"
        if is_private:
            await ok(await owner.post(f"{channels[name]}/members", json=query))
        said = {"channelId": made["id"], "content": "Hello"}
        message = await ok(await owner.post(f"{API}/team-messages", json=said))
        await ok(await owner.patch(f"{API}/team-messages/{message['id']}", json={"content": "Hello, all"}))
    for number in range(4):
        contact = await ok(await owner.post(f"{API}/contacts", json={"firstName": f"Ann {number}"}))
        await ok(await owner.patch(f"{API}/contacts/{contact['id']}", json={"lastName": "Lee"}))
        deal = await ok(await owner.post(f"{API}/deals", json={"name": "A", "contactId": contact["id"]}))
        await ok(await owner.patch(f"{API}/deals/{deal['id']}", json={"name": "B"}))
        conversation = {"contactId": contact["id"], "channel": "sms"}
        await ok(await owner.post(f"{API}/conversations", json=conversation))
        customer = await ok(await owner.post(f"{API}/customers", json={"name": "Globex"}))
        bill = {"customerId": customer["id"], "lineItems": LINES}
        invoice = await ok(await owner.post(f"{API}/invoices", json=bill))
        await ok(await owner.patch(f"{API}/invoices/{invoice['id']}", json={"notes": "Thank you"}))
        await ok(await owner.patch(membership, json={"permissions": {} if number % 2 else {"billing": "none"}}))
    await ok(await owner.delete(f"{API}/contacts/{contact['id']}"))
    await ok(await owner.delete(f"{channels['hush']}/members/{member.user_id}"))
    channel = channels["hush"].rpartition("/")[2]
    await ok(await owner.post(f"{API}/team-messages", json={"channelId": channel, "content": "They are gone"}))
    await ok(await owner.post(f"{API}/contacts", json={"firstName": "Zoë"}))
