"""How many messages one worker sends in a second, each conversation's in order: against an exchange in this process.

Only the exchange's own log is believed: every message must be in it, once, and behind the one before it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import uvicorn

from bench import machine
from bench.ledger import Miscounted
from bench.stage import ACCOUNT, PUBLIC_URL, TOKEN, Stage, free_port
from comms.database import Database
from comms.outbox import Intent, put_all
from comms.providers.twilio import TwilioCredentials
from comms.simulators.exchange import Exchange
from comms.simulators.server import Server

TOWN = "senders"
BATCH = 500


class Plan(msgspec.Struct, frozen=True):
    """So many conversations of so many messages each."""

    conversations: int = 200
    messages: int = 40


class Sends(msgspec.Struct, frozen=True):
    """Messages a second from the first that the provider took to the last; processor time for each, in seconds."""

    plan: Plan
    rate: float
    worker_cost: float
    stolen: float


async def measure(stage: Stage, plan: Plan) -> Sends:
    """One worker sends all that was kept before it began."""
    await _prepare(stage, plan)
    exchange = Exchange(TwilioCredentials(ACCOUNT, TOKEN))
    async with _serving(exchange) as url:
        command = [sys.executable, "-c", "from comms.cli import main; main()", "worker"]
        environment = {"COMMS_DATA_DIR": str(stage.folder), "PUBLIC_URL": PUBLIC_URL, "COMMS_TWILIO_URL": url}
        theft = machine.Theft()
        with stage.process(command, stage.cores.service, "working", environment) as worker:
            before = machine.cpu_seconds(worker.pid)
            while await stage.admin.fetchval("SELECT EXISTS (SELECT FROM outgoing_messages)"):  # noqa: ASYNC110  # the database does not tell
                await asyncio.sleep(0.1)
            used = machine.cpu_seconds(worker.pid) - before
    _verify(exchange, plan)
    times = [taken.at for taken in exchange.sent]
    seconds = (times[-1] - times[0]).total_seconds()
    return Sends(plan, len(times) / seconds, used / len(times), theft.share)


async def _prepare(stage: Stage, plan: Plan) -> None:
    """Everything is in line before anybody sends: each conversation's messages are numbered."""
    (workspace_id,) = stage.towns[TOWN].ids
    await stage.admin.execute(
        "UPDATE workspace_phone_numbers SET segments_per_second = 10000 WHERE id = $1", workspace_id
    )
    rows = await stage.admin.fetch(
        "SELECT id FROM conversations WHERE workspace_id = $1 ORDER BY id LIMIT $2", workspace_id, plan.conversations
    )
    talks = [row["id"] for row in rows]
    database = Database(stage.urls(), pool_size=1)
    intents = [
        Intent(
            workspace_id=workspace_id,
            conversation_id=talk,
            content=f"{place}:{number}",
            sender_type="user",
        )
        for number in range(plan.messages)
        for place, talk in enumerate(talks)
    ]
    try:
        for first in range(0, len(intents), BATCH):
            async with database.alone() as db:
                kept, _ = await put_all(db, intents[first : first + BATCH])
            wrong = next((one for one in kept if isinstance(one, Exception)), None)
            if wrong is not None:
                raise wrong
    finally:
        await database.close()


def _verify(exchange: Exchange, plan: Plan) -> None:
    said: dict[str, list[int]] = {}
    for taken in exchange.sent:
        place, _, number = taken.body.partition(":")
        said.setdefault(place, []).append(int(number))
    if len(said) != plan.conversations or any(numbers != list(range(plan.messages)) for numbers in said.values()):
        raise Miscounted(f"of {plan.conversations} conversations not all were sent whole, once and in order")


@asynccontextmanager
async def _serving(exchange: Exchange) -> AsyncIterator[str]:
    port = free_port()
    server = _Quiet(
        uvicorn.Config(
            Server(exchange.routes, remember=0), port=port, log_level="error", lifespan="off", access_log=False
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn offers nothing else
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        yield
