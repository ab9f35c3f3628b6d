"""The hub: woken when a log has grown, it reads once and writes the same bytes to everybody it concerns."""

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from comms.credentials import Identity
from comms.database import Database
from comms.events import Told
from comms.hub import agents, fanout, frames, replay, rights, speech, whispers
from comms.hub.attendance import Attendance
from comms.hub.building import Building
from comms.hub.log import PAGE, Log, unbroken
from comms.hub.presence import LINE, REPORT_SECONDS
from comms.hub.protocol import Heartbeat
from comms.hub.rights import Rights
from comms.hub.rooms import DOUBTS, Room, Socket
from comms.hub.topics import EVERYTHING, Topics
from comms.hub.whispers import Carried, Whispers
from comms.sockets import Wire
from comms.wakeups import GONE, Patience, PostgresWakeups, Wakeups

log = structlog.get_logger(__name__)

MAX_SOCKETS = 10_000
ROOMS_AT_ONCE = 50
AT_THE_DOOR = 4  # are asked who they are at a time: in a storm of them others need the database too
SWEEP_SECONDS = 10.0
DOUBT_SECONDS = 0.02

Listener = Callable[[uuid.UUID, int], None]


class Hub:
    """The live side of one process.

    Correct without any wake-up: every ``poll_seconds`` the counters of all workspaces that have sockets are compared
    with what was written. ``on_delivered`` is called with the seconds from hearing of a commit to having written it.
    """

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups | None = None,
        *,
        max_sockets: int = MAX_SOCKETS,
        auth_seconds: float = 10.0,
        heartbeat_seconds: int = 25,
        poll_seconds: float = 1.0,
    ) -> None:
        self.auth_seconds = auth_seconds
        self.door = asyncio.Semaphore(AT_THE_DOOR)
        self._poll_seconds = poll_seconds
        self.wakeups = wakeups or PostgresWakeups(database)
        self.on_delivered: Callable[[float], None] = lambda seconds: None
        self.on_whisper: Callable[[str], None] = lambda words: None
        self._log = Log(database)
        self._woken = asyncio.Event()
        building = Building(self._log, self.whisper, self._woken.set)
        self._rooms = building.rooms
        self._whispers = Whispers(building)
        self._attendance = Attendance(building)
        self._rights = Rights(building)
        self._sockets: dict[Socket, asyncio.Task[None]] = {}
        self._seats = 0
        self._max_sockets = max_sockets
        self._heartbeat_seconds = heartbeat_seconds
        self._slots = itertools.cycle(range(heartbeat_seconds))
        self._heard: dict[uuid.UUID, int] = {}
        self._listeners: list[Listener] = []
        self._due: dict[uuid.UUID, Room] = {}
        self._look = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listening: whatever is committed from now on reaches sockets and listeners."""
        await self.wakeups.start(self)
        with suppress(*GONE):
            self._heard = await self._log.positions()
        self._tasks = [asyncio.create_task(for_ever(work)) for work in (self._tell, self._poll, self._beat)]

    async def stop(self) -> None:
        """Every socket is told to come back, and nothing runs any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._attendance.end()
        self._whispers.stop()
        self._rights.stop()
        await self.wakeups.stop()
        for socket in list(self._sockets):
            self.close(socket, 1012, "service restart")
            self.leave(socket)
        self._log.close()

    # What the rest of the process says and asks

    def told(self, told: Told) -> None:
        """A transaction of this process has committed these events."""
        for workspace_id, seq in told:
            self.news(workspace_id, seq)
            self.wakeups.tell(workspace_id, seq)

    def listen(self, listener: Listener) -> None:
        """``listener`` is called with a workspace and the seq its log has reached, in whatever process that was.

        News may come together, never not at all: what a wake-up did not bring, a look at all counters brings within
        ten seconds. It is called for what is committed after ``start``, and must not wait.
        """
        self._listeners.append(listener)

    @property
    def sockets(self) -> int:
        """How many clients are connected and known."""
        return len(self._sockets)

    def lag(self) -> float:
        """The age in seconds of the oldest event we have heard of and not yet written; 0 when there is none."""
        return max((room.lag() for room in self._rooms.values()), default=0.0)

    # What wakes it (``comms.wakeups.Ears``)

    def news(self, workspace_id: uuid.UUID, seq: int) -> None:
        """The log of a workspace reaches at least to ``seq``."""
        if seq <= self._heard.get(workspace_id, 0):
            return
        self._heard[workspace_id] = seq
        room = self._rooms.get(workspace_id)
        if room is not None and room.hears(seq):
            self._wake(room)
        for listener in self._listeners:
            try:
                listener(workspace_id, seq)
            except Exception:  # one listener's fault is no reason to leave the others unwoken
                log.exception("hub.listener_failed")

    def whisper(self, words: str) -> None:
        """The other processes, and whoever listens here, hear what is only for the moment."""
        self.wakeups.whisper(words)
        self.on_whisper(words)

    def overheard(self, whisper: str) -> None:
        """Another process relays typing or presence."""
        self.on_whisper(whisper)
        word = whispers.understood(whisper)
        if isinstance(word, Carried):
            self._whispers.hear(word)
        elif word is not None:
            self._attendance.hear(word)

    def missed(self) -> None:
        """Wake-ups may have been lost."""
        self._look.set()

    # Clients

    @contextmanager
    def seat(self, share: float = 1.0) -> Iterator[bool]:
        """Room for one more connection, if no more than that share of all there can be are taken."""
        self._seats += 1
        try:
            yield self._seats <= share * self._max_sockets
        finally:
            self._seats -= 1

    def enter(self, wire: Wire, member: Identity, listening: Topics = EVERYTHING, after: int | None = None) -> Socket:
        """The client gets ``ready`` and from then on every event after ``after``, or after now; until it leaves."""
        wire.last_words = speech.last_words
        socket = Socket(wire, member, listening, next(self._slots))
        self._sockets[socket] = asyncio.create_task(self._welcome(socket, after))
        return socket

    def hear(self, socket: Socket, text: str | bytes | None) -> None:
        """A client has sent a frame."""
        if socket.wire.is_open:
            speech.heard(socket, text, self._whispers.relay, self._attendance.appear)

    def close(self, socket: Socket, code: int, reason: str) -> None:
        """The client is told why it has to go."""
        socket.wire.shut(code, reason)

    def leave(self, socket: Socket) -> None:
        """The client is gone."""
        welcome = self._sockets.pop(socket, None)
        if welcome is not None:
            welcome.cancel()
        self._rights.forget(socket)
        room, workspace_id = socket.room, socket.member.workspace_id
        if room is None:
            return
        room.dismiss(socket)
        self._attendance.leave(room, socket)
        if not room.sockets and self._rooms.get(workspace_id) is room:
            self._attendance.close(room)
            del self._rooms[workspace_id]
            self._due.pop(workspace_id, None)

    async def _welcome(self, socket: Socket, after: int | None) -> None:
        patience = Patience("bringing clients up to date")
        while socket.room is None and socket.wire.is_open:
            try:
                socket.room = await self._room_of(socket.member.workspace_id)
                socket.room.admit(socket)
            except GONE as error:
                await patience.fails(error)
        room = socket.room
        if room is None:
            return
        try:
            # By now: whatever ends it from here on is an event that this room will read.
            await replay.persistently(lambda: self._rights.settle([socket]))
            position = room.cursor if after is None else after
            if position > room.cursor:
                await self._reach(room, position)
            await replay.catch_up(self._log, socket, position)
            if socket.is_live:
                self._attendance.enter(socket)
        except replay.Resync as needed:
            self.close(socket, 4409, str(needed))
        except Exception:  # this client is told to come back; the others hear nothing of it
            log.exception("hub.welcome_failed")
            self.close(socket, 1011, "we failed")

    async def _room_of(self, workspace_id: uuid.UUID) -> Room:
        """The workspace's room; nothing runs between its return and the caller's next line."""
        if workspace_id not in self._rooms:
            position = await self._log.position(workspace_id)
            if workspace_id not in self._rooms:
                room = self._rooms[workspace_id] = Room(
                    workspace_id, position, self._attendance.roster_of(workspace_id)
                )
                if room.hears(self._heard.get(workspace_id, 0)):  # while we asked
                    self._wake(room)
        return self._rooms[workspace_id]

    async def _reach(self, room: Room, position: int) -> None:
        """The room has been told up to ``position``, of which the client knows and we do not yet."""
        reached = await replay.persistently(lambda: self._log.position(room.workspace_id))
        if position > reached:
            raise replay.Resync("ahead of the log: resync")
        self.news(room.workspace_id, reached)
        while room.cursor < position:
            self._wake(room)
            await asyncio.sleep(fanout.BREATH_SECONDS)

    # Telling

    def _wake(self, room: Room) -> None:
        self._due[room.workspace_id] = room
        self._woken.set()

    async def _tell(self) -> None:
        """Idle: at once. Busy: what gathers during a breath leaves together, and webhooks are let in meanwhile."""
        patience = Patience("the hub's view of the log")
        clock = asyncio.get_running_loop().time
        while True:
            await self._woken.wait()
            began = clock()
            await self._whispers.pass_on()
            await self._attendance.tell()
            due = [self._due.pop(key) for key in list(itertools.islice(self._due, ROOMS_AT_ONCE))]
            if not self._due:
                self._woken.clear()
            for room in due:
                room.reading()
            try:
                pages = await self._log.after({room.workspace_id: room.cursor for room in due}) if due else {}
                for room in due:  # before any of it is told
                    await self._rights.settle(rights.concerned(room, pages[room.workspace_id]))
                heard = {room: await self._log.heard_by_agents(room, pages[room.workspace_id]) for room in due}
                patience.works()
            except GONE as error:
                for room in due:
                    self._wake(room)
                await patience.fails(error)
                continue
            written_from = clock()
            async with self._writing:
                for room in due:
                    await self._tell_room(room, pages[room.workspace_id], heard[room])
            await asyncio.sleep(fanout.breath(began, written_from, clock()))

    async def _tell_room(self, room: Room, rows: list[Any], heard: "agents.Hearers | None") -> None:
        try:
            page = unbroken(rows, room.cursor)
            if not page:
                self._doubt(room)
                return
            if room.agents and heard is None:  # the first has come while we read
                self._wake(room)
                return
            before, room.cursor, room.doubts = room.cursor, page[-1].seq, 0
            room.hears(room.cursor)
            # Taken before the first write: who goes live during the next awaits is already past this page.
            for wires, data in [*fanout.shares(room, page), *agents.shares(room, page, heard or {})]:
                async for slow in fanout.write(wires, data):
                    slow.shut(4409, f"too slow: resync from seq {before}")
            more = len(page) == PAGE
            self.on_delivered(room.delivered(more=more))
            if more or room.cursor < room.known:
                self._wake(room)
            if any(event.noun == LINE for event in page):
                room.roster.calls_in_doubt = True
        except Exception:  # what cannot be told is not skipped: the room comes back and reads it again
            log.exception("hub.page_not_told")
            self._dismiss(room, 1011, "we failed")

    def _doubt(self, room: Room) -> None:
        """We heard of an event that is not to be read: look again soon, and in the end settle it by the counter."""
        room.delivered(more=True)
        if room.cursor >= room.known:
            return
        room.doubts += 1
        if room.doubts <= DOUBTS:
            asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._wake_again, room)
        else:
            self._look.set()

    def _wake_again(self, room: Room) -> None:
        if self._rooms.get(room.workspace_id) is room:
            self._wake(room)

    def _dismiss(self, room: Room, code: int, reason: str) -> None:
        for socket in list(room.sockets):
            self.close(socket, code, reason)

    # The safety net

    async def _poll(self) -> None:
        """Now and then, and when wake-ups may have been lost, the counters are compared with what was told."""
        patience = Patience("the hub's look at the counters")
        clock = asyncio.get_running_loop().time
        swept = clock()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._poll_seconds)
            sweep = bool(self._listeners) and (self._look.is_set() or clock() - swept >= SWEEP_SECONDS)
            self._look.clear()
            if not sweep and not self._rooms:
                continue
            try:
                await self._compare(sweep)
                patience.works()
                swept = clock() if sweep else swept
            except GONE as error:
                self._look.set()
                await patience.fails(error)

    async def _compare(self, sweep: bool) -> None:
        before = {key: room.cursor for key, room in self._rooms.items()}
        heard = self._heard.copy() if sweep else {key: self._heard.get(key, 0) for key in before}
        counters = await self._log.positions(None if sweep else list(before))
        for key, seq in counters.items():
            if seq < heard.get(key, 0):
                self._heard[key] = seq - 1  # an older database was restored: the listeners should know
            self.news(key, seq)
        for key, cursor in before.items():
            room, seq = self._rooms.get(key), counters.get(key, 0)
            if room is None:
                continue
            if reason := room.settled(seq, cursor):
                log.error("hub.log_broken", workspace=str(key), told=room.cursor, counter=seq, reason=reason)
                room.starts_over(seq)
                self._dismiss(room, 4409, f"{reason}: resync")
            elif room.cursor < room.known:
                self._wake(room)

    async def _beat(self) -> None:
        """Each second some clients hear how far they have been told, and once a round all rights are looked at."""
        for second in itertools.count(1):
            await asyncio.sleep(1)
            async with self._writing:  # a position must not overtake the events before it
                beats: dict[int, list[Wire]] = {}
                for socket in self._sockets:
                    if socket.is_live and socket.room and socket.slot == second % self._heartbeat_seconds:
                        beats.setdefault(socket.room.cursor, []).append(socket.wire)
                for seq, wires in beats.items():
                    async for _slow in fanout.write(wires, frames.frame(Heartbeat(seq))):
                        pass  # the next event says so
            with suppress(*GONE):  # what was in doubt still is
                await self._attendance.look(is_round=second % REPORT_SECONDS == 0)
            with suppress(*GONE):  # as before
                await self._rights.settle(self._sockets if second % self._heartbeat_seconds == 0 else ())
                await self._rights.settle_doubts()


async def for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """``work`` runs again if it fails in a way nobody thought of: the poll finds what it left undone."""
    while True:
        try:
            await work()
        except Exception:  # the loops of a hub end with the hub, and with nothing else
            log.exception("hub.stumbled")
            await asyncio.sleep(0.5)
