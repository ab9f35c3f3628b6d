"""What clients say. A mistake is answered and forgiven; twenty are not, nor is a flood."""

import time
from collections.abc import Callable
from uuid import UUID

import msgspec

from comms.hub import frames, protocol, topics
from comms.hub.protocol import Listening, Ping, Presence, Status, Subscribe, Typing, TypingSeen, Unsubscribe
from comms.hub.rooms import Socket
from comms.sockets import INBOUND_BYTES

MISTAKES = 20
FRAMES_PER_SECOND, FRAMES_AT_ONCE = 50.0, 200.0
WHISPERS_PER_SECOND, WHISPERS_AT_ONCE = 5.0, 10.0

Relay = Callable[[Socket, tuple[str, ...], bytes, UUID | None], None]
"""Takes the sender, the topics, the JSON that the others get, and the team channel if it is said in one."""

Appear = Callable[[Socket, Status], None]
"""Takes the sender, and how its user is there."""


_decode = msgspec.json.Decoder(protocol.Heard).decode
_encode = msgspec.json.Encoder().encode
_UNREADABLE = {1007: "frames are UTF-8", 1009: f"a frame has at most {INBOUND_BYTES // 1024} KiB"}
_PONG = frames.frame(protocol.Pong())


def heard(socket: Socket, text: str | bytes | None, relay: Relay, appear: Appear) -> None:
    """A frame has come from a client: it has had its effect, or the client knows what is wrong with it."""
    if not _allows_another(socket):
        socket.say(protocol.Error(f"at most {FRAMES_PER_SECOND:.0f} frames a second"))
        socket.wire.shut(1008, "too many frames")
        return
    try:
        if not isinstance(text, str):
            raise msgspec.ValidationError("frames are text")
        said = _decode(text)
        match said:
            case Ping():
                socket.wire.write(_PONG)
            case Subscribe(names):
                _listen(socket, topics.more(socket.topics, names))
            case Unsubscribe(names):
                _listen(socket, topics.fewer(socket.topics, names))
            case Typing() | Presence():
                _whisper(socket, said, relay, appear)
    except (msgspec.MsgspecError, topics.UnknownTopic, RecursionError) as error:
        socket.mistakes += 1
        socket.say(protocol.Error(str(error)))
        if socket.mistakes >= MISTAKES:
            socket.wire.shut(1008, "too many malformed frames")


def last_words(code: int) -> bytes:
    """What a client is told before it is closed for something that could not even be read."""
    return frames.frame(protocol.Error(_UNREADABLE.get(code, "this is not a websocket's frame")))


def _listen(socket: Socket, listening: topics.Topics) -> None:
    is_new = topics.PRESENCE in listening - socket.topics
    socket.listen(listening)
    socket.say(Listening(sorted(listening)))
    if is_new:
        socket.say_who_is_here()


def _whisper(socket: Socket, said: Typing | Presence, relay: Relay, appear: Appear) -> None:
    """Told to the others; what is said too often is dropped, for it is only worth the moment."""
    if socket.whispers_left < 1 or socket.is_agents:
        return
    socket.whispers_left -= 1
    if isinstance(said, Presence):
        appear(socket, said.status)
        return
    channel = said.channel_id
    about = (f"channel:{channel}",) if channel else (topics.INBOX, f"conversation:{said.conversation_id}")
    shown = TypingSeen(socket.member.user_id, said.typing, said.conversation_id, channel)
    relay(socket, about, _encode(shown), channel)


def _allows_another(socket: Socket) -> bool:
    now = time.monotonic()
    passed, socket.refilled_at = now - socket.refilled_at, now
    socket.frames_left = min(FRAMES_AT_ONCE, socket.frames_left + passed * FRAMES_PER_SECOND) - 1
    socket.whispers_left = min(WHISPERS_AT_ONCE, socket.whispers_left + passed * WHISPERS_PER_SECOND)
    return socket.frames_left >= 0
