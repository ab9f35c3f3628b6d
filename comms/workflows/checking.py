"""Whether a workflow can work, before it ever runs: every mistake by its place, ``steps[2].inputs.url``."""

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import audience
from comms.agents.steps import Step
from comms.audience import AGENTS, need_of
from comms.errors import Invalid
from comms.happenings import doubt
from comms.permissions import Standing
from comms.workflows import asking, values
from comms.workflows.acting import Place, read_inputs
from comms.workflows.actions import ACTIONS, action_of
from comms.workflows.standing import refusal_of
from comms.workflows.waiting import field_refusal
from models.base import Base, View, noun_of

OWN = ("agent_workflow", "agent_workflow_execution", "agent_workflow_step_run", "agent_workflow_host")
"""Nouns of what workflows are themselves: what they do sets none of them off."""

OF_EVENT = (
    "event",
    "at",
    "seq",
    "subjectType",
    "subjectId",
    "conversationId",
    "actorType",
    "actorId",
    "data",
    "changes",
)
"""What a condition of a trigger speaks of; anything else is a field of the event's ``data``."""

IN_CONVERSATION = frozenset(
    (
        "agent_pending_action",
        "attachment",
        "call",
        "call_leg",
        "call_offer",
        "call_transfer",
        "consent",
        "conversation",
        "conversation_handoff",
        "conversation_participant",
        "message",
        "opt_out_review",
        "recording",
        "routing_decision",
        "routing_place",
        "visitor",
        "visitor_session",
    )
)
"""Nouns of what may be in a conversation; whatever happens to anything else tells of none."""

MayHear = Callable[[str], bool]


class Trigger(msgspec.Struct, frozen=True):
    """What sets a workflow off, as it is written."""

    type: str
    config: Mapping[str, Any]

    @property
    def noun(self) -> str:
        """What its event is about, if it waits for one."""
        return str(self.config.get("eventType")).partition(".")[0] if self.type == "event" else ""

    @property
    def may_be_in_conversation(self) -> bool:
        """Whether it can tell of a conversation."""
        return self.noun in IN_CONVERSATION

    def refusal_of(self, path: str) -> str | None:
        """Why it never tells what a step calls ``trigger.…``; None where it may."""
        first, _, rest = path.partition(".")
        told = _TOLD.get(self.type)
        if told is None or not first:
            return None
        if first not in told:
            return f"it never tells: there is {', '.join(told)}"
        view = _view_of(self.noun) if first in ("data", "changes") else None
        if view is None or not rest:
            return None
        known: set[str] = {"id"} if first == "data" else set()
        if is_shared(self.noun):
            known = {one.encode_name for one in msgspec.structs.fields(view)}
        there = ", ".join(sorted(known)) or "nothing"
        return None if rest.partition(".")[0] in known else f"runs never know: there is {there}"


_TOLD: Mapping[str, Sequence[str]] = {
    "event": OF_EVENT,
    "schedule": ("scheduledFor",),
    "agent_request": ("data", "agentId"),
}
"""What runs know as ``trigger``, by what sets them off; one that members begin themselves knows what they give it."""


def is_shared(noun: str) -> bool:
    """Whether runs, which are for all who may see agents, know all of such a row: of any other, which one it was."""
    return need_of(noun) in (None, AGENTS)


