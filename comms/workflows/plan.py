"""Which step comes next, and which are passed over: of the steps as they are written and what came of those before.

A step that others lead to (by ``next``, ``onFailure``, or a condition's ``then`` and ``else``) is done once one of them
did; any other in its turn. A step comes after all that lead to it, all that it depends on and all that it speaks of. Of
those that could be done, the first in the list is.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from comms.agents.steps import Step, comes_after, leads_to


class Outcome(msgspec.Struct, frozen=True):
    """What came of a step; ``led_to`` are the steps that it made due, and after one that ``ends`` nothing comes."""

    status: Literal["completed", "failed", "skipped"]
    led_to: frozenset[str] = frozenset()
    ends: bool = False


class Next(msgspec.Struct, frozen=True):
    """The step to do, None when there is none; and those that are passed over before it, with the reason."""

    step: Step | None
    position: int | None
    skipped: Mapping[str, str]


def next_of(steps: Sequence[Step], settled: Mapping[str, Outcome]) -> Next:
    """What comes after the ``settled`` ones."""
    outcomes = dict(settled)
    skipped: dict[str, str] = {}
    if any(outcome.ends for outcome in outcomes.values()):
        return Next(None, None, {})
    leading: dict[str, list[str]] = {}
    for step in steps:
        for name, _ in leads_to(step):
            leading.setdefault(name, []).append(step.id)
    known = {step.id for step in steps}
    position = 0
    while position < len(steps):
        step = steps[position]
        position += 1
        before = {*leading.get(step.id, ()), *(name for name, _ in comes_after(step))} & known
        if step.id in outcomes or any(name not in outcomes for name in before):
            continue
        reason = _why_not(step, leading.get(step.id), outcomes)
        if reason is None:
            return Next(step, position - 1, skipped)
        skipped[step.id] = reason
        outcomes[step.id] = Outcome("skipped")
        position = 0  # an earlier one may have waited for this
    return Next(None, None, skipped)


def led_to(step: Step, *, failed: bool = False, chosen: Sequence[str] = ()) -> frozenset[str]:
    """The steps that are due now that this one is settled: what it ``chose`` too, if it chooses."""
    if failed:
        return frozenset(() if step.on_failure is None else (step.on_failure,))
    following = [step.next] if isinstance(step.next, str) else step.next or []
    return frozenset({*following, *chosen})


def _why_not(step: Step, leading: Sequence[str] | None, outcomes: Mapping[str, Outcome]) -> str | None:
    if leading and not any(step.id in outcomes[name].led_to for name in leading):
        return f"nothing led to it: {', '.join(leading)} went another way"
    for name in step.depends_on:
        if outcomes[name].status != "completed":
            return f"it depends on {name}, which was {outcomes[name].status}"
    return None
