"""``comms simulate``: a provider posts a properly signed webhook to the running demo."""

import argparse
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from comms import demo
from comms.demo import Demo
from comms.errors import CannotRun
from comms.providers import read_credentials
from comms.providers.base import Channel, Request
from comms.settings import Settings
from comms.simulators import signalwire, twilio, wire


def message(settings: Settings, chosen: argparse.Namespace) -> int:
    """A customer's text has been posted, and what came of it is said."""
    made = demo_of(settings)
    line = made.connection(chosen.provider)
    url = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}/messages"
    if chosen.whatsapp and chosen.provider != "twilio":
        raise CannotRun("only the Twilio simulator speaks WhatsApp")
    sid = chosen.sid or (wire.sid("SM") if chosen.provider == "twilio" else wire.uuid())
    credentials = credentials_of(line, forged=chosen.forged)
    said: dict[str, Any] = {
        "sender": chosen.sender or demo.CUSTOMER,
        "recipient": chosen.to or line.phone_number,
        "body": chosen.body,
        "sid": sid,
    }
    base = made.base_url + demo.SIMULATORS
    if chosen.provider == "twilio":
        channel = Channel.WHATSAPP if chosen.whatsapp else Channel.SMS
        items = [twilio.media_url(credentials, sid, base) for _ in range(chosen.media)]
        request = twilio.message(url, credentials, media=items, channel=channel, **said)
    else:
        items = [f"{base}/files/{number}.png" for number in range(chosen.media)]
        request = signalwire.message(url, credentials, media=items, **said)
    if not _post(made, request):
        return 1
    kept = _get(made, "conversation-messages", providerMessageId=sid)["items"]
    if kept:
        print(f"the message is {kept[0]['id']} in conversation {kept[0]['conversationId']}")
    else:
        print(f"no message came of it; see {made.base_url}/api/v1/webhook-receipts for the reason")
    return 0


def status(settings: Settings, chosen: argparse.Namespace) -> int:
    """A delivery report has been posted, and what came of it is said."""
    made = demo_of(settings)
    line = made.connection(chosen.provider)
    sid = chosen.sid or _last_sent(made)
    url = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}/message-status"
    credentials = credentials_of(line, forged=chosen.forged)
    speak = twilio.report if chosen.provider == "twilio" else signalwire.report
    if not _post(made, speak(url, credentials, sid=sid, status=chosen.status, error_code=chosen.error_code)):
        return 1
    known = _get(made, "conversation-messages", providerMessageId=sid)["items"]
    print(f"the message is now {known[0]['status']}" if known else "the report waits for a message with that id")
    return 0


def demo_of(settings: Settings) -> Demo:
    """The demo that was made; raises ``CannotRun`` when there is none."""
    made = demo.read(settings.data_dir)
    if made is None:
        raise CannotRun(
            f"there is no demo in {settings.data_dir}: start one with `comms up`, or name its folder with --data-dir"
        )
    return made


def credentials_of(line: demo.DemoConnection, *, forged: bool) -> Any:
    """The connection's secrets, or ``forged`` ones that prove nothing."""
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
