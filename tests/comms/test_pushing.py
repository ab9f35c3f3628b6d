"""Notifications reach browsers, sealed for each of them and signed by us; whatever their push service says to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from comms import names
from comms.notifications import pushing, subscriptions, vapid
from comms.notifications.keeping import Notice, keep
from comms.notifications.pushing import Pushing
from comms.service import Service
from comms.settings import PushSettings, SecuritySettings
from comms.vault import Vault
from models.base import now
from tests.conftest import Client
from tests.make.browsers import Browser, PushService, push_service
from tests.make.notices import API, notices, wanted
from tests.screens import eventually

KEY = f"{API}/push-key"
DEVICES = f"{API}/push-subscriptions"


@pytest.fixture
async def outside() -> AsyncIterator[PushService]:
    async with push_service() as running:
        yield running


@pytest.fixture
def pusher(service: Service, outside: PushService) -> Pushing:
    return Pushing(service.database, service.vault, PushSettings("mailto:us@acme.example", (outside.host,)))


async def subscribed(service: Service, client: Client, outside: PushService, name: str = "one") -> Browser:
    """A browser of the client's, at the simulated push service."""
    browser = Browser(outside.host, name)
    async with service.database.workspace(client.workspace_id) as db:
        await subscriptions.subscribe(
            db,
            client,  # type: ignore[arg-type]  # it has both ids
            endpoint=browser.endpoint,
            **browser.keys,
            expires_at=None,
            hosts=[outside.host],
        )
    return browser


async def told(service: Service, client: Client, seq: int = 1, **more: Any) -> None:
    """Something concerns the client."""
    given: dict[str, Any] = {"kind": "mention", "title": "You were mentioned in a note", "message": "Psst, Ada"} | more
    at = now()
    async with service.database.everywhere() as db:
        notice = Notice(user_id=client.user_id, group_key="g", seq=seq, at=at, push_due_at=at, **given)
        await keep(db, client.workspace_id, [notice])


async def test_a_browser_opens_what_it_is_pushed_and_sees_that_it_is_from_us(
    service: Service, member: Client, owner: Client, outside: PushService, pusher: Pushing
) -> None:
    one, other = [await subscribed(service, member, outside, name) for name in ("one", "other")]
    await subscribed(service, owner, outside, "owners")
    await told(service, member, link="/conversations/1")
    assert (await pusher.push_due(), await pusher.push_due()) == (2, 0)
    public_key = (await member.get(KEY)).json()["publicKey"]
    [notice] = await notices(member)
    by_path = {pushed.path: pushed for pushed in outside.pushed}
    for name, browser in (("one", one), ("other", other)):
        pushed = by_path[f"/send/{name}"]
        shown = browser.shows(pushed, public_key)
        assert (shown["id"], shown["tag"], shown["message"]) == (notice["id"], notice["id"], "Psst, Ada")
        assert (shown["unreadCount"], shown["link"], shown["count"]) == (1, "/conversations/1", 1)
        assert b"Psst" not in pushed.body
        assert (pushed.headers["urgency"], pushed.headers["ttl"]) == ("high", "43200")
        assert len(pushed.headers["topic"]) <= 32
    assert by_path["/send/one"].headers["topic"] == by_path["/send/other"].headers["topic"]
    with pytest.raises(Exception, match=r"(?i)tag|decrypt|invalid"):
        other.shows(by_path["/send/one"], public_key)


async def test_the_installation_has_one_key_whoever_asks_first_and_it_is_sealed(
    service: Service, member: Client, stranger: Client, admin: Any
) -> None:
    found = await asyncio.gather(*(client.get(KEY) for client in [member, stranger] * 4))
    assert len({answer.json()["publicKey"] for answer in found}) == 1
    row = await admin.fetchrow("SELECT * FROM installation_keys")
    assert b"PRIVATE" not in b"".join(value for value in row.values() if isinstance(value, bytes))
    more = (("new", b"n" * 32), *service.settings.security.keys)
    rotated = await vapid.key(service.database, Vault(SecuritySettings(keys=more)))
    assert rotated.public_key == found[0].json()["publicKey"]
    assert "PRIVATE" not in repr(rotated)


