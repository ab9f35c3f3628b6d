"""Jobs: enqueued with what made them necessary, run at least once, whatever dies."""

import asyncio
import inspect
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from comms import jobs
from comms.database import Database, Urls


@asynccontextmanager
async def running(database: Database, handler: jobs.Handler, **options: Any) -> AsyncIterator[jobs.Runner]:
    """A runner of ``test.job``."""
    runner = jobs.Runner(database, {"test.job": handler}, **{"poll_seconds": 0.5, **options})
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop(grace_seconds=5)


class Done:
    """A handler that remembers what it was given."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []

    async def __call__(self, payload: dict[str, Any]) -> None:
        self.payloads.append(payload)


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """``condition``, a function or a coroutine function, has become true."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if await met if inspect.isawaitable(met) else met:
                return
            await asyncio.sleep(0.02)


async def enqueue(database: Database, *payloads: dict[str, Any], delay_seconds: float = 0) -> None:
    async with database.everywhere() as db:
        await jobs.enqueue(db, "test.job", payloads, delay_seconds=delay_seconds)


async def test_a_job_runs_with_its_payload_whichever_way_it_was_enqueued(database: Database) -> None:
    done = Done()
    async with running(database, done):
        await enqueue(database, {"by": "session"}, {"by": "session", "again": True})
        connection = await database.connect()
        async with connection.transaction():
            await jobs.enqueue(connection, "test.job", [{"by": "driver"}])
        await connection.close()
        await until(lambda: len(done.payloads) == 3)
    assert {"by": "driver"} in done.payloads
    assert {"by": "session", "again": True} in done.payloads


async def test_the_web_role_may_enqueue(database: Database, service: Any, workspace_id: Any) -> None:
    done = Done()
    async with service.database.workspace(workspace_id) as db:
        await jobs.enqueue(db, "test.job", [{"workspaceId": workspace_id}])
    async with running(service.database, done):
        await until(lambda: done.payloads)
    assert jobs.uuids(done.payloads[0], "workspaceId") == [workspace_id]


async def test_a_job_enqueued_in_a_transaction_that_rolls_back_never_runs(database: Database) -> None:
    done = Done()

    async def fail(kind: str) -> None:
        if kind == "session":
            async with database.everywhere() as db:
                await jobs.enqueue(db, "test.job", [{"rolled": "back"}])
                raise RuntimeError
        connection = await database.connect()
        try:
            async with connection.transaction():
                await jobs.enqueue(connection, "test.job", [{"rolled": "back"}])
                raise RuntimeError
        finally:
            await connection.close()

    async with running(database, done):
        for kind in ("session", "driver"):
            try:
                await fail(kind)
            except RuntimeError:
                continue
        await enqueue(database, {"committed": True})
        await until(lambda: done.payloads)
        await asyncio.sleep(0.3)
    assert done.payloads == [{"committed": True}]


async def test_a_delayed_job_runs_when_it_is_due(database: Database) -> None:
    done = Done()
    async with running(database, done):
        began = time.monotonic()
        await enqueue(database, {"late": True}, delay_seconds=0.6)
        await until(lambda: done.payloads)
    assert time.monotonic() - began >= 0.6


async def test_each_job_may_have_a_delay_of_its_own(database: Database, admin: Any) -> None:
    async with database.everywhere() as db:
        await jobs.enqueue(db, "test.job", [{}, {}], delay_seconds=[0, 60])
    delays = await admin.fetch("SELECT extract(epoch FROM execute_after - created)::int FROM jobs.pgqueuer ORDER BY id")
    assert [row[0] for row in delays] == [0, 60]


async def test_no_more_jobs_run_at_once_than_allowed(database: Database) -> None:
    at_once, most, done = 0, 0, 0

    async def slow(payload: dict[str, Any]) -> None:
        nonlocal at_once, most, done
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.1)
        at_once -= 1
        done += 1

    await enqueue(database, *({"n": n} for n in range(10)))
    async with running(database, slow, at_once=4):
        await until(lambda: done == 10)
    assert most == 4


async def test_a_failing_job_is_tried_again_and_at_last_held(database: Database, admin: Any) -> None:
    async def fail(payload: dict[str, Any]) -> None:
        raise ValueError(payload["secret"])

    async def row() -> Any:
        return await admin.fetchrow(
            "SELECT status::text, attempts, extract(epoch FROM execute_after - updated)::int FROM jobs.pgqueuer"
        )

    async def was_tried() -> bool:
        return bool((await row())["attempts"])

    async def is_held() -> bool:
        return bool((await row())["status"] == "failed")

    await enqueue(database, {"secret": "what people wrote"})
    async with running(database, fail):
        await until(was_tried)
        assert tuple(await row()) == ("queued", 1, jobs.RETRY_SECONDS[0])
        await admin.execute(
            "UPDATE jobs.pgqueuer SET attempts = $1, execute_after = now() - interval '1 s'", len(jobs.RETRY_SECONDS)
        )
        await until(is_held)
    logged = await admin.fetch("SELECT traceback::text FROM jobs.pgqueuer_log WHERE traceback IS NOT NULL")
    assert logged
    assert all("ValueError" in line[0] and "what people wrote" not in line[0] for line in logged)
    assert await jobs.queue_age(database) == 0


