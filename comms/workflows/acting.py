"""What an action of a step is: what it must be told, what can be wrong with that, and what comes of it."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents.steps import Step
from comms.errors import Invalid
from comms.workflows import values
from comms.workflows.standing import Needed
from models.orchestration import AgentWorkflowExecution, WaitingFor


class Failed(Exception):
    """The step came to nothing; what ``may_pass`` is tried again, as often as the step says, ``after`` so long."""

    def __init__(self, code: str, words: str, *, may_pass: bool = False, after: float = 0.0) -> None:
        self.code = code
        self.words = words
        self.may_pass = may_pass
        self.after = after
        super().__init__(words)


class Crowded(Failed):
    """The step was not tried at all, because of us: it is later, and that is no try of those it has."""

    CODE = "crowded"

    def __init__(self, words: str) -> None:
        super().__init__(self.CODE, words, may_pass=True)


class Done(msgspec.Struct, frozen=True):
    """The step did this; it ``chose`` these steps, if it chooses, or that nothing more is to come."""

    output: dict[str, Any] = {}
    chose: tuple[str, ...] = ()
    ends: bool = False


class Waits(msgspec.Struct, frozen=True):
    """The step goes on when the time has come, or when what has ``answer_id`` is answered, at the latest ``due_at``."""

    for_: WaitingFor
    output: dict[str, Any] = {}
    answer_id: uuid.UUID | None = None
    due_at: datetime | None = None


class SealedHeader(msgspec.Struct, frozen=True):
    """A header that only whoever makes the call opens; sealed for a place in the workspace."""

    name: str
    place: uuid.UUID
    kept: Mapping[str, str]


class Calls(msgspec.Struct, frozen=True):
    """The step asks somebody else, which is done after the commit; within so many seconds."""

    workspace_id: uuid.UUID
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    sealed: tuple[SealedHeader, ...] = ()


class Here(msgspec.Struct, frozen=True):
    """A step that is being done: ``seen`` are its inputs, read; ``place`` is where they stand in the workflow."""

    db: AsyncSession
    run: AgentWorkflowExecution
    step: Step
    seen: Any
    place: str
    at: datetime


class Place(msgspec.Struct, frozen=True):
    """A step that is being written: ``said`` are those of its inputs that are known already, by their names.

    ``in_conversation`` is whether what sets the workflow off may be something of a conversation.
    """

    db: AsyncSession
    workspace_id: uuid.UUID
    in_conversation: bool
    step: Step
    said: Mapping[str, Any]
    place: str


Effect = Callable[[Here], Awaitable[Done | Waits | Calls]]
Check = Callable[[Place], Awaitable[dict[str, str]]]


async def _nothing_more(place: Place) -> dict[str, str]:
    return {}


class Action(msgspec.Struct, frozen=True):
    """The shape of its inputs, its effect (in the transaction that keeps its result), and what else may be wrong.

    ``right`` is what whoever stands behind the workflow needs for it. What an action that ``fills_itself`` speaks of is
    left for it to fill in.
    """

    shape: type[msgspec.Struct]
    effect: Effect
    check: Check = _nothing_more
    takes_agent: bool = False
    right: Needed | None = None
    fills_itself: bool = False


def read_inputs(shape: type[msgspec.Struct], inputs: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Those inputs that are known when the step is written, by their names; ``Invalid`` names what can never work.

    What depends on the run is read when the step runs.
    """
    known = {name: value for name, value in inputs.items() if not values.is_open(value)}
    later = inputs.keys() - known.keys()
    fields = {field.encode_name for field in msgspec.structs.fields(shape)}
    errors = {f"{place}.{name}": "is not a field here" for name in later - fields}
    try:
        reading.read(shape, known, place)
    except Invalid as error:
        errors |= {name: reason for name, reason in error.errors.items() if name.rpartition(".")[2] not in later}
    if errors:
        raise Invalid(errors)
    return known
