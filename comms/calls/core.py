"""What happens next on a call: its flow, where it is in it, and what the caller has just done, in; verbs out.

Nothing here waits or asks anybody. A decision is the verbs the provider is told, the state to keep, and, where people
are to be rung or a queue is entered, the facts that go with it.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from comms.calls import hours
from comms.calls import verbs as v
from comms.calls.flow import MESSAGE, MOST_RUNG, AnyStep, Flow, Hangup, Hours, Menu, Queue, Ring, Say, Voicemail
from models.base import new_id

HANDOVER = "handover"
"""The step where a call goes on that a machine hands over; without one, where every call begins."""

MOST_HEARD = 200  # verbs in a row; a document may have 64 kB
_SORRY = "Sorry, I did not understand that."
_THANKS = "Thank you. Goodbye."
_BUSY = "Everybody is talking to somebody else right now."


class State(msgspec.Struct, rename="camel"):
    """Where a call is: the step, how often its menu was heard, how often and whom it has rung, and who has it.

    ``parted_for`` is the transfer for which the provider was asked to take the contact and the member apart, ``room``
    the last one that the member was sent to because of such a transfer. ``contact_dials`` is true of a call that was
    handed over at once: then the contact's line dials whoever has the call, as a caller's does, even if we began it.
    """

    step: str = ""
    tries: int = 0
    round: int = 0
    rung: list[str] = []
    offers: int = 0
    is_closed: bool = False
    is_noticed: bool = False
    accepted_leg: UUID | None = None
    parted_for: UUID | None = None
    room: str = ""
    contact_dials: bool = False


class World(msgspec.Struct, frozen=True):
    """What is true besides: the time, the phones of the members a flow names and who is free, who waits already.

    ``ours`` are numbers that a flow names and that are the workspace's by now. ``queue`` is the caller's own: who is
    next is decided by our rows. ``caller_id`` is what phones show instead of a number that is withheld.
    """

    at: datetime
    timezone: str = "UTC"
    phones: Mapping[UUID, str] = {}
    channels: Mapping[UUID, Sequence[UUID]] = {}
    busy: frozenset[UUID] = frozenset()
    ours: frozenset[str] = frozenset()
    waiting: int = 0
    queue: str = ""
    caller_id: str | None = None
    new_id: Callable[[], UUID] = new_id
    new_token: Callable[[], str] = lambda: secrets.token_urlsafe(16)


class Target(msgspec.Struct, frozen=True):
    """A phone to be rung: a member's, or nobody's in particular."""

    leg_id: UUID
    phone: str
    user_id: UUID | None = None


class Offer(msgspec.Struct, frozen=True):
    """People to be rung for a call."""

    id: UUID
    token: str
    targets: tuple[Target, ...]
    seconds: int
    round: int


class Decision(msgspec.Struct):
    """What is to be done. ``waits_in`` names the queue step that the caller waits in from now on."""

    state: State
    verbs: list[v.Verb] = []
    offer: Offer | None = None
    waits_in: str | None = None
    is_over: bool = False


class Began(msgspec.Struct, frozen=True):
    """The call has come in."""


class Chose(msgspec.Struct, frozen=True):
    """A menu was answered, or not: neither a key nor a word."""

    digits: str = ""
    speech: str = ""


class Rang(msgspec.Struct, frozen=True):
    """Ringing is over; ``was_put_through`` when somebody accepted and both have spoken.

    ``unreached`` are phones that rang no longer because another, such as a mailbox, had picked up and not accepted.
    """

    was_put_through: bool = False
    is_gone: bool = False
    unreached: tuple[str, ...] = ()


class Waited(msgspec.Struct, frozen=True):
    """Waiting is over; ``was_put_through`` when somebody took the call."""

    was_put_through: bool = False
    is_gone: bool = False


class LeftMessage(msgspec.Struct, frozen=True):
    """The recording of a message has ended."""


class HandedOver(msgspec.Struct, frozen=True):
    """A machine that has spoken with the caller leaves the call to people, or has failed."""


class Lost(msgspec.Struct, frozen=True):
    """Our answer has failed the provider: whoever calls may leave a message."""


Turn = Began | Chose | Rang | Waited | LeftMessage | HandedOver | Lost


def decide(flow: Flow, state: State, turn: Turn, world: World) -> Decision:
    """What comes next in ``flow`` for a call in ``state`` of which ``turn`` was just told."""
    decision = Decision(msgspec.structs.replace(state, rung=list(state.rung)))
    step = flow.steps.get(state.step)
    match turn:
        case Began():
            _enter(decision, flow, flow.start, world)
        case HandedOver():
            _enter(decision, flow, HANDOVER if HANDOVER in flow.steps else flow.start, world)
        case Lost():
            _take_message(decision, _message_of(flow))
        case LeftMessage():
            decision.verbs += [v.Say(_THANKS), v.Hangup()]
            decision.is_over = True
        case Rang() | Waited() if turn.was_put_through or turn.is_gone:
            decision.verbs.append(v.Hangup())
            decision.is_over = True
        case Chose() if isinstance(step, Menu):
            _answer(decision, flow, step, turn, world)
        case Rang() if isinstance(step, Ring):
            decision.state.rung = [phone for phone in state.rung if phone not in turn.unreached]
            _ring(decision, flow, step, world)
        case Waited() if isinstance(step, Queue):
            _enter(decision, flow, step.next, world)
        case _:  # the flow does not have that step, or another sort of it
            _take_message(decision, _message_of(flow))
    return decision


def hold(step: Queue, state: State, *, position: int, waited_seconds: float) -> list[v.Verb]:
    """What a waiting caller hears until it is asked again: when the music is over."""
    if waited_seconds >= step.most_seconds:
        return [v.Leave()]
    heard: list[v.Verb] = []
    if step.tells_position:
        people = "You are next in line." if position <= 1 else f"You are number {position} in line."
        heard.append(v.Say(people))
    heard.append(v.Play(step.music) if step.music else v.Music())
    return heard


def offer_of(step: Ring | Queue, state: State, world: World) -> Offer | None:
    """Whom to ring now: all who are free, or the next in turn; None when nobody is left to ring."""
    targets = [target for target in _reachable(step, world) if target.phone not in state.rung]
    if step.order == "in_order":
        targets = targets[:1]
    if not targets:
        return None
    return Offer(world.new_id(), world.new_token(), tuple(targets[:MOST_RUNG]), step.seconds, state.offers + 1)


def dial(offer: Offer, world: World, *, records: bool = False) -> v.Dial:
    """The offer's phones ring, and whoever accepts is put through."""
    rung = tuple(screened(offer))
    return v.Dial(rung, v.place("voice-dial"), offer.seconds, caller_id=world.caller_id, records=records)


