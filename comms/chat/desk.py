"""The sockets of visitors in this process: each is told what has changed of what it sees, and what it says is done.

A visitor's position is the ``seq`` of their own row. Whatever is committed in their workspace wakes the desk, in
whatever process that was; it asks what has changed since for those who are here, and writes that. So replaying to who
comes back and telling what is new are one and the same, and a wake-up that got lost is made good by the next look.
"""

import asyncio
import uuid
from contextlib import suppress
from typing import Any, Literal

import msgspec
import structlog

from comms import limits, metrics, reading
from comms.chat import presence, saying, showing, visitors, widgets
from comms.chat.guests import Guest
from comms.chat.protocol import (
    ChatError,
    ChatHeard,
    ChatHeartbeat,
    ChatKept,
    ChatMessageSeen,
    ChatPage,
    ChatPing,
    ChatPong,
    ChatRead,
    ChatReady,
    ChatReceived,
    ChatSay,
    ChatSeen,
    ChatTyping,
    ChatTypingSeen,
    Page,
    Said,
)
from comms.chat.staff import Staff
from comms.chat.tokens import Tokens
from comms.chat.visitors import Caller
from comms.database import Database
from comms.errors import Refused, TooMany
from comms.hub import Hub, whispers
from comms.hub.hub import for_ever
from comms.hub.presence import Report
from comms.hub.protocol import TypingSeen, VisitorTyping
from comms.hub.topics import INBOX
from comms.limits import Allowance
from comms.settings import SecuritySettings
from comms.sockets import WAITING_BYTES
from comms.wakeups import GONE, Patience, Standing
from models.communications import ChatWidget, VisitorSession
from models.core import Workspace

log = structlog.get_logger(__name__)

SAYS = Allowance(20, 2)
SAYS_BY_ADDRESS = Allowance(100, 1)
PAGES = Allowance(20, 5)
MISTAKES = 20
SOCKETS = 10
"""So many a session has in one process: somebody's windows, and not a script's."""
AT_THE_DOOR = 2  # are asked who they are at a time, as at the hub's
RENEW_SECONDS = 10
HEARTBEAT_SECONDS = 25
BREATH_SECONDS, LONGEST_BREATH_SECONDS = 0.01, 0.25

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ChatHeard).decode


