"""``comms simulate call``: somebody calls the demo number, and what they hear is printed as they hear it."""

import argparse
import asyncio

import httpx

from comms import demo
from comms.authorities import trusted
from comms.cli.simulating import credentials_of, demo_of
from comms.errors import CannotRun
from comms.providers.base import Request
from comms.settings import Settings
from comms.simulators.telephone import Line, Person, Switchboard


def call(settings: Settings, chosen: argparse.Namespace) -> int:
    """The call is over, and what was heard is printed; exits 1 when it was refused."""
    made = demo_of(settings)
    line = made.connection(chosen.provider)
    place = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}"
    statuses: list[int] = []

    async def fetch(request: Request) -> tuple[int, str]:
        url = made.base_url + request.url.removeprefix(made.public_url)
        async with httpx.AsyncClient(timeout=15, trust_env=False, verify=trusted()) as client:
            answer = await client.request(
                request.method, url, headers=dict(request.headers), content=request.body or None
            )
        statuses.append(answer.status_code)
        return answer.status_code, answer.text

    async def ring() -> Line:
        switchboard = Switchboard(
            credentials_of(line, forged=chosen.forged),
            fetch,
            second=0.05,
            fallback_url=f"{place}/voice-fallback",
            recordings_at=made.base_url + demo.SIMULATORS,
        )
        caller = Person(keys=tuple(chosen.press), message=chosen.voicemail, hangs_up=chosen.patience)
        return await switchboard.call(
            chosen.sender or demo.CUSTOMER,
            chosen.to or str(line.phone_number),
            f"{place}/voice",
            caller,
            status_url=f"{place}/voice-status",
        )

    try:
        over = asyncio.run(ring())
    except httpx.TransportError as error:
        raise CannotRun(f"the service does not answer ({type(error).__name__}): is `comms up` running?") from error
    for heard in over.heard:
        print(f"  {heard}")
    print(f"the call {over.sid} is over: {over.status}")
    return 0 if any(200 <= status < 300 for status in statuses) else 1
