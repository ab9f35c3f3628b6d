"""What a web process holds in memory when nothing happens: alone, and with sockets that only listen."""

import time

import msgspec

from bench import live, machine
from bench.listeners import Audience
from bench.stage import Server, Stage

SETTLING_SECONDS = 3.0
WARMING = 50  # sockets that come and go first: what the first ones cost is not the price of one more


class Memory(msgspec.Struct, frozen=True):
    """Bytes: of a fresh idle process, and what each of ``sockets`` adds."""

    idle: int
    sockets: int
    each: float


def measure(stage: Stage, server: Server, sockets: int = 1_000) -> Memory:
    """The process must be fresh."""
    time.sleep(SETTLING_SECONDS)  # memory is read when nothing moves any more
    idle = machine.resident_bytes(server.pid)
    _held(stage, server, WARMING)
    before = machine.resident_bytes(server.pid)
    after = _held(stage, server, sockets)
    return Memory(idle, sockets, (after - before) / sockets)


def _held(stage: Stage, server: Server, sockets: int) -> int:
    """What the process holds while so many sockets listen."""
    audience = Audience(server.port, stage.towns[live.TOWN].access_tokens[0], sockets)
    with live.listening(stage, audience) as listeners:
        time.sleep(SETTLING_SECONDS)
        held = machine.resident_bytes(server.pid)
        listeners.communicate("enough\n")
    return held
