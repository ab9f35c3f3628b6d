"""The figures as tables a person can read, the targets, and the place in README.md where the last run stands."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.agents import Worked
from bench.calls import Answered
from bench.channel import Told
from bench.fanout import Fanout
from bench.hooks import Hooks
from bench.lists import LIMIT_SECONDS, Asked, Lists
from bench.live import Beside
from bench.mail import Mail
from bench.memory import Memory
from bench.pauses import Pauses
from bench.routing import Routed
from bench.sends import Sends
from bench.storm import Storm
from bench.throughput import Comparison

README = Path(__file__).with_name("README.md")
BEGINS, ENDS = "<!-- the last run -->", "<!-- end of the last run -->"
SENDS = 300
ROUTED = 100
FREED_MS = 100
STORM = 1_000_000
MAIL_MIB = 80
CALL_MS = 50
AGENTS = 100
PAUSES = 0.01  # of a core: less than two measurements of nothing differ by
# shared/performance.md: the ordinary handler at 64 connections, PostgreSQL alone at best; the handler's p99 at 64
# connections in seconds, and its rate at one.
REFERENCE_NAIVE, REFERENCE_ALONE, REFERENCE_P99, REFERENCE_ONE = 290, 4_150, 0.69, 200
AT = 64  # connections at which the competitors are compared


class Machine(msgspec.Struct, frozen=True):
    """What it was measured on."""

    processor: str
    sync_seconds: float
    command: str


class Results(msgspec.Struct):
    """What was measured; the parts that were not chosen are missing."""

    machine: Machine
    comparisons: list[Comparison]
    live: Beside | None = None
    memory: Memory | None = None
    pauses: Pauses | None = None
    lists: Lists | None = None
    mails: Sequence[Mail] = ()
    sends: Sends | None = None
    hooks: Hooks | None = None
    routing: Routed | None = None
    storm: Storm | None = None
    calls: Answered | None = None
    fanouts: list[Fanout] = []
    channel: Told | None = None
    agents: Worked | None = None


class Target(msgspec.Struct, frozen=True):
    """What was to be reached, and what was."""

    what: str
    wanted: str
    reached: str
    is_met: bool


def rendered(results: Results) -> str:
    """All of it, as Markdown."""
    parts = [
        f"{datetime.now(UTC):%d %B %Y}, `{results.machine.command}`, on {results.machine.processor}; the disk takes a "
        f"page for good in {results.machine.sync_seconds * 1e6:.0f} µs."
    ]
    met = [
        [target.what, target.wanted, target.reached, "met" if target.is_met else "**missed**"]
        for target in targets(results)
    ]
    if met:
        parts.append(_table(["target", "wanted", "reached", ""], met))
    parts += [_pace(comparison) for comparison in results.comparisons if comparison.kind == "messages"]
    for comparison in results.comparisons:
        parts.append(f"**{_TITLES[comparison.kind]}**")
        parts.append(_throughput(comparison))
    if (live := results.live) is not None:
        plan, latency = live.ours.plan, live.ours
        parts.append(
            f"**From webhook to websocket**, {plan.rate} messages a second, {plan.sockets} sockets on one workspace: "
            f"p50 {_ms(latency.p50)}, p99 {_ms(latency.p99)}, worst {_ms(latency.worst)} over "
            f"{latency.deliveries:,} deliveries; every socket got every message, in order, without a gap. "
            f"Stolen meanwhile: {latency.stolen:.1%}. The `websockets` library's `broadcast()` by itself, which is"
            f" handed as many shorter frames at that rate and keeps nothing: p50 {_ms(live.bare_p50)}, p99"
            f" {_ms(live.bare_p99)}."
        )
    for fan in results.fanouts:
        plan, ours, bare = fan.plan, fan.ours, fan.bare
        parts.append(
            f"**To {plan.sockets:,} sockets of one process**: {ours.rate:,.0f} deliveries a second, the `websockets`"
            f" library's `broadcast()` {bare.rate:,.0f}. At {plan.rate} events a second p50 {_ms(ours.p50)} and p99"
            f" {_ms(ours.p99)} from before the commit to the frame; the library, which commits nothing,"
            f" {_ms(bare.p50)} and {_ms(bare.p99)}, and {fan.each / 1024:.1f} KiB for each idle socket. Stolen"
            f" meanwhile: {fan.stolen:.1%}."
        )
    if (told := results.channel) is not None:
        parts.append(
            f"**A team message to {told.plan.members} people**, each with a socket of their own, posted over the API"
            f" {told.plan.rate} times a second: p50 {_ms(told.p50)} and p99 {_ms(told.p99)} from the request to the"
            f" frame. Stolen meanwhile: {told.stolen:.1%}."
        )
    if (worked := results.agents) is not None:
        parts.append(
            f"**The agent API**, {worked.plan.agents} agents, {worked.plan.connections} connection each:"
            f" {worked.claims:,.0f} claims a second (p99 {_ms(worked.claims_p99)}), each conversation asked for by two"
            f" of them and won by one, and {worked.replies:,.0f} fenced replies a second"
            f" (p99 {_ms(worked.replies_p99)}), each kept once. Stolen meanwhile: {worked.stolen:.1%}."
        )
    if results.memory:
        parts.append(
            f"**Memory** of a fresh web process: {results.memory.idle / 2**20:.0f} MiB, and "
            f"{results.memory.each / 1024:.1f} KiB for each idle socket ({results.memory.sockets:,} of them)."
        )
    if (pauses := results.pauses) is not None:
        parts.append(
            f"**Workflows that wait**, {pauses.plan.runs:,} of them: worker and database use {pauses.with_:.2%} of a"
            f" core with them and {pauses.without:.2%} without; one whose time came was over {_ms(pauses.resumed)}"
            f" later. Stolen meanwhile: {pauses.stolen:.1%}."
        )
    if (calls := results.calls) is not None:
        parts.append(
            f"**A call**, {calls.plan.rate} begun a second: {calls.p50 * 1e3:.0f} ms to the document at the median,"
            f" {calls.p99 * 1e3:.0f} ms at the 99th percentile, {calls.worst * 1e3:.0f} ms at worst,"
            f" {calls.answers} answers; {calls.stolen:.0%} of the machine was not to be had."
        )
    for mail in results.mails:
        parts.append(
            f"**A mail of {mail.size / 2**20:.0f} MiB**, {mail.mode}: {mail.above_idle / 2**20:.0f} MiB above idle at"
            f" most, answered after {mail.answered_seconds:.2f} s, its file stored after {mail.stored_seconds:.2f} s."
        )
    if results.sends:
        sends = results.sends
        parts.append(
            f"**Sending**, {sends.plan.conversations:,} conversations of {sends.plan.messages} messages, one worker:"
            f" {sends.rate:,.0f} messages a second, each conversation's in order, none twice, none missing;"
            f" {_us(sends.worker_cost)} of processor time each. Stolen meanwhile: {sends.stolen:.1%}."
        )
    if (hooks := results.hooks) is not None:
        parts.append(
            f"**Outbound webhooks**, {hooks.plan.conversations:,} conversations of {hooks.plan.events} events, one"
            f" worker: {hooks.rate:,.0f} deliveries a second, each conversation's in order, none twice, none missing;"
            f" {_us(hooks.worker_cost)} of processor time each. When nothing waits, from the request that makes"
            f" something happen to the sink: p50 {_ms(hooks.p50)}, p99 {_ms(hooks.p99)}, worst {_ms(hooks.worst)}."
            f" Stolen meanwhile: {hooks.stolen:.1%}."
        )
    if (routed := results.routing) is not None:
        parts.append(
            f"**Routing**, {routed.plan.people} people of one team and {routed.plan.waiting:,} conversations that wait:"
            f" one process decides {routed.rate:,.0f} a second, each explained, none given twice, nobody with more than"
            f" they can take; {_us(routed.cost)} of processor time each. When one person frees up, whoever has"
            f" waited longest is theirs {_ms(routed.freed_p50)} (p50) and {_ms(routed.freed_p99)} (p99) after the look."
            f" Stolen meanwhile: {routed.stolen:.1%}."
        )
    if (storm := results.storm) is not None:
        parts.append(
            f"**A storm of delivery reports**: {storm.plan.reports:,} on {storm.plan.reports // 2:,} messages of one"
            f" workspace, in waves of {storm.plan.wave:,} whose order was drawn by lot, and {storm.repeated:,} of them"
            f" told twice. {storm.rate:,.0f} a second over {storm.plan.connections} connections, p50 {_ms(storm.p50)},"
            f" p99 {_ms(storm.p99)}, worst {_ms(storm.worst)}; each kept once, every message delivered, nothing told"
            f" after that. Stolen meanwhile: {storm.stolen:.1%}."
        )
    if results.lists:
        plan = results.lists.plan
        parts.append(
            f"**Lists** of a workspace with {plan.contacts:,} contacts and {plan.messages:,} messages, one request at a"
            f" time: of every kind of question the slowest one's median, and its p95."
            f" {len(results.lists.asked)} questions. The ordinary handler took {_ms(results.lists.ordinary)} for a"
            " message, one after another."
        )
        parts.append(_lists(results.lists))
        slow = [asked for asked in results.lists.asked if asked.median > LIMIT_SECONDS]
        if slow:
            parts.append(f"Over {_ms(LIMIT_SECONDS)}:")
            rows = [[asked.path, str(asked.query), _ms(asked.median), _ms(asked.p95)] for asked in slow]
            parts.append(_table(["list", "question", "p50", "p95"], rows))
    return "\n\n".join(parts) + "\n"


def _lists(results: Lists) -> str:
    kinds = ("first", "deep", "filter", "sort", "q")
    rows = []
    for path in dict.fromkeys(asked.path for asked in results.asked):
        row = [path.removeprefix("/api/v1")]
        for kind in kinds:
            of_kind = [asked for asked in results.asked if asked.path == path and asked.part == kind]
            slowest: Asked | None = max(of_kind, key=lambda asked: asked.median, default=None)
            row.append(f"{_ms(slowest.median)} / {_ms(slowest.p95)}" if slowest else "")
        rows.append(row)
    return _table(["list", "first page", "deep page", "filters", "sorts", "words"], rows)


def _pace(messages: Comparison) -> str:
    """How fast this machine is beside the one for which times were wanted: nothing is judged by it."""
    naive, alone = messages.of("naive", AT).rate, statistics.median(messages.best("postgres"))
    return (
        f"Times were wanted for a machine on which the ordinary handler took {REFERENCE_NAIVE} messages a second and"
        f" PostgreSQL alone {REFERENCE_ALONE:,}; here they took {naive:,.0f} and {alone:,.0f}, which is"
        f" {REFERENCE_NAIVE / naive:.1f} and {REFERENCE_ALONE / alone:.1f} times slower. `met` and `missed` take no"
        " notice of that."
    )


def targets(results: Results) -> Iterator[Target]:
    """Each target whose part was measured."""
    for comparison in results.comparisons:
        name = _TITLES[comparison.kind].lower()
        wanted_a, wanted_b = _RATIOS[comparison.kind]
        ours = comparison.rates("comms", AT)
        yield _at_least(f"{name}: comms / ordinary handler", wanted_a, ours, comparison.rates("naive", AT))
        yield _at_least(f"{name}: comms / PostgreSQL alone", wanted_b, ours, comparison.best("postgres"))
        if comparison.kind == "messages":
            yield from _latencies(name, comparison)
    if (live := results.live) is not None:
        yield _at_most("webhook to websocket: p99", 0.05, live.ours.p99)
        name = "webhook to websocket: p99 of broadcast() alone / p99"
        yield _at_least(name, 1.0, [live.bare_p99], [live.ours.p99])
    if results.channel:
        yield _at_most("a team message on 500 people's sockets: p99", 0.1, results.channel.p99)
    if (worked := results.agents) is not None:
        for what, reached in (("claims", worked.claims), ("fenced replies", worked.replies)):
            name = f"{what} a second over the agent API"
            yield Target(name, f"≥ {AGENTS}", f"{reached:,.0f}", reached >= AGENTS)
    for fan in results.fanouts:
        name = f"deliveries to {fan.plan.sockets:,} sockets: comms / websockets' broadcast()"
        yield _at_least(name, 1.0, [fan.ours.rate], [fan.bare.rate])
    if results.memory and results.fanouts:
        name = "memory of an idle socket: comms / websockets"
        times = results.memory.each / results.fanouts[0].each
        yield Target(name, "≤ 2 ×", f"{times:.2f} ×", times <= 2)
    if (pauses := results.pauses) is not None:
        what = f"{pauses.plan.runs:,} workflows that wait: of one core, beyond none of them"
        yield Target(what, f"≤ {PAUSES:.0%}", f"{pauses.added:.2%}", pauses.added <= PAUSES)
    if (calls := results.calls) is not None:
        reached = f"{calls.p99 * 1e3:.0f} ms"
        what = f"a call's next document at {calls.plan.rate} calls a second, 99th percentile"
        yield Target(what, f"≤ {CALL_MS} ms", reached, calls.p99 * 1e3 <= CALL_MS)
    for mail in results.mails:
        reached = f"{mail.above_idle / 2**20:.0f} MiB"
        what = f"a mail of {mail.size / 2**20:.0f} MiB, {mail.mode}: memory above idle"
        yield Target(what, f"≤ {MAIL_MIB} MiB", reached, mail.above_idle <= MAIL_MIB * 2**20)
    if results.sends:
        rate = results.sends.rate
        yield Target("messages sent by one worker", f"≥ {SENDS} a second", f"{rate:,.0f}", rate >= SENDS)
    if results.hooks:
        yield _at_most("an event reaches an outbound webhook: p99", 0.25, results.hooks.p99)
    if (routed := results.routing) is not None:
        what = f"routing decisions with {routed.plan.people} people and {routed.plan.waiting:,} waiting"
        yield Target(what, f"≥ {ROUTED} a second", f"{routed.rate:,.0f}", routed.rate >= ROUTED)
        yield _at_most("one frees up among the waiting: p99 of the look", FREED_MS / 1e3, routed.freed_p99)
    if (storm := results.storm) is not None and storm.plan.reports >= STORM:
        what = f"{storm.plan.reports:,} delivery reports in any order: none lost"
        yield Target(what, "all", f"all, at {storm.rate:,.0f} a second", True)
    if results.lists:
        worst = max(asked.median for asked in results.lists.asked)
        what = "every list: p50 of the slowest question"
        yield _at_most(what, LIMIT_SECONDS, worst)
        wanted, times = LIMIT_SECONDS * REFERENCE_ONE, worst / results.lists.ordinary
        yield Target(f"{what} / ordinary handler's message", f"≤ {wanted:g} ×", f"{times:.2f} ×", times <= wanted)


def _latencies(name: str, messages: Comparison) -> Iterator[Target]:
    """In milliseconds; and beside the ordinary handler, which takes as much longer on a slower machine."""
    wanted = (AT, "p99", 0.025, REFERENCE_P99), (1, "p50", 0.002, 1 / REFERENCE_ONE)
    for connections, part, seconds, reference in wanted:
        if ("comms", connections) in messages.figures:
            ours, theirs = (
                [getattr(figure, part) for figure in messages.figures[who, connections]] for who in ("comms", "naive")
            )
            what = f"{name}: {part} at {connections} connection{'s' * (connections > 1)}"
            yield _at_most(what, seconds, getattr(messages.of("comms", connections), part))
            yield _at_least(f"{what}: ordinary handler / comms", round(reference / seconds, 1), theirs, ours)


def write(text: str) -> None:
    """The text stands in README.md in place of the last run's."""
    page = README.read_text()
    before, _, rest = page.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    README.write_text(f"{before}{BEGINS}\n{text}{ENDS}{after}")


