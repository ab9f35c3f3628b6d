"""What a caller of a number hears and where they get: steps by name, and the one they begin with.

    {"start": "menu", "steps": {
        "menu": {"type": "menu", "text": "For sales press 1.", "choices": [{"digit": "1", "next": "sales"}],
                 "next": "message"},
        "sales": {"type": "ring", "users": ["…"], "next": "message"},
        "message": {"type": "voicemail"}}}

``next`` is where a call goes by itself. Followed alone it always comes to an end: only a caller's choice leads back.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal
from uuid import UUID
from xml.sax.saxutils import escape

import msgspec
from msgspec import Meta

from comms.calls import verbs as v
from comms.calls.hours import WEEK, Holiday, Span, Weekday
from comms.errors import Invalid
from models.types import Phone, TimeZone

MOST_STEPS = 100
MOST_RUNG = 10  # Twilio's limit of numbers in one <Dial>
MOST_SAID = 32_000  # a provider takes 64 kB in one answer
FIELD = "voiceFlow"

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Words = Annotated[str, Meta(min_length=1, max_length=2_000)]
Sound = Annotated[str, Meta(max_length=1_000, pattern=r"^https://\S+$")]
Seconds = Annotated[int, Meta(ge=5, le=120)]
Members = Annotated[tuple[UUID, ...], Meta(max_length=MOST_RUNG)]
Spans = Annotated[tuple[Span, ...], Meta(max_length=10)]
Numbers = Annotated[tuple[str, ...], Meta(max_length=MOST_RUNG)]


class Step(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True, tag_field="type"):
    """One thing that happens to a call."""


class Say(Step, kw_only=True, frozen=True, tag="say"):
    """Something is said, or a sound played."""

    text: Words | None = None
    play: Sound | None = None
    next: Name


class Hours(Step, kw_only=True, frozen=True, tag="hours"):
    """Where it goes depends on whether the business is open."""

    schedule: dict[Weekday, Spans]
    holidays: Annotated[tuple[Holiday, ...], Meta(max_length=366)] = ()
    open: Name
    closed: Name


class Choice(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A key of a menu, and words that mean the same where the menu listens."""

    digit: Annotated[str, Meta(pattern=r"^[0-9*#]$")]
    next: Name
    words: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...], Meta(max_length=20)] = ()


class Menu(Step, kw_only=True, frozen=True, tag="menu"):
    """The caller chooses by a key or, if it ``listens``, by a word; after so many ``tries`` it goes on to ``next``."""

    text: Words
    choices: Annotated[tuple[Choice, ...], Meta(min_length=1, max_length=12)]
    listens: bool = False
    seconds: Annotated[int, Meta(ge=1, le=60)] = 6
    tries: Annotated[int, Meta(ge=1, le=5)] = 2
    next: Name


class People(Step, kw_only=True, frozen=True):
    """Whose phones ring: these members, those of a team's channel, and numbers of nobody in particular."""

    users: Members = ()
    channel_id: UUID | None = None
    numbers: Numbers = ()
    order: Literal["together", "in_order"] = "together"
    seconds: Seconds = 20
    record: bool = False


class Ring(People, kw_only=True, frozen=True, tag="ring"):
    """People are rung, all at once or one after the other; whoever presses the key has the call."""

    text: Words | None = None
    rounds: Annotated[int, Meta(ge=1, le=5)] = 1
    next: Name


class Queue(People, kw_only=True, frozen=True, tag="queue"):
    """The caller waits with music, hears their place, and people are rung for whoever has waited longest."""

    text: Words | None = None
    music: Sound | None = None
    tells_position: bool = True
    most_callers: Annotated[int, Meta(ge=1, le=1_000)] = 50
    most_seconds: Annotated[int, Meta(ge=15, le=3_600)] = 600
    next: Name


class Voicemail(Step, kw_only=True, frozen=True, tag="voicemail"):
    """The caller leaves a message; it is written down too, unless ``transcribe`` says otherwise."""

    text: Words = "Please leave a message after the tone."
    most_seconds: Annotated[int, Meta(ge=5, le=600)] = 120
    transcribe: bool = True


class Hangup(Step, kw_only=True, frozen=True, tag="hangup"):
    """The call ends, with a last word."""

    text: Words | None = None


AnyStep = Say | Hours | Menu | Ring | Queue | Voicemail | Hangup


