"""What runs of workflows cost that wait, ten thousand of them: a worker's and the database's time, with and without.

Half of them wait for a day that is far away, half for a person who may never come. Afterwards one of them is told that
its time has come, and must be over soon: they are runs, and not rows that nobody looks at.
"""

import asyncio
import sys
import uuid

import msgspec

from bench import machine
from bench.ledger import Miscounted
from bench.stage import PUBLIC_URL, Stage

TOWN = "waiters"
SETTLING_SECONDS = 5.0
PATIENCE_SECONDS = 10.0


class Plan(msgspec.Struct, frozen=True):
    """So many runs that wait, looked at for so many seconds."""

    runs: int = 10_000
    seconds: float = 30.0


class Pauses(msgspec.Struct, frozen=True):
    """Shares of one core that worker and database use together, without the runs and with them; and how soon one of
    them went on, in seconds."""

    plan: Plan
    without: float
    with_: float
    resumed: float
    stolen: float

    @property
    def added(self) -> float:
        """What the runs cost."""
        return self.with_ - self.without


async def measure(stage: Stage, plan: Plan) -> Pauses:
    """One worker, and nothing else happens."""
    command = [sys.executable, "-c", "from comms.cli import main; main()", "worker"]
    environment = {"COMMS_DATA_DIR": str(stage.folder), "PUBLIC_URL": PUBLIC_URL}
    theft = machine.Theft()
    with stage.process(command, stage.cores.service, "working", environment) as worker:
        await asyncio.sleep(plan.seconds)  # what a fresh process does only once
        before = await _share(stage, worker.pid, plan)
        await _fill(stage, plan)
        with_ = await _share(stage, worker.pid, plan)
        resumed = await _resume(stage)
        await stage.admin.execute("DELETE FROM agent_workflow_executions")
        after = await _share(stage, worker.pid, plan)
    return Pauses(plan, min(before, after), with_, resumed, theft.share)


async def _share(stage: Stage, pid: int, plan: Plan) -> float:
    postmaster = stage.embedded.pid
    assert postmaster is not None
    await stage.settle()
    await asyncio.sleep(SETTLING_SECONDS)

    def used() -> float:
        return machine.cpu_seconds(pid) + machine.cpu_seconds(postmaster, children=True)

    before = used()
    await asyncio.sleep(plan.seconds)
    return (used() - before) / plan.seconds


async def _fill(stage: Stage, plan: Plan) -> None:
    (workspace_id,) = stage.towns[TOWN].ids
    workflow_id = uuid.uuid4()
    await stage.admin.execute(_WORKFLOW, workspace_id, workflow_id)
    await stage.admin.execute("INSERT INTO workflow_progress SELECT workspace_id, seq FROM event_counters")
    await stage.admin.execute(_RUNS, workspace_id, workflow_id, plan.runs)
    await stage.admin.execute(_STEPS, workspace_id)


async def _resume(stage: Stage) -> float:
    (workspace_id,) = stage.towns[TOWN].ids
    run_id = await stage.admin.fetchval(_COME_DUE, workspace_id)
    loop = asyncio.get_running_loop()
    began = loop.time()
    status = "SELECT status FROM agent_workflow_executions WHERE workspace_id = $1 AND id = $2"
    while await stage.admin.fetchval(status, workspace_id, run_id) != "completed":
        if loop.time() - began > PATIENCE_SECONDS:
            raise Miscounted(f"a run whose time had come was not over after {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(0.02)
    return loop.time() - began


_WAIT = '[{"id": "wait", "action": "wait", "inputs": {"days": 300}}]'
_WORKFLOW = f"""
INSERT INTO agent_workflows (workspace_id, id, name, steps, status, total_executions, created_at, updated_at)
VALUES ($1, $2, 'Waits', '{_WAIT}', 'active', 20000, now(), now())
"""
_RUNS = f"""
INSERT INTO agent_workflow_executions (workspace_id, id, workflow_id, steps, current_step_id, total_steps, waiting_for,
    waiting_id, due_at, created_at, updated_at)
SELECT $1, gen_random_uuid(), $2, '{_WAIT}', 'wait', 1, CASE WHEN n % 2 = 0 THEN 'time' ELSE 'approval' END,
    CASE WHEN n % 2 = 1 THEN gen_random_uuid() END, CASE WHEN n % 2 = 0 THEN now() + interval '300 days' END,
    now(), now()
FROM generate_series(1, $3::int) n
"""
_STEPS = """
INSERT INTO agent_workflow_step_runs (workspace_id, id, execution_id, step_id, action, status, due_at, started_at,
    created_at, updated_at)
SELECT workspace_id, gen_random_uuid(), id, 'wait', 'wait', 'waiting', due_at, now(), now(), now()
FROM agent_workflow_executions WHERE workspace_id = $1
"""
_COME_DUE = """
WITH one AS (
    SELECT id FROM agent_workflow_executions WHERE workspace_id = $1 AND waiting_for = 'time' LIMIT 1
),
step AS (
    UPDATE agent_workflow_step_runs s SET due_at = now() FROM one WHERE s.workspace_id = $1 AND s.execution_id = one.id
)
UPDATE agent_workflow_executions e SET due_at = now() FROM one WHERE e.workspace_id = $1 AND e.id = one.id
RETURNING e.id
"""
