"""Websockets that listen, a process of its own: raw bytes in, the instant and the provider's id of every message out.

    python -m bench.listeners '{"port": …, "token": "…", "sockets": 500, "messages": 2000, "path": "…"}'

It says ``ready`` when all are let in, and ends when every socket has heard every message, or with the next line it is
given. All sockets are sent the same frames, most of them in the same pieces: what one has had is understood once and
recognised on the others, piece by piece or frame by frame, so that a socket that has fallen behind costs little more.
"""

import gc
import os
import re
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from comms.hub.frames import framed

_MASK = b"\0\0\0\0"
_SEQ = re.compile(rb'"seq":(\d+)')
_RECEIVED = re.compile(
    rb'"event":"(?:message\.received".*?"providerMessageId|team_message\.created".*?"content)":"(\w+)"', re.DOTALL
)
REMEMBERED = 2_000


class Audience(msgspec.Struct, frozen=True):
    """Who listens where; what they heard is written to ``path``. Without ``messages`` they sit there until told.

    With ``tokens`` each socket is somebody else's.
    """

    port: int
    token: str
    sockets: int
    messages: int = 0
    path: str | None = None
    tokens: list[str] = []


class Heard(msgspec.Struct, frozen=True):
    """When (monotonic) each message was heard, once for each socket; and what should not be."""

    at: dict[str, list[float]]
    broken: int  # sockets that missed a number, or had one twice
    lost: int  # sockets that were closed


class _Frame(msgspec.Struct, frozen=True, gc=False):
    """What a frame says: the number of an event and the message received with it, or what a ping is to be answered."""

    seq: int = 0
    message: str | None = None
    pong: bytes | None = None


class _Listener:
    __slots__ = ("last", "rest", "socket")

    def __init__(self, audience: Audience, number: int) -> None:
        token = audience.tokens[number] if audience.tokens else audience.token
        self.socket = socket.create_connection(("127.0.0.1", audience.port))
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YmVuY2gtYmVuY2gtYmVuYw==\r\n\r\n"
        )
        self._until(rb"\r\n\r\n")
        self.socket.sendall(masked(framed(msgspec.json.encode({"type": "auth", "token": token}))))
        ready = self._until(rb'"type":"ready","seq":(\d+)[^}]*\}')
        self.last = int(ready[1])
        self.rest = ready.string[ready.end() :]
        self.socket.setblocking(False)

    def _until(self, pattern: bytes) -> "re.Match[bytes]":
        received = b""
        while (found := re.search(pattern, received)) is None:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise RuntimeError(f"a socket was not let in: {received!r}")
            received += chunk
        return found


def listen(audience: Audience, listeners: list[_Listener]) -> Heard:
    """What the listeners hear until they have heard everything, or a line comes in."""
    poll = select.epoll()
    by_descriptor = {listener.socket.fileno(): listener for listener in listeners}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    stdin = sys.stdin.fileno()
    poll.register(stdin, select.EPOLLIN)
    heard: dict[str, list[float]] = {}
    known = _Known(_understood)
    pieces = _Known(lambda piece: _frames(piece, known))
    broken: set[int] = set()
    lost = 0
    due = audience.messages * audience.sockets or -1
    while due:
        for descriptor, _ in poll.poll():
            if descriptor == stdin:
                return Heard(heard, len(broken), lost)
            listener = by_descriptor[descriptor]
            received = listener.socket.recv(1 << 18)
            now = time.monotonic()
            if not received:
                poll.unregister(descriptor)
                lost += 1
                continue
            frames, listener.rest = pieces[listener.rest + received]
            for said in frames:
                if said.seq:
                    if said.seq != listener.last + 1:
                        broken.add(descriptor)
                    listener.last = said.seq
                if said.message is not None:
                    heard.setdefault(said.message, []).append(now)
                    due -= 1
                if said.pong is not None:
                    listener.socket.send(said.pong)
    return Heard(heard, len(broken), lost)


class _Known(dict[bytes, Any]):
    """What was made of the latest byte strings."""

    def __init__(self, make: Callable[[bytes], Any]) -> None:
        self._make = make

    def __missing__(self, data: bytes) -> Any:
        if len(self) >= REMEMBERED:
            del self[next(iter(self))]
        made = self[data] = self._make(data)
        return made


def _frames(data: bytes, known: _Known) -> tuple[list[_Frame], bytes]:
    """The server's whole frames in ``data``, and what is left of an unfinished one."""
    frames = []
    place, ends = 0, len(data)
    while ends >= place + 2:
        size, header = data[place + 1], 2
        if size >= 126:
            header = 4 if size == 126 else 10
            size = int.from_bytes(data[place + 2 : place + header], "big")
        if ends < place + header + size:
            break
        frames.append(known[data[place : place + header + size]])
        place += header + size
    return frames, data[place:]


def _understood(frame: bytes) -> _Frame:
    payload = frame[{126: 4, 127: 10}.get(frame[1], 2) :]
    if frame[0] & 15 == 9:
        return _Frame(pong=masked(b"\x8a%c%b" % (len(payload), payload)))
    if frame[0] & 15 != 1 or not payload.startswith(b'{"type":"event"'):
        return _Frame()
    seq, received = _SEQ.search(payload), _RECEIVED.search(payload)
    assert seq is not None
    return _Frame(int(seq[1]), received[1].decode() if received else None)


def masked(frame: bytes) -> bytes:
    """A client's frame: masked, as RFC 6455 wants it, with zeros. For payloads shorter than 64 KiB."""
    header = 2 if frame[1] < 126 else 4
    return b"%c%c%b%b%b" % (frame[0], frame[1] | 0x80, frame[2:header], _MASK, frame[header:])


def main() -> None:
    """The process: its orders are the argument."""
    audience = msgspec.json.decode(sys.argv[1], type=Audience)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    listeners = [_Listener(audience, number) for number in range(audience.sockets)]
    gc.disable()
    print("ready", flush=True)
    heard = listen(audience, listeners)
    if audience.path is not None:
        Path(audience.path).write_bytes(msgspec.msgpack.encode(heard))
    print("done", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
