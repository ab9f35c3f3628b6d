"""Whether an event sets a workflow off, and why: the same verdict for what happens, a dry run, and an explanation."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms.workflows import asking
from comms.workflows.checking import name_of
from models.base import now

MOST_DEEP = 5
"""So many workflows may set each other off one after another."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether it fires, and in words why or why not: one line for each thing that was asked."""

    fires: bool
    why: list[str]


def verdict_on(config: Mapping[str, Any], trigger: Mapping[str, Any]) -> Verdict:
    """Whether all conditions of a trigger hold of what happened."""
    why = []
    fires = True
    scope = {"trigger": trigger, "now": now().isoformat()}
    wanted = config.get("eventType")
    if wanted is not None and trigger.get("event") != wanted:
        return Verdict(False, [f"it waits for {wanted}, and this was {trigger.get('event')}"])
    if wanted is not None:
        why.append(f"it was {wanted}")
    for sent in config.get("conditions", []):
        asked = msgspec.convert(sent, asking.Asked)
        answer = asking.answer(asked, f"trigger.{name_of(asked.field)}", scope)
        fires = fires and answer.holds
        why.append(answer.words)
    return Verdict(fires, why)


def loop_in(workflow_id: str, lineage: Sequence[str]) -> str | None:
    """Why what came of these workflows, the first one first, sets this one not off; None when it may."""
    if workflow_id in lineage:
        return "it came of this workflow's own doing: a workflow does not set itself off, by way of others either"
    if len(lineage) >= MOST_DEEP:
        return f"it came of a chain of {len(lineage)} workflows that set each other off: {MOST_DEEP} is the limit"
    return None
