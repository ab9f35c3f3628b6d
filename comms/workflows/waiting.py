"""Steps that wait, choose, ask an agent or ask a person. While they wait they are a row, and nothing else."""

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.agents import approvals, messages
from comms.agents.states import tell
from comms.errors import Invalid
from comms.reasons import A_TIME
from comms.workflows import asking, values
from comms.workflows.acting import Action, Done, Failed, Here, Place, Waits
from models.base import noun_of, now
from models.orchestration import (
    AgentMessage,
    AgentMessageView,
    AgentPendingAction,
    AgentPendingActionView,
    AgentWorkflowStepRun,
    RiskLevel,
)

LONGEST = timedelta(days=366)

Amount = Annotated[float, msgspec.Meta(ge=0, le=LONGEST.total_seconds())]
Names = str | list[str] | None
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Text = Annotated[str, msgspec.Meta(max_length=65_536)]


class Wait(msgspec.Struct):
    """For so long, or until a time."""

    seconds: Amount = 0
    minutes: Amount = 0
    hours: Amount = 0
    days: Amount = 0
    until: str | None = None

    @property
    def how_long(self) -> timedelta:
        """The sum of what was given."""
        return timedelta(days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds)


class Choice(msgspec.Struct):
    """What must hold, all of it or any, and which steps follow if it does or does not."""

    all: list[Any] = []
    any: list[Any] = []
    then: Names = None
    else_: Names = msgspec.field(default=None, name="else")


class Ask(msgspec.Struct, rename="camel"):
    """What a person is asked, and until when."""

    title: Title
    description: Text | None = None
    details: dict[str, Any] = {}
    risk_level: RiskLevel = "medium"
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=1, le=int(LONGEST.total_seconds()))] | None = None


class Task(msgspec.Struct):
    """What an agent is to do."""

    subject: Title | None = None
    body: Text | None = None
    data: dict[str, Any] = {}
    priority: Literal["low", "normal", "high", "urgent"] = "normal"


async def wait(here: Here) -> Waits:
    """Until the time has come."""
    seen: Wait = here.seen
    until = here.at + seen.how_long if seen.until is None else _instant(seen.until)
    if until is None:
        raise Invalid({f"{here.place}.until": f"must be {A_TIME}"})
    if until - here.at > LONGEST:
        raise Invalid({f"{here.place}.until": f"must be within {LONGEST.days} days"})
    return Waits("time", {"until": until.isoformat()}, due_at=until)


async def check_wait(place: Place) -> dict[str, str]:
    amounts = [name for name in ("seconds", "minutes", "hours", "days") if name in place.step.inputs]
    if not amounts and "until" not in place.step.inputs:
        return {place.place: "must say for how long (seconds, minutes, hours, days) or until when (until)"}
    if amounts and "until" in place.step.inputs:
        return {f"{place.place}.until": f"goes without {amounts[0]}"}
    known = msgspec.convert({name: place.said[name] for name in amounts if name in place.said}, Wait)
    if known.how_long > LONGEST:
        return {place.place: f"must be {LONGEST.days} days at most in all"}
    sent = place.said.get("until")
    if isinstance(sent, str):
        until = _instant(sent)
        if until is None:
            return {f"{place.place}.until": f"must be {A_TIME}"}
        if until - now() > LONGEST:
            return {f"{place.place}.until": f"must be within {LONGEST.days} days"}
    return {}


async def choose(here: Here) -> Done:
    """Led to ``then`` if it holds, to ``else`` if not; with neither, nothing more comes unless it holds."""
    seen: Choice = here.seen
    scope = values.scope_of(here.run, here.at)
    answers = {
        name: [answer_of(asked, scope) for asked in asking.read(sent, f"{here.place}.{name}", field_refusal)]
        for name, sent in (("all", seen.all), ("any", seen.any))
    }
    holds = all(one.holds for one in answers["all"]) and (not seen.any or any(one.holds for one in answers["any"]))
    why = [one.words for part in answers.values() for one in part]
    ends = not holds and not seen.then and not seen.else_
    chose = seen.then if holds else seen.else_
    names = [chose] if isinstance(chose, str) else chose or []
    return Done({"holds": holds, "why": why}, tuple(names), ends=ends)


async def check_choice(place: Place) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not place.step.inputs.get("all") and not place.step.inputs.get("any"):
        errors[place.place] = "must say what has to hold, in all or any"
    for name in ("all", "any"):
        sent = place.step.inputs.get(name, [])
        try:
            if not isinstance(sent, list):
                raise Invalid({f"{place.place}.{name}": "must be a list of conditions"})
            asking.read(sent, f"{place.place}.{name}", field_refusal)
        except Invalid as error:
            errors |= error.errors
    return errors


def field_refusal(field: str) -> str | None:
    """Why nothing of a run is called so; None when something is."""
    if values.bare(field).partition(".")[0] in values.ROOTS:
        return None
    return f"must begin with {', '.join(values.ROOTS)}, such as trigger.data.status"


def answer_of(asked: asking.Asked, scope: dict[str, Any]) -> asking.Answer:
    """Whether a condition holds of a run."""
    return asking.answer(asked, values.bare(asked.field), scope)


