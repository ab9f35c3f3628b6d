"""A run goes on: one step at a time, each in one transaction with what it does. A job is a doorbell for the next.

    ring ──► is a step open? ── no ──► which is next? ── none ──► over
                │                          └─► do it: done, or it waits, or somebody outside is asked
                └─ yes ──► is what it waits for there? ──► done, failed, or tried again

What a step does in our database, its result and the bell for the next step are one commit: killed anywhere, there is
all of it or nothing. While a run waits nothing of it is looked at but the head of an index, ``due_at``.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs, reading
from comms.agents import workflow_runs
from comms.agents.states import tell
from comms.agents.steps import Step
from comms.database import Database, attempt, is_passing
from comms.errors import Conflict, Invalid, Refused
from comms.events import Actor
from comms.workflows import plan, values, waiting
from comms.workflows.acting import Calls, Crowded, Done, Failed, Here, Waits
from comms.workflows.actions import ACTIONS, action_of
from comms.workflows.asking import Asked
from comms.workflows.calling import Calling, Turn
from comms.workflows.settling import MOST_OUTPUT, Course, Run, StepRun, done, fail, over, pass_over, ring, stop
from comms.workflows.standing import grounds_of
from models.base import new_id, now
from models.orchestration import AgentWorkflowStepRunView

log = structlog.get_logger(__name__)

ACTOR = "workflow"
"""What did it, in the log, when a run did."""
GRACE = timedelta(seconds=15)
LONGEST_LINE = timedelta(seconds=120)
"""Whoever is forgotten in line looks again after so long."""


async def advance(database: Database, caller: Calling, workspace_id: uuid.UUID, execution_id: uuid.UUID) -> None:
    """The run has come one step further, or it waits, or it is over; a run that somebody else is at is left to them."""
    actor = Actor(ACTOR, execution_id)
    turn = Turn(caller.turns, workspace_id)
    try:
        async with database.workspace(workspace_id, actor) as db:
            called = await _move(db, workspace_id, execution_id, turn.take)
        if called is None:
            return
        row_id, attempted, call = called
        outcome: Done | Failed
        try:
            outcome = await caller.make(call)
        except Failed as failure:
            outcome = failure
        async with database.workspace(workspace_id, actor) as db:
            await _keep_answer(db, workspace_id, execution_id, row_id, attempted, outcome)
    except Exception as error:
        if is_passing(error):
            raise  # the job comes again
        log.error("workflow.unexpected", execution_id=str(execution_id), error=str(jobs.JobFailed(error)))
        async with database.workspace(workspace_id, actor) as db:
            await _give_up(db, workspace_id, execution_id, f"something unexpected happened ({type(error).__name__})")
    finally:
        is_free = turn.give_back()
    if is_free and caller.turns.is_line:
        await _call_next(database, caller)


async def _call_next(database: Database, caller: Calling) -> None:
    """Whoever has waited longest for a turn goes on, of those who may have one."""
    async with database.everywhere() as db:
        full = caller.turns.full
        following = (await db.execute(_NEXT, {"full": full, "recall": workflow_runs.RECALL_SECONDS})).one_or_none()
        caller.turns.is_line = following is not None or bool(full)
        if following is not None:
            await workflow_runs.ring(db, [(following.workspace_id, following.id)])


async def _move(
    db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID, takes_turn: Callable[[], bool] = lambda: True
) -> tuple[uuid.UUID, int, Calls] | None:
    course = await _course(db, workspace_id, execution_id)
    if course is None:
        return None
    course.grounds, course.takes_turn = await grounds_of(db, course.run), takes_turn
    if course.grounds.ended is not None:
        await stop(course, course.grounds.ended)
        return None
    row = course.open
    if course.grounds.status == "paused":
        # It goes on when the workflow is active again: ``agents.workflows`` sees to that.
        course.run.due_at = None
        course.run.waiting_for = "workflow" if row is None else course.run.waiting_for
        return None
    if row is not None:
        return await _go_on(course, row)
    following = plan.next_of(course.steps, course.outcomes())
    for step_id, reason in following.skipped.items():
        await pass_over(course, step_id, reason)
    if following.step is None:
        await over(course)
        return None
    return await _begin(course, following.step, following.position or 0)


async def _course(db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID) -> Course | None:
    """The run, held; None when it does not run, or somebody else holds it."""
    run = await db.scalar(
        select(Run)
        .where(Run.workspace_id == workspace_id, Run.id == execution_id, Run.status == "running")
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if run is None:
        return None
    rows = await db.scalars(
        select(StepRun).where(StepRun.workspace_id == workspace_id, StepRun.execution_id == execution_id)
    )
    return Course(db, run, reading.read_all(Step, run.steps, "steps"), {row.step_id: row for row in rows}, now())


async def _begin(course: Course, step: Step, position: int) -> tuple[uuid.UUID, int, Calls] | None:
    """The step is done, or waits, or is to be asked of somebody; what it saw is kept with it."""
    run = course.run
    scope = values.scope_of(run, course.at)
    for sent in step.conditions:
        asked = msgspec.convert(sent, Asked)
        answer = waiting.answer_of(asked, scope)
        if not answer.holds:
            await pass_over(course, step.id, f"its conditions do not hold: {answer.words}")
            await ring(course)
            return None
    if not _has_turn(course, step):
        return None
    row = StepRun(
        workspace_id=run.workspace_id,
        id=new_id(),
        execution_id=run.id,
        step_id=step.id,
        action=step.action,
        status="running",
        attempt=1,
        started_at=course.at,
        inputs={},
    )
    course.db.add(row)
    course.rows[step.id] = row
    return await _try(course, row, step, position)


def _has_turn(course: Course, step: Step) -> bool:
    """Whether the step may be done now: calls wait in line while many of their workspace are under way."""
    if step.action != "http" or course.takes_turn():
        return True
    run = course.run
    run.waiting_for, run.waiting_id, run.due_at = "turn", None, course.at + LONGEST_LINE
    return False


async def _try(course: Course, row: StepRun, step: Step, position: int) -> tuple[uuid.UUID, int, Calls] | None:
    run, place, action = course.run, f"steps[{position}].inputs", action_of(step)
    run.current_step_id, run.current_step_index = step.id, position
    try:
        errors: dict[str, str] = {}
        row.inputs = step.inputs
        if not action.fills_itself:
            row.inputs = values.fill(step.inputs, values.scope_of(run, course.at), place, errors)
        if len(events.encode(row.inputs)) > MOST_OUTPUT:
            row.inputs, errors = {}, {place: f"is more than {MOST_OUTPUT} bytes in this run"}
        await course.db.flush()
        if errors:
            raise Invalid(errors)
        if course.grounds is not None and (reason := course.grounds.refusal(action.right)) is not None:
            raise Failed("forbidden", reason)
        async with attempt(course.db):
            seen = _read(step, row.inputs, place)
            outcome = await action.effect(Here(course.db, run, step, seen, place, course.at))
    except Failed as failure:
        await fail(course, row, step, failure)
        return None
    except Refused as refusal:
        await fail(course, row, step, Failed(_code_of(refusal), refusal.detail))
        return None
    except (IntegrityError, DataError):
        await fail(course, row, step, Failed("refused", "the database does not take what this step would write"))
        return None
    match outcome:
        case Done():
            await done(course, row, step, outcome)
        case Waits():
            row.status, row.output, row.due_at = "waiting", outcome.output, outcome.due_at
            run.waiting_for, run.waiting_id, run.due_at = outcome.for_, outcome.answer_id, outcome.due_at
            await tell(course.db, "waited", row, AgentWorkflowStepRunView)
        case Calls():
            row.due_at = course.at + timedelta(seconds=outcome.seconds) + GRACE
            run.waiting_for, run.waiting_id, run.due_at = "http", None, row.due_at
            await tell(course.db, "started", row, AgentWorkflowStepRunView)
            return row.id, row.attempt, outcome
    return None


def _read(step: Step, inputs: dict[str, Any], place: str) -> Any:
    """The inputs as the action has them; what an agent is told is the agent's own to read."""
    if step.action in ACTIONS:
        return reading.read(action_of(step).shape, inputs, place)
    return waiting.Task(data={"inputs": inputs})


