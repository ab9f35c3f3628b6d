"""Whom a conversation is for: people with what is known of them in, the chosen one and why out.

Nothing is read or written here, so that a decision can be explained, and tried, without a database.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from models.routing import DEFAULT_CAPACITY, Considered, RoutingMode, Verdict

MOST_NAMED = 50
"""So many people are each told why in words; of the others of a large team only who they are, by their verdict."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_ORDER: Mapping[Verdict, int] = {
    "chosen": 0,
    "knows_them_less": 1,
    "busier": 1,
    "later_turn": 1,
    "full": 2,
    "on_call": 3,
    "lacks_skills": 4,
    "let_it_go": 5,
    "refused": 5,
    "away": 6,
    "offline": 7,
}


class Person(msgspec.Struct, kw_only=True):
    """Somebody of the team, and what is known of them.

    ``open`` counts their active conversations by channel, and ``load`` all of them.
    """

    user_id: uuid.UUID
    is_available: bool = True
    is_online: bool = True
    is_on_call: bool = False
    skills: frozenset[str] = frozenset()
    capacity: int = DEFAULT_CAPACITY
    channel_capacity: Mapping[str, int] = {}
    open: dict[str, int] = {}
    given_at: datetime | None = None

    load: int = 0

    def __post_init__(self) -> None:
        self.load = sum(self.open.values())

    @property
    def turn(self) -> datetime:
        """Whoever was given one longest ago comes first, and before them whoever never was."""
        return self.given_at or _NEVER

    def room_for(self, channel: str) -> int:
        """How many more conversations of a channel they can be given."""
        of_channel = self.channel_capacity.get(channel, self.capacity) - self.open.get(channel, 0)
        return max(0, min(self.capacity - self.load, of_channel))

    def has(self, channel: str, count: int) -> None:
        """They have so many more of a channel."""
        self.open[channel] = self.open.get(channel, 0) + count
        self.load += count

    def is_given(self, channel: str, at: datetime) -> None:
        """They have one more, and had their turn."""
        self.has(channel, 1)
        self.given_at = at


class Wanted(msgspec.Struct, frozen=True):
    """What a conversation needs.

    ``knows`` had its contact last, ``let_go_by`` has just given it back, and ``refused_by`` have refused to take it.
    """

    channel: str
    mode: RoutingMode = "least_busy"
    skills: frozenset[str] = frozenset()
    knows: uuid.UUID | None = None
    let_go_by: uuid.UUID | None = None
    refused_by: frozenset[uuid.UUID] = frozenset()


class Choice(msgspec.Struct, frozen=True):
    """Who it is, if anybody; why, in words; and what decided it for each: ``others`` are too many to be told why."""

    person: Person | None
    reason: str
    considered: Sequence[Considered] = ()
    others: Mapping[Verdict, Sequence[uuid.UUID]] = {}


def choose(people: Collection[Person], wanted: Wanted) -> Choice:
    """The one for whom it is: who had the contact last if they can, else the one whom the mode says."""
    decided: list[tuple[Verdict, Person]] = []
    free: list[Person] = []
    for person in people:
        hindered = hindrance(person, wanted)
        if hindered is None:
            free.append(person)
        else:
            decided.append((hindered, person))
    if not free:
        return Choice(None, nobody_is_free(verdict for verdict, _ in decided))
    known = next((person for person in free if person.user_id == wanted.knows), None)
    chosen = known or min(free, key=_by_load if wanted.mode == "least_busy" else _by_turn)
    reason = _reason(chosen, wanted, len(free), is_known=known is not None)
    decided += [
        (_behind(person, chosen, wanted, is_known=known is not None), person) for person in free if person is not chosen
    ]
    decided.sort(key=_by_nearness)
    named = [_told("chosen", chosen, reason)]
    named += [_told(verdict, one, because(verdict, one, chosen, wanted)) for verdict, one in decided[: MOST_NAMED - 1]]
    others: dict[Verdict, list[uuid.UUID]] = {}
    for verdict, person in decided[MOST_NAMED - 1 :]:
        others.setdefault(verdict, []).append(person.user_id)
    return Choice(chosen, reason, named, others)


