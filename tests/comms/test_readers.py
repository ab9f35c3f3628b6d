"""Readers of the log: a workspace's flood delays no other for long, and what is stuck in one stops none."""

import uuid
from typing import Any

import pytest
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from comms.assignment import following as assignment
from comms.database import is_passing
from comms.hooks import following as hooks
from comms.notifications import following as notifications
from comms.readers import Reader
from comms.search import following as search
from comms.service import Service
from comms.workflows import following as workflows
from models.base import new_id
from tests.conftest import Client
from tests.make import workflows as flow
from tests.make.agents import API
from tests.make.hooks import endpoint, happens, sink
from tests.make.killing import killed_at
from tests.make.poisoning import poisoned

READERS = {
    "search_progress": search,
    "notification_progress": notifications,
    "webhook_progress": hooks,
    "workflow_progress": workflows,
    "routing_progress": assignment,
}
AT_ONCE = 3

each_reader = pytest.mark.parametrize("progress", READERS)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def begun(owner: Client, stranger: Client, admin: Any) -> None:
    """All readers have read everything that either workspace's log says so far."""
    for progress in READERS:
        await admin.execute(f"INSERT INTO {progress} (workspace_id, seq) SELECT workspace_id, seq FROM event_counters")
    await admin.execute("UPDATE search_progress SET backfill = NULL")


def reader_of(service: Service, progress: str, clock: Clock, turns: list[uuid.UUID] | None = None) -> Reader:
    """That reader, three events at once; it notes whose turn it is."""

    async def catch_up(db: AsyncSession, workspace_id: uuid.UUID) -> bool:
        if turns is not None:
            turns.append(workspace_id)
        return bool(await READERS[progress].catch_up(db, workspace_id, AT_ONCE))

    return Reader(service.database, progress, READERS[progress].behind, catch_up, clock=clock)


async def left(admin: Any, progress: str, client: Client) -> int:
    """How many events of a workspace the reader has not seen to."""
    behind = f"SELECT c.seq - p.seq FROM {progress} p JOIN event_counters c USING (workspace_id)"
    return int(await admin.fetchval(f"{behind} WHERE workspace_id = $1", client.workspace_id))


@each_reader
async def test_a_flood_in_one_workspace_delays_the_others_by_a_few_events(
    service: Service, owner: Client, stranger: Client, begun: None, admin: Any, clock: Clock, progress: str
) -> None:
    turns: list[uuid.UUID] = []
    reader = reader_of(service, progress, clock, turns)
    await happens(service, owner.workspace_id, [new_id() for _ in range(5 * AT_ONCE)])
    await happens(service, stranger.workspace_id, [new_id()])
    await reader.keep_up()
    assert set(turns[:2]) == {owner.workspace_id, stranger.workspace_id}
    assert turns.count(stranger.workspace_id) == 1
    assert turns.count(owner.workspace_id) >= 5
    assert [await left(admin, progress, client) for client in (owner, stranger)] == [0, 0]


async def test_who_falls_behind_while_another_is_flooded_has_the_next_turn(
    service: Service, owner: Client, stranger: Client, begun: None, clock: Clock
) -> None:
    turns: list[uuid.UUID] = []

    async def catch_up(db: AsyncSession, workspace_id: uuid.UUID) -> bool:
        if len(turns) == 1:  # after the round has begun
            await happens(service, stranger.workspace_id, [new_id()])
        turns.append(workspace_id)
        return await hooks.catch_up(db, workspace_id, AT_ONCE)

    await happens(service, owner.workspace_id, [new_id() for _ in range(6 * AT_ONCE)])
    await Reader(service.database, "webhooks", hooks.behind, catch_up, clock=clock).keep_up()
    assert stranger.workspace_id in turns[2:4]


@each_reader
async def test_what_is_stuck_in_one_workspace_stops_no_other_and_is_tried_again_later(
    service: Service, owner: Client, stranger: Client, begun: None, admin: Any, clock: Clock, progress: str
) -> None:
    turns: list[uuid.UUID] = []
    reader = reader_of(service, progress, clock, turns)
    for client in (owner, stranger):
        await happens(service, client.workspace_id, [new_id() for _ in range(AT_ONCE + 1)])
    async with poisoned(admin, progress, owner):
        with capture_logs() as logged:
            for _ in range(3):
                await reader.keep_up()
        assert [await left(admin, progress, client) for client in (owner, stranger)] == [AT_ONCE + 1, 0]
        assert turns.count(owner.workspace_id) == 1, "it is left alone for a while"
        [said] = [line for line in logged if line["event"] == "reader.stuck"]
        assert (said["reader"], said["workspace"]) == (progress, str(owner.workspace_id))
        waits = []
        for _ in range(12):
            clock.seconds += 1_000
            with capture_logs() as logged:
                await reader.keep_up()
            waits += [line["again_in_seconds"] for line in logged if line["event"] == "reader.stuck"]
        assert waits == sorted(waits)
        assert waits[0] == 2
        assert waits[-1] == waits[-2] == 300
    await reader.keep_up()
    assert await left(admin, progress, owner) > 0
    clock.seconds += 300
    await reader.keep_up()
    assert await left(admin, progress, owner) == 0


@pytest.mark.parametrize("progress", ["search_progress"])
async def test_a_database_that_is_away_ends_the_round_for_all_and_blames_no_workspace(
    service: Service, owner: Client, stranger: Client, begun: None, clock: Clock, progress: str
) -> None:
    turns: list[uuid.UUID] = []

    async def catch_up(db: AsyncSession, workspace_id: uuid.UUID) -> bool:
        turns.append(workspace_id)
        if len(turns) == 1:
            connection = await (await db.connection()).get_raw_connection()
            connection.driver_connection.terminate()
        return await search.catch_up(db, workspace_id)

    reader = Reader(service.database, progress, search.behind, catch_up, clock=clock)
    here = [owner.workspace_id, stranger.workspace_id]
    with pytest.raises(exc.DBAPIError) as lost:
        await reader.turn(here)
    assert is_passing(lost.value)
    assert turns == here[:1]
    await reader.turn(here)
    assert turns[1:] == here


@pytest.mark.parametrize(
    ("progress", "effects"),
    [
        ("search_progress", "search_documents"),
        ("webhook_progress", "webhook_deliveries"),
        ("workflow_progress", "agent_workflow_executions"),
    ],
)
async def test_killed_between_any_two_steps_a_reader_does_everything_once(
    service: Service, owner: Client, begun: None, admin: Any, progress: str, effects: str
) -> None:
    async with sink() as there:
        await endpoint(service, owner, there, events=["contact.created"])
    steps = [{"id": "end", "action": "wait", "inputs": {"seconds": 60}}]
    await flow.active(owner, steps, triggerType="event", triggerConfig={"eventType": "contact.created"})
    reader = READERS[progress].reader(service.database)
    await reader.keep_up()
    for number in range(3):
        assert (await owner.post(f"{API}/contacts", json={"firstName": f"Ada {number}"})).status_code == 201
    await admin.execute("DELETE FROM search_documents")  # the API has taken them in at once

    async def seen() -> tuple[int, int]:
        rows = await admin.fetchval(f"SELECT count(*) FROM {effects}")
        return await left(admin, progress, owner), rows

    assert await seen() == (3, 0)
    step = 1
    while await killed_at(step, reader.keep_up()):
        is_left, rows = await seen()
        assert (is_left, rows) == (3, 0) or (is_left != 3 and rows == 3)
        step += 1
        assert step < 100
    assert step > 4
    await reader.keep_up()
    assert (await seen())[1] == 3
