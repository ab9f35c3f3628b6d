"""How soon it is on the screen: from the provider's request to the frame on every socket of the workspace."""

import statistics
import subprocess
import sys

import msgspec

from bench import ledger, machine
from bench.listeners import Audience, Heard
from bench.load import Load
from bench.stage import Server, Stage, await_line
from bench.throughput import generate
from bench.webhooks import Batch, sid

TOWN = "live"
CONNECTIONS = 16
PATIENCE_SECONDS = 10.0


class Plan(msgspec.Struct, frozen=True):
    """How much: messages a second, sockets, and for how long."""

    rate: int = 200
    sockets: int = 500
    seconds: int = 10


class Latency(msgspec.Struct, frozen=True):
    """From request to frame, in seconds, over all messages on all sockets."""

    plan: Plan
    p50: float
    p99: float
    worst: float
    deliveries: int
    stolen: float


class Beside(msgspec.Struct, frozen=True):
    """``ours`` is the path from webhook to websocket; the library told as many, was asked nothing and kept nothing."""

    ours: Latency
    bare_p50: float
    bare_p99: float


async def measure(stage: Stage, server: Server, plan: Plan, run: str = "live") -> Latency:
    """Everybody heard everything in order, and how soon; raises ``Miscounted`` when somebody did not."""
    town = stage.towns[TOWN]
    batch = Batch(town.lines, "messages", run, plan.rate * plan.seconds + CONNECTIONS)
    path = stage.folder / f"{run}.heard"
    audience = Audience(server.port, town.access_tokens[0], plan.sockets, batch.count, str(path))
    with listening(stage, audience) as listeners:
        theft = machine.Theft()
        outcome = generate(stage, Load(server.port, batch, CONNECTIONS, plan.seconds, plan.rate))
        stolen = theft.share
        try:
            listeners.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            listeners.communicate("enough\n")
    await ledger.check(stage.admin, town, batch, outcome)
    heard = msgspec.msgpack.decode(path.read_bytes(), type=Heard)
    deliveries = sum(map(len, heard.at.values()))
    if heard.broken or heard.lost or deliveries != batch.count * plan.sockets:
        raise ledger.Miscounted(
            f"{deliveries} of {batch.count * plan.sockets} deliveries; {heard.broken} sockets had gaps or"
            f" repetitions, {heard.lost} were closed"
        )
    latencies = [
        at - due
        for index, due in enumerate(outcome.sent_at, start=CONNECTIONS)  # after the first of each connection
        for at in heard.at[sid(batch.run, index)]
    ]
    latencies.sort()
    return Latency(
        plan=plan,
        p50=statistics.median(latencies),
        p99=latencies[int(len(latencies) * 0.99)],
        worst=latencies[-1],
        deliveries=len(latencies),
        stolen=stolen,
    )


def listening(stage: Stage, audience: Audience) -> "subprocess.Popen[str]":
    """A process whose sockets have all been let in."""
    command = [sys.executable, "-m", "bench.listeners", msgspec.json.encode(audience).decode()]
    with machine.pinned(stage.cores.clients):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    await_line(process, "ready")
    return process
