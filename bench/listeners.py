"""Websockets that listen, a process of its own: raw bytes in, the instant and the provider's id of every message out.

    python -m bench.listeners '{"port": …, "token": "…", "sockets": 500, "messages": 2000, "path": "…"}'

It says ``ready`` when all are let in, and ends when every socket has heard every message, or with the next line it is
given. All sockets are sent the same bytes, so what one has had is understood once and recognised on the others.
"""

import gc
import os
import re
import resource
import select
import socket
import sys
import time
from pathlib import Path

import msgspec

from comms.hub.frames import framed

_MASK = b"\0\0\0\0"
_SEQ = re.compile(rb'"seq":(\d+)')
_RECEIVED = re.compile(rb'"event":"message\.received".*?"providerMessageId":"(\w+)"', re.DOTALL)
REMEMBERED = 256


class Audience(msgspec.Struct, frozen=True):
    """Who listens where; what they heard is written to ``path``. Without ``messages`` they sit there until told."""

    port: int
    token: str
    sockets: int
    messages: int = 0
    path: str | None = None


class Heard(msgspec.Struct, frozen=True):
    """When (monotonic) each message was heard, once for each socket; and what should not be."""

    at: dict[str, list[float]]
    broken: int  # sockets that missed a number, or had one twice
    lost: int  # sockets that were closed


class _Page(msgspec.Struct, frozen=True, gc=False):
    """What some bytes mean: event numbers from ``first`` to ``last`` without a gap, pings, and an unfinished rest."""

    first: int
    last: int
    messages: tuple[str, ...]
    is_whole: bool
    pings: tuple[bytes, ...]
    rest: bytes


class _Listener:
    __slots__ = ("last", "rest", "socket")

    def __init__(self, audience: Audience) -> None:
        self.socket = socket.create_connection(("127.0.0.1", audience.port))
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YmVuY2gtYmVuY2gtYmVuYw==\r\n\r\n"
        )
        self._until(rb"\r\n\r\n")
        self.socket.sendall(masked(framed(msgspec.json.encode({"type": "auth", "token": audience.token}))))
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
    known: dict[bytes, _Page] = {}
    page, its_bytes = _understood(b""), b""
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    broken: set[int] = set()
    lost = 0
    due = audience.messages * audience.sockets or -1
    while due:
        for descriptor, _ in poll.poll():
            if descriptor == stdin:
                return Heard(heard, len(broken), lost)
            listener = by_descriptor[descriptor]
            size = listener.socket.recv_into(buffer)
            now = time.monotonic()
            if not size:
                poll.unregister(descriptor)
                lost += 1
                continue
            if listener.rest or view[:size] != its_bytes:  # nearly always it is what the socket before has had
                its_bytes = listener.rest + bytes(view[:size])
                if its_bytes not in known:
                    if len(known) >= REMEMBERED:
                        del known[next(iter(known))]
                    known[its_bytes] = _understood(its_bytes)
                page = known[its_bytes]
            if page.last:
                if not page.is_whole or page.first != listener.last + 1:
                    broken.add(descriptor)
                listener.last = page.last
            listener.rest = page.rest
            for message in page.messages:
                heard.setdefault(message, []).append(now)
            due -= len(page.messages)
            for ping in page.pings:
                listener.socket.send(masked(b"\x8a%c%b" % (len(ping), ping)))
    return Heard(heard, len(broken), lost)


def _understood(data: bytes) -> _Page:
    numbers: list[int] = []
    messages: list[str] = []
    pings: list[bytes] = []
    place = 0
    while (frame := _frame(data, place)) is not None:
        opcode, payload, place = frame
        if opcode == 9:
            pings.append(payload)
        elif opcode == 1 and payload.startswith(b'{"type":"event"'):
            seq, received = _SEQ.search(payload), _RECEIVED.search(payload)
            assert seq is not None
            numbers.append(int(seq[1]))
            if received is not None:
                messages.append(received[1].decode())
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    is_whole = numbers == list(range(first, last + 1)) if numbers else True
    return _Page(first, last, tuple(messages), is_whole, tuple(pings), data[place:])


def _frame(data: bytes, place: int) -> tuple[int, bytes, int] | None:
    """The opcode and payload of the server's frame at ``place``, and where the next begins; None if it is not whole."""
    if len(data) < place + 2:
        return None
    size, begins = data[place + 1], place + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < begins + width:
            return None
        size, begins = int.from_bytes(data[begins : begins + width], "big"), begins + width
    ends = begins + size
    return (data[place] & 15, data[begins:ends], ends) if len(data) >= ends else None


def masked(frame: bytes) -> bytes:
    """A client's frame: masked, as RFC 6455 wants it, with zeros. For payloads shorter than 64 KiB."""
    header = 2 if frame[1] < 126 else 4
    return b"%c%c%b%b%b" % (frame[0], frame[1] | 0x80, frame[2:header], _MASK, frame[header:])


def main() -> None:
    """The process: its orders are the argument."""
    audience = msgspec.json.decode(sys.argv[1], type=Audience)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    listeners = [_Listener(audience) for _ in range(audience.sockets)]
    gc.disable()
    print("ready", flush=True)
    heard = listen(audience, listeners)
    if audience.path is not None:
        Path(audience.path).write_bytes(msgspec.msgpack.encode(heard))
    print("done", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