class Flow(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A number's flow. ``timezone`` is the workspace's where none is given.

    Before anything is recorded the ``recordingNotice`` is said. Texts go to whoever was not answered.
    """

    start: Name
    steps: dict[str, AnyStep]
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = "en-US"
    voice: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    timezone: str | None = None
    recording_notice: Words = "This call may be recorded."
    missed_call_text: Annotated[str, Meta(min_length=1, max_length=1_600)] | None = None
    after_hours_text: Annotated[str, Meta(min_length=1, max_length=1_600)] | None = None


MESSAGE = "message"
DEFAULT = Flow(
    start=MESSAGE,
    steps={MESSAGE: Voicemail(text="We cannot take your call right now. Please leave a message after the tone.")},
)
"""What callers of a number without a flow hear, and those whose flow has failed them."""

_KINDS = ("say", "hours", "menu", "ring", "queue", "voicemail", "hangup")


def read(document: Any) -> Flow:
    """The flow in a JSON object; ``Invalid`` names each fault by its path, such as ``voiceFlow.steps.menu.next``."""
    if not isinstance(document, dict):
        raise Invalid({FIELD: "must be an object with start and steps"})
    errors: dict[str, str] = {}
    steps = _steps(document.get("steps"), errors)
    try:
        flow = msgspec.convert({**document, "steps": {}}, Flow)
    except msgspec.ValidationError as error:
        _note(errors, FIELD, error)
        raise Invalid(errors) from None
    flow = msgspec.structs.replace(flow, steps=steps)
    if flow.timezone is not None:
        try:
            TimeZone().normalise(flow.timezone)
        except ValueError as error:
            errors[f"{FIELD}.timezone"] = str(error)
    if not errors:
        errors |= dict(_faults(flow))
    if errors:
        raise Invalid(errors)
    return flow


def kept(flow: Flow) -> dict[str, Any]:
    """The flow as JSON that ``recall`` takes back."""
    document: dict[str, Any] = msgspec.to_builtins(flow)
    return document


def recall(document: Mapping[str, Any] | None) -> Flow:
    """A flow that was read before; the default where there is none."""
    return msgspec.convert(document, Flow) if document else DEFAULT


def people_of(flow: Flow) -> tuple[set[UUID], set[UUID]]:
    """The members and the team's channels that a flow names."""
    rung = [step for step in flow.steps.values() if isinstance(step, People)]
    return {user for step in rung for user in step.users}, {step.channel_id for step in rung if step.channel_id}


def nexts(step: AnyStep) -> Iterator[tuple[str, str, bool]]:
    """Where a step leads: the path of the field, the name there, and whether a call gets there by itself."""
    match step:
        case Hours():
            yield "open", step.open, True
            yield "closed", step.closed, True
        case Menu():
            for place, choice in enumerate(step.choices):
                yield f"choices[{place}].next", choice.next, False
            yield "next", step.next, True
        case Say() | Ring() | Queue():
            yield "next", step.next, True


def _steps(sent: Any, errors: dict[str, str]) -> dict[str, AnyStep]:
    if not isinstance(sent, dict) or not sent:
        errors[f"{FIELD}.steps"] = "must be an object of one step or more by their names"
        return {}
    if len(sent) > MOST_STEPS:
        errors[f"{FIELD}.steps"] = f"must be at most {MOST_STEPS}"
        return {}
    steps: dict[str, AnyStep] = {}
    for name, step in sent.items():
        place = f"{FIELD}.steps.{name}"
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            errors[place] = "must be named in letters, digits, - and _, 64 at most"
            continue
        if not isinstance(step, dict) or step.get("type") not in _KINDS:
            errors[f"{place}.type"] = f"must be one of {', '.join(_KINDS)}"
            continue
        if step["type"] == "hours" and not _is_week(step.get("schedule"), f"{place}.schedule", errors):
            continue
        try:
            steps[name] = _normal(msgspec.convert(step, AnyStep))
        except msgspec.ValidationError as error:
            _note(errors, place, error)
    return steps


def _is_week(schedule: Any, place: str, errors: dict[str, str]) -> bool:
    """Whether each day can be read; msgspec would not say which one cannot."""
    if not isinstance(schedule, dict):
        return True
    before = len(errors)
    for day, spans in schedule.items():
        if day not in WEEK:
            errors[f"{place}.{day}"] = f"must be one of {', '.join(WEEK)}"
            continue
        try:
            msgspec.convert(spans, Spans)
        except msgspec.ValidationError as error:
            _note(errors, f"{place}.{day}", error)
    return len(errors) == before


def _normal(step: AnyStep) -> AnyStep:
    """The step with its numbers as they are dialled; one that is none stays, to be told."""
    if not isinstance(step, Ring | Queue):
        return step
    numbers = []
    for number in step.numbers:
        with suppress(ValueError):
            number = Phone().normalise(number) or number
        numbers.append(number)
    return msgspec.structs.replace(step, numbers=tuple(dict.fromkeys(numbers)))


def _note(errors: dict[str, str], place: str, error: msgspec.ValidationError) -> None:
    reason, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`")
    if reason.startswith("Object contains unknown field"):
        where += "." + reason.partition("`")[2].rstrip("`")
        reason = "is not a field here"
    elif reason.startswith("Object missing required field"):
        where += "." + reason.partition("`")[2].rstrip("`")
        reason = "is required"
    errors[place + where] = reason


def _faults(flow: Flow) -> Iterator[tuple[str, str]]:
    if flow.start not in flow.steps:
        yield f"{FIELD}.start", f"names no step: there is no {flow.start}"
    for name, step in flow.steps.items():
        place = f"{FIELD}.steps.{name}"
        for field, target, _ in nexts(step):
            if target not in flow.steps:
                yield f"{place}.{field}", f"leads nowhere: there is no step {target}"
        yield from _own_faults(place, step)
    said = sum(len(escape(getattr(step, "text", None) or "").encode()) for step in flow.steps.values())
    if said > MOST_SAID:
        yield f"{FIELD}.steps", f"say {said:,} bytes: all together must be at most {MOST_SAID:,}"
    yield from _unspeakable(FIELD, msgspec.to_builtins(flow))
    yield from _endless(flow)


def _own_faults(place: str, step: AnyStep) -> Iterator[tuple[str, str]]:
    match step:
        case Say() if (step.text is None) == (step.play is None):
            yield place, "must have either text or play"
        case Hours() if not step.schedule:
            yield f"{place}.schedule", f"must name at least one day of {', '.join(WEEK)}"
        case Hours():
            days = [(f"schedule.{day}", spans) for day, spans in step.schedule.items()]
            days += [(f"holidays[{nth}].open", holiday.open) for nth, holiday in enumerate(step.holidays)]
            for day, spans in days:
                for number, span in enumerate(spans):
                    if span.begins in (span.ends, "24:00"):
                        yield f"{place}.{day}[{number}]", "must end at another time than it begins"
        case Menu():
            digits = [choice.digit for choice in step.choices]
            for number, digit in enumerate(digits):
                if digit in digits[:number]:
                    yield f"{place}.choices[{number}].digit", f"is taken: {digit} has a choice before it"
            for number, choice in enumerate(step.choices):
                for nth, word in enumerate(choice.words):
                    if not any(letter.isalnum() for letter in word):
                        yield f"{place}.choices[{number}].words[{nth}]", "cannot be said: it has no letter and no digit"
        case Ring() | Queue():
            if not step.users and step.channel_id is None and not step.numbers:
                yield place, "rings nobody: name users, a channelId or numbers"
            for number, phone in enumerate(step.numbers):
                try:
                    Phone().normalise(phone)
                except ValueError as error:
                    yield f"{place}.numbers[{number}]", str(error)


def _unspeakable(place: str, part: Any) -> Iterator[tuple[str, str]]:
    """Whatever is said or played and no document for a provider can hold."""
    if isinstance(part, dict):
        for name, inner in part.items():
            yield from _unspeakable(f"{place}.{name}", inner)
    elif isinstance(part, list | tuple):
        for number, inner in enumerate(part):
            yield from _unspeakable(f"{place}[{number}]", inner)
    elif isinstance(part, str) and v.UNSPEAKABLE.search(part):
        yield place, "must be without control characters"


def _endless(flow: Flow) -> Iterator[tuple[str, str]]:
    """Circles in which a call that nobody touches never ends."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> Iterator[tuple[str, str]]:
        if name in done or name not in flow.steps:
            return
        here = [*way, name]
        for field, target, by_itself in nexts(flow.steps[name]):
            if by_itself and target in here:
                circle = " → ".join([*here[here.index(target) :], target])
                yield f"{FIELD}.steps.{name}.{field}", f"never ends: {circle}, without the caller being asked"
            elif by_itself:
                yield from walk(target, here)
        done.add(name)

    for first in flow.steps:
        yield from walk(first, [])
