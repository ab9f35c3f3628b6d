"""The same bytes to many sockets, with a pause for everybody else in between."""

import asyncio
from collections.abc import AsyncIterator

from comms.audience import Listener
from comms.hub import frames
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
    named = {user_id for event in page for user_id in event.audience.named}
    is_for_all = all(event.audience.is_everybody for event in page)
    due: Shares = []
    for listening, group in room.live.items():
        alike: dict[Listener, list[Wire]] = {}
        if is_for_all:
            alike[Listener()] = list(group)
        else:
            for wire, socket in group.items():
                listener = socket.listener
                anybody = Listener(None, listener.is_administrator, listener.lacks)
                key = listener if listener.user_id in named else anybody
                alike.setdefault(key, []).append(wire)
        for listener, wires in alike.items():
            if data := frames.joined(page, listening, listener):
                due.append((wires, data))
    return due


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
