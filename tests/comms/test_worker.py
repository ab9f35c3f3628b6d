"""The worker: attachments get fetched, webhooks are done again, and nothing stops what comes round."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comms import duties, jobs, receipts
from comms.database import Database, Urls
from comms.duties import Duties, Round
from comms.service import Service
from comms.settings import Secret
from comms.simulators.media import Kept, MediaServer, media_server
from comms.worker import Worker
from models.communications import MessageAttachment
from tests.comms.media.worlds import SID, TOKEN, World, served
from tests.comms.test_jobs import until
from tests.make import communications as make


class Retried:
    """Receives what a retry is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[uuid.UUID, uuid.UUID]] = []

    async def retry(self, workspace_id: uuid.UUID, receipt_id: uuid.UUID) -> None:
        self.asked.append((workspace_id, receipt_id))

    async def recall(self) -> None:
        """None was lost."""


@pytest.fixture
async def server() -> MediaServer:
    return media_server(SID, TOKEN, cdn_base="")


@pytest.fixture
async def world(server: MediaServer, service: Service, workspace_id: uuid.UUID, tmp_path: Path) -> AsyncIterator[World]:
    async with served(server) as port:
        server.cdn_base = f"http://localhost:{port}"
        world = World(service, workspace_id, server, port, tmp_path.as_uri())
        world.connection_id = (await make.connection(service, workspace_id)).id
        yield world


def duties_of(world: World, replays: Retried | None = None) -> Duties:
    here, media = world.service, world.media(back_off_seconds=(0.2, 0.2))
    return duties.of(
        here.database,
        here.vault,
        here.settings,
        media=media,
        replays=replays or Retried(),
        sender=here.sender,
        repair=here.sweeps,
        dialler=here.dialler,
        pushing=here.pushing,
        calling=here.calling,
    )


def worker_of(world: World, replays: Retried | None = None) -> Worker:
    return Worker(world.service.database, duties_of(world, replays))


async def is_stored(world: World, *attachment_ids: uuid.UUID) -> bool:
    rows: list[MessageAttachment] = [await world.row(attachment_id) for attachment_id in attachment_ids]
    return all(row.state == "stored" for row in rows)


async def test_announced_attachments_are_fetched_without_being_asked_for(world: World) -> None:
    worker = worker_of(world)
    await worker.start()
    try:
        views = await world.announced(*(world.item(f"ME{n}") for n in range(5)))
        await until(lambda: is_stored(world, *(view.id for view in views)))
    finally:
        await worker.stop()


async def test_an_attachment_that_is_missing_at_first_is_fetched_when_it_is_there(world: World) -> None:
    world.server.kept["ME1"] = Kept(missing=2)
    worker = worker_of(world)
    await worker.start()
    try:
        (view,) = await world.announced(world.item("ME1"))
        await until(lambda: is_stored(world, view.id))
    finally:
        await worker.stop()
    assert (await world.row(view.id)).attempts == 3


async def test_two_workers_fetch_each_attachment_once(world: World, admin: Any) -> None:
    workers = [worker_of(world), worker_of(world)]
    for worker in workers:
        await worker.start()
    try:
        views = await world.announced(*(world.item(f"ME{n}") for n in range(20)))
        await until(lambda: is_stored(world, *(view.id for view in views)))
    finally:
        for worker in workers:
            await worker.stop()
    assert len([seen for seen in world.server.seen if seen.path.startswith("/cdn")]) == 20
    assert await admin.fetchval("SELECT count(*) FROM events WHERE event = 'attachment.stored'") == 20


async def test_a_webhook_is_done_again_by_whoever_does_that(world: World) -> None:
    retried = Retried()
    worker = worker_of(world, retried)
    receipt_id = uuid.uuid4()
    async with world.service.database.everywhere() as db:
        payload = {"workspaceId": world.workspace_id, "receiptId": receipt_id}
        await jobs.enqueue(db, receipts.RETRY, [payload])
    await worker.start()
    try:
        await until(lambda: retried.asked)
    finally:
        await worker.stop()
    assert retried.asked == [(world.workspace_id, receipt_id)]


async def test_a_periodic_task_that_fails_comes_round_again_and_stops_no_other(world: World) -> None:
    failed, done, early = 0, 0, 0

    async def fails() -> None:
        nonlocal failed
        failed += 1
        raise RuntimeError

    async def works() -> None:
        nonlocal done
        done += 1

    async def is_not_due() -> None:
        nonlocal early
        early += 1

    rounds = [Round(0.05, fails), Round(0.05, works, "true"), Round(0.05, is_not_due, "1 > 2")]
    worker = Worker(world.service.database, Duties({}, rounds))
    await worker.start()
    try:
        await until(lambda: failed >= 3 and done >= 3)
    finally:
        await worker.stop()
    before = failed
    await asyncio.sleep(0.2)
    assert (failed, early) == (before, 0)


async def test_a_worker_stops_while_the_database_is_away(world: World) -> None:
    nowhere = Secret("postgresql://comms_worker@127.0.0.1:1/nowhere")
    worker = Worker(Database(Urls(nowhere, nowhere, nowhere)), duties_of(world))
    await worker.start()
    await asyncio.sleep(0.2)
    await asyncio.wait_for(worker.stop(), 5)
