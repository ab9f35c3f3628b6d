"""Who is connected to a workspace, and how far they have been told."""

import asyncio
import time
import uuid

from comms.audience import NEEDS, Listener, listener_of
from comms.credentials import Identity
from comms.hub import frames
from comms.hub.presence import Roster
from comms.hub.protocol import Here, Said
from comms.hub.topics import PRESENCE, Topics
from comms.sockets import Wire

DOUBTS = 50  # times that an event we heard of was not to be read, until the counter is asked


class Room:
    """The sockets of a workspace.

    ``cursor`` is the last event written to the live ones, ``known`` the last we have heard of. A socket that is still
    replaying is among ``sockets`` and not among ``live``: it goes live at the moment its own position is ``cursor``.
    Agents are apart, for they are told something else than members.
    """

    def __init__(self, workspace_id: uuid.UUID, cursor: int, roster: Roster) -> None:
        self.workspace_id = workspace_id
        self.roster = roster
        self.cursor = self.known = cursor
        self.sockets: set[Socket] = set()
        self.live: dict[Topics, dict[Wire, Socket]] = {}
        self.agents: set[Socket] = set()
        self.doubts = 0
        self._heard_at: float | None = None
        self._read_at: float | None = None

    def hears(self, seq: int) -> bool:
        """Whether ``seq`` is news."""
        if seq <= self.known:
            return False
        self.known = seq
        if self._heard_at is None:
            self._heard_at = time.monotonic()
        return True

    def admit(self, socket: "Socket") -> None:
        """It is in this room, and will hear."""
        self.sockets.add(socket)
        if socket.is_agents:
            self.agents.add(socket)

    def dismiss(self, socket: "Socket") -> None:
        """It is gone."""
        socket.fall_silent()
        self.sockets.discard(socket)
        self.agents.discard(socket)

    def reading(self) -> None:
        """What has been heard until now is being read."""
        if self._read_at is None:
            self._read_at, self._heard_at = self._heard_at, None

    def delivered(self, *, more: bool = False) -> float:
        """What was read is written, and ``more`` of what was meant is not; the seconds since we heard of the oldest."""
        now = time.monotonic()
        since = now if self._read_at is None else self._read_at
        self._read_at = None
        if self.cursor >= self.known:
            self._heard_at = None
        elif more or self._heard_at is None:
            self._heard_at = since
        return now - since

    def settled(self, counter: int, told_then: int) -> str | None:
        """The counter has been read, when we had told ``told_then``: the reason to start over, if there is one."""
        if counter < told_then:
            return "the log is older than it was"
        if self.doubts > DOUBTS:
            if counter > self.cursor:
                return "a part of the log is gone"
            self.starts_over(self.cursor)  # it was a false alarm
        self.hears(counter)
        return None

    def starts_over(self, seq: int) -> None:
        """Whatever was heard or told before: it has been told up to ``seq``, and there is nothing more."""
        self.cursor = self.known = seq
        self.doubts = 0
        self._heard_at = self._read_at = None

    def lag(self) -> float:
        """The age of the oldest event heard of and not yet written; 0 when there is none."""
        since = min((at for at in (self._heard_at, self._read_at) if at is not None), default=None)
        return 0.0 if since is None else time.monotonic() - since


class Socket:
    """One connected client."""

    def __init__(self, wire: Wire, member: Identity, topics: Topics, slot: int) -> None:
        self.wire = wire
        self.member = member
        self.topics = topics
        self.listener: Listener = listener_of(member.user_id, member.role, member.permissions, member.agent_id)
        self.slot = slot  # which of the seconds between two heartbeats is its own
        self.room: Room | None = None
        self.is_live = False
        self.mistakes = 0
        self.frames_left = 0.0
        self.whispers_left = 0.0
        self.refilled_at = 0.0
        self.expiry: asyncio.TimerHandle | None = None
        self._entered_at = time.monotonic()

    def age(self) -> float:
        """For how many seconds it has been there."""
        return time.monotonic() - self._entered_at

    @property
    def is_agents(self) -> bool:
        """Whether an agent is at its other end: who is nobody's colleague, and is neither seen nor told who is here."""
        return self.member.agent_id is not None

    @property
    def sees_people(self) -> bool:
        """Whether it may know who is here: as much as who may list the members."""
        return NEEDS["workspace_member"] not in self.listener.lacks

    def may_hear(self, listener: Listener) -> None:
        """Its user has these rights from now on."""
        saw_people = self.sees_people
        self.listener = listener
        if self.sees_people != saw_people:
            self.say_who_is_here()

    def say(self, said: Said) -> None:
        """A frame for this client alone."""
        self.wire.write(frames.frame(said))

    def say_who_is_here(self) -> None:
        """If it wants to know: from now on changes will do. Who may not know sees nobody."""
        if self.is_live and self.room is not None and PRESENCE in self.topics:
            self.say(self.room.roster.here() if self.sees_people else Here([]))

    def go_live(self) -> None:
        """From now on every event after the room's cursor is written to it."""
        assert self.room is not None
        self.is_live = True
        if self.is_agents:
            return
        self.room.live.setdefault(self.topics, {})[self.wire] = self

    def fall_silent(self) -> None:
        """No more events are written to it."""
        if self.room is None or not self.is_live:
            return
        self.is_live = False
        if self.is_agents:
            return
        group = self.room.live[self.topics]
        del group[self.wire]
        if not group:
            del self.room.live[self.topics]

    def listen(self, topics: Topics) -> None:
        """It wants to hear these topics from now on."""
        was_live = self.is_live
        self.fall_silent()
        self.topics = topics
        if was_live:
            self.go_live()