async def ask_agent(here: Here) -> Waits:
    """A task for the agent; its result is what the step gives."""
    seen: Task = here.seen
    step = here.step
    content = {
        "subject": seen.subject or step.name or step.action,
        **({} if seen.body is None else {"body": seen.body}),
        "priority": seen.priority,
        "data": {
            **seen.data,
            "action": step.action,
            "workflowId": str(here.run.workflow_id),
            "executionId": str(here.run.id),
            "stepId": step.id,
        },
    }
    values_ = {"to_agent_id": step.agent_id, "message_type": "task", "content": content}
    row = await messages.write(here.db, here.run.workspace_id, values_)
    await here.db.flush()
    view = msgspec.convert(row, AgentMessageView, from_attributes=True)
    events.record(here.db, f"{noun_of(AgentMessage)}.created", row, view)
    return Waits("agent_task", {"messageId": str(row.id)}, row.id, _timeout(here))


async def ask_person(here: Here) -> Waits | Done:
    """A pending action in the agent's name: by its policy it may pass alone.

    Approved, the run goes on.
    """
    seen: Ask = here.seen
    run, agent_id = here.run, here.step.agent_id
    assert agent_id is not None
    origin = {"workflowId": str(run.workflow_id), "executionId": str(run.id), "stepId": here.step.id}
    values_: dict[str, Any] = {
        "risk_level": seen.risk_level,
        "title": seen.title,
        "description": seen.description,
        "details": {**seen.details, "workflow": origin},
    }
    if seen.expires_in_seconds is not None:
        values_["expires_at"] = here.at + timedelta(seconds=seen.expires_in_seconds)
    row = await approvals.ask_in_name(here.db, run.workspace_id, agent_id, values_, run.on_behalf_of)
    await tell(here.db, "created", row, AgentPendingActionView)
    if row.status == "approved":
        return await _approved(here, row)
    return Waits("approval", {"actionId": str(row.id)}, row.id, _timeout(here))


async def withdraw(db: AsyncSession, workspace_id: uuid.UUID, action_id: uuid.UUID) -> None:
    """What a person was asked, and has not decided, is expired."""
    row = await db.get(
        AgentPendingAction, (workspace_id, action_id), with_for_update={"key_share": True}, populate_existing=True
    )
    if row is not None and row.status == "pending":
        await approvals.withdraw(db, row)
        await tell(db, "expired", row, AgentPendingActionView)


async def answer(here: Here, row: AgentWorkflowStepRun) -> Done | None:
    """What the step was waiting for; None while it is not there. Raises ``Failed`` when it never will be."""
    match here.run.waiting_for:
        case "time":
            return Done(row.output or {}) if row.due_at is None or row.due_at <= here.at else None
        case "agent_task":
            found = await _result(here)
        case _:
            found = await _decision(here)
    if found is None and row.due_at is not None and row.due_at <= here.at:
        if here.run.waiting_for == "approval" and here.run.waiting_id is not None:
            await withdraw(here.db, here.run.workspace_id, here.run.waiting_id)
        raise Failed("late", f"nobody answered within {here.step.timeout_seconds} s")
    return found


async def _result(here: Here) -> Done | None:
    """The first result that the agent it was asked of has given, or a member in its place."""
    query = (
        select(AgentMessage)
        .where(
            AgentMessage.workspace_id == here.run.workspace_id,
            AgentMessage.parent_message_id == here.run.waiting_id,
            AgentMessage.message_type == "result",
            or_(AgentMessage.from_agent_id.is_(None), AgentMessage.from_agent_id == here.step.agent_id),
        )
        .order_by(AgentMessage.created_at, AgentMessage.id)
        .limit(1)
    )
    found = await here.db.scalar(query)
    if found is None:
        return None
    result = found.content.get("data") or {}
    if error := result.get("error"):
        raise Failed("agent", f"the agent could not do it: {error if isinstance(error, str) else 'it says why'}")
    return Done({**result, "body": found.content.get("body"), "messageId": str(found.id)})


async def _decision(here: Here) -> Done | None:
    action = await here.db.get(AgentPendingAction, (here.run.workspace_id, here.run.waiting_id), populate_existing=True)
    if action is None:
        raise Failed("gone", "what was to be approved is not there any more")
    if action.status == "pending":
        return None
    if action.status == "expired":
        raise Failed("expired", "nobody decided in time")
    if action.status == "rejected":
        raise Failed("rejected", "it was rejected" + (f": {action.reason}" if action.reason else ""))
    return await _approved(here, action)


async def _approved(here: Here, action: AgentPendingAction) -> Done:
    if action.performed_at is None:  # it is done by going on
        await approvals.performed(here.db, action, {"executionId": str(here.run.id)})
        await tell(here.db, "performed", action, AgentPendingActionView)
    details = action.details if action.edited_details is None else action.edited_details
    by = None if action.reviewed_by is None else str(action.reviewed_by)
    return Done(
        {
            "approved": True,
            "details": {name: value for name, value in details.items() if name != "workflow"},
            "isEdited": action.edited_details is not None,
            "reviewedBy": by,
            "actionId": str(action.id),
        }
    )


def _timeout(here: Here) -> datetime | None:
    seconds = here.step.timeout_seconds
    return None if seconds is None else here.at + timedelta(seconds=seconds)


def _instant(text: str) -> datetime | None:
    try:
        found = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return found if found.tzinfo is not None else None


ACTIONS = {
    "wait": Action(Wait, wait, check_wait),
    "condition": Action(Choice, choose, check_choice, fills_itself=True),
    "approval": Action(Ask, ask_person, takes_agent=True, right="agents"),
    "agent_task": Action(Task, ask_agent, takes_agent=True, right="agents"),
}
