"""The simulated telephones, taken down while people are on them."""

import asyncio
import gc
from typing import Any

from comms.providers.base import Request
from comms.providers.twilio import TwilioCredentials
from comms.simulators.telephone import Person, Switchboard
from tests.make.calls import CALLER
from tests.make.communications import OUR_NUMBER
from tests.screens import eventually

ACCOUNT = TwilioCredentials(account_sid="AC" + "a" * 32, auth_token="token")
OTHER = "+12065550142"
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


async def test_a_fault_while_one_phone_is_asked_for_is_heard_of_and_the_other_phones_ring_on() -> None:
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context.get("exception")))

    async def fetch(request: Request) -> tuple[int, str]:
        if request.url == LEG:
            raise RuntimeError("a fault of the app")
        if request.url.endswith("voice"):
            phones = f"<Number url='{LEG}'>{OTHER}</Number><Number>{CALLER}</Number>"
            return 200, f"<Response><Dial action='/over'>{phones}</Dial></Response>"
        return 200, "<Response/>"

    people = {OTHER: Person(after=1), CALLER: Person(after=2)}
    switchboard = Switchboard(ACCOUNT, fetch, people=people)
    try:
        await switchboard.call(CALLER, OUR_NUMBER, "https://a.example/voice", Person())
        statuses = {line.to: line.status for line in switchboard.lines.values()}
        assert statuses[CALLER] == "completed", "who was asked for second has talked"
        gc.collect()
        assert [str(fault) for fault in faults] == ["a fault of the app"]
    finally:
        await switchboard.close()
