"""What a step speaks of: ``{{trigger.data.name}}``, ``{{steps.ask.answer|nothing}}``.

It is looked at when the step is written, and filled in when the step runs. A text that is nothing but ``{{…}}`` becomes
what that is, a number or a list too; what follows ``|`` stands for what is not there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from models.base import now
from models.orchestration import AgentWorkflowExecution

# Whatever is between the braces is read in one go: nothing here makes the search go back.
_TEMPLATE = re.compile(r"\{\{([^{}|]*)(?:\|([^{}]*))?\}\}")
MOST_SPOKEN_OF = 100
"""So often a step may speak of something."""
LONGEST = 65_536
ROOTS = ("trigger", "steps", "context", "run", "now")
OF_RUN = ("run.id", "run.workflowId", "run.triggerType")


def texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text in ``value``, names of fields too, and where it stands."""
    match value:
        case str():
            yield value, place
        case dict():
            for key, inner in value.items():
                yield key, f"{place}.{key}"
                yield from texts(inner, f"{place}.{key}")
        case list():
            for index, inner in enumerate(value):
                yield from texts(inner, f"{place}[{index}]")


def steps_of(text: str) -> Iterator[str]:
    """The ids of the steps that a text speaks of."""
    for found in _TEMPLATE.finditer(text):
        root, _, rest = found[1].strip().partition(".")
        if root == "steps":
            yield rest.partition(".")[0]


def step_of(field: str) -> str | None:
    """The id of the step that the field of a condition speaks of, with or without braces; None when it is of none."""
    root, _, rest = bare(field).partition(".")
    return rest.partition(".")[0] if root == "steps" else None


def roots_of(text: str) -> set[str]:
    """What a text speaks of: the trigger, steps, the context …"""
    return {found[1].strip().partition(".")[0] for found in _TEMPLATE.finditer(text)}


def is_open(value: Any) -> bool:
    """Whether it is known only when the step runs what this is."""
    return any(_TEMPLATE.search(text) for text, _ in texts(value, ""))


def mistakes(value: Any, place: str, roots: Sequence[str] = ROOTS) -> dict[str, str]:
    """Where ``value`` speaks of what is not among the ``roots``, those of a run, or of too much."""
    spoken = [(where, found[1].strip()) for text, where in texts(value, place) for found in _TEMPLATE.finditer(text)]
    if len(spoken) > MOST_SPOKEN_OF:
        return {place: f"speaks of {len(spoken)} things: {MOST_SPOKEN_OF} at most"}
    known = (*roots, *(OF_RUN if "run" in roots else ()))
    deeper = set(roots) - {"run", "now"}
    return {
        where: f"speaks of {path[:100]!r}: there is {', '.join(known)}"
        for where, path in spoken
        if path not in known and path.partition(".")[0] not in deeper
    }


def needed(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """What ``value`` speaks of and nothing stands in for, and where."""
    for text, where in texts(value, place):
        yield from ((where, found[1].strip()) for found in _TEMPLATE.finditer(text) if found[2] is None)


def bare(field: str) -> str:
    """``{{a.b}}`` as ``a.b``."""
    return field.strip().removeprefix("{{").removesuffix("}}").strip()


def scope_of(run: AgentWorkflowExecution, at: datetime | None = None) -> dict[str, Any]:
    """All that a step of this run may speak of."""
    return {
        "trigger": run.trigger_data,
        "steps": run.step_results,
        "context": run.context,
        "run": {"id": str(run.id), "workflowId": str(run.workflow_id), "triggerType": run.trigger_type},
        "now": (at or now()).isoformat(),
    }


def found_at(path: str, scope: Any) -> Any:
    """What stands at ``a.b.0.c``; None where nothing does."""
    for name in path.split("."):
        if isinstance(scope, Mapping):
            scope = scope.get(name)
        elif isinstance(scope, list) and name.isdecimal() and int(name) < len(scope):
            scope = scope[int(name)]
        else:
            return None
    return scope


def fill(value: Any, scope: Mapping[str, Any], place: str, errors: dict[str, str]) -> Any:
    """``value`` with everything it speaks of in its place; what is not there is among the ``errors``."""
    match value:
        case str():
            return _filled(value, scope, place, errors)
        case dict():
            return {name: fill(inner, scope, f"{place}.{name}", errors) for name, inner in value.items()}
        case list():
            return [fill(inner, scope, f"{place}[{index}]", errors) for index, inner in enumerate(value)]
    return value


def _filled(text: str, scope: Mapping[str, Any], place: str, errors: dict[str, str]) -> Any:
    def value_of(found: "re.Match[str]") -> Any:
        path = found[1].strip()
        value = found_at(path, scope)
        if value is None and found[2] is None:
            errors[place] = f"{path} is nothing in this run: say what else, as in {{{{{path}|something}}}}"
        return found[2] if value is None else value

    def said(found: "re.Match[str]") -> str:
        value = value_of(found)
        words = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
        if len(words) > LONGEST:
            errors[place] = f"{found[1].strip()} is longer than {LONGEST} characters in this run"
            return ""
        return words

    whole = _TEMPLATE.fullmatch(text)
    return value_of(whole) if whole else _TEMPLATE.sub(said, text)
