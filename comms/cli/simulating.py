"""``comms simulate``: a provider posts a properly signed webhook to the running demo."""

import argparse
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from comms import demo
from comms.cli.running import CannotRun
from comms.demo import Demo
from comms.providers import read_credentials
from comms.providers.base import Channel, Request
from comms.settings import Settings
from comms.simulators import signalwire, twilio, wire

_STATUSES = ("queued", "sending", "sent", "delivered", "undelivered", "failed", "read")


def add_to(commands: Any, data_option: Callable[[argparse.ArgumentParser], None]) -> None:
    """``simulate`` with its kinds is one of ``commands``."""
    simulate = commands.add_parser("simulate", help="post a signed webhook to the running demo, as a provider would")
    kinds = simulate.add_subparsers(title="kinds", required=True, metavar="KIND")

    sms = kinds.add_parser("sms", help="a customer texts the demo number")
    mms = kinds.add_parser("mms", help="a customer sends pictures")
    mms.add_argument("--media", type=int, default=1, choices=range(1, 11), metavar="N", help="how many (default 1)")
    for parser in (sms, mms):
        parser.add_argument("--from", dest="sender", default=demo.CUSTOMER, help=f"who texts (default {demo.CUSTOMER})")
        parser.add_argument("--to", help="which of our numbers (default: the demo number of the provider)")
        parser.add_argument("--body", default="Hello from the simulator", help="what they write")
        parser.add_argument("--sid", help="the provider's message id; the same one again is a repeated webhook")
        parser.add_argument("--whatsapp", action="store_true", help="over WhatsApp instead (Twilio only)")
        parser.set_defaults(run=_message, media=0) if parser is sms else parser.set_defaults(run=_message)

    status = kinds.add_parser("status", help="the provider reports what became of a message we sent")
    status.add_argument("status", nargs="?", default="delivered", choices=_STATUSES, help="(default delivered)")
    status.add_argument("--sid", help="the provider's id of the message (default: the last one sent)")
    status.add_argument("--error-code", help="such as 30003")
    status.set_defaults(run=_status)

    for parser in (sms, mms, status):
        parser.add_argument("--provider", choices=("twilio", "signalwire"), default="twilio")
        parser.add_argument("--forged", action="store_true", help="sign with a wrong secret, to see it refused")
        data_option(parser)


def _message(settings: Settings, chosen: argparse.Namespace) -> int:
    made = _demo(settings)
    line = made.connection(chosen.provider)
    url = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}/messages"
    if chosen.whatsapp and chosen.provider != "twilio":
        raise CannotRun("only the Twilio simulator speaks WhatsApp")
    sid = chosen.sid or (wire.sid("SM") if chosen.provider == "twilio" else wire.uuid())
    credentials = _credentials(line, forged=chosen.forged)
    to = chosen.to or str(line.phone_number)
    media_base = made.base_url + demo.SIMULATORS
    if chosen.provider == "twilio":
        items = [twilio.media_url(credentials, "MM" + "0" * 32, media_base) for _ in range(chosen.media)]
        channel = Channel.WHATSAPP if chosen.whatsapp else Channel.SMS
        request = twilio.message(
            url, credentials, sender=chosen.sender, recipient=to, body=chosen.body, media=items, sid=sid,
            channel=channel,
        )  # fmt: skip
    else:
        items = [f"{media_base}/files/{number}.png" for number in range(chosen.media)]
        request = signalwire.message(
            url, credentials, sender=chosen.sender, recipient=to, body=chosen.body, media=items, sid=sid
        )
    if not _post(made, request):
        return 1
    kept = _get(made, "conversation-messages", providerMessageId=sid)["items"]
    if kept:
        print(f"the message is {kept[0]['id']} in conversation {kept[0]['conversationId']}")
    else:
        print(f"no message came of it; see {made.base_url}/api/v1/webhook-receipts for the reason")
    return 0


def _status(settings: Settings, chosen: argparse.Namespace) -> int:
    made = _demo(settings)
    line = made.connection(chosen.provider)
    sid = chosen.sid or _last_sent(made)
    url = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}/message-status"
    credentials = _credentials(line, forged=chosen.forged)
    speak = twilio.report if chosen.provider == "twilio" else signalwire.report
    if not _post(made, speak(url, credentials, sid=sid, status=chosen.status, error_code=chosen.error_code)):
        return 1
    known = _get(made, "conversation-messages", providerMessageId=sid)["items"]
    print(f"the message is now {known[0]['status']}" if known else "the report waits for a message with that id")
    return 0


def _demo(settings: Settings) -> Demo:
    made = demo.read(settings.data_dir)
    if made is None:
        raise CannotRun(
            f"there is no demo in {settings.data_dir}: start one with `comms up`, or name its folder with --data-dir"
        )
    return made


def _credentials(line: demo.DemoConnection, *, forged: bool) -> Any:
    secret = dict(line.secret)
    if forged:
        secret["authToken" if line.provider == "twilio" else "signingKey"] = "somebody-elses"
    return read_credentials(line.provider, msgspec.json.encode(secret))


def _post(made: Demo, request: Request) -> bool:
    """Sent to the service as it is reached from here, signed for the address the world knows."""
    url = made.base_url + request.url.removeprefix(made.public_url)
    answer = _reach(lambda: httpx.request(request.method, url, headers=dict(request.headers), content=request.body))
    print(f"{request.method} {url} → {answer.status_code}")
    if answer.is_success:
        return True
    print(answer.json().get("detail", answer.text))
    return False


def _get(made: Demo, resource: str, **query: str) -> Any:
    headers = {"Authorization": f"Bearer {made.access_token}"}
    answer = _reach(lambda: httpx.get(f"{made.base_url}/api/v1/{resource}", params=query, headers=headers))
    answer.raise_for_status()
    return answer.json()


def _last_sent(made: Demo) -> str:
    sent = _get(made, "conversation-messages", direction="outbound", limit="1")["items"]
    if not sent or not sent[0]["providerMessageId"]:
        raise CannotRun("nothing was sent yet: name a message with --sid")
    return str(sent[0]["providerMessageId"])


def _reach(call: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        return call()
    except httpx.TransportError as error:
        raise CannotRun(f"the service does not answer ({type(error).__name__}): is `comms up` running?") from error
