"""How many a second: the ordinary handler, PostgreSQL alone and comms, in turns, round after round, rows counted."""

import asyncio
import itertools
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from bench import ceiling, ledger, machine
from bench.load import Load, Outcome
from bench.stage import Server, Stage, await_line
from bench.webhooks import Batch

Kind = Literal["messages", "message-status"]

SPREAD = 20  # workspaces of a town: one's event counter would otherwise be what PostgreSQL alone waits for
TOWNS = {"naive": SPREAD, "postgres": SPREAD, "comms": SPREAD, "postgres-crowded": 1, "comms-crowded": 1}
FIRST_GUESS = {"naive": 500.0, "postgres": 3_000.0, "comms": 6_000.0}  # a second; then what was last seen
MARGIN = 1.5
_runs = itertools.count(1)  # no request is made twice


class Plan(msgspec.Struct, frozen=True):
    """How long and how often."""

    rounds: int = 3
    seconds: float = 3.0
    connections: tuple[int, ...] = (1, 16, 64, 256)
    clients: tuple[int, ...] = (4, 16, 64)


class Figure(msgspec.Struct, frozen=True):
    """What one run showed. Latencies in seconds; costs in processor seconds a request, where they were seen.

    ``stolen`` is the share of all cores' time that was not to be had while it ran.
    """

    rate: float
    p50: float = 0.0
    p99: float = 0.0
    server_cost: float = 0.0
    database_cost: float = 0.0
    stolen: float = 0.0


class Comparison(msgspec.Struct, frozen=True):
    """All figures of a kind of webhook: by competitor and number of connections, one a round."""

    kind: Kind
    figures: dict[tuple[str, int], list[Figure]]

    def of(self, name: str, connections: int) -> Figure:
        """The medians of the rounds."""
        rounds = self.figures[name, connections]
        return Figure(
            *(statistics.median(getattr(figure, field) for figure in rounds) for field in Figure.__struct_fields__)
        )

    def rates(self, name: str, connections: int) -> list[float]:
        """The rate of each round."""
        return [figure.rate for figure in self.figures[name, connections]]

    def best(self, name: str) -> list[float]:
        """The rate of each round at whatever number of connections was the best in it."""
        rounds = zip(*(self.rates(*key) for key in self.figures if key[0] == name), strict=True)
        return [max(rates) for rates in rounds]


class Track:
    """Where one kind of webhook is measured; ``servers`` are named as the towns they are posted for."""

    def __init__(
        self, runner: asyncio.Runner, stage: Stage, kind: Kind, servers: Mapping[str, Server], plan: Plan
    ) -> None:
        self._run = runner.run
        self._stage = stage
        self._kind = kind
        self._servers = servers
        self._plan = plan
        self._expected = dict(FIRST_GUESS)

    def compare(self, say: Callable[[str], None]) -> Comparison:
        """Every competitor at every number of connections, in turns; each round is complete in itself."""
        plan = self._plan
        self._run(self._stage.settle())
        for name in self._servers:
            self._posted(name, 16, 1.0)
        figures: dict[tuple[str, int], list[Figure]] = {}
        for turn in range(plan.rounds):
            say(f"{self._kind}, round {turn + 1} of {plan.rounds}")
            for connections in plan.connections:
                for name in self._servers:
                    figures.setdefault((name, connections), []).append(self._posted(name, connections, plan.seconds))
                if connections in plan.clients:
                    self._ceiling(figures, "postgres", connections)
            for clients in set(plan.clients) - set(plan.connections):
                self._ceiling(figures, "postgres", clients)
            if self._kind == "messages":
                for clients in plan.clients:
                    self._ceiling(figures, "postgres-crowded", clients)
                posted = self._posted("comms-crowded", 64, plan.seconds, server=self._servers["comms"])
                figures.setdefault(("comms-crowded", 64), []).append(posted)
        return Comparison(self._kind, figures)

    def alone(self, name: str) -> Figure:
        """One competitor at one connection."""
        self._run(self._stage.settle())
        self._posted(name, 16, 1.0)
        return self._posted(name, 1, self._plan.seconds)

    def _posted(self, name: str, connections: int, seconds: float, server: Server | None = None) -> Figure:
        server = server or self._servers[name]
        town = self._stage.towns[name]
        batch = self._batch(name, seconds)
        load = Load(server.port, batch, connections, seconds)
        postmaster = self._stage.embedded.pid
        assert postmaster is not None
        used = machine.cpu_seconds(server.pid), machine.cpu_seconds(postmaster, children=True)
        theft = machine.Theft()
        outcome = generate(self._stage, load)
        stolen = theft.share
        server_used = machine.cpu_seconds(server.pid) - used[0]
        database_used = machine.cpu_seconds(postmaster, children=True) - used[1]
        self._run(ledger.check(self._stage.admin, town, batch, outcome))
        self._run(ledger.check_log(self._stage.admin, town.ids))
        self._expected[name] = max(outcome.rate, self._expected.get(name, 0.0))
        return Figure(
            rate=outcome.rate,
            p50=outcome.p50,
            p99=outcome.p99,
            server_cost=server_used / outcome.issued,
            database_cost=max(0.0, database_used) / outcome.issued,
            stolen=stolen,
        )

    def _ceiling(self, figures: dict[tuple[str, int], list[Figure]], name: str, clients: int) -> None:
        town = self._stage.towns[name]
        before = self._run(ledger.check_log(self._stage.admin, town.ids))
        ran = ceiling.run(self._stage, town, self._batch(name, self._plan.seconds), clients, self._plan.seconds)
        told = self._run(ledger.check_log(self._stage.admin, town.ids)) - before
        if told != ran.transactions:
            raise ledger.Miscounted(f"pgbench made {ran.transactions} transactions and told {told} events")
        self._expected[name] = max(ran.rate, self._expected.get(name, 0.0))
        figures.setdefault((name, clients), []).append(Figure(rate=ran.rate))

    def _batch(self, name: str, seconds: float) -> Batch:
        """More requests than can be made in the time, and the messages they report on."""
        rate = self._expected.get(name) or self._expected[name.partition("-")[0]]
        batch = Batch(
            self._stage.towns[name].lines, self._kind, f"{self._kind}-{next(_runs)}", int(rate * seconds * MARGIN) + 500
        )
        if self._kind == "message-status":
            self._run(self._stage.presend(name, batch.run, batch.count // 2 + 1_000))
        return batch


def generate(stage: Stage, load: Load) -> Outcome:
    """The load has been put on, by a process of its own."""
    command = [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()]
    with machine.pinned(stage.cores.clients):
        generator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with generator:
        await_line(generator, "ready")
        told, _ = generator.communicate("go\n", timeout=load.seconds + 60)
    if generator.returncode:
        raise RuntimeError("the load generator failed")
    return msgspec.json.decode(told, type=Outcome)