class Desk:
    """All visitors who are connected to this process, and what it knows of who could answer them."""

    def __init__(self, database: Database, hub: Hub, security: SecuritySettings) -> None:
        self.tokens = Tokens(security)
        self.auth_seconds = 10.0
        self.door = asyncio.Semaphore(AT_THE_DOOR)
        self._database = database
        self._hub = hub
        self._standing = Standing(database)
        self._rooms: dict[uuid.UUID, set[Guest]] = {}
        self._due: set[uuid.UUID] = set()
        self._typing: list[tuple[uuid.UUID, TypingSeen]] = []
        self._woken = asyncio.Event()
        self._staff = Staff(hub)
        self._tasks: list[asyncio.Task[None]] = []
        self._farewells: set[asyncio.Task[None]] = set()
        hub.listen(self._news)
        hub.on_whisper = self._overhear

    async def start(self) -> None:
        """Whoever comes is served."""
        self._tasks = [asyncio.create_task(for_ever(work)) for work in (self._tell, self._beat)]

    async def stop(self) -> None:
        """Every visitor is told to come back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._farewells, return_exceptions=True)
        for guest in [guest for room in self._rooms.values() for guest in room]:
            guest.wire.shut(1012, "service restart")
        self._rooms.clear()
        self._standing.close()

    @property
    def sockets(self) -> int:
        """How many visitors' sockets there are."""
        return sum(map(len, self._rooms.values()))

    async def is_open(self, widget: ChatWidget) -> bool:
        """Whether it is a time at which somebody answers, and somebody is there."""
        async with self._database.everywhere() as db:
            workspace = await db.get(Workspace, widget.workspace_id)
        zone = str((workspace.settings if workspace else {}).get("timezone") or "UTC")
        return widgets.keeps_hours(widget, zone) and await self._staff.is_anybody(widget.workspace_id)

    def _overhear(self, words: str) -> None:
        """Typing and presence, of this process and of others."""
        word = whispers.understood(words)
        if isinstance(word, Report):
            self._staff.hears(word)
        elif isinstance(word, whispers.Carried) and word.channel_id is None and word.workspace_id in self._rooms:
            with suppress(msgspec.MsgspecError):  # or it is a visitor who is typing
                self._typing.append((word.workspace_id, msgspec.json.decode(word.text, type=TypingSeen)))
                self._woken.set()

    # Visitors

    async def standing_of(self, caller: Caller) -> tuple[int, int]:
        """The ``seq`` of what the visitor sees, and the place up to which it was read by those who answer."""
        [row] = await self._look([caller])
        return (0, 0) if row is None else (row["seq"], row["read_place"] or 0)

    async def enter(self, guest: Guest, after: int | None) -> None:
        """The visitor gets ``ready``, and from then on every change after ``after``, or after now."""
        [row] = await self._look([guest.caller])
        if row is None:
            guest.wire.shut(4401, "your session has ended")
            return
        if after is not None and after > row["seq"]:
            guest.wire.shut(4409, "ahead of what was said: resync")
            return
        room = self._rooms.setdefault(guest.caller.workspace_id, set())
        if sum(other.caller.session_id == guest.caller.session_id for other in room) >= SOCKETS:
            metrics.CHAT_REFUSED.labels("flood").inc()
            guest.wire.shut(1013, "too many connections: try again later")
            return
        room.add(guest)
        async with self.door:
            async with self._database.everywhere() as db:
                widget = await db.get(ChatWidget, (guest.caller.workspace_id, guest.caller.widget_id))
            if widget is None:
                guest.wire.shut(4401, "your session has ended")
                return
            is_open = await self.is_open(widget)
        guest.cursor, guest.read_place = row["seq"] if after is None else after, row["read_place"] or 0
        guest.conversation_id = row["conversation_id"]
        await self._renew([guest])
        guest.say(ChatReady(guest.cursor, row["seq"], guest.read_place, is_open))
        guest.is_live = True
        self._wake(guest.caller.workspace_id)

    def leave(self, guest: Guest) -> None:
        """The visitor's socket is gone; they have left once they were away for their widget's grace time."""
        room = self._rooms.get(guest.caller.workspace_id, set())
        if guest not in room:
            return
        room.discard(guest)
        if not room:
            del self._rooms[guest.caller.workspace_id]
        if not any(other.caller.session_id == guest.caller.session_id for other in room):
            farewell = asyncio.create_task(self._part(guest.caller))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def _part(self, caller: Caller) -> None:
        with suppress(*GONE):
            async with self._standing.use() as connection:
                await presence.part(connection, caller)

    async def hear(self, guest: Guest, text: str | bytes | None) -> None:
        """A visitor has sent a frame: it has had its effect, or they know what is wrong with it."""
        if not guest.wire.is_open:  # what came before they were closed is not heeded any more
            return
        if not guest.allows_another():
            metrics.CHAT_REFUSED.labels("flood").inc()
            guest.wire.shut(1008, "too many frames")
            return
        try:
            if not isinstance(text, str):
                raise msgspec.ValidationError("frames are text")
            said = _decode(text)
            reading.refuse_unstorable(msgspec.to_builtins(said))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            guest.mistakes += 1
            guest.say(ChatError(str(error)[:200]))
            if guest.mistakes >= MISTAKES:
                guest.wire.shut(1008, "too many malformed frames")
            return
        try:
            await self._heed(guest, said)
        except Refused as refused:
            client_id = said.client_id if isinstance(said, ChatSay) else None
            guest.say(ChatError(refused.detail[:200], client_id))

    async def _heed(self, guest: Guest, said: ChatHeard) -> None:
        match said:
            case ChatPing():
                guest.say(ChatPong())
            case ChatSay():
                kept = await self.say(guest.caller, Said(said.client_id, said.content, said.upload_ids), guest.address)
                guest.say(ChatKept(kept.client_id, kept.id, kept.place))
                self._wake(guest.caller.workspace_id)
            case ChatTyping():
                if guest.may_whisper():
                    self._whisper(guest, typing=said.typing)
            case ChatPage():
                if guest.may_whisper():
                    await self.count([("chat_pages", str(guest.caller.session_id), PAGES)])
                    await self.look_at(guest.caller, Page(said.url, said.title, said.referrer))
            case ChatReceived():
                await self._has_read(guest, said.place, "delivered")
            case ChatSeen():
                await self._has_read(guest, said.place, "read")

    async def _has_read(self, guest: Guest, place: int, status: Literal["delivered", "read"]) -> None:
        if guest.gets_further(status, place):
            changed = await saying.has_read(self._database, guest.caller, place, status=status)
            if changed < saying.READ_AT_ONCE:
                guest.got(status, place)

    async def say(self, caller: Caller, said: Said, address: str | None) -> saying.Kept:
        """What the visitor says is kept; raises ``TooMany`` and ``Invalid``."""
        attempts = [("chat_says", str(caller.session_id), SAYS)]
        if address is not None:
            attempts.append(("chat_says_address", address, SAYS_BY_ADDRESS))
        await self.count(attempts)
        async with self._database.everywhere() as db:
            widget = await db.get(ChatWidget, (caller.workspace_id, caller.widget_id))
        assert widget is not None
        return await saying.say(self._database, caller, said, is_open=await self.is_open(widget))

    async def count(self, attempts: list[tuple[str, str, Allowance]]) -> None:
        """One more attempt of each; ``TooMany``, which is counted, when there were too many."""
        try:
            await limits.count(self._database, attempts)
        except TooMany:
            metrics.CHAT_REFUSED.labels("flood").inc()
            raise

    async def look_at(self, caller: Caller, page: Page) -> None:
        """The visitor looks at another page."""
        async with self._database.workspace(caller.workspace_id) as db:
            session = await db.get(VisitorSession, (caller.workspace_id, caller.session_id), with_for_update=True)
            if session is not None:
                await visitors.look_at(db, session, page)

    def _whisper(self, guest: Guest, *, typing: bool) -> None:
        if guest.conversation_id is None:  # nobody knows of them yet
            return
        shown = VisitorTyping(guest.conversation_id, guest.caller.visitor_id, typing)
        about = (INBOX, f"conversation:{guest.conversation_id}")
        word = whispers.spoken(whispers.Carried(guest.caller.workspace_id, about, msgspec.Raw(_encode(shown))))
        self._hub.overheard(word)
        self._hub.wakeups.whisper(word)

    # Telling

    def _news(self, workspace_id: uuid.UUID, seq: int) -> None:
        if workspace_id in self._rooms:
            self._wake(workspace_id)

    def _wake(self, workspace_id: uuid.UUID) -> None:
        self._due.add(workspace_id)
        self._woken.set()

    async def _tell(self) -> None:
        patience = Patience("what visitors see")
        clock = asyncio.get_running_loop().time
        while True:
            await self._woken.wait()
            began = clock()
            self._woken.clear()
            due, self._due = self._due, set()
            typing, self._typing = self._typing, []
            guests = [guest for key in due for guest in self._rooms.get(key, ()) if guest.is_live]
            try:
                await self._tell_all(guests)
                await self._tell_typing(typing)
                patience.works()
            except GONE as error:
                self._due |= due
                self._woken.set()
                await patience.fails(error)
            except Exception:  # those who miss something are looked at again with the next news
                log.exception("chat.not_told")
            # Whatever happens in a workspace has all of its visitors looked at: two fifths of the time at most.
            await asyncio.sleep(min(max(BREATH_SECONDS, 1.5 * (clock() - began)), LONGEST_BREATH_SECONDS))

    async def _tell_all(self, guests: list[Guest]) -> None:
        if not guests:
            return
        rows = dict(zip(guests, await self._look([guest.caller for guest in guests]), strict=True))
        behind = []
        for guest, row in rows.items():
            if row is None:
                guest.wire.shut(4401, "your session has ended")
                continue
            if not widgets.admits(row["allowed_origins"], guest.origin):
                guest.wire.shut(4403, "this page is not where this widget may be")
                continue
            guest.conversation_id = row["conversation_id"]
            if row["seq"] > guest.cursor:
                behind.append(guest)
            elif (row["read_place"] or 0) > guest.read_place:
                self._tell_read(guest, row["read_place"])
        if not behind:
            return
        asked = [(guest.caller.workspace_id, guest.caller.visitor_id, guest.cursor) for guest in behind]
        async with self._standing.use() as connection:
            pages = await showing.changed(connection, asked)
        for guest, page in zip(behind, pages, strict=True):
            if guest.wire.waiting > WAITING_BYTES:
                guest.wire.shut(4409, f"too slow: resync from seq {guest.cursor}")
            elif page:
                guest.say(*(ChatMessageSeen(message.seq, message) for message in page))
                guest.cursor = page[-1].seq
                self._wake(guest.caller.workspace_id)  # there may be more, and how far it was read comes after

    def _tell_read(self, guest: Guest, place: int) -> None:
        guest.read_place = place
        guest.say(ChatRead(place))

    async def _tell_typing(self, typing: list[tuple[uuid.UUID, TypingSeen]]) -> None:
        due = [
            (guest, seen)
            for workspace_id, seen in typing
            for guest in self._rooms.get(workspace_id, ())
            if guest.is_live and seen.conversation_id is not None and guest.conversation_id == seen.conversation_id
        ]
        if not due:
            return
        columns = [[guest.caller.workspace_id for guest, _ in due], [guest.caller.widget_id for guest, _ in due]]
        async with self._standing.use() as connection:
            names = await presence.names_of(connection, [*columns, [seen.user_id for _, seen in due]])
        for (guest, seen), name in zip(due, names, strict=True):
            guest.say(ChatTypingSeen(seen.typing, name))

    async def _look(self, callers: list[Caller]) -> list[Any]:
        async with self._standing.use() as connection:
            return await presence.standing_of(connection, callers)

    # The safety net

    async def _beat(self) -> None:
        """Each second somebody is told that all is well; now and then everybody is looked at, and here for longer."""
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            guests = [guest for room in self._rooms.values() for guest in room if guest.is_live]
            metrics.CHAT_SOCKETS.set(len(guests))
            for place, guest in enumerate(guests):
                if place % HEARTBEAT_SECONDS == second % HEARTBEAT_SECONDS:
                    guest.say(ChatHeartbeat(guest.cursor))
            if guests and second % RENEW_SECONDS == 0:
                with suppress(*GONE):
                    await self._renew(guests)
                for key in list(self._rooms):
                    self._wake(key)

    async def _renew(self, guests: list[Guest]) -> None:
        async with self._standing.use() as connection:
            await presence.stay(connection, [guest.caller for guest in guests])
