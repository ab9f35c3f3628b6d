"""The hub, with real sockets, a real server and a real database."""

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from comms.database import Database, Urls
from comms.hub import Hub
from comms.hub.frames import framed
from comms.wakeups import PAYLOAD_BYTES, Ears, packed
from models.base import new_id
from tests.screens import Office, application, eventually, office, screen, serving, watching

OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def elsewhere(urls: Urls) -> AsyncIterator[tuple[Hub, str]]:
    """Another process: a hub and a server with connections of their own."""
    database = Database(urls, pool_size=2)
    hub = Hub(database)
    await hub.start()
    async with serving(application(database, hub)) as url:
        yield hub, url
    await hub.stop()
    await database.close()


class Silence:
    """Wake-ups that never arrive."""

    async def start(self, ears: Ears) -> None:
        pass

    async def stop(self) -> None:
        pass

    def tell(self, workspace_id: uuid.UUID, seq: int) -> None:
        pass

    def whisper(self, words: str) -> None:
        pass


async def test_what_happens_is_on_every_screen_of_its_workspace_and_on_no_other(
    database: Database, url: str, acme: Office
) -> None:
    rival = await office(database, "rival")
    async with watching(url, acme.token) as one, watching(url, acme.token) as two, watching(url, rival.token) as other:
        await acme.happens(times=3)
        assert await one.seqs(3) == [1, 2, 3]
        assert await two.seqs(3) == [1, 2, 3]
        assert await other.is_quiet()
        await rival.happens()
        assert await other.seqs(1) == [1]
    await rival.close()


