"""How much one process tells to many: every event to thousands of sockets, beside ``websockets`` and its ``broadcast``.

Both say the same frames to the same listeners, and both have a core. ``comms`` reads them from the log, where each was
committed by itself; the library is handed them from a loop. A run without a rate is as fast as each can.
"""

import asyncio
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import msgspec

from bench import live, machine, memory
from bench.ledger import Miscounted
from bench.listeners import Audience, Heard
from bench.stage import Server, Stage, free_port
from comms.events import WRITE, Fact, arguments
from comms.wakeups import EVENTS
from models.base import now

TOWN = "fanout"
PATIENCE_SECONDS = 60.0
SUBJECT = uuid.UUID("0198c0de-5000-7000-8000-000000000001")
PADDING = "x" * 120  # 200 bytes of data with what is around it


class Plan(msgspec.Struct, frozen=True):
    """So many sockets; ``burst`` events as fast as can be, then ``paced`` ones at ``rate`` a second."""

    sockets: int
    burst: int
    paced: int
    rate: int


class Run(msgspec.Struct, frozen=True):
    """So many events; ``rate`` a second, or 0 for as fast as can be."""

    name: str
    events: int
    rate: int


Tell = Callable[[Run], Awaitable[list[float]]]
"""Tells all events of a run; the instants (monotonic) at which each left."""


class Told(msgspec.Struct, frozen=True):
    """Deliveries a second of the burst; seconds from the event to the frame of the paced ones."""

    rate: float
    p50: float
    p99: float


class Fanout(msgspec.Struct, frozen=True):
    """Both with the same plan; ``each`` is what an idle socket of the library holds, in bytes."""

    plan: Plan
    ours: Told
    bare: Told
    each: float
    stolen: float


def message(run: str, number: int) -> bytes:
    """The data of an event; its id is what listeners look for."""
    return b'{"providerMessageId":"%b%06d","content":"%b"}' % (run.encode(), number, PADDING.encode())


def said(seq: int, data: bytes) -> str:
    """The event as the library says it: as long as ours."""
    at = now()
    return (
        f'{{"type":"event","seq":{seq},"event":"message.received","at":"{at.isoformat()}","subjectType":"message",'
        f'"subjectId":"{SUBJECT}","conversationId":null,"actorType":"system","actorId":null,"data":{data.decode()},'
        '"changes":null}'
    )


async def measure(stage: Stage, plan: Plan) -> Fanout:
    """Everybody heard everything in order, from both; raises ``Miscounted`` when somebody did not."""
    theft = machine.Theft()
    with _library(stage) as (library, broadcast):
        each = memory.measure(stage, library).each
        bare = await _both(stage, library, plan, "b", broadcast)
    with stage.service() as server:
        (workspace_id,) = stage.towns[TOWN].ids
        connection = await asyncpg.connect(stage.embedded.dsn())

        async def commit(run: Run) -> list[float]:
            return await _committed(connection, workspace_id, run)

        ours = await _both(stage, server, plan, "c", commit)
        await connection.close()
    return Fanout(plan, ours, bare, each, theft.share)


async def library_paced(stage: Stage, sockets: int, events: int, rate: int) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, from when the library was to tell an event to each of its frames."""
    with _library(stage) as (library, broadcast):
        return await _paced(stage, library, sockets, Run(f"bpaced{sockets}x", events, rate), broadcast)


@contextmanager
def _library(stage: Stage) -> Iterator[tuple[Server, Tell]]:
    """The library's server, and how it is told what to broadcast."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bare", str(port)]
    with stage.process(command, stage.cores.service, "listening") as process:

        async def broadcast(run: Run) -> list[float]:
            return await asyncio.to_thread(_asked, process, run)

        yield Server(process.pid, port), broadcast


async def _both(stage: Stage, server: Server, plan: Plan, name: str, tell: Tell) -> Told:
    burst = Run(f"{name}burst{plan.sockets}x", plan.burst, 0)
    sent_at, heard = await _heard(stage, server, plan.sockets, burst, tell)
    rate = plan.burst * plan.sockets / (max(max(times) for times in heard.at.values()) - sent_at[0])
    paced = Run(f"{name}paced{plan.sockets}x", plan.paced, plan.rate)
    return Told(rate, *await _paced(stage, server, plan.sockets, paced, tell))


async def _paced(stage: Stage, server: Server, sockets: int, run: Run, tell: Tell) -> tuple[float, float]:
    sent_at, heard = await _heard(stage, server, sockets, run, tell)
    due = [sent_at[0] + number / run.rate for number in range(run.events)]
    waits = sorted(at - due[number] for number in range(run.events) for at in heard.at[f"{run.name}{number:06d}"])
    return statistics.median(waits), waits[int(len(waits) * 0.99)]


async def _heard(stage: Stage, server: Server, sockets: int, run: Run, tell: Tell) -> tuple[list[float], Heard]:
    path = stage.folder / f"{run.name}.heard"
    audience = Audience(server.port, stage.towns[TOWN].access_tokens[0], sockets, run.events, str(path))
    listeners = await asyncio.to_thread(live.listening, stage, audience)
    with listeners:
        sent_at = await tell(run)
        try:
            await asyncio.to_thread(listeners.wait, PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            listeners.communicate("enough\n")
    heard = msgspec.msgpack.decode(path.read_bytes(), type=Heard)
    deliveries = sum(map(len, heard.at.values()))
    if heard.broken or heard.lost or deliveries != run.events * sockets:
        raise Miscounted(f"{run.name}: {deliveries} deliveries, {heard.broken} broken, {heard.lost} lost")
    return sent_at, heard


def _asked(process: "subprocess.Popen[str]", run: Run) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(run).decode() + "\n")
    process.stdin.flush()
    return list(msgspec.json.decode(process.stdout.readline(), type=list[float]))


async def _committed(connection: Any, workspace_id: uuid.UUID, run: Run) -> list[float]:
    """Each event is a transaction, and the hub is woken as another process wakes it."""
    began, sent_at = time.monotonic(), []
    for number in range(run.events):
        if run.rate:
            await asyncio.sleep(began + number / run.rate - time.monotonic())
        fact = Fact(
            workspace_id=workspace_id,
            event="message.received",
            subject_type="message",
            subject_id=SUBJECT,
            data=message(run.name, number),
            at=now(),
        )
        sent_at.append(time.monotonic())
        async with connection.transaction():
            ((_, seq),) = await connection.fetch(WRITE, *arguments([fact]))
            await connection.execute("SELECT pg_notify($1, $2)", EVENTS, f"{workspace_id}:{seq}")
    return sent_at