def screened(offer: Offer) -> list[v.Rung]:
    """The offer's phones, where whoever picks up is asked to accept by a key: a mailbox never does."""
    return [
        v.Rung(target.leg_id, target.phone, v.place("voice-accept", leg=target.leg_id, token=offer.token))
        for target in offer.targets
    ]


def _enter(decision: Decision, flow: Flow, name: str, world: World) -> None:
    """The call goes from step to step until one of them has to wait for something."""
    state = decision.state
    while len(decision.verbs) < MOST_HEARD:
        step: AnyStep | None = flow.steps.get(name)
        state.step, state.tries, state.round, state.rung = name, 0, 0, []
        match step:
            case Say():
                decision.verbs.append(v.Say(step.text) if step.text is not None else v.Play(step.play or ""))
                name = step.next
            case Hours():
                zone = flow.timezone or world.timezone
                is_open = hours.is_open(step.schedule, step.holidays, zone, world.at)
                state.is_closed = not is_open
                name = step.open if is_open else step.closed
            case Menu():
                _ask(decision, step)
                return
            case Ring():
                if step.text:
                    decision.verbs.append(v.Say(step.text))
                state.round = 1
                _ring(decision, flow, step, world)
                return
            case Queue() if world.waiting < step.most_callers:
                _wait(decision, flow, step, name, world)
                return
            case Queue():
                decision.verbs.append(v.Say(_BUSY))
                name = step.next
            case Hangup():
                decision.verbs += [*([v.Say(step.text)] if step.text else []), v.Hangup()]
                decision.is_over = True
                return
            case Voicemail():
                _take_message(decision, step)
                return
            case None:
                break  # no flow that was read has such a name
    _take_message(decision, _message_of(flow))


