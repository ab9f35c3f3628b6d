"""The same bytes to many sockets, with a pause for everybody else in between."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from comms.hub import frames
from comms.hub.frames import Told
from comms.hub.rooms import Room
from comms.sockets import Wire, write_to_all

CHUNK = 100  # sockets written to before others get their turn: about half a millisecond

Shares = list[tuple[list[Wire], bytes]]
"""Who gets which bytes."""


def shares(room: Room, page: list[Told]) -> Shares:
    """One write for all who listen to the same, but for those whom a frame of the page is addressed to."""
    named = {event.only_for for event in page if event.only_for is not None}
    due: Shares = []
    for listening, group in room.live.items():
        by_user: dict[uuid.UUID | None, list[Wire]] = {}
        if named:
            for wire, socket in group.items():
                user_id = socket.member.user_id
                by_user.setdefault(user_id if user_id in named else None, []).append(wire)
        else:
            by_user[None] = list(group)
        for addressee, wires in by_user.items():
            if data := frames.joined(page, listening, addressee):
                due.append((wires, data))
    return due


async def write(wires: list[Wire], data: bytes) -> AsyncIterator[Wire]:
    """``data`` is on its way to all but the slow, who are returned."""
    for start in range(0, len(wires), CHUNK):
        for slow in write_to_all(wires[start : start + CHUNK], data):
            yield slow
        if start + CHUNK < len(wires):
            await asyncio.sleep(0)