async def _go_on(course: Course, row: StepRun) -> tuple[uuid.UUID, int, Calls] | None:
    """The open step is settled if what it waits for is there; a call whose caller is gone is made again."""
    run = course.run
    position = next(index for index, step in enumerate(course.steps) if step.id == row.step_id)
    step = course.steps[position]
    if row.action == "http":
        if row.due_at is not None and row.due_at > course.at:
            run.due_at = row.due_at
            return None
        if row.status == "running":
            unclear = Failed(
                "unclear", "whoever made this call is gone: nobody knows whether it was heard", may_pass=True
            )
            await fail(course, row, step, unclear)
            return None
        if not _has_turn(course, step):
            return None
        row.attempt += (row.error or {}).get("code") != Crowded.CODE
        row.status, row.due_at = "running", None
        return await _try(course, row, step, position)
    here = Here(course.db, run, step, None, f"steps[{position}].inputs", course.at)
    try:
        found = await waiting.answer(here, row)
    except Failed as failure:
        await fail(course, row, step, failure)
        return None
    if found is None:
        run.due_at = row.due_at
        return None
    await done(course, row, step, found)
    return None


async def _keep_answer(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    execution_id: uuid.UUID,
    row_id: uuid.UUID,
    attempted: int,
    outcome: Done | Failed,
) -> None:
    """What somebody outside answered is the step's result, unless it was asked again meanwhile."""
    run = await db.scalar(
        select(Run)
        .where(Run.workspace_id == workspace_id, Run.id == execution_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    row = await db.get(StepRun, (workspace_id, row_id), populate_existing=True)
    if run is None or row is None or row.status != "running" or row.attempt != attempted:
        return
    if run.status not in ("running", "paused"):
        return
    steps = reading.read_all(Step, run.steps, "steps")
    course = Course(db, run, steps, {row.step_id: row}, now())
    others = await db.scalars(
        select(StepRun).where(StepRun.workspace_id == workspace_id, StepRun.execution_id == execution_id)
    )
    course.rows = {one.step_id: one for one in others}
    step = next(step for step in steps if step.id == row.step_id)
    if isinstance(outcome, Failed):
        await fail(course, row, step, outcome)
    else:
        await done(course, row, step, outcome)


async def _give_up(db: AsyncSession, workspace_id: uuid.UUID, execution_id: uuid.UUID, words: str) -> None:
    """A step that fails in a way nobody expected fails: the run does not try for ever."""
    course = await _course(db, workspace_id, execution_id)
    if course is None:
        return
    row = course.open
    if row is None:
        following = plan.next_of(course.steps, course.outcomes())
        if following.step is None:
            raise Conflict("a run that is over could not be ended")
        step = following.step
        row = StepRun(
            workspace_id=workspace_id,
            id=new_id(),
            execution_id=execution_id,
            step_id=step.id,
            action=step.action,
            started_at=course.at,
        )
        db.add(row)
        course.rows[step.id] = row
    else:
        step = next(step for step in course.steps if step.id == row.step_id)
    await fail(course, row, step, Failed("unexpected", words))


def _code_of(refusal: Refused) -> str:
    code = getattr(refusal, "code", None)
    return code if isinstance(code, str) else type(refusal).__name__.lower()


_NEXT = text(
    """
    WITH following AS (
        SELECT workspace_id, id FROM agent_workflow_executions
        WHERE waiting_for = 'turn' AND status = 'running' AND workspace_id <> ALL(CAST(:full AS uuid[]))
        ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE agent_workflow_executions e SET due_at = now() + make_interval(secs => :recall), waiting_for = NULL
    FROM following f WHERE e.workspace_id = f.workspace_id AND e.id = f.id
    RETURNING e.workspace_id, e.id
    """
)
