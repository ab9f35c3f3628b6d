"""The rosters of all rooms: kept by what sockets and other processes say, told to those who listen to presence."""

import uuid
from collections.abc import Iterable

from comms.hub import fanout, frames, topics, whispers
from comms.hub.building import Building
from comms.hub.presence import HERE, ON_CALL, Question, Report, Roster
from comms.hub.protocol import PresenceSeen, Shown, Status
from comms.hub.rooms import Room, Socket
from comms.hub.whispers import Word
from models.base import new_id

REACHABLE: frozenset[Shown] = frozenset({"online", "on_call"})
"""As whom one is given conversations, if one must be online for that; whoever is on a call is asked about elsewhere."""


class Attendance:
    """Who is here, in all rooms of this process."""

    def __init__(self, building: Building) -> None:
        self._building = building
        self._place = new_id()
        self._stirred: set[Room] = set()
        self._unkept: dict[tuple[uuid.UUID, uuid.UUID], bool] = {}

    def roster_of(self, workspace_id: uuid.UUID) -> Roster:
        """A new room's roster; the other processes are asked whom they have."""
        self._say([Question(workspace_id)])
        return Roster(workspace_id, self._place)

    def enter(self, socket: Socket) -> None:
        """A socket has gone live: its user is here, and it hears who is if it wants to."""
        self.appear(socket, "online")
        socket.say_who_is_here()

    def appear(self, socket: Socket, status: Status) -> None:
        """A socket says how its user is here."""
        if socket.room is not None and socket.is_live and not socket.is_agents:
            socket.room.roster.says(socket.wire, socket.member.user_id, status)
            self._stir(socket.room)

    def leave(self, room: Room, socket: Socket) -> None:
        """A socket is gone."""
        if socket.is_agents:
            return
        room.roster.leaves(socket.wire, socket.member.user_id)
        self._stir(room)

    def close(self, room: Room) -> None:
        """The last socket of a room is gone, and so is the room."""
        self._stirred.discard(room)
        self._say(room.roster.nobody())

    def end(self) -> None:
        """Nobody is here any more."""
        for room in self._building.rooms.values():
            self._say(room.roster.nobody())

    def hear(self, word: Report | Question) -> None:
        """Another process says who is there, or asks who is here."""
        room = self._building.rooms.get(word.workspace_id)
        if room is None:
            return
        if isinstance(word, Question):
            self._say(room.roster.everything())
        else:
            room.roster.hears(word)
            self._stir(room)

    async def tell(self) -> None:
        """Whoever listens to presence is told who is here in another way than before, and so are other processes."""
        stirred, self._stirred = self._stirred, set()
        for room in stirred:
            changes, reports = room.roster.settled()
            self._say(reports)
            self._note(room, changes)
            data = b"".join([frames.frame(change) for change in changes])
            groups = [group.items() for listening, group in room.live.items() if topics.PRESENCE in listening]
            for wires in [[wire for wire, socket in group if socket.sees_people] for group in groups]:
                async for _slow in fanout.write(wires, data):
                    pass  # the next event says so

    async def look(self, *, is_round: bool) -> None:
        """Who has gone for good is gone, who is on a call is looked up, and in each round all is said again."""
        rooms = list(self._building.rooms.values())
        for room in rooms:
            if room.roster.time_passes():
                self._stir(room)
            if is_round:
                self._say(room.roster.everything())
                self._note(room, room.roster.here().users)
        await self._keep()
        doubtful = [room for room in rooms if room.roster.calls_in_doubt]
        if not doubtful:
            return
        for room in doubtful:
            room.roster.calls_in_doubt = False
        try:
            async with self._building.log.side() as connection:
                rows = await connection.fetch(ON_CALL, [room.workspace_id for room in doubtful])
        except BaseException:
            for room in doubtful:
                room.roster.calls_in_doubt = True
            raise
        on_call = {row["workspace_id"]: row["users"] for row in rows}
        for room in doubtful:
            room.roster.are_on_call(on_call.get(room.workspace_id, ()))
            self._stir(room)

    def _note(self, room: Room, people: Iterable[PresenceSeen]) -> None:
        for seen in people:
            self._unkept[room.workspace_id, seen.user_id] = seen.status in REACHABLE

    async def _keep(self) -> None:
        """Who is online, and who no more, is known to whoever gives out conversations, of those it is asked of."""
        if not self._unkept:
            return
        unkept, self._unkept = self._unkept, {}
        try:
            async with self._building.log.side() as connection:
                workspaces, users = [key[0] for key in unkept], [key[1] for key in unkept]
                await connection.execute(HERE, workspaces, users, list(unkept.values()))
        except BaseException:
            self._unkept = unkept | self._unkept
            raise

    def _stir(self, room: Room) -> None:
        self._stirred.add(room)
        self._building.ring()

    def _say(self, words: Iterable[Word]) -> None:
        for word in words:
            self._building.whisper(whispers.spoken(word))