def hindrance(person: Person, wanted: Wanted) -> Verdict | None:
    """Why somebody cannot be given it at all; None when they can."""
    if not person.is_available:
        return "away"
    if not person.is_online:
        return "offline"
    if not wanted.skills <= person.skills:
        return "lacks_skills"
    if person.user_id == wanted.let_go_by:
        return "let_it_go"
    if person.user_id in wanted.refused_by:
        return "refused"
    if person.room_for(wanted.channel) == 0:
        return "full"
    return "on_call" if person.is_on_call else None


def nobody_is_free(hindrances: Iterable[Verdict]) -> str:
    """Why nobody can be given it, in words and numbers that do not change with every look."""
    counted = Counter(hindrances)
    if not counted:
        return "nobody in the team may answer"
    said = ", ".join(f"{counted[verdict]} {_PLAIN[verdict]}" for verdict in _ORDER if counted[verdict])
    return f"nobody is free: {said}"


_PLAIN: Mapping[Verdict, str] = {
    "full": "full",
    "on_call": "on a call",
    "lacks_skills": "without the skills",
    "let_it_go": "who gave it back",
    "refused": "who refused it",
    "away": "away",
    "offline": "offline",
}


def _by_load(person: Person) -> tuple[int, int, datetime, uuid.UUID]:
    return person.load, person.load - person.capacity, person.turn, person.user_id


def _by_turn(person: Person) -> tuple[datetime, uuid.UUID]:
    return person.turn, person.user_id


def _reason(chosen: Person, wanted: Wanted, free: int, *, is_known: bool) -> str:
    if is_known:
        return f"had this contact last, and is free: {_taken(chosen)}"
    if free == 1:
        return f"the only one who was free: {_taken(chosen)}"
    if wanted.mode == "least_busy":
        return f"the fewest open conversations of {free} who were free: {_taken(chosen)}"
    return f"next in turn of {free} who were free: {_last(chosen)}"


def _behind(person: Person, chosen: Person, wanted: Wanted, *, is_known: bool) -> Verdict:
    """Why somebody who could have been given it was not."""
    if is_known:
        return "knows_them_less"
    is_busier = (person.load, -person.capacity) > (chosen.load, -chosen.capacity)
    return "busier" if is_busier and wanted.mode == "least_busy" else "later_turn"


def because(verdict: Verdict, person: Person, chosen: Person, wanted: Wanted) -> str:
    """What decided it for somebody who was not chosen, in words."""
    match verdict:
        case "knows_them_less":
            return "somebody else had this contact last"
        case "busier" if person.load > chosen.load:
            return f"{_taken(person)}: {person.load - chosen.load} more than who was chosen"
        case "busier":
            return f"{_taken(person)}: as many, of fewer places"
        case "later_turn":
            return _last(person) if wanted.mode == "round_robin" else f"just as busy; {_last(person)}"
        case "full" if person.load >= person.capacity:
            return _taken(person)
        case "full":
            most = person.channel_capacity[wanted.channel]
            return f"{person.open.get(wanted.channel, 0)} of {most} places for {wanted.channel} taken"
        case "lacks_skills":
            return f"lacks {', '.join(sorted(wanted.skills - person.skills))}"
        case _:
            return _SAID[verdict]


_SAID: Mapping[Verdict, str] = {
    "on_call": "is on a call",
    "let_it_go": "has just given it back",
    "refused": "has refused it",
    "away": "says to be away",
    "offline": "is not online",
}


def _by_nearness(decided: tuple[Verdict, Person]) -> tuple[int, int]:
    return _ORDER[decided[0]], decided[1].load


def _taken(person: Person) -> str:
    return f"{person.load} of {person.capacity} places taken"


def _last(person: Person) -> str:
    return (
        "was never given one" if person.given_at is None else f"was given one at {person.given_at:%Y-%m-%d %H:%M:%S}Z"
    )


def _told(verdict: Verdict, person: Person, why: str) -> Considered:
    return Considered(person.user_id, verdict, why, person.load, person.capacity)
