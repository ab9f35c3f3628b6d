"""What is told to who is there, now, and to nobody later: it never touches the log."""

import asyncio
import uuid

import msgspec
import structlog

from comms.hub import fanout, topics
from comms.hub.building import Building
from comms.hub.fanout import Shares
from comms.hub.frames import framed
from comms.hub.presence import Question, Report
from comms.hub.rooms import Room, Socket
from comms.sockets import Wire
from comms.wakeups import GONE

log = structlog.get_logger(__name__)

AT_ONCE = 100  # whispers a room takes between two passes; more would be noise


class Whisper(msgspec.Struct, frozen=True):
    """What a member is doing just now; ``sender`` is the socket that said so, if it is one of this process."""

    about: tuple[str, ...]
    frame: bytes
    sender: Wire | None
    members: frozenset[uuid.UUID] | None = None

    def is_for(self, socket: Socket) -> bool:
        """Whether the socket is told."""
        return self.sender is not socket.wire and (self.members is None or socket.member.user_id in self.members)


class Carried(msgspec.Struct, array_like=True, tag=True):
    """What a member is doing just now, for the other processes."""

    workspace_id: uuid.UUID
    about: tuple[str, ...]
    text: msgspec.Raw
    channel_id: uuid.UUID | None = None


class Asked(msgspec.Struct, frozen=True):
    """A whisper in a team channel, until it is known who belongs there; ``carried`` comes from a socket of ours."""

    workspace_id: uuid.UUID
    channel_id: uuid.UUID
    whisper: Whisper
    by: uuid.UUID | None
    carried: Carried | None


BELONGING = """
SELECT c.workspace_id, c.id, CASE WHEN c.is_private OR c.type = 'direct' THEN ARRAY(
    SELECT m.user_id FROM team_channel_members m WHERE m.workspace_id = c.workspace_id AND m.channel_id = c.id
) END AS members
FROM team_channels c JOIN unnest($1::uuid[], $2::uuid[]) AS i (workspace_id, id) USING (workspace_id, id)
"""


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

    def __init__(self, building: Building) -> None:
        self._building = building
        self._waiting: dict[uuid.UUID, list[Whisper]] = {}
        self._asked: list[Asked] = []
        self._asking: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Nothing is looked up any more."""
        if self._asking is not None:
            self._asking.cancel()

    def relay(self, sender: Socket, about: tuple[str, ...], text: bytes, channel_id: uuid.UUID | None = None) -> None:
        """A member does something just now: everybody else hears it, here and in the other processes.

        In a team channel only if the member may be there, and only those who may.
        """
        workspace_id = sender.member.workspace_id
        whisper = Whisper(about, framed(text), sender.wire)
        carried = Carried(workspace_id, about, msgspec.Raw(text), channel_id)
        if channel_id is not None:
            self._ask(Asked(workspace_id, channel_id, whisper, sender.member.user_id, carried))
        else:
            self._take(workspace_id, whisper)
            self._building.whisper(spoken(carried))

    def hear(self, carried: Carried) -> None:
        """Another process says so."""
        whisper = Whisper(carried.about, framed(bytes(carried.text)), None)
        if carried.channel_id is None:
            self._take(carried.workspace_id, whisper)
        elif carried.workspace_id in self._building.rooms:
            self._ask(Asked(carried.workspace_id, carried.channel_id, whisper, None, None))

    def _take(self, workspace_id: uuid.UUID, whisper: Whisper) -> None:
        waiting = self._waiting.setdefault(workspace_id, []) if workspace_id in self._building.rooms else None
        if waiting is not None and len(waiting) < AT_ONCE:
            waiting.append(whisper)
            self._building.ring()

    def _ask(self, asked: Asked) -> None:
        if len(self._asked) < AT_ONCE:
            self._asked.append(asked)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._look_up())

    async def _look_up(self) -> None:
        """Who belongs to the channels in which somebody does something just now: one question for all that wait."""
        while self._asked:
            asked, self._asked = self._asked, []
            try:
                async with self._building.log.side() as connection:
                    places = [[one.workspace_id for one in asked], [one.channel_id for one in asked]]
                    rows = await connection.fetch(BELONGING, *places)
            except GONE:
                continue  # the moment has passed
            found = {(row["workspace_id"], row["id"]): row["members"] for row in rows}
            for one in asked:
                key = (one.workspace_id, one.channel_id)
                members = None if found.get(key) is None else frozenset(found[key])
                if key not in found or (members is not None and one.by is not None and one.by not in members):
                    continue
                self._take(one.workspace_id, msgspec.structs.replace(one.whisper, members=members))
                if one.carried is not None:
                    self._building.whisper(spoken(one.carried))

    async def pass_on(self) -> None:
        """Nothing waits any more."""
        waiting, self._waiting = self._waiting, {}
        for workspace_id, said in waiting.items():
            room = self._building.rooms.get(workspace_id)
            for wires, data in shares(room, said) if room else []:
                async for _slow in fanout.write(wires, data):
                    pass  # the next event says so


def shares(room: Room, said: list[Whisper]) -> Shares:
    """Everybody gets what concerns them, except what they said themselves."""
    senders = {whisper.sender for whisper in said if whisper.sender is not None}
    is_for_all = all(whisper.members is None for whisper in said)
    due: Shares = []
    for listening, group in room.live.items():
        concerning = [whisper for whisper in said if topics.wanted(listening, whisper.about)]
        if not concerning:
            continue
        alike: dict[bytes, list[Wire]] = {}
        if is_for_all:
            alike[b"".join([one.frame for one in concerning])] = [wire for wire in group if wire not in senders]
        for socket in [group[sender] for sender in senders if sender in group] if is_for_all else group.values():
            data = b"".join([one.frame for one in concerning if one.is_for(socket)])
            alike.setdefault(data, []).append(socket.wire)
        due += [(wires, data) for data, wires in alike.items() if data and wires]
    return due