def _ask(decision: Decision, menu: Menu, *before: v.Verb) -> None:
    state = decision.state
    state.tries += 1
    hints = tuple(word for choice in menu.choices for word in choice.words) if menu.listens else ()
    then = v.place("voice-step")
    decision.verbs += [
        *before,
        v.Gather((v.Say(menu.text),), then, seconds=menu.seconds, listens=menu.listens, hints=hints),
        v.Redirect(then),
    ]


def _answer(decision: Decision, flow: Flow, menu: Menu, chose: Chose, world: World) -> None:
    for choice in menu.choices:
        if chose.digits == choice.digit or _was_said((*choice.words, choice.digit), chose.speech):
            _enter(decision, flow, choice.next, world)
            return
    if decision.state.tries < menu.tries:
        _ask(decision, menu, *([v.Say(_SORRY)] if chose.digits or chose.speech else []))
    else:
        _enter(decision, flow, menu.next, world)


def _was_said(words: Sequence[str], speech: str) -> bool:
    spoken = f" {_plain(speech)} "
    return any(word and f" {word} " in spoken for word in map(_plain, words))  # * and # are no words


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _ring(decision: Decision, flow: Flow, step: Ring, world: World) -> None:
    """The next who can be rung are; in the next round all of them again; then it goes on."""
    state = decision.state
    offer = offer_of(step, state, world)
    if offer is None and state.round < step.rounds:
        state.round, state.rung = state.round + 1, []
        offer = offer_of(step, state, world)
    if offer is None:
        _enter(decision, flow, step.next, world)
        return
    state.offers += 1
    state.rung += [target.phone for target in offer.targets]
    decision.offer = offer
    _notice(decision, flow, step.record)
    decision.verbs.append(dial(offer, world, records=step.record))


def _wait(decision: Decision, flow: Flow, step: Queue, name: str, world: World) -> None:
    if step.text:
        decision.verbs.append(v.Say(step.text))
    _notice(decision, flow, step.record)
    decision.waits_in = name
    decision.verbs.append(v.Enqueue(world.queue, v.place("voice-hold"), v.place("voice-queue")))


def _notice(decision: Decision, flow: Flow, records: bool) -> None:
    """Before anything is recorded the caller is told so, once a call."""
    if records and not decision.state.is_noticed:
        decision.state.is_noticed = True
        decision.verbs.append(v.Say(flow.recording_notice))


def _take_message(decision: Decision, step: Voicemail) -> None:
    decision.verbs += [
        v.Say(step.text),
        v.Record(v.place("voice-message"), most_seconds=step.most_seconds, transcribes=step.transcribe),
        v.Hangup(),  # where whoever says nothing gets to
    ]


def _message_of(flow: Flow) -> Voicemail:
    """The voicemail that a call gets to when its flow has no other answer."""
    step: Any = flow.steps.get(MESSAGE)
    if isinstance(step, Voicemail):
        return step
    return next((step for step in flow.steps.values() if isinstance(step, Voicemail)), Voicemail())


def _reachable(step: Ring | Queue, world: World) -> list[Target]:
    """Everybody of the step who has a phone and is not talking, each phone once, in the order they are named.

    None of them is a number of ours.
    """
    users = list(
        dict.fromkeys([*step.users, *world.channels.get(step.channel_id, ())] if step.channel_id else step.users)
    )
    phones = {world.phones[user]: user for user in reversed(users) if user in world.phones and user not in world.busy}
    named: dict[str, UUID | None] = {world.phones[u]: u for u in users if world.phones.get(u) in phones}
    named |= {number: None for number in step.numbers if number not in named and number not in world.ours}
    return [Target(world.new_id(), phone, user) for phone, user in named.items()]
