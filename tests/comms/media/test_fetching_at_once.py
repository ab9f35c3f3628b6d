"""Attachments fetched twice, at once, or not at all: stored once, told once."""

import asyncio
from pathlib import Path
from typing import Any

from comms.database import Database
from tests.comms.media.worlds import World, events_of, jobs_for, served

# Running twice, and at once


async def test_runs_at_once_in_two_workers_store_once_and_tell_once(world: World, admin: Any) -> None:
    other = Database(world.service.database.urls, pool_size=2)
    try:
        (view,) = await world.announced(world.item("ME1"))
        await asyncio.gather(
            *(
                world.media(database).fetch(world.workspace_id, view.id)
                for database in (world.service.database, other, world.service.database, other)
            )
        )
        await world.media().fetch(world.workspace_id, view.id)
    finally:
        await other.close()
    assert (await world.row(view.id)).state == "stored"
    assert [event["event"] for event in await events_of(admin, view.id)] == ["attachment.stored"]
    assert [seen.path.split("/")[1] for seen in world.server.seen] == ["2010-04-01", "cdn"]


async def test_who_comes_while_another_is_at_it_looks_again_later(world: World, admin: Any) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(slow) as port:
        media = world.media(extra_hosts=(f"127.0.0.1:{port}",))
        (view,) = await world.announced(f"http://127.0.0.1:{port}/x")
        begun = asyncio.create_task(media.fetch(world.workspace_id, view.id))
        await asyncio.wait_for(arrived.wait(), 5)
        await media.fetch(world.workspace_id, view.id)
        assert 60 < (await jobs_for(admin, view.id))[-1] <= 90, "the lease may be a dead process's"
        go_on.set()
        await begun
    assert (await world.row(view.id)).state == "stored"


async def test_an_attachment_deleted_meanwhile_leaves_no_file(world: World, admin: Any, tmp_path: Path) -> None:
    async def deletes(scope: Any, receive: Any, send: Any) -> None:
        await admin.execute("DELETE FROM message_attachments")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(deletes) as port:
        (view,) = await world.announced(f"http://127.0.0.1:{port}/x")
        await world.media(extra_hosts=(f"127.0.0.1:{port}",)).fetch(world.workspace_id, view.id)
    assert [path for path in (tmp_path / "kept here").rglob("*") if path.is_file()] == []
    assert await events_of(admin, view.id) == []


async def test_an_attachment_whose_job_was_lost_is_recalled_once(world: World, admin: Any) -> None:
    (view,) = await world.announced(world.item("ME1"))
    await admin.execute("DELETE FROM jobs.pgqueuer")
    assert await world.media().recall() == 0
    await admin.execute("UPDATE message_attachments SET next_attempt_at = now() - interval '11 minutes'")
    assert await world.media().recall() == 1
    assert await world.media().recall() == 0
    assert len(await jobs_for(admin, view.id)) == 1
