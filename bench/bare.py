"""The ``websockets`` library by itself: a server that broadcasts the frames it is told to, as fast as its loop allows.

    python -m bench.bare PORT

Whoever connects and says anything is let in with the ``ready`` of comms. A line ``{"run": …, "events": …, "rate": …}``
on standard input starts a run; the answer is one line, the instants (monotonic) at which each broadcast began.
"""

import asyncio
import gc
import json
import sys
import time

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.fanout import Run, message, said

_connected: set[ServerConnection] = set()
_told = 0


async def main() -> None:
    """Serves until its standard input ends."""
    async with serve(_welcome, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=2**20):
        gc.freeze()
        print("listening", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await _run(msgspec.json.decode(line, type=Run))), flush=True)


async def _welcome(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.send(f'{{"type":"ready","seq":{_told},"head":{_told}}}')
    _connected.add(connection)
    await connection.wait_closed()
    _connected.discard(connection)


async def _run(run: Run) -> list[float]:
    global _told
    began, sent_at = time.monotonic(), []
    for number in range(run.events):
        if run.rate:
            await asyncio.sleep(began + number / run.rate - time.monotonic())
        sent_at.append(time.monotonic())
        _told += 1
        broadcast(_connected, said(_told, message(run.name, number)))
        await asyncio.sleep(0)
    return sent_at


if __name__ == "__main__":
    uvloop.run(main())
