"""The simulated telephones, taken down while people are on them."""

import asyncio

from comms.providers.base import Request
from comms.providers.twilio import TwilioCredentials
from comms.simulators.telephone import Person, Switchboard
from tests.make.calls import CALLER
from tests.make.communications import OUR_NUMBER
from tests.screens import eventually

ACCOUNT = TwilioCredentials(account_sid="AC" + "a" * 32, auth_token="token")
LEG = "https://a.example/leg"


async def test_telephones_that_are_taken_down_leave_nothing_under_way_and_tell_nobody() -> None:
    asked: list[str] = []

    async def fetch(request: Request) -> tuple[int, str]:
        asked.append(request.url)
        if request.url.endswith("voice"):
            return 200, f"<Response><Dial><Number statusCallback='{LEG}'>{CALLER}</Number></Dial></Response>"
        await asyncio.sleep(60)
        return 204, ""

    before = asyncio.all_tasks()
    switchboard = Switchboard(ACCOUNT, fetch, second=10)
    switchboard.ring(CALLER, OUR_NUMBER, "https://a.example/voice", Person(), status_url="https://a.example/status")
    await eventually(lambda: LEG in asked)
    told = list(asked)
    await switchboard.close()
    assert asyncio.all_tasks() == before
    assert asked == told
