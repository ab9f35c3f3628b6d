"""How soon a caller hears something: calls at a steady rate, the first answer of each timed, each call counted."""

import asyncio
import statistics
import time

import httpx
import msgspec

from bench import ledger, machine
from bench.stage import Server, Stage
from bench.webhooks import Line
from comms.providers.twilio import TwilioCredentials
from comms.simulators import twilio, wire

TOWN = "calls"
WARMING_SECONDS = 3
"""A fresh process opens its connections first, each of which learns the tables and plans its statements."""
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
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.port}", limits=limits, timeout=30, trust_env=False
    ) as client:
        await _begun(client, line, plan.rate, plan.rate * WARMING_SECONDS)
        theft = machine.Theft()
        waited = sorted(await _begun(client, line, plan.rate, plan.rate * plan.seconds))
        stolen = theft.share
    kept = await stage.admin.fetchval("SELECT count(*) FROM calls WHERE workspace_id = $1", town.ids[0])
    expected = plan.rate * (WARMING_SECONDS + plan.seconds)
    if kept != expected:
        raise ledger.Miscounted(f"{kept} of {expected} calls were kept")
    return Answered(
        plan=plan,
        p50=statistics.median(waited),
        p99=waited[int(len(waited) * 0.99)],
        worst=waited[-1],
        answers=len(waited),
        stolen=stolen,
    )


async def _begun(client: httpx.AsyncClient, line: Line, rate: int, count: int) -> list[float]:
    """How long each of ``count`` callers waited, ``rate`` of them a second, answered or not."""
    began = time.monotonic()
    calls = []
    for index in range(count):
        await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
        calls.append(asyncio.create_task(_call(client, line, index)))
    return await asyncio.gather(*calls)


async def _call(client: httpx.AsyncClient, line: Line, index: int) -> float:
    """How long a caller waited for the menu."""
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
    began = time.monotonic()
    answer = await client.post(
        request.url.removeprefix(line.public_url), content=request.body, headers=dict(request.headers)
    )
    seconds = time.monotonic() - began
    if answer.status_code != 200 or "<Gather" not in answer.text:
        raise ledger.Miscounted(f"a call was answered {answer.status_code}: {answer.text[:300]}")
    return seconds
