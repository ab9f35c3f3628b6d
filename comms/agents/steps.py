"""The steps of a workflow and what sets it off: read, and refused with the place of every mistake."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from comms import reading
from comms.errors import Invalid
from comms.workflows.values import step_of, steps_of, texts
from models.types import Cron, TimeZone

MOST_STEPS = 200

StepId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class Step(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One thing that is done. ``inputs`` may speak of what earlier steps gave: ``{{steps.<id>.…}}``."""

    id: StepId
    agent_id: uuid.UUID | None = None
    action: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    inputs: dict[str, Any] = {}
    depends_on: list[str] = []
    next: str | list[str] | None = None
    on_failure: str | None = None
    conditions: list[Any] = []
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None
    retries: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None


class Manual(msgspec.Struct):
    """Members begin it themselves."""


class OnEvent(msgspec.Struct, rename="camel", omit_defaults=True):
    """It begins when this event is told, such as ``deal.updated``."""

    event_type: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,100}\.[a-z_]{1,100}\Z")]
    conditions: list[Any] = []


class OnSchedule(msgspec.Struct, rename="camel", omit_defaults=True):
    """It begins when the cron expression comes due."""

    cron: str
    timezone: str = "UTC"
    missed_runs: Literal["skip", "once", "all"] = "once"
    conditions: list[Any] = []


class OnRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """It begins when an agent asks for it."""

    conditions: list[Any] = []


_TRIGGERS: Mapping[str, type[msgspec.Struct]] = {
    "manual": Manual,
    "event": OnEvent,
    "schedule": OnSchedule,
    "agent_request": OnRequest,
}

Edge = tuple[int, int, str]
"""From a step to one that comes after it, and the place that says so."""


def read_trigger(trigger_type: str, config: Any) -> dict[str, Any]:
    """``triggerConfig`` as it is kept; raises ``Invalid``."""
    trigger = reading.read(_TRIGGERS[trigger_type], config, "triggerConfig")
    if isinstance(trigger, OnSchedule):
        errors = {}
        try:
            trigger.cron = Cron().normalise(trigger.cron)
        except ValueError as error:
            errors["triggerConfig.cron"] = str(error)
        try:
            TimeZone().normalise(trigger.timezone)
        except ValueError as error:
            errors["triggerConfig.timezone"] = str(error)
        if errors:
            raise Invalid(errors)
    return reading.written(trigger)


def read_steps(sent: Sequence[Any]) -> list[Step]:
    """The steps: their ids unique, what they refer to there, and none waiting for itself; raises ``Invalid``."""
    if len(sent) > MOST_STEPS:
        raise Invalid({"steps": f"must be {MOST_STEPS} at most"})
    try:
        steps = reading.read_all(Step, sent, "steps")
    except Invalid as error:
        # Nobody is to do it, and nothing is to be done.
        empty = [at for at, one in enumerate(sent) if isinstance(one, dict) and not {"action", "agentId"} & one.keys()]
        raise Invalid(error.errors | {f"steps[{at}].agentId": "is required" for at in empty}) from None
    places: dict[str, int] = {}
    errors: dict[str, str] = {}
    for position, step in enumerate(steps):
        first = places.setdefault(step.id, position)
        if first != position:
            errors[f"steps[{position}].id"] = f"is the id of steps[{first}] already"
    edges = []
    for position, step in enumerate(steps):
        for is_before, name, place in _references(step, position):
            if name not in places:
                errors[place] = f"refers to no step of this workflow: {name!r}"
            else:
                edges.append((places[name], position, place) if is_before else (position, places[name], place))
    if not errors:
        errors = _circle(steps, edges)
    if errors:
        raise Invalid(errors)
    return steps


def first_of(steps: Sequence[Mapping[str, Any]]) -> int:
    """The position of the step to begin with: the first that comes after no other."""
    read = reading.read_all(Step, steps, "steps")
    places = {step.id: position for position, step in enumerate(read)}
    later = set()
    for position, step in enumerate(read):
        for is_before, name, _ in _references(step, position):
            later.add(position if is_before else places[name])
    return next(position for position in range(len(read)) if position not in later)


def leads_to(step: Step) -> Iterator[tuple[str, str]]:
    """The steps that this one may lead to, each with the part of it that says so."""
    yield from _named(step.next, "next")
    if step.on_failure is not None:
        yield step.on_failure, "onFailure"
    if step.action == "condition":
        for name in ("then", "else"):
            yield from _named(step.inputs.get(name), f"inputs.{name}")


def comes_after(step: Step) -> Iterator[tuple[str, str]]:
    """The steps that must be settled before this one, each with the part of it that says so."""
    for index, name in enumerate(step.depends_on):
        yield name, f"dependsOn[{index}]"
    for text, part in (*texts(step.inputs, "inputs"), *texts(step.conditions, "conditions")):
        for name in steps_of(text):
            yield name, part
    asked: list[tuple[str, Any]] = [("conditions", step.conditions)]
    if step.action == "condition":
        asked += [(f"inputs.{name}", step.inputs.get(name)) for name in ("all", "any")]
    for part, conditions in asked:
        for index, field in _fields(conditions):
            if (asked_of := step_of(field)) is not None:
                yield asked_of, f"{part}[{index}].field"


def _fields(conditions: Any) -> Iterator[tuple[int, str]]:
    for index, asked in enumerate(conditions if isinstance(conditions, list) else ()):
        if isinstance(asked, dict) and isinstance(asked.get("field"), str):
            yield index, asked["field"]


def _references(step: Step, position: int) -> Iterator[tuple[bool, str, str]]:
    """What a step says of others: whether the other comes before it, its id, and where that is said."""
    for name, part in comes_after(step):
        yield True, name, f"steps[{position}].{part}"
    for name, part in leads_to(step):
        yield False, name, f"steps[{position}].{part}"


def _named(value: Any, part: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield value, part
    elif isinstance(value, list):
        yield from ((name, f"{part}[{index}]") for index, name in enumerate(value) if isinstance(name, str))


def _circle(steps: Sequence[Step], edges: Sequence[Edge]) -> dict[str, str]:
    """The place that closes a circle, if there is one, and the way round."""
    after: dict[int, list[tuple[int, str]]] = {}
    for before, later, place in edges:
        after.setdefault(before, []).append((later, place))
    done: set[int] = set()
    for start in range(len(steps)):
        way, ahead = [start], [iter(after.get(start, ()))]
        while ahead and start not in done:
            for later, place in ahead[-1]:
                if later in way:
                    names = [steps[at].id for at in [*way[way.index(later) :], later]]
                    return {place: f"closes a circle: {' → '.join(names)}"}
                if later not in done:
                    way.append(later)
                    ahead.append(iter(after.get(later, ())))
                    break
            else:
                done.add(way.pop())
                ahead.pop()
    return {}