async def test_what_grows_is_pushed_again_in_the_place_of_the_first_and_what_is_read_is_not(
    service: Service, member: Client, outside: PushService, pusher: Pushing, admin: Any
) -> None:
    browser = await subscribed(service, member, outside)
    await told(service, member)
    await pusher.push_due()
    await told(service, member, seq=2, count=9, message="the tenth")
    assert await pusher.push_due() == 0, "a phone need not buzz for every line"
    await admin.execute("UPDATE push_messages SET due_at = now()")
    assert await pusher.push_due() == 1
    key = (await member.get(KEY)).json()["publicKey"]
    first, second = [browser.shows(pushed, key) for pushed in outside.pushed]
    assert (first["tag"], second["count"], second["message"]) == (second["tag"], 10, "the tenth")
    await told(service, member, seq=3)
    await admin.execute("UPDATE push_messages SET due_at = now()")
    await member.put(f"{API}/notifications/read-state")
    assert await pusher.push_due() == 0
    assert (len(outside.pushed), await admin.fetchval("SELECT count(*) FROM push_messages")) == (2, 0)


async def test_what_grows_while_it_is_pushed_is_pushed_again(
    service: Service, member: Client, outside: PushService, pusher: Pushing, admin: Any
) -> None:
    browser = await subscribed(service, member, outside)
    await told(service, member)
    outside.answers_after = asyncio.Event()
    pushes = asyncio.create_task(pusher.push_due())
    await eventually(lambda: bool(outside.pushed))
    await told(service, member, seq=2)
    outside.answers_after.set()
    await pushes
    await admin.execute("UPDATE push_messages SET due_at = now()")
    await pusher.push_due()
    key = (await member.get(KEY)).json()["publicKey"]
    assert [browser.shows(pushed, key)["count"] for pushed in outside.pushed] == [1, 2]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_has_gone_is_forgotten(
    service: Service, member: Client, outside: PushService, pusher: Pushing, status: int
) -> None:
    await subscribed(service, member, outside)
    outside.answers = [(status, {})]
    await told(service, member)
    assert await pusher.push_due() == 0
    assert (await member.get(DEVICES)).json()["items"] == []
    log = (await member.get(f"{API}/events", params={"event": "push_subscription."})).json()["items"]
    assert [item["event"] for item in log] == ["push_subscription.created", "push_subscription.deleted"]


@pytest.mark.parametrize(
    ("answer", "wait"), [((429, {"retry-after": "300"}), 300), ((503, {}), 5), ((500, {"retry-after": "never"}), 5)]
)
async def test_a_push_service_that_is_busy_is_asked_again_later(
    service: Service,
    member: Client,
    outside: PushService,
    pusher: Pushing,
    admin: Any,
    answer: tuple[int, dict[str, str]],
    wait: int,
) -> None:
    await subscribed(service, member, outside)
    outside.answers = [answer]
    await told(service, member)
    assert (await pusher.push_due(), await pusher.push_due()) == (0, 0)
    seconds = await admin.fetchval("SELECT extract(epoch FROM due_at - now()) FROM push_messages")
    assert wait - 3 < seconds <= wait
    await admin.execute("UPDATE push_messages SET due_at = now()")
    assert await pusher.push_due() == 1
    assert len(outside.pushed) == 2


