"""What a campaign's carriers tell of it, all at once and in any order: how fast it is taken in, and that none is lost.

The reports come in waves, because whole signed requests are made beforehand and a million are a gigabyte. In a wave the
order is drawn by lot, so half of what was delivered is told of before it is told to have been sent; one in fifty is
told twice. Each wave is counted before the next one begins.
"""

import statistics

import msgspec

from bench import ledger, machine
from bench.load import Load
from bench.stage import Server, Stage
from bench.throughput import generate
from bench.webhooks import BLOCK, STATUSES, Batch

TOWN = "storm"
LONGEST_WAVE = 540.0
WHOLE = BLOCK * len(STATUSES)


class Plan(msgspec.Struct, frozen=True):
    """So many reports, in waves of so many; both are whole blocks of what reports are told in (``webhooks``)."""

    reports: int = 1_000_000
    wave: int = 100_000
    connections: int = 64


class Storm(msgspec.Struct, frozen=True):
    """Reports a second while they came, and how long a provider waited for its answer, in seconds."""

    plan: Plan
    reports: int
    repeated: int
    rate: float
    p50: float
    p99: float
    worst: float
    stolen: float


def plan_of(reports: int) -> Plan:
    """About so many reports: whole waves, and in a wave whole blocks."""
    wave = min(Plan().wave, max(1, reports // WHOLE) * WHOLE)
    return Plan(max(1, reports // wave) * wave, wave)


async def measure(stage: Stage, server: Server, plan: Plan) -> Storm:
    """All reports of the plan were taken in once and in any order; raises ``Miscounted`` when one was not."""
    town = stage.towns[TOWN]
    outcomes, stolen = [], []
    for number in range(plan.reports // plan.wave):
        batch = Batch(town.lines, "message-status", f"storm-{number}", plan.wave, is_mixed=True)
        await stage.presend(TOWN, batch.run, plan.wave // len(STATUSES))
        await stage.settle()
        theft = machine.Theft()
        outcome = generate(stage, Load(server.port, batch, plan.connections, LONGEST_WAVE))
        stolen.append(theft.share)
        await ledger.check_storm(stage.admin, town, batch, outcome)
        outcomes.append(outcome)
    await ledger.check_log(stage.admin, town.ids)
    return Storm(
        plan=plan,
        reports=sum(outcome.issued for outcome in outcomes),
        repeated=sum(outcome.issued for outcome in outcomes) - plan.reports,
        rate=sum(outcome.completed for outcome in outcomes) / sum(outcome.seconds for outcome in outcomes),
        p50=statistics.median(outcome.p50 for outcome in outcomes),
        p99=max(outcome.p99 for outcome in outcomes),
        worst=max(outcome.worst for outcome in outcomes),
        stolen=statistics.mean(stolen),
    )
