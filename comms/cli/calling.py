"""``comms simulate call``: somebody calls the demo number, and what they hear is printed as they hear it."""

import argparse
import time
from typing import Any

import httpx

from comms import demo
from comms.cli.simulating import credentials_of, demo_of, post, reach
from comms.demo import Demo, DemoConnection
from comms.errors import CannotRun
from comms.providers.calling import account_of
from comms.providers.rest import Account
from comms.settings import Settings
from comms.simulators import signalwire, twilio, wire

LOOK_SECONDS = 0.3


def call(settings: Settings, chosen: argparse.Namespace) -> int:
    """The call is over, and what was heard is printed; exits 1 when it was refused."""
    made = demo_of(settings)
    line = made.connection(chosen.provider)
    place = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}"
    sender, to = chosen.sender or demo.CUSTOMER, chosen.to or str(line.phone_number)
    if chosen.forged:
        return _forge(made, line, f"{place}/voice", sender, to)
    wanted = {"From": sender, "To": to, "Url": f"{place}/voice", "StatusCallback": f"{place}/voice-status"}
    wanted |= {"Press": chosen.press, "Voicemail": chosen.voicemail, "Talk": chosen.talk, "Patience": chosen.patience}
    account = account_of(chosen.provider, credentials_of(line, forged=False), made.base_url + demo.SIMULATORS)
    known = _ask(account, "POST", "", {name: value for name, value in wanted.items() if value is not None})
    told = 0
    while True:
        for heard in known["heard"][told:]:
            print(f"  {heard}", flush=True)
        told = len(known["heard"])
        if known["isOver"]:
            break
        time.sleep(LOOK_SECONDS)  # a command that waits for a person: the switchboard tells nobody, it is asked
        known = _ask(account, "GET", f"/{known['sid']}")
    print(f"the call {known['sid']} is over: {known['status']}")
    return 0


def _ask(account: Account, method: str, which: str, form: Any = None) -> Any:
    url = f"{account.place}/Callers{which}.json"
    answer = reach(lambda: httpx.request(method, url, data=form, auth=account.basic))
    if not answer.is_success:
        raise CannotRun(f"the simulator answers {answer.status_code}: was `comms up` started anew meanwhile?")
    return answer.json()


def _forge(made: Demo, line: DemoConnection, url: str, sender: str, to: str) -> int:
    """A call is announced by somebody who does not know the connection's secret."""
    credentials = credentials_of(line, forged=True)
    is_twilio = line.provider == "twilio"
    sid = wire.sid("CA") if is_twilio else wire.uuid()
    told = {"CallSid": sid, "From": sender, "To": to, "CallStatus": "ringing", "Direction": "inbound"}
    signed = twilio.signed if is_twilio else signalwire.signed
    return 0 if post(made, signed(url, credentials, told)) else 1
