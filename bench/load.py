"""The load generator, a process of its own: keeps every connection busy with one request after another.

    python -m bench.load '{"port": …, "batch": {…}, "connections": 64, "seconds": 5}'

It signs everything beforehand, says ``ready``, waits for a line, runs, and prints what came of it. One epoll loop over
plain sockets: at 10,000 requests a second an HTTP client library would need more of the machine than what it measures.
"""

import array
import gc
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from bench.webhooks import Batch, requests

PATIENCE_SECONDS = 15.0


class Load(msgspec.Struct, frozen=True):
    """What to post, and how. With a ``rate`` (per second) requests leave on time, whether or not answers are back."""

    port: int
    batch: Batch
    connections: int
    seconds: float
    rate: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. Requests are counted from 0 in the order they left; all of ``issued`` were answered.

    ``completed`` in ``seconds``, latencies in seconds. ``refused`` are those not answered 2xx. ``sent_at`` is when
    (monotonic) those of a paced load were due, without the first of each connection, which are not measured.
    """

    issued: int
    completed: int
    seconds: float
    p50: float
    p99: float
    worst: float
    refused: list[int]
    sent_at: list[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.completed / self.seconds


class _Connection:
    __slots__ = ("index", "left_at", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.index = -1
        self.left_at = 0.0
        self.received = b""


def run(load: Load, prepared: Sequence[bytes]) -> Outcome:
    """The requests have been posted until the time was over or there were none left, and all answers are here."""
    run = _Run(load, prepared)
    try:
        return run.paced(load.rate) if load.rate else run.flat_out()
    finally:
        run.close()


class _Run:
    def __init__(self, load: Load, prepared: Sequence[bytes]) -> None:
        self._seconds = load.seconds
        self._prepared = prepared
        self._connections = [_Connection(load.port) for _ in range(load.connections)]
        self._by_descriptor = {connection.socket.fileno(): connection for connection in self._connections}
        self._poll = select.epoll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._issued = 0
        self._busy = 0
        self._refused: list[int] = []

    def flat_out(self) -> Outcome:
        """Every connection has its next request as soon as its answer is here. The first of each is not measured."""
        self._greet()
        latencies = array.array("d")
        completed = 0
        began = last = time.monotonic()
        ends = began + self._seconds
        for connection in self._connections:
            self._send(connection, began)
        while self._busy:
            for connection, now in self._answers(ends + PATIENCE_SECONDS):
                latencies.append(now - connection.left_at)
                if now <= ends:
                    completed, last = completed + 1, now
                    self._send(connection, now)
        return self._outcome(latencies, completed, (ends if self._is_left else last) - began)

    def paced(self, rate: float) -> Outcome:
        """Requests leave at their time; what no connection was free for leaves late, and has been due all the while."""
        self._greet()
        latencies = array.array("d")
        idle = deque(self._connections)
        sent_at: list[float] = []
        first = self._issued
        began = time.monotonic()
        due = began
        while self._busy or self._is_left:
            if self._is_left and idle and time.monotonic() >= due:
                self._send(idle.popleft(), due)
                sent_at.append(due)
                due = began + (self._issued - first) / rate
                continue
            patience = due if self._is_left and idle else None
            for connection, now in self._answers(due + PATIENCE_SECONDS, patience):
                latencies.append(now - connection.left_at)
                idle.append(connection)
        return self._outcome(latencies, len(latencies), time.monotonic() - began, sent_at)

    def close(self) -> None:
        for connection in self._connections:
            connection.socket.close()

    @property
    def _is_left(self) -> bool:
        return self._issued < len(self._prepared)

    def _greet(self) -> None:
        """Each connection has been used once: the server has made what it needs for it."""
        for connection in self._connections:
            self._send(connection, 0.0)
        until = time.monotonic() + PATIENCE_SECONDS
        while self._busy:
            for _ in self._answers(until):
                pass

    def _send(self, connection: _Connection, left_at: float) -> None:
        """The next request, if there is one, is on its way."""
        if not self._is_left:
            return
        request = self._prepared[self._issued]
        connection.index = self._issued
        connection.left_at = left_at
        if connection.socket.send(request) != len(request):
            raise RuntimeError("a request did not fit into the socket's buffer")
        self._issued += 1
        self._busy += 1

    def _answers(self, until: float, wake_at: float | None = None) -> Iterator[tuple[_Connection, float]]:
        """Whose answers are here, and when they came; nobody's at ``wake_at``."""
        now = time.monotonic()
        if now > until:
            raise RuntimeError(f"{self._busy} requests were not answered in {PATIENCE_SECONDS} s")
        for descriptor, _ in self._poll.poll(1.0 if wake_at is None else max(0.0, wake_at - now)):
            connection = self._by_descriptor[descriptor]
            received = connection.received + connection.socket.recv(65536)
            if received == connection.received:
                raise RuntimeError("the server closed a connection")
            if not _is_whole(received):
                connection.received = received
                continue
            connection.received = b""
            self._busy -= 1
            if received[9:10] != b"2":
                self._refused.append(connection.index)
            yield connection, time.monotonic()

    def _outcome(
        self, latencies: Sequence[float], completed: int, seconds: float, sent_at: Sequence[float] = ()
    ) -> Outcome:
        ordered = sorted(latencies) or [0.0]
        return Outcome(
            issued=self._issued,
            completed=completed,
            seconds=seconds,
            p50=ordered[len(ordered) // 2],
            p99=ordered[int(len(ordered) * 0.99)],
            worst=ordered[-1],
            refused=self._refused,
            sent_at=list(sent_at),
        )


def _is_whole(received: bytes) -> bool:
    """Whether this is a whole response."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    if received.startswith(b"204", 9):
        return True
    place = received.find(b"ontent-length:", 0, end)  # with either C
    if place < 0:
        place = received.find(b"ontent-Length:", 0, end)
    if place < 0:
        raise RuntimeError(f"a response without a length: {received[:200]!r}")
    length = int(received[place + 14 : received.index(b"\r\n", place)])
    return len(received) >= end + 4 + length


def main() -> None:
    """The process: its orders are the argument."""
    load = msgspec.json.decode(sys.argv[1], type=Load)
    prepared = list(requests(load.batch))
    gc.disable()  # no pause of ours is to be taken for one of the server's
    print("ready", flush=True)
    sys.stdin.readline()
    print(msgspec.json.encode(run(load, prepared)).decode(), flush=True)


if __name__ == "__main__":
    main()