_TITLES = {"messages": "Inbound messages", "message-status": "Delivery reports"}
_RATIOS = {"messages": (15.0, 1.5), "message-status": (8.0, 0.8)}
_NAMES = {
    "naive": "(a) ordinary handler",
    "postgres": "(b) PostgreSQL alone",
    "comms": "(c) comms",
    "postgres-crowded": "(b) all in one workspace",
    "comms-crowded": "(c) all in one workspace",
}


def _throughput(comparison: Comparison) -> str:
    best = statistics.median(comparison.best("postgres"))
    rows = []
    for name, connections in sorted(comparison.figures, key=lambda key: (list(_NAMES).index(key[0]), key[1])):
        figure = comparison.of(name, connections)
        rates = comparison.rates(name, connections)
        row = [_NAMES[name], str(connections), f"{figure.rate:,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}"]
        if figure.p50:
            row += [_ms(figure.p50), _ms(figure.p99), _us(figure.server_cost), _us(figure.database_cost)]
            row.append(f"{figure.stolen:.1%}")
        else:
            row += [""] * 5
        if name == "comms":
            row += [f"{_ratio(rates, comparison.rates('naive', connections)):.1f}", f"{figure.rate / best:.2f}"]
        rows.append(row)
    heads = ["", "connections", "a second", "rounds", "p50", "p99"]
    heads += ["server CPU", "database CPU", "stolen", "c / a", "c / b"]
    return _table(heads, rows)


def _at_least(what: str, wanted: float, ours: Sequence[float], theirs: Sequence[float]) -> Target:
    reached = _ratio(ours, theirs)
    return Target(what, f"≥ {wanted:g} ×", f"{reached:.2f} ×", reached >= wanted)


def _at_most(what: str, wanted: float, reached: float) -> Target:
    return Target(what, f"≤ {wanted * 1e3:g} ms", _ms(reached), reached <= wanted)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: what disturbs the machine disturbs both of a round."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose source is readable too."""
    lines = [list(heads), *([*row, *[""] * (len(heads) - len(row))] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
