"""Whether those who listen still may, and what they may hear: known before the next event is told, never after.

What may have ended somebody's right is itself an event: those whom it concerns are looked at before the page it stands
in is written. What ends by the clock has a timer. And each round everybody is looked at, because an operator can change
a table without telling.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from comms.audience import Listener, listener_of
from comms.hub.building import Building
from comms.hub.rooms import Room, Socket
from comms.identity import Identity

UNPROVEN_SECONDS = 3600.0
"""How long a socket lives whose credential we do not keep, such as Clerk's: then it has to be shown again."""

CREDENTIALS = frozenset({"access_token", "session", "workspace", "workspace_member"})
"""Nouns whose events may end or change somebody's right to listen."""

_VALID = """
SELECT s.place, t.agent_id, m.role, m.permissions::text,
    extract(epoch FROM least(t.expires_at, n.expires_at) - now())::float8 AS seconds
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
    WITH ORDINALITY AS s (workspace_id, user_id, token_id, session_id, place)
JOIN workspace_members m ON m.workspace_id = s.workspace_id AND m.user_id = s.user_id AND m.is_active
JOIN workspaces w ON w.id = s.workspace_id AND w.is_active
LEFT JOIN access_tokens t ON t.workspace_id = s.workspace_id AND t.id = s.token_id
    AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
LEFT JOIN sessions n ON n.workspace_id = s.workspace_id AND n.id = s.session_id AND n.expires_at > now()
LEFT JOIN agents a ON a.workspace_id = t.workspace_id AND a.id = t.agent_id
WHERE (t.agent_id IS NULL OR a.status = 'active')
    AND (s.token_id IS NULL OR t.id IS NOT NULL) AND (s.session_id IS NULL OR n.id IS NOT NULL)
"""

Key = tuple[Any, Any, Any, Any]


class Right(msgspec.Struct, frozen=True):
    """What somebody may hear, and for how many seconds more if that is known."""

    listener: Listener
    seconds: float | None


class Rights:
    """The rights of all sockets of this process."""

    def __init__(self, building: Building) -> None:
        self._building = building
        self._doubted: set[Socket] = set()
        self._looking: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Nothing is looked up any more."""
        if self._looking is not None:
            self._looking.cancel()

    def forget(self, socket: Socket) -> None:
        """A socket is gone."""
        self._doubted.discard(socket)
        if socket.expiry is not None:
            socket.expiry.cancel()

    async def settle(self, sockets: Iterable[Socket]) -> None:
        """These hear from now on what they may hear now, and who may hear nothing any more is shown out.

        So are those that were in doubt before; one query for all who ask at the same time. Raises one of ``GONE``;
        then they are in doubt.
        """
        asked = set(sockets)
        self._doubted |= asked
        while asked & self._doubted:
            looking = self._look()
            await asyncio.wait([looking])  # whoever gives up waiting takes nobody with them
            if not looking.cancelled() and (error := looking.exception()) is not None:
                raise error

    async def settle_doubts(self) -> None:
        """What could not be settled when it should have been is. Raises one of ``GONE``."""
        await self.settle(self._doubted)

    def _look(self) -> "asyncio.Task[None]":
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._settle())
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._looking

    async def _settle(self) -> None:
        doubted, self._doubted = self._doubted, set()
        try:
            async with self._building.log.side() as connection:
                rights = await held(connection, (socket.member for socket in doubted))
        except BaseException:
            self._doubted |= doubted
            raise
        for socket in doubted:
            self._apply(socket, rights.get(key_of(socket.member)))

    def _apply(self, socket: Socket, right: Right | None) -> None:
        if right is None or (socket.age() > UNPROVEN_SECONDS and is_unproven(socket.member)):
            socket.wire.shut(4401, "your access has ended")
            return
        socket.may_hear(right.listener)
        if socket.expiry is not None:
            socket.expiry.cancel()
        seconds = UNPROVEN_SECONDS - socket.age() if is_unproven(socket.member) else right.seconds
        if seconds is not None and socket.wire.is_open:
            # A moment later: this clock is not the database's.
            socket.expiry = asyncio.get_running_loop().call_later(seconds + 0.05, self._expires, socket)

    def _expires(self, socket: Socket) -> None:
        self._doubted.add(socket)
        self._look()


def is_unproven(member: Identity) -> bool:
    """Whether somebody else vouches for the member, of whose word we keep nothing."""
    return member.token_id is None and member.session_id is None


def concerned(room: Room, rows: Iterable[Any]) -> Iterable[Socket]:
    """The sockets whose rights these rows of the log may have changed."""
    users: set[str] = set()
    agents: set[Any] = set()
    for row in rows:
        if row["subject_type"] == "agent":
            agents.add(row["subject_id"])
            continue
        if row["subject_type"] not in CREDENTIALS or row["event"].endswith(".created"):
            continue
        user_id = msgspec.json.decode(row["data"]).get("userId")
        if user_id is None:  # it is the workspace's
            return list(room.sockets)
        users.add(user_id)
    if not users and not agents:
        return []
    return [
        socket for socket in room.sockets if str(socket.member.user_id) in users or socket.member.agent_id in agents
    ]


def key_of(member: Identity) -> Key:
    """What a right to listen hangs on: the membership, and the token or session it was proved with."""
    return (member.workspace_id, member.user_id, member.token_id, member.session_id)


async def held(connection: Any, members: Iterable[Identity]) -> dict[Key, Right]:
    """The rights of those who still may listen, by their keys; one query for all."""
    asked: Sequence[Key] = list({key_of(member) for member in members})
    if not asked:
        return {}
    rows = await connection.fetch(_VALID, *(list(column) for column in zip(*asked, strict=True)))
    rights = {}
    for row in rows:
        key = asked[row["place"] - 1]
        listener = listener_of(key[1], row["role"], msgspec.json.decode(row["permissions"]), row["agent_id"])
        rights[key] = Right(listener, row["seconds"])
    return rights
