"""The same bytes to many sockets, with a pause for everybody else in between."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from comms.audience import Listener, Need
from comms.hub import topics
from comms.hub.frames import Told
from comms.hub.rooms import Room
from comms.sockets import Wire, write_to_all

CHUNK = 100  # sockets written to before others get their turn: about half a millisecond

BREATH_SECONDS = 0.008  # from one pass to the next; what happens meanwhile leaves together
LONGEST_BREATH_SECONDS = 0.05

Shares = list[tuple[list[Wire], bytes]]
"""Who gets which bytes."""


def shares(room: Room, page: list[Told]) -> Shares:
    """One write for all who listen to the same and may hear the same."""
    due: Shares = []
    for listening, group in room.live.items():
        wanted = [event for event in page if topics.wanted(listening, event.about)]
        if all(event.audience.is_everybody for event in wanted):
            if wanted:
                due.append((list(group), b"".join([event.frame for event in wanted])))
            continue
        own = _own(wanted)
        alike: dict[tuple[bool, frozenset[Need]], dict[tuple[int, ...], list[Wire]]] = {}
        for wire, socket in group.items():
            who = socket.listener
            mine = tuple(place for place in own.get(who.user_id, ()) if wanted[place].audience.includes(who))
            alike.setdefault((who.is_administrator, who.lacks), {}).setdefault(mine, []).append(wire)
        for rights, sharers in alike.items():
            anybody = Listener(None, *rights)
            common = [place for place, event in enumerate(wanted) if event.audience.includes(anybody)]
            for mine, wires in sharers.items():
                if heard := sorted({*common, *mine}):
                    due.append((wires, b"".join([wanted[place].frame for place in heard])))
    return due


def _own(page: list[Told]) -> dict[uuid.UUID | None, list[int]]:
    """Where in the page those stand that name a user: for five hundred of them nobody looks at all five hundred."""
    places: dict[uuid.UUID | None, list[int]] = {}
    for place, event in enumerate(page):
        for user_id in event.audience.named:
            places.setdefault(user_id, []).append(place)
    return places


def breath(began: float, written_from: float, ended: float) -> float:
    """How long to rest after a pass: writing gets two fifths of the loop at most; the slower, the more at once."""
    rest = max(BREATH_SECONDS - (ended - began), 1.5 * (ended - written_from))
    return min(rest, LONGEST_BREATH_SECONDS)


async def write(wires: list[Wire], data: bytes) -> AsyncIterator[Wire]:
    """``data`` is on its way to all but the slow, who are returned."""
    for start in range(0, len(wires), CHUNK):
        for slow in write_to_all(wires[start : start + CHUNK], data):
            yield slow
        if start + CHUNK < len(wires):
            await asyncio.sleep(0)
