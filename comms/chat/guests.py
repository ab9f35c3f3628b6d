"""One socket of a visitor."""

import time
import uuid

import msgspec

from comms.chat.protocol import ChatTold
from comms.chat.visitors import Caller
from comms.hub.frames import framed
from comms.sockets import Wire

FRAMES_PER_SECOND, FRAMES_AT_ONCE = 20.0, 60.0
WHISPERS_PER_SECOND, WHISPERS_AT_ONCE = 2.0, 6.0

_encode = msgspec.json.Encoder().encode


class Guest:
    """One socket of a visitor; ``cursor`` is the ``seq`` up to which it has been told."""

    def __init__(self, wire: Wire, caller: Caller, address: str | None, origin: str | None) -> None:
        self.wire = wire
        self.caller = caller
        self.origin = origin
        self.address = address
        self.cursor = 0
        self.read_place = 0
        self.conversation_id: uuid.UUID | None = None
        self.is_live = False
        self._got: dict[str, int] = {}
        self.mistakes = 0
        self.frames_left, self.whispers_left, self.refilled_at = FRAMES_AT_ONCE, WHISPERS_AT_ONCE, time.monotonic()

    def say(self, *frames: ChatTold) -> None:
        """Frames for this visitor alone."""
        self.wire.write(b"".join([framed(_encode(frame)) for frame in frames]))

    def gets_further(self, what: str, place: int) -> bool:
        """Whether a place is news; of what this socket was not told, as often as what is worth only the moment."""
        return place > self._got.get(what, 0) and (place <= self.cursor or self.may_whisper())

    def got(self, what: str, place: int) -> None:
        """All up to the place is done, as far as it is known here."""
        self._got[what] = max(self._got.get(what, 0), min(place, self.cursor))

    def allows_another(self) -> bool:
        """Whether this is no flood."""
        at = time.monotonic()
        passed, self.refilled_at = at - self.refilled_at, at
        self.frames_left = min(FRAMES_AT_ONCE, self.frames_left + passed * FRAMES_PER_SECOND) - 1
        self.whispers_left = min(WHISPERS_AT_ONCE, self.whispers_left + passed * WHISPERS_PER_SECOND)
        return self.frames_left >= 0

    def may_whisper(self) -> bool:
        """Whether what is worth only the moment is passed on."""
        if self.whispers_left < 1:
            return False
        self.whispers_left -= 1
        return True
