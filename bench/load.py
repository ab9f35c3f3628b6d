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
from collections.abc import Sequence

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

    ``completed`` in ``seconds``, latencies in seconds. ``refused`` are those not answered 2xx. ``sent_at`` (monotonic)
    is told for paced loads.
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
    connections = [_Connection(load.port) for _ in range(load.connections)]
    poll = select.epoll()
    by_descriptor = {connection.socket.fileno(): connection for connection in connections}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    clock = time.monotonic
    idle = deque(connections)
    latencies = array.array("d")
    sent_at: list[float] = []
    refused: list[int] = []
    issued = completed = 0
    began = clock()
    ends = began + load.seconds
    last = began
    pause = 1 / load.rate if load.rate else 0.0
    while True:
        now = clock()
        while idle and issued < len(prepared) and now < ends:
            due = began + issued * pause
            if due > now:
                break
            connection = idle.popleft()
            connection.index = issued
            connection.left_at = due if pause else now
            if connection.socket.send(prepared[issued]) != len(prepared[issued]):
                raise RuntimeError("a request did not fit into the socket's buffer")
            if pause:
                sent_at.append(due)
            issued += 1
            now = clock()
        busy = load.connections - len(idle)
        if not busy and (issued == len(prepared) or now >= ends):
            break
        if now > ends + PATIENCE_SECONDS:
            raise RuntimeError(f"{busy} requests were not answered in {PATIENCE_SECONDS} s")
        for descriptor, _ in poll.poll(max(0.0, began + issued * pause - now) if pause and idle else 1.0):
            connection = by_descriptor[descriptor]
            received = connection.received + connection.socket.recv(65536)
            if received == connection.received:
                raise RuntimeError("the server closed a connection")
            if not _is_whole(received):
                connection.received = received
                continue
            connection.received = b""
            now = clock()
            if received[9:10] != b"2":
                refused.append(connection.index)
            if now <= ends:
                completed += 1
                latencies.append(now - connection.left_at)
                last = now
            if pause or issued == len(prepared) or now >= ends:
                idle.append(connection)
                continue
            # The short way round: the next request leaves at once on the same connection.
            connection.index = issued
            connection.left_at = now
            connection.socket.send(prepared[issued])
            issued += 1
    for connection in connections:
        connection.socket.close()
    ordered = sorted(latencies) or [0.0]
    return Outcome(
        issued=issued,
        completed=completed,
        seconds=(last if issued == len(prepared) else ends) - began,
        p50=ordered[len(ordered) // 2],
        p99=ordered[int(len(ordered) * 0.99)],
        worst=ordered[-1],
        refused=refused,
        sent_at=sent_at,
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