async def test_a_look_up_whose_turn_has_not_come_uses_up_no_try(
    service: Service, member: Client, outside: PushService, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribed(service, member, outside)
    await told(service, member)
    await admin.execute("UPDATE push_subscriptions SET endpoint = replace(endpoint, '127.0.0.1', 'localhost')")
    hosts = (outside.host.replace("127.0.0.1", "localhost"),)
    pusher = Pushing(service.database, service.vault, PushSettings("mailto:us@acme.example", hosts))
    with monkeypatch.context() as crowded:
        crowded.setattr(names, "MOST_EACH", 0)
        for _ in range(len(pushing.BACK_OFF_SECONDS) + 2):
            await admin.execute("UPDATE push_messages SET due_at = now()")
            assert await pusher.push_due() == 0
    assert await admin.fetchval("SELECT attempts FROM push_messages") == 0
    await admin.execute("UPDATE push_messages SET due_at = now()")
    assert await pusher.push_due() == 1


async def test_what_is_refused_for_good_or_too_often_is_given_up(
    service: Service, member: Client, outside: PushService, pusher: Pushing, admin: Any
) -> None:
    await subscribed(service, member, outside)
    for answers in ([403], [500] * (len(pushing.BACK_OFF_SECONDS) + 1)):
        outside.answers = [(status, {}) for status in answers]
        await told(service, member, seq=len(answers))
        for _ in answers:
            assert await admin.fetchval("SELECT count(*) FROM push_messages") == 1
            await admin.execute("UPDATE push_messages SET due_at = now()")
            assert await pusher.push_due() == 0
        assert await admin.fetchval("SELECT count(*) FROM push_messages") == 0
    assert len((await member.get(DEVICES)).json()["items"]) == 1


async def test_killed_after_the_push_service_has_it_it_is_pushed_once_more_under_the_same_topic(
    service: Service,
    member: Client,
    outside: PushService,
    pusher: Pushing,
    admin: Any,
) -> None:
    await subscribed(service, member, outside)
    await told(service, member)
    outside.is_silent = True
    pushes = asyncio.create_task(pusher.push_due())
    await eventually(lambda: bool(outside.pushed))
    pushes.cancel()
    await asyncio.wait([pushes])
    outside.is_silent = False
    assert await pusher.push_due() == 0, "it is leased to whoever was killed"
    await admin.execute("UPDATE push_messages SET due_at = now()")
    assert await pusher.push_due() == 1
    assert len({pushed.headers["topic"] for pushed in outside.pushed}) == 1
    assert (len(outside.pushed), await admin.fetchval("SELECT count(*) FROM push_messages")) == (2, 0)


async def test_several_who_push_at_once_push_each_thing_once(
    service: Service, member: Client, outside: PushService, pusher: Pushing
) -> None:
    for name in "abcdef":
        await subscribed(service, member, outside, name)
    await told(service, member)
    assert sum(await asyncio.gather(*(pusher.push_due() for _ in range(4)))) == 6
    assert len({pushed.path for pushed in outside.pushed}) == len(outside.pushed) == 6


async def test_at_night_nothing_is_pushed_even_if_they_have_only_said_so_since(
    service: Service, member: Client, outside: PushService, pusher: Pushing, admin: Any
) -> None:
    await subscribed(service, member, outside)
    await told(service, member)
    await wanted(member, quietHours={"start": "00:00", "end": "23:59"})
    assert await pusher.push_due() == 0
    assert await admin.fetchval("SELECT due_at > now() FROM push_messages") or now().strftime("%H:%M") == "23:59"
    assert outside.pushed == []


async def test_who_may_not_see_it_any_more_is_pushed_nothing(
    service: Service, member: Client, outside: PushService, pusher: Pushing, admin: Any
) -> None:
    await subscribed(service, member, outside)
    await told(service, member)
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", member.user_id)
    assert await pusher.push_due() == 0
    assert (outside.pushed, await admin.fetchval("SELECT count(*) FROM push_messages")) == ([], 0)


async def test_nothing_is_pushed_into_our_own_network(
    service: Service, member: Client, outside: PushService, admin: Any
) -> None:
    await subscribed(service, member, outside)
    await told(service, member)
    elsewhere = Pushing(service.database, service.vault, PushSettings())
    assert await elsewhere.push_due() == 0
    assert (outside.pushed, (await member.get(DEVICES)).json()["items"]) == ([], [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"endpoint": "http://push.example.net/x"}, "endpoint"),
        ({"endpoint": "https://127.0.0.1/x"}, "endpoint"),
        ({"endpoint": "https://[::1]/x"}, "endpoint"),
        ({"endpoint": "https://169.254.169.254/latest"}, "endpoint"),
        ({"endpoint": "https://localhost/x"}, "endpoint"),
        ({"endpoint": "https://push.example.net:8443/x"}, "endpoint"),
        ({"endpoint": "https://me@push.example.net/x"}, "endpoint"),
        ({"endpoint": "file:///etc/passwd"}, "endpoint"),
        ({"endpoint": "https://push.example.net/" + "x" * 1000}, "endpoint"),
        ({"keys": {"p256dh": "BAAA", "auth": "c2l4dGVlbiBieXRlcy4uIQ"}}, "keys.p256dh"),
        ({"keys": {"p256dh": "!", "auth": "c2l4dGVlbiBieXRlcy4uIQ"}}, "keys.p256dh"),
        ({"keys": {"auth": "c2hvcnQ"}}, "keys.p256dh"),
        ({"expirationTime": "tomorrow"}, "expirationTime"),
    ],
)
async def test_what_is_no_device_is_refused(member: Client, change: dict[str, Any], field: str) -> None:
    body = Browser("push.example.net", scheme="https").subscription() | change
    answer = await member.post(DEVICES, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_a_device_is_its_members_own_and_whose_it_becomes_has_it_alone(
    viewer: Client, member: Client, stranger: Client, admin: Any
) -> None:
    browser = Browser("push.example.net", scheme="https")
    made = await viewer.post(DEVICES, json=browser.subscription())
    assert made.status_code == 201, made.text
    assert (await viewer.post(DEVICES, json=browser.subscription())).json() == made.json()
    assert not {"p256dh", "auth", "keys"} & made.json().keys()
    assert browser.keys["auth"] not in (await viewer.get(f"{API}/events")).text
    address = f"{DEVICES}/{made.json()['id']}"
    for other in (member, stranger):
        assert (await other.get(address)).status_code == (await other.delete(address)).status_code == 404
        assert (await other.get(DEVICES)).json()["items"] == []
    assert (await member.post(DEVICES, json=browser.subscription())).status_code == 201
    assert (
        (await viewer.get(DEVICES)).json()["items"],
        await admin.fetchval("SELECT count(*) FROM push_subscriptions"),
    ) == ([], 1)
    [mine] = (await member.get(DEVICES)).json()["items"]
    assert (await member.delete(f"{DEVICES}/{mine['id']}")).status_code == 204


async def test_the_oldest_of_too_many_devices_makes_room(member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 2)
    for name in "abc":
        await member.post(DEVICES, json=Browser("push.example.net", name, "https").subscription())
    left = [item["endpoint"][-1] for item in (await member.get(DEVICES)).json()["items"]]
    assert left == ["c", "b"]


def test_what_is_pushed_fits_into_what_push_services_take() -> None:
    row = dict.fromkeys(
        ("workspace_id", "id", "notification_id", "subscription_id"), "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"
    )
    more = {"kind": "message", "type": "info", "title": "\U0001f642" * 500, "message": "\U0001f642" * 500}
    rest = {"link": "/x", "count": 9, "happened_at": now(), "unread_count": 1, "attempts": 1}
    keys = {"endpoint": "https://push.example.net/x", "p256dh": "", "auth": ""}
    lease = pushing._leased(type("Row", (), row | more | rest | keys))
    assert len(lease.said) <= 3_000
    assert msgspec.json.decode(lease.said)["count"] == 9


async def test_a_push_service_that_answers_by_the_byte_keeps_nobody_waiting(
    service: Service, member: Client, owner: Client, outside: PushService
) -> None:
    """Each byte comes in time, and there is no end of them: whoever runs such a service stops only themselves."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(b"HTTP/1.1 201 Created\r\n")
            for _ in range(200):
                writer.write(b"x-more: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        slow = PushService()
        slow.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = PushSettings("mailto:us@acme.example", (outside.host, slow.host))
        pusher = Pushing(service.database, service.vault, settings, longest_seconds=0.5)
        await subscribed(service, owner, slow)
        await subscribed(service, member, outside)
        await told(service, owner)
        await told(service, member)
        async with asyncio.timeout(4):
            assert await pusher.push_due() == 1
    assert len(outside.pushed) == 1