async def test_a_lost_connection_is_made_again(database: Database, admin: Any) -> None:
    done = Done()
    async with running(database, done, poll_seconds=30):
        await enqueue(database, {"n": 1})
        await until(lambda: len(done.payloads) == 1)
        killed = await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'comms_worker' AND pid <> pg_backend_pid()"
        )
        assert killed
        await enqueue(database, {"n": 2})
        await until(lambda: len(done.payloads) == 2)


async def test_a_database_that_is_away_at_the_start_is_waited_for(database: Database, urls: Urls, admin: Any) -> None:
    done = Done()
    await admin.execute("ALTER SCHEMA jobs RENAME TO elsewhere")
    async with running(database, done):
        await asyncio.sleep(0.3)
        await admin.execute("ALTER SCHEMA elsewhere RENAME TO jobs")
        await enqueue(database, {"n": 1})
        await until(lambda: done.payloads)


async def test_stopping_lets_a_job_finish(database: Database, admin: Any) -> None:
    begun, done = asyncio.Event(), Done()

    async def slow(payload: dict[str, Any]) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await done(payload)

    await enqueue(database, {"n": 1})
    async with running(database, slow) as runner:
        await asyncio.wait_for(begun.wait(), 10)
        await runner.stop(grace_seconds=5)
    assert done.payloads == [{"n": 1}]
    assert await admin.fetchval("SELECT count(*) FROM jobs.pgqueuer") == 0


async def test_a_job_that_takes_too_long_to_stop_is_handed_to_the_next(database: Database) -> None:
    begun, done = asyncio.Event(), Done()

    async def endless(payload: dict[str, Any]) -> None:
        begun.set()
        await asyncio.sleep(3600)

    await enqueue(database, {"n": 1})
    async with running(database, endless) as runner:
        await asyncio.wait_for(begun.wait(), 10)
        await runner.stop(grace_seconds=0.1)
    async with running(database, done):  # long before a heartbeat would be missed
        await until(lambda: done.payloads, seconds=5)
    assert done.payloads == [{"n": 1}]


CHILD = """
import asyncio, sys
from comms import jobs
from comms.database import Database, Urls
from comms.settings import Secret

async def hang(payload):
    print("begun", flush=True)
    await asyncio.sleep(3600)

async def main():
    urls = Urls(*(Secret(url) for url in sys.argv[1:4]))
    await jobs.Runner(Database(urls), {"test.job": hang}, heartbeat_seconds=1, poll_seconds=0.5).start()
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_job_of_a_killed_process_is_picked_up_by_another(database: Database, urls: Urls) -> None:
    await enqueue(database, {"n": 1})
    # A name that pgqueuer would take from the environment, if every name were not given.
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        *(url.plain for url in (urls.owner, urls.web, urls.worker)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CHANNEL": "elsewhere", "QUEUE_TABLE": "elsewhere"},
    )
    try:
        assert child.stdout
        assert await asyncio.wait_for(child.stdout.readline(), 20) == b"begun\n"
        done = Done()
        async with running(database, done, heartbeat_seconds=1):
            await asyncio.sleep(1.5)
            assert done.payloads == []  # its heart beats
            child.send_signal(signal.SIGKILL)
            await until(lambda: done.payloads)
        assert done.payloads == [{"n": 1}]
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_the_queues_age_is_that_of_the_oldest_job_that_is_due(database: Database, admin: Any) -> None:
    assert await jobs.queue_age(database) == 0
    await enqueue(database, {"n": 1}, delay_seconds=60)
    assert await jobs.queue_age(database) == 0
    await enqueue(database, {"n": 2})
    await admin.execute("UPDATE jobs.pgqueuer SET execute_after = now() - interval '90 s' WHERE execute_after <= now()")
    assert 90 <= await jobs.queue_age(database) < 100


async def test_the_log_is_pruned(database: Database, admin: Any) -> None:
    await enqueue(database, *({"n": n} for n in range(5)))
    await admin.execute(
        "UPDATE jobs.pgqueuer_log SET created = now() - interval '8 days' WHERE job_id IN"
        " (SELECT id FROM jobs.pgqueuer ORDER BY id LIMIT 3)"
    )
    assert await jobs.prune_log(database, days=7, most=2) == 3
    assert await admin.fetchval("SELECT count(*) FROM jobs.pgqueuer_log") == 2
