"""How soon a caller hears something: calls at a steady rate, the first answer of each timed, each call counted."""

import asyncio
import gc
import statistics
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from bench import ledger, machine
from bench.stage import Server, Stage
from bench.webhooks import Line
from comms.providers.twilio import TwilioCredentials
from comms.simulators import twilio, wire

TOWN = "calls"
WARMING_SECONDS = 3
"""A fresh process opens its connections first, each of which learns the tables and plans its statements."""
CONNECTIONS = 100
Lines = deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
"""Connections that nobody uses now."""
FLOW = {
    "start": "menu",
    "steps": {
        "menu": {
            "type": "menu",
            "text": "Press 1 to leave a message.",
            "choices": [{"digit": "1", "next": "message"}],
            "next": "message",
        },
        "message": {"type": "voicemail"},
    },
}


class Plan(msgspec.Struct, frozen=True):
    """How many calls begin a second, and for how long."""

    rate: int = 50
    seconds: int = 10


class Answered(msgspec.Struct, frozen=True):
    """From request to document, in seconds, over all calls."""

    plan: Plan
    p50: float
    p99: float
    worst: float
    answers: int
    stolen: float


async def measure(stage: Stage, server: Server, plan: Plan) -> Answered:
    """Every call was answered with the menu, and kept once; raises ``Miscounted`` when one was not."""
    town = stage.towns[TOWN]
    line = town.lines[0]
    flow = msgspec.json.encode(FLOW).decode()
    await stage.admin.execute(
        "UPDATE workspace_phone_numbers SET voice_flow = $1::jsonb WHERE workspace_id = $2", flow, town.ids[0]
    )
    # Signed beforehand, and by plain sockets: with an HTTP client library the load took a third of the database's core.
    count = plan.rate * WARMING_SECONDS, plan.rate * plan.seconds
    requests = [_request(line, index) for index in range(sum(count))]
    lines = deque([await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS)])
    gc.disable()
    try:
        await _begun(lines, plan.rate, requests[: count[0]])
        theft = machine.Theft()
        waited = sorted(await _begun(lines, plan.rate, requests[count[0] :]))
        stolen = theft.share
    finally:
        gc.enable()
        for _, writer in lines:
            writer.close()
    kept = await stage.admin.fetchval("SELECT count(*) FROM calls WHERE workspace_id = $1", town.ids[0])
    if kept != len(requests):
        raise ledger.Miscounted(f"{kept} of {len(requests)} calls were kept")
    return Answered(
        plan=plan,
        p50=statistics.median(waited),
        p99=waited[int(len(waited) * 0.99)],
        worst=waited[-1],
        answers=len(waited),
        stolen=stolen,
    )


async def _begun(lines: Lines, rate: int, requests: Sequence[bytes]) -> list[float]:
    """How long each caller waited, ``rate`` of them a second, answered or not."""
    began = time.monotonic()
    calls = []
    for index, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
        calls.append(asyncio.create_task(_call(lines, request)))
    return await asyncio.gather(*calls)


async def _call(lines: Lines, request: bytes) -> float:
    """How long a caller waited for the menu."""
    reader, writer = lines.popleft()
    began = time.monotonic()
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    seconds = time.monotonic() - began
    lines.append((reader, writer))
    if not head.startswith(b"http/1.1 200") or b"<Gather" not in body:
        raise ledger.Miscounted(f"a call was answered {head[:20]!r}: {body[:300]!r}")
    return seconds


def _request(line: Line, index: int) -> bytes:
    """A provider's request for the first document of a call, as it goes over the wire."""
    sender = f"+{int(line.first_phone.removeprefix('+')) + index % line.contacts}"
    request = twilio.signed(
        f"{line.public_url}/webhooks/twilio/{line.connection}/voice",
        TwilioCredentials(line.account, line.token),
        {
            "CallSid": wire.sid("CA"),
            "AccountSid": line.account,
            "From": sender,
            "To": line.number,
            "CallStatus": "ringing",
            "Direction": "inbound",
        },
    )
    path = request.url.removeprefix(line.public_url)
    headers = {"host": line.public_url.rpartition("/")[2], **request.headers, "content-length": str(len(request.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + request.body
