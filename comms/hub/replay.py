"""A client that comes back is told what it missed, at its own pace, and then what happens."""

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from comms.hub import frames
from comms.hub.frames import Told
from comms.hub.log import Log
from comms.hub.protocol import Ready
from comms.hub.rooms import Socket
from comms.wakeups import GONE, Patience

T = TypeVar("T")

FURTHEST = 50_000  # events; beyond, fetching anew is cheaper for everybody
PIECE_BYTES = 256 * 1024
STALE_SECONDS = 0.5
"""How old a page may be that is told: who reads slowly may have lost a right meanwhile, and it is read again."""


class Resync(Exception):
    """What the client missed cannot be told: it has to fetch anew."""


async def catch_up(log: Log, socket: Socket, position: int) -> None:
    """Every event after ``position`` is written to the socket, and it is live. Raises ``Resync``.

    There is no queue of live events meanwhile: the log is the queue. Between the last comparison with the room's
    cursor and going live nothing else runs, so nothing is told twice and nothing is missed.
    """
    room, wire = socket.room, socket.wire
    assert room is not None
    head = room.cursor
    page = await next_page(log, socket, position, head)
    socket.say(Ready(position, head, room.workspace_id, socket.member.user_id))
    while True:
        read_at = time.monotonic()
        for piece, upto in pieces(page, socket):
            wire.write(piece)
            await wire.drained()
            position = upto
            if time.monotonic() - read_at > STALE_SECONDS:
                break
        if not wire.is_open:
            return
        if position >= room.cursor:
            socket.go_live()
            return
        page = await next_page(log, socket, position, room.cursor)


async def next_page(log: Log, socket: Socket, position: int, head: int) -> list[Told]:
    """The page after ``position``, when the way to ``head`` is neither too long nor broken."""
    if position == head:
        return []
    if head - position > FURTHEST:
        raise Resync(f"more than {FURTHEST} events behind: resync")
    member = socket.member
    page = await persistently(lambda: log.between(member.workspace_id, position, head, member.user_id))
    if not page:
        raise Resync("older than what is kept: resync")
    if socket.is_agents:
        return await persistently(lambda: log.between_for_agents(member.workspace_id, page))
    return page


def pieces(page: list[Told], socket: Socket) -> Iterator[tuple[bytes, int]]:
    """The page in writes of about ``PIECE_BYTES``, so that what waits stays bounded; each with its last number."""
    begin = size = 0
    for end, event in enumerate(page, 1):
        size += len(event.frame)
        if size >= PIECE_BYTES or end == len(page):
            yield frames.joined(page[begin:end], socket.topics, socket.listener), event.seq
            begin, size = end, 0


async def persistently(ask: Callable[[], Awaitable[T]]) -> T:
    """What the database answers, when it does."""
    patience = Patience("bringing clients up to date")
    while True:
        try:
            return await ask()
        except GONE as error:
            await patience.fails(error)
