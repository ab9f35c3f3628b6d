"""The rooms of a process, and what everybody needs who works in them."""

import uuid
from collections.abc import Callable

from comms.hub.log import Log
from comms.hub.rooms import Room


class Building:
    """``whisper`` tells the other processes, perhaps; ``ring`` wakes whoever writes to the sockets."""

    def __init__(self, log: Log, whisper: Callable[[str], None], ring: Callable[[], None]) -> None:
        self.rooms: dict[uuid.UUID, Room] = {}
        self.log = log
        self.whisper = whisper
        self.ring = ring
