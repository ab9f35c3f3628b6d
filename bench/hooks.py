"""Outbound webhooks against a sink in this process: how many a second, in order; and how soon one arrives.

Only the sink is believed: every event must be in it, once, and behind the one before it of its conversation.
"""

import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import uvicorn

from bench import machine
from bench.ledger import Miscounted
from bench.sends import _Quiet
from bench.stage import PUBLIC_URL, Stage, free_port
from comms.cli.running import with_keys
from comms.database import Database
from comms.events import Fact
from comms.hooks import endpoints
from comms.identity import Identity
from comms.settings import WebhookSettings, read
from comms.vault import Vault
from models.base import now

TOWN = "listeners"
BATCH = 1_000
PAUSE_SECONDS = 0.05
SETTLING_SECONDS = 3.0


class Plan(msgspec.Struct, frozen=True):
    """So many conversations of so many events each; then ``singles``, one after the other, when nothing waits."""

    conversations: int = 200
    events: int = 30
    singles: int = 200


class Hooks(msgspec.Struct, frozen=True):
    """Deliveries a second of one worker, its processor time for each, and the seconds from a request to the sink."""

    plan: Plan
    rate: float
    worker_cost: float
    p50: float
    p99: float
    worst: float
    stolen: float


class Sink:
    """Keeps when it heard of what, and says yes."""

    def __init__(self) -> None:
        self.heard: dict[int, float] = {}
        self.lines: dict[str, list[int]] = {}
        self.repeated = 0
        self._woken = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        told = msgspec.json.decode(body)
        self.repeated += told["seq"] in self.heard
        self.heard[told["seq"]] = time.perf_counter()
        self.lines.setdefault(told["conversationId"] or told["subjectId"], []).append(told["seq"])
        self._woken.set()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def until(self, count: int) -> None:
        """So many events are here."""
        async with asyncio.timeout(300):
            while len(self.heard) < count:
                self._woken.clear()
                await self._woken.wait()


async def measure(stage: Stage, plan: Plan) -> Hooks:
    """A worker delivers what was there before it began, and then what happens."""
    sink = Sink()
    (workspace_id,), (token,) = stage.towns[TOWN].ids, stage.towns[TOWN].access_tokens
    async with _serving(sink) as host:
        settings = WebhookSettings(hosts=(host,))
        await _prepare(stage, plan, workspace_id, f"http://{host}/", settings)
        command = [sys.executable, "-c", "from comms.cli import main; main()", "worker"]
        environment = {"COMMS_DATA_DIR": str(stage.folder), "PUBLIC_URL": PUBLIC_URL, "COMMS_WEBHOOK_HOSTS": host}
        theft = machine.Theft()
        wanted = plan.conversations * plan.events
        with stage.process(command, stage.cores.service, "working", environment) as worker:
            # What a worker does when it has just begun is not the matter here.
            while await stage.admin.fetchval("SELECT count(*) FROM webhook_deliveries") < wanted:  # noqa: ASYNC110  # the database does not tell
                await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLING_SECONDS)
            before = machine.cpu_seconds(worker.pid)
            await stage.admin.execute("UPDATE webhook_endpoints SET paused_until = NULL")
            await sink.until(wanted)
            used = machine.cpu_seconds(worker.pid) - before
            times = sorted(sink.heard.values())
            with stage.service() as server:
                waits = await _singles(sink, f"http://127.0.0.1:{server.port}", token, plan.singles, wanted)
    if sink.repeated or any(said != sorted(said) for said in sink.lines.values()):
        raise Miscounted(f"{sink.repeated} events were told twice, or some out of order")
    return Hooks(
        plan=plan,
        rate=len(times) / (times[-1] - times[0]),
        worker_cost=used / len(times),
        p50=statistics.median(waits),
        p99=waits[int(len(waits) * 0.99)],
        worst=waits[-1],
        stolen=theft.share,
    )


async def _prepare(stage: Stage, plan: Plan, workspace_id: uuid.UUID, url: str, settings: WebhookSettings) -> None:
    """Everything has happened before anybody tells it."""
    member = await stage.admin.fetchval("SELECT user_id FROM workspace_members WHERE workspace_id = $1", workspace_id)
    vault = Vault(with_keys(read({"COMMS_DATA_DIR": str(stage.folder)})).security)
    database = Database(stage.urls(), pool_size=1)
    talks = [uuid.uuid4() for _ in range(plan.conversations)]
    subjects = talks * plan.events
    try:
        async with database.workspace(workspace_id) as db:
            identity = Identity(workspace_id, member, "owner")
            await endpoints.make(db, vault, settings, identity, {"name": "sink", "url": url, "events": ["contact."]})
        for first in range(0, len(subjects), BATCH):
            async with database.everywhere() as db:
                db.info.setdefault("facts", []).extend(
                    Fact(
                        workspace_id=workspace_id,
                        event="contact.updated",
                        subject_type="contact",
                        subject_id=subject,
                        data=msgspec.json.encode({"id": subject, "firstName": "Ada", "notes": "x" * 500}),
                        at=now(),
                    )
                    for subject in subjects[first : first + BATCH]
                )
        await stage.admin.execute("UPDATE webhook_endpoints SET paused_until = now() + interval '1 hour'")
    finally:
        await database.close()


async def _singles(sink: Sink, url: str, token: str, count: int, there: int) -> list[float]:
    """The seconds from each request that makes something happen to the sink's having heard of it; sorted."""
    waits = []
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        for number in range(count + 1):
            began = time.perf_counter()
            answer = await client.post("/api/v1/contacts", json={"firstName": f"Ada {number}"})
            answer.raise_for_status()
            await sink.until(there + number + 1)
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_SECONDS)
    return sorted(waits[1:])  # the first finds everything cold


@asynccontextmanager
async def _serving(sink: Sink) -> AsyncIterator[str]:
    port = free_port()
    server = _Quiet(uvicorn.Config(sink, port=port, log_level="error", lifespan="off", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn offers nothing else
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
