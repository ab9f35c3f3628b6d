"""People with phones, and the lines they are on."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import msgspec

from comms.providers.base import Request

Fetch = Callable[[Request], Awaitable[tuple[int, str]]]
"""Posts a webhook; the status and the text of the answer."""


class Person(msgspec.Struct):
    """Somebody with a phone: what they do when it rings, or when they call.

    ``keys`` are pressed one a question ("" lets it pass), ``words`` said instead. A ``mailbox`` picks up and presses
    nothing. Whoever has a ``message`` leaves it when asked to; ``talks`` is for how many seconds, None until the other
    hangs up. ``hangs_up`` is the seconds after which they lose patience with whatever they hear.
    """

    answers: bool = True
    after: float = 2
    keys: Sequence[str] = ()
    words: Sequence[str] = ()
    mailbox: bool = False
    is_busy: bool = False
    message: str | None = None
    talks: float | None = 10
    hangs_up: float | None = None


class Line:
    """One line: who is on it, what they have heard, and how it stands."""

    def __init__(
        self, sid: str, sender: str, to: str, direction: str, person: Person, parent: str | None = None
    ) -> None:
        self.sid = sid
        self.sender = sender
        self.to = to
        self.direction = direction
        self.person = person
        self.parent = parent
        self.status = "queued"
        self.heard: list[str] = []
        self.documents: list[str] = []
        self.keys = deque(person.keys)
        self.words = deque(person.words)
        self.sequence = 0
        self.callback: str | None = None
        self.at = datetime.now(UTC)
        self.ended = asyncio.Event()
        self.bridge: asyncio.Future[str] | None = None
        self.run: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        return self.ended.is_set()


class Telling(msgspec.Struct):
    """How progress is told; what is ``lost`` never is."""

    doubled: bool = False
    shuffled: bool = False
    lost: bool = False


class Over(Exception):
    """The line has ended."""
