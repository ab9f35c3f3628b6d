"""What is told to who is there, now, and to nobody later: it never touches the log."""

import uuid
from collections.abc import Callable, Mapping

import msgspec
import structlog

from comms.hub import fanout, topics
from comms.hub.fanout import Shares
from comms.hub.frames import framed
from comms.hub.presence import Question, Report
from comms.hub.rooms import Room, Socket
from comms.sockets import Wire

log = structlog.get_logger(__name__)

AT_ONCE = 100  # whispers a room takes between two passes; more would be noise


class Whisper(msgspec.Struct, frozen=True):
    """What a member is doing just now; ``sender`` is the socket that said so, if it is one of this process."""

    about: tuple[str, ...]
    frame: bytes
    sender: Wire | None


class Carried(msgspec.Struct, array_like=True, tag=True):
    """What a member is doing just now, for the other processes."""

    workspace_id: uuid.UUID
    about: tuple[str, ...]
    text: msgspec.Raw


Word = Carried | Report | Question
"""What processes tell each other beside news."""

_decoder: msgspec.json.Decoder[Word] = msgspec.json.Decoder(Word)


def spoken(word: Word) -> str:
    """A word as one line."""
    return msgspec.json.encode(word).decode()


def understood(words: str) -> Word | None:
    """What another process said; None if that cannot be."""
    try:
        return _decoder.decode(words)
    except msgspec.MsgspecError:
        log.warning("hub.whisper_unreadable")
        return None


class Whispers:
    """What waits to be told in all rooms of this process."""

    def __init__(
        self, rooms: Mapping[uuid.UUID, Room], whisper: Callable[[str], None], wake: Callable[[], None]
    ) -> None:
        self._rooms = rooms
        self._whisper = whisper
        self._wake = wake
        self._waiting: dict[uuid.UUID, list[Whisper]] = {}

    def relay(self, sender: Socket, about: tuple[str, ...], text: bytes) -> None:
        """A member does something just now: everybody else hears it, here and in the other processes."""
        workspace_id = sender.member.workspace_id
        self._take(workspace_id, Whisper(about, framed(text), sender.wire))
        self._whisper(spoken(Carried(workspace_id, about, msgspec.Raw(text))))

    def hear(self, carried: Carried) -> None:
        """Another process says so."""
        self._take(carried.workspace_id, Whisper(carried.about, framed(bytes(carried.text)), None))

    def _take(self, workspace_id: uuid.UUID, whisper: Whisper) -> None:
        waiting = self._waiting.setdefault(workspace_id, []) if workspace_id in self._rooms else None
        if waiting is not None and len(waiting) < AT_ONCE:
            waiting.append(whisper)
            self._wake()

    async def pass_on(self) -> None:
        """Nothing waits any more."""
        waiting, self._waiting = self._waiting, {}
        for workspace_id, said in waiting.items():
            room = self._rooms.get(workspace_id)
            for wires, data in shares(room, said) if room else []:
                async for _slow in fanout.write(wires, data):
                    pass  # the next event says so


def shares(room: Room, said: list[Whisper]) -> Shares:
    """Everybody gets what concerns them, except what they said themselves."""
    senders = {whisper.sender for whisper in said if whisper.sender is not None}
    due: Shares = []
    for listening, group in room.live.items():
        concerning = [whisper for whisper in said if topics.wanted(listening, whisper.about)]
        if not concerning:
            continue
        due.append(([wire for wire in group if wire not in senders], b"".join([one.frame for one in concerning])))
        for sender in senders.intersection(group):
            if others := b"".join([one.frame for one in concerning if one.sender is not sender]):
                due.append(([sender], others))
    return due