async def test_a_frame_is_the_entry_of_the_log(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        await acme.happens("deal.updated", conversation_id=new_id(), name='Zoë "quoted" \n 🎉', amount="12.30")
        assert [await screen.next()] == await acme.log()


async def test_ready_says_who_listens_and_from_where(url: str, acme: Office) -> None:
    await acme.happens(times=4)
    async with watching(url, acme.token) as now, watching(url, acme.token, after=1) as earlier:
        who = {"workspaceId": str(acme.workspace_id), "userId": str(acme.user_id), "protocol": 1}
        assert now.ready == {"type": "ready", "seq": 4, "head": 4, **who}
        assert earlier.ready == {"type": "ready", "seq": 1, "head": 4, **who}
        assert await earlier.seqs(3) == [2, 3, 4]
        assert await now.is_quiet()


async def test_who_reconnects_under_load_gets_exactly_what_the_log_has(url: str, acme: Office) -> None:
    stop = asyncio.Event()

    async def keep_happening() -> None:
        while not stop.is_set():
            await acme.happens(times=3)
            await asyncio.sleep(0.002)

    async def come_and_go() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        for coming in range(30):
            after = seen[-1]["seq"] if seen else 0
            async with watching(url, acme.token, judged=False, after=after) as screen:
                # Now leaving in the middle of the past, now after what was new when it came.
                until = screen.ready["seq"] + 3 if coming % 5 == 4 else screen.ready["head"] + coming
                while not seen or seen[-1]["seq"] < until:
                    seen.append(await screen.next("event"))
        return seen

    load = asyncio.create_task(keep_happening())
    await asyncio.sleep(0.3)
    try:
        all_seen = await asyncio.gather(*(come_and_go() for _ in range(5)))
    finally:
        stop.set()
        await load
    log = await acme.log()
    for seen in all_seen:
        assert len(seen) > 500
        assert seen == log[: len(seen)]


async def test_a_long_absence_is_replayed_in_order_and_then_goes_live(url: str, acme: Office) -> None:
    for _ in range(5):
        await acme.happens(times=300)
    async with watching(url, acme.token, after=10) as screen:
        assert await screen.seqs(1490) == list(range(11, 1501))
        await acme.happens()
        assert await screen.seqs(1) == [1501]


async def test_a_slow_screen_delays_no_other_and_is_told_where_to_resume(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as quick, watching(url, acme.token) as slow:
        slow.connection.transport.pause_reading()
        delays = []
        for _ in range(80):
            began = time.monotonic()
            last = await acme.happens(text="x" * 50_000)
            async with asyncio.timeout(10):
                assert await quick.seqs(1) == [last]
            delays.append(time.monotonic() - began)
        assert statistics.median(delays) < 1  # the machine itself may have stood still for one of them
        slow.connection.transport.resume_reading()
        code, reason = await slow.closed()
        assert code == 4409
        resume = int(reason.removeprefix("too slow: resync from seq "))
        assert 0 < resume < last
    async with watching(url, acme.token, after=resume) as back:
        assert await back.seqs(last - resume) == list(range(resume + 1, last + 1))


async def test_a_screen_that_never_reads_again_is_cut_off(hub: Hub, url: str, acme: Office) -> None:
    async with watching(url, acme.token) as dead:
        dead.connection.transport.pause_reading()
        for _ in range(80):
            await acme.happens(text="x" * 50_000)
        await eventually(lambda: hub.sockets == 0)
        dead.connection.transport.abort()


async def test_two_processes_deliver_to_each_others_screens(url: str, acme: Office, elsewhere: tuple[Hub, str]) -> None:
    _, there = elsewhere
    async with watching(url, acme.token) as here, watching(there, acme.token) as far:
        began = time.monotonic()
        await acme.happens(times=2)
        assert await far.seqs(2) == await here.seqs(2) == [1, 2]
        assert time.monotonic() - began < 0.8, "that was the poll, not the wake-up"


async def test_killed_listeners_lose_nothing(admin: Any, url: str, acme: Office, elsewhere: tuple[Hub, str]) -> None:
    _, there = elsewhere
    async with watching(there, acme.token) as far:
        await acme.happens()
        assert await far.seqs(1) == [1]
        killed = await admin.fetch(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS} AND query LIKE 'LISTEN%'"
        )
        assert len(killed) == 2
        await acme.happens(times=3)
        assert await far.seqs(3) == [2, 3, 4]
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await acme.happens()
        assert await far.seqs(1) == [5]
        assert time.monotonic() - began < 0.8, "the listener did not come back"


async def test_when_every_connection_is_killed_sockets_stay_and_catch_up(
    admin: Any, hub: Hub, url: str, acme: Office, elsewhere: tuple[Hub, str]
) -> None:
    _, there = elsewhere
    async with watching(url, acme.token) as here, watching(there, acme.token) as far:
        for round_ in range(3):
            await acme.happens()
            await acme.close()
            acme._connection = None
            await admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
            await acme.happens()
            expected = [2 * round_ + 1, 2 * round_ + 2]
            assert await here.seqs(2) == await far.seqs(2) == expected
        await eventually(lambda: hub.lag() == 0)


async def test_without_any_wakeup_the_poll_delivers(database: Database, acme: Office) -> None:
    hub = Hub(database, Silence())
    await hub.start()
    async with serving(application(database, hub)) as url, watching(url, acme.token) as screen:
        await acme.happens(times=2, told=False)
        assert await screen.seqs(2) == [1, 2]
    await hub.stop()


async def test_a_false_alarm_is_forgotten(hub: Hub, url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        hub.news(acme.workspace_id, 7)
        await eventually(lambda: hub.lag() > 0)
        await eventually(lambda: hub.lag() == 0)
        await acme.happens(times=2)
        assert await screen.seqs(2) == [1, 2]


async def test_listeners_hear_of_every_workspace_wherever_it_happens(
    hub: Hub, acme: Office, elsewhere: tuple[Hub, str]
) -> None:
    far, _ = elsewhere
    here: list[tuple[uuid.UUID, int]] = []
    there: list[tuple[uuid.UUID, int]] = []
    hub.listen(lambda workspace_id, seq: here.append((workspace_id, seq)))
    far.listen(lambda workspace_id, seq: there.append((workspace_id, seq)))
    await acme.happens(times=2)
    assert here == [(acme.workspace_id, 2)]
    await eventually(lambda: there == here)


async def test_listeners_hear_what_was_missed_when_the_listening_connection_returns(
    admin: Any, acme: Office, elsewhere: tuple[Hub, str]
) -> None:
    far, _ = elsewhere
    heard: list[int] = []
    far.listen(lambda workspace_id, seq: heard.append(seq))
    await acme.happens(told=False)
    await admin.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS} AND query LIKE 'LISTEN%'"
    )
    await eventually(lambda: heard == [1])


async def test_a_listener_that_fails_harms_nobody(hub: Hub, url: str, acme: Office) -> None:
    def fail(workspace_id: uuid.UUID, seq: int) -> None:
        raise RuntimeError("on purpose")

    hub.listen(fail)
    async with watching(url, acme.token) as screen:
        await acme.happens()
        assert await screen.seqs(1) == [1]