async def mistakes_of_steps(
    db: AsyncSession, workspace_id: uuid.UUID, trigger: Trigger, steps: Sequence[Step], standing: Standing
) -> dict[str, str]:
    """What of these steps can never work, and what whoever is to stand behind them may not do."""
    errors: dict[str, str] = {}
    for position, step in enumerate(steps):
        here = f"steps[{position}]"
        errors |= values.mistakes(step.inputs, f"{here}.inputs")
        action = action_of(step)
        if not action.fills_itself:
            errors |= _of_trigger(step, here, trigger)
        errors |= _of_conditions(step, here)
        if (reason := refusal_of(standing, action.right)) is not None:
            errors[f"{here}.action"] = f"is not yours to have done: {reason}"
        if action.takes_agent and step.agent_id is None:
            known = ", ".join(sorted(ACTIONS))
            is_ours = step.action in ACTIONS
            why = (
                "this is asked in an agent's name" if is_ours else f"comms itself does {known}, and not {step.action!r}"
            )
            errors[f"{here}.agentId"] = f"is required: {why}"
            continue
        if step.action not in ACTIONS:
            continue  # its inputs are what the agent is told
        try:
            said = read_inputs(action.shape, step.inputs, f"{here}.inputs")
        except Invalid as error:
            errors |= error.errors
            continue
        errors |= await action.check(
            Place(db, workspace_id, trigger.may_be_in_conversation, step, said, f"{here}.inputs")
        )
    return errors


def _of_trigger(step: Step, here: str, trigger: Trigger) -> dict[str, str]:
    errors = {}
    for where, path in values.needed(step.inputs, f"{here}.inputs"):
        root, _, rest = path.partition(".")
        if root == "trigger" and (reason := trigger.refusal_of(rest)) is not None:
            errors[where] = f"speaks of {path[:100]!r}, which {reason}"
    return errors


def _of_conditions(step: Step, here: str) -> dict[str, str]:
    if errors := values.mistakes(step.conditions, f"{here}.conditions"):
        return errors
    try:
        asking.read(step.conditions, f"{here}.conditions", field_refusal)
    except Invalid as error:
        return error.errors
    return {}


def mistakes_of_trigger(trigger_type: str, config: dict[str, Any], may_hear: MayHear) -> dict[str, str]:
    """What of this trigger can never set anything off."""
    errors: dict[str, str] = {}
    view: type[View] | None = None
    sent = config.get("conditions", [])
    if trigger_type == "event":
        reason, view = _heard(config["eventType"], may_hear)
        if reason is not None:
            errors["triggerConfig.eventType"] = reason
    elif sent and trigger_type == "schedule":
        errors["triggerConfig.conditions"] = "a time has nothing to ask of: begin with a step of action condition"
        return errors
    errors |= values.mistakes(sent, "triggerConfig.conditions", ("trigger", "now"))
    try:
        asking.read(sent, "triggerConfig.conditions", lambda field: _refusal(field, view))
    except Invalid as error:
        errors |= error.errors
    return errors


def name_of(field: str) -> str:
    """Where a trigger's condition looks, below what set it off."""
    field = values.bare(field).removeprefix("trigger.")
    return field if field.partition(".")[0] in OF_EVENT else f"data.{field}"


def _refusal(field: str, view: type[View] | None) -> str | None:
    """Why no event of that noun has such a field; None where it has, or nobody can know."""
    root, _, rest = name_of(field).partition(".")
    if view is None or root not in ("data", "changes") or not rest:
        return None
    known = {one.encode_name for one in msgspec.structs.fields(view)}
    name = rest.partition(".")[0]
    return None if name in known else f"is no field of what the event is about: there is {', '.join(sorted(known))}"


def _heard(kind: str, may_hear: MayHear) -> tuple[str | None, type[View] | None]:
    noun = kind.partition(".")[0]
    if noun in OWN:
        return "workflows are not set off by what workflows do", None
    if noun in audience.PERSONAL or noun in audience.ADMINISTRATIVE:
        return f"what is told of a {noun} is not for everybody", None
    if (never := doubt(kind)) is not None:
        return never, None
    if not may_hear(noun):
        return f"you may not hear of a {noun} yourself", None
    return None, _view_of(noun)


def _view_of(noun: str) -> type[View] | None:
    """How what such an event is about is shown."""
    table = next((mapper.class_ for mapper in Base.registry.mappers if noun_of(mapper.class_) == noun), None)
    return None if table is None else getattr(sys.modules[table.__module__], f"{table.__name__}View", None)
