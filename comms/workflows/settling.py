"""What came of a step, kept: it is done, it failed, it is tried again, it is passed over; and the end of a run."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.agents import workflow_runs
from comms.agents.runs import milliseconds
from comms.agents.states import tell
from comms.agents.steps import Step
from comms.workflows import plan, waiting
from comms.workflows.acting import Crowded, Done, Failed
from comms.workflows.plan import Outcome
from comms.workflows.standing import Grounds
from models.base import new_id, now
from models.orchestration import (
    AgentWorkflowExecution,
    AgentWorkflowStepRun,
    AgentWorkflowStepRunView,
)

RECALL = timedelta(seconds=workflow_runs.RECALL_SECONDS)
RETRIES_OF_HTTP = 3
MOST_OUTPUT = workflow_runs.MOST_GIVEN
"""Bytes of JSON that one step may see or give."""

Run = AgentWorkflowExecution
StepRun = AgentWorkflowStepRun


class Course(msgspec.Struct):
    """A run that is held, its steps, and what came of them so far."""

    db: AsyncSession
    run: Run
    steps: list[Step]
    rows: dict[str, StepRun]
    at: datetime
    grounds: Grounds | None = None
    takes_turn: Callable[[], bool] = lambda: True

    @property
    def open(self) -> StepRun | None:
        """The step that has begun and is not settled."""
        return next((row for row in self.rows.values() if row.status in ("running", "waiting")), None)

    def outcomes(self) -> dict[str, Outcome]:
        """Of every step that is settled."""
        steps = {step.id: step for step in self.steps}
        found = {}
        for row in self.rows.values():
            if row.status in ("completed", "failed", "skipped"):
                status: Any = row.status
                step = steps[row.step_id]
                failed = status == "failed"
                led = (
                    frozenset[str]()
                    if status == "skipped"
                    else plan.led_to(step, failed=failed, chosen=row.chosen or ())
                )
                ends = bool((row.output or {}).get("endsRun")) or (failed and step.on_failure is None)
                found[row.step_id] = Outcome(status, led, ends)
        return found


async def done(course: Course, row: StepRun, step: Step, done: Done) -> None:
    """What the step gave is kept, and the bell rings for the next."""
    output = {**done.output, **({"endsRun": True} if done.ends else {})}
    size = len(events.encode(output))
    if size > MOST_OUTPUT:
        await fail(course, row, step, Failed("large", f"it gave more than {MOST_OUTPUT} bytes, which are not kept"))
        return
    run = course.run
    if size + len(events.encode((run.trigger_data, run.context, run.step_results))) > workflow_runs.MOST_IN_ALL:
        words = (
            f"with what this step gave the run holds more than {workflow_runs.MOST_IN_ALL} bytes, which are not kept"
        )
        await fail(course, row, step, Failed("large", words))
        return
    row.output, row.chosen, row.error = output, list(done.chose) or None, None
    await settle(course, row, "completed")
    following = plan.next_of(course.steps, course.outcomes())
    await ring(course)
    await course.db.flush()
    await workflow_runs.keep_result(
        course.db,
        run.workspace_id,
        run.id,
        step.id,
        output,
        next_step_id=None if following.step is None else following.step.id,
    )


async def fail(course: Course, row: StepRun, step: Step, failure: Failed) -> None:
    """The step is tried again later, or has failed: then the run goes on where that leads, or has failed too."""
    run = course.run
    row.error = {"code": failure.code, "message": failure.words}
    is_http = step.action == "http"
    most = step.retries if step.retries is not None else RETRIES_OF_HTTP if is_http else 0
    may_repeat = not (failure.code == "unclear" and row.inputs.get("ifUnclear") == "fail")
    is_crowded = isinstance(failure, Crowded)
    if is_crowded or (failure.may_pass and may_repeat and row.attempt <= most):
        row.status = "waiting"
        pause = 5 if is_crowded else min(600, 5 * 2 ** (row.attempt - 1))
        row.due_at = course.at + timedelta(seconds=max(pause, failure.after))
        run.waiting_for, run.waiting_id = "retry", None
        run.due_at = row.due_at if run.status == "running" else None  # who is paused looks when resumed
        await tell(course.db, "delayed", row, AgentWorkflowStepRunView)
        return
    await settle(course, row, "failed")
    await ring(course)


async def pass_over(course: Course, step_id: str, reason: str) -> None:
    step = next(step for step in course.steps if step.id == step_id)
    row = StepRun(
        workspace_id=course.run.workspace_id,
        id=new_id(),
        execution_id=course.run.id,
        step_id=step_id,
        action=step.action,
        started_at=course.at,
        error={"code": "skipped", "message": reason},
    )
    course.db.add(row)
    course.rows[step_id] = row
    await settle(course, row, "skipped")


async def settle(course: Course, row: StepRun, status: str) -> None:
    row.status, row.due_at, row.completed_at = status, None, course.at
    row.duration_ms = milliseconds(row.started_at, course.at)
    course.run.waiting_for = course.run.waiting_id = None
    await tell(course.db, status, row, AgentWorkflowStepRunView)


async def ring(course: Course) -> None:
    """The run goes on after the commit; and, should the bell be lost, a while later."""
    run = course.run
    if run.status == "running":
        run.due_at = course.at + RECALL
        await workflow_runs.ring(course.db, [(run.workspace_id, run.id)])


async def over(course: Course) -> None:
    """No step is left: the run is completed, or failed if one failed and nothing followed on that."""
    steps = {step.id: step for step in course.steps}
    failed = [row for row in course.rows.values() if row.status == "failed" and steps[row.step_id].on_failure is None]
    error = None if not failed else {"stepId": failed[0].step_id, **(failed[0].error or {})}
    run = course.run
    run.due_at = run.waiting_for = run.waiting_id = None
    await course.db.flush()
    await workflow_runs.finish(course.db, run.workspace_id, run.id, "failed" if failed else "completed", error=error)


async def stop(course: Course, words: str) -> None:
    """The run is over before its time, and says why."""
    run = course.run
    await drop(course.db, run, "stopped", words)
    await course.db.flush()
    error = {"code": "stopped", "message": words}
    await workflow_runs.finish(course.db, run.workspace_id, run.id, "failed", error=error)


async def drop(db: AsyncSession, run: Run, code: str = "cancelled", words: str = "the run was cancelled") -> None:
    """Nothing of a run that ends early waits any more: what a person was asked expires, and the history says so."""
    rows = await db.scalars(
        select(StepRun).where(
            StepRun.workspace_id == run.workspace_id,
            StepRun.execution_id == run.id,
            StepRun.status.in_(("running", "waiting")),
        )
    )
    at = now()
    for row in rows:
        row.status, row.due_at, row.completed_at = "skipped", None, at
        row.duration_ms = milliseconds(row.started_at, at)
        row.error = {"code": code, "message": words}
        await tell(db, "skipped", row, AgentWorkflowStepRunView)
        action_id = (row.output or {}).get("actionId")
        if row.action == "approval" and isinstance(action_id, str):
            await waiting.withdraw(db, run.workspace_id, uuid.UUID(action_id))