async def test_lag_is_the_age_of_what_is_not_yet_on_the_screens(admin: Any, hub: Hub, url: str, acme: Office) -> None:
    seconds: list[float] = []
    hub.on_delivered = seconds.append
    async with watching(url, acme.token) as screen:
        assert hub.lag() == 0
        began = time.monotonic()
        async with admin.transaction():
            await acme.happens()
            await screen.seqs(1)
            await admin.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            hub.news(acme.workspace_id, 2)
            await asyncio.sleep(0.3)
            assert 0.25 < hub.lag() < time.monotonic() - began
        await acme.happens()
        assert await screen.seqs(1) == [2]
        await eventually(lambda: hub.lag() == 0)
        assert len(seconds) == 2
        assert seconds[0] < 0.2 < seconds[1]


async def test_who_comes_back_from_beyond_the_log_has_to_start_over(admin: Any, url: str, acme: Office) -> None:
    await acme.happens(times=5)
    async with screen(url, acme.token, after=6) as ahead:
        assert await ahead.closed() == (4409, "ahead of the log: resync")
    await admin.execute("DELETE FROM events WHERE seq <= 3")
    async with screen(url, acme.token, after=2) as behind:
        assert await behind.closed() == (4409, "older than what is kept: resync")
    async with watching(url, acme.token, after=3) as kept:
        assert await kept.seqs(2) == [4, 5]


async def test_a_position_this_process_has_not_heard_of_yet_is_waited_for(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as first:
        last = await acme.happens(times=3, told=False)
        async with watching(url, acme.token, after=last) as second:
            assert second.ready["seq"] == last
            await acme.happens()
            assert await second.seqs(1) == [last + 1]
        assert await first.seqs(4) == [1, 2, 3, 4]


async def test_a_restored_database_sends_everybody_to_start_over(admin: Any, url: str, acme: Office) -> None:
    await acme.happens(times=5)
    async with watching(url, acme.token) as screen:
        await admin.execute("DELETE FROM events WHERE seq > 2")
        await admin.execute("UPDATE event_counters SET seq = 2")
        assert (await screen.closed())[0] == 4409
    async with watching(url, acme.token) as again:
        assert again.ready["seq"] == 2
        await acme.happens()
        assert await again.seqs(1) == [3]


async def test_a_hole_in_the_log_is_never_passed_over(admin: Any, url: str, acme: Office) -> None:
    async with watching(url, acme.token) as screen:
        await acme.happens()
        assert await screen.seqs(1) == [1]
        await acme.happens(times=2, told=False)
        await admin.execute("DELETE FROM events WHERE seq = 2")
        assert await screen.closed() == (4409, "a part of the log is gone: resync")


async def test_a_process_that_stops_sends_everybody_elsewhere(database: Database, acme: Office) -> None:
    hub = Hub(database)
    await hub.start()
    async with serving(application(database, hub)) as url, watching(url, acme.token) as screen:
        await hub.stop()
        assert await screen.closed() == (1012, "service restart")


async def test_a_notification_is_seen_by_its_user_alone(database: Database, url: str, acme: Office) -> None:
    async with AsyncExitStack() as stack:
        mine = await stack.enter_async_context(watching(url, acme.token))
        await acme.happens("notification.created", userId=str(new_id()))
        await acme.happens("notification.created", userId=str(acme.user_id))
        await acme.happens("contact.created")
        assert await mine.seqs(2) == [2, 3]
        again = await stack.enter_async_context(watching(url, acme.token, after=0))
        assert await again.seqs(2) == [2, 3]


async def test_many_screens_get_every_event_once(hub: Hub, url: str, acme: Office) -> None:
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(watching(url, acme.token, judged=False)) for _ in range(120)]
        assert hub.sockets == 120
        for _ in range(10):
            await acme.happens(times=3)
        for screen in screens:
            assert await screen.seqs(30) == list(range(1, 31))
    await eventually(lambda: hub.sockets == 0)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frames_say_their_length_as_rfc_6455_wants(size: int, head: bytes) -> None:
    assert framed(b"x" * size) == head + b"x" * size


def test_payloads_stay_below_what_postgres_takes() -> None:
    words = [f"{uuid.uuid4()}:{number}" for number in range(1000)]
    payloads = packed(words, " ")
    assert " ".join(payloads).split(" ") == words
    assert max(len(payload) for payload in payloads) <= PAYLOAD_BYTES
    assert packed([], " ") == []
