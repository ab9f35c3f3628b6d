"""What a provider can be told to do with a line, in no provider's dialect; ``twiml`` writes it down.

``Place`` is an address of ours that the provider asks next: the last part of its path, and its query.
"""

import re
from typing import Any
from uuid import UUID

import msgspec

UNSPEAKABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document can hold: https://www.w3.org/TR/xml/#charsets"""


class Place(msgspec.Struct, frozen=True):
    """``voice-step?turn=3`` below the connection's webhooks."""

    kind: str
    query: tuple[tuple[str, str], ...] = ()


def place(kind: str, /, **query: Any) -> Place:
    """The address of that kind with these parameters."""
    return Place(kind, tuple((name, str(value)) for name, value in query.items()))


class Say(msgspec.Struct, frozen=True):
    """A text is spoken."""

    text: str


class Play(msgspec.Struct, frozen=True):
    """A sound is played."""

    url: str
    loop: int = 1


class Music(msgspec.Struct, frozen=True):
    """Our own music is played once."""


class Pause(msgspec.Struct, frozen=True):
    """Nothing is heard for a while."""

    seconds: int = 1


class Gather(msgspec.Struct, frozen=True):
    """While ``prompts`` are heard, and ``seconds`` after, one key or word is taken to ``then``; else it goes on."""

    prompts: tuple["Say | Play", ...]
    then: Place
    seconds: int = 6
    listens: bool = False
    hints: tuple[str, ...] = ()


class Redirect(msgspec.Struct, frozen=True):
    """What is next is asked at ``then``."""

    then: Place


class Rung(msgspec.Struct, frozen=True):
    """A phone that rings. Who picks up hears ``screen`` before anybody is put through."""

    leg_id: UUID
    phone: str
    screen: Place | None = None
    detects_machines: bool = False


class Dial(msgspec.Struct, frozen=True):
    """Phones ring; the line goes on at ``then`` when that is over."""

    rung: tuple[Rung, ...]
    then: Place
    seconds: int
    caller_id: str | None = None
    records: bool = False


class Join(msgspec.Struct, frozen=True):
    """The line takes part in a conference, with music while it is alone, and ``ends`` it by leaving or does not."""

    room: str
    then: Place
    ends: bool = False


class TakeFromQueue(msgspec.Struct, frozen=True):
    """The line is put through to whoever waits there."""

    queue: str
    then: Place
    records: bool = False


class Enqueue(msgspec.Struct, frozen=True):
    """The line waits; it hears what ``meanwhile`` says again and again, and goes on at ``then``."""

    queue: str
    meanwhile: Place
    then: Place


class Leave(msgspec.Struct, frozen=True):
    """The line waits no longer."""


class Record(msgspec.Struct, frozen=True):
    """After a tone a message is recorded."""

    then: Place
    most_seconds: int
    transcribes: bool


class Hangup(msgspec.Struct, frozen=True):
    """The line ends."""


Verb = Say | Play | Music | Pause | Gather | Redirect | Dial | Join | TakeFromQueue | Enqueue | Leave | Record | Hangup
