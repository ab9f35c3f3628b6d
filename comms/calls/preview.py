"""What a caller would hear, printed step by step: every branch once, each indented below what leads to it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from comms.calls import hours
from comms.calls.flow import AnyStep, Flow, Hangup, Hours, Menu, People, Queue, Ring, Say, Voicemail
from comms.calls.hours import WEEK, Span

_INDENT = "    "


def heard(flow: Flow, *, names: Mapping[UUID, str], zone: str, at: datetime | None = None) -> list[str]:
    """The lines of the preview; ``at`` follows only the hours of that time, else both branches are told."""
    shown: set[str] = set()
    return list(_from(flow, flow.start, 0, shown, names, flow.timezone or zone, at))


def _from(
    flow: Flow, name: str, depth: int, shown: set[str], names: Mapping[UUID, str], zone: str, at: datetime | None
) -> Iterator[str]:
    pad = _INDENT * depth
    while True:
        step = flow.steps[name]
        if name in shown:
            yield f"{pad}→ {name}, as above"
            return
        shown.add(name)
        match step:
            case Hours():
                yield from (pad + line for line in _times(step, zone))
                branches = [("when open", step.open), ("when closed", step.closed)]
                if at is not None:
                    is_open = hours.is_open(step.schedule, step.holidays, zone, at)
                    branches = branches[:1] if is_open else branches[1:]
                for when, branch in branches:
                    yield f"{pad}{when}:"
                    yield from _from(flow, branch, depth + 1, shown, names, zone, at)
                return
            case Menu():
                yield f"{pad}“{step.text}”"
                for choice in step.choices:
                    said = f" or says {', '.join(choice.words)}" if step.listens and choice.words else ""
                    yield f"{pad}presses {choice.digit}{said}:"
                    yield from _from(flow, choice.next, depth + 1, shown, names, zone, at)
                times = "once" if step.tries == 1 else f"{step.tries} times"
                yield f"{pad}chooses nothing, {times} asked:"
                depth, pad, name = depth + 1, pad + _INDENT, step.next
            case Say() | Ring() | Queue():
                yield from (pad + line for line in _told(flow, step, names))
                name = step.next
            case Voicemail() | Hangup():
                yield from (pad + line for line in _told(flow, step, names))
                return


def _told(flow: Flow, step: AnyStep, names: Mapping[UUID, str]) -> Iterator[str]:
    match step:
        case Say():
            yield f"“{step.text}”" if step.text is not None else f"♪ {step.play}"
        case Ring() | Queue():
            if step.text:
                yield f"“{step.text}”"
            if step.record:
                yield f"“{flow.recording_notice}” (once a call, before anything is recorded)"
            way = "together" if step.order == "together" else "one after the other"
            rung = f"{_people(step, names)}, {way}, {step.seconds} s"
            if isinstance(step, Ring):
                rounds = "" if step.rounds == 1 else f", {step.rounds} rounds"
                yield f"rings {rung}{rounds}; whoever presses 1 is put through"
                yield "nobody accepts:"
            else:
                place = "told their place, " if step.tells_position else ""
                sound = step.music or "our music"
                yield f"waits, {place}with {sound}, {step.most_seconds} s at most; meanwhile rings {rung}"
                yield f"nobody accepts, or {step.most_callers} wait already:"
        case Voicemail():
            yield f"“{step.text}” beep: a message of {step.most_seconds} s at most" + (
                ", written down" if step.transcribe else ""
            )
        case Hangup():
            yield f"“{step.text}”" if step.text else "nothing more"
            yield "the call ends"


def _people(step: People, names: Mapping[UUID, str]) -> str:
    people = [names.get(user, "a former member") for user in step.users]
    if step.channel_id is not None:
        people.append(f"the members of {names.get(step.channel_id, 'a channel that is gone')}")
    return " and ".join([*people, *step.numbers])


def _times(step: Hours, zone: str) -> Iterator[str]:
    for day in WEEK:
        if step.schedule.get(day):
            yield f"{day} {_spans(step.schedule[day])} ({zone})"
    for holiday in step.holidays:
        name = f" {holiday.name}" if holiday.name else ""
        yield f"{holiday.on}{name}: {_spans(holiday.open) if holiday.open else 'closed'}"


def _spans(spans: tuple[Span, ...]) -> str:
    return ", ".join(f"{span.begins}–{span.ends}" for span in spans)
