"""``comms simulate``: a provider posts a properly signed webhook to the running demo."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import httpx
import msgspec

from comms import demo
from comms.demo import Demo
from comms.errors import CannotRun
from comms.providers import read_credentials
from comms.providers.base import Channel, Request
from comms.settings import Settings
from comms.simulators import sendgrid, signalwire, twilio, wire


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
    if not post(made, request):
        return 1
    kept = _get(made, "conversation-messages", providerMessageId=sid)["items"]
    if kept:
        print(f"the message is {kept[0]['id']} in conversation {kept[0]['conversationId']}")
    else:
        print(f"no message came of it; see {made.base_url}/api/v1/webhook-receipts for the reason")
    return 0


def email(settings: Settings, chosen: argparse.Namespace) -> int:
    """A customer's mail has been posted as SendGrid would, and what came of it is said."""
    made = demo_of(settings)
    line = made.connection("sendgrid")
    answered = _last_mail(made) if chosen.reply else {}
    headers = {"Message-ID": f"<{chosen.id or wire.uuid()}@simulated.example>"}
    if answered:
        headers["In-Reply-To"] = f"<{answered['rfcMessageId']}>"
    if chosen.automatic:
        headers["Auto-Submitted"] = "auto-replied"
    request = sendgrid.inbound(
        f"{made.public_url}/webhooks/sendgrid/{line.id}/inbound",
        credentials_of(line, forged=chosen.forged),
        datetime.now(UTC),
        sender=chosen.sender or (answered["toAddresses"][0] if answered else demo.CORRESPONDENT),
        recipients=[chosen.to or str(line.email_address)],
        subject=chosen.subject or (answered["subject"] if answered else "Booking"),
        text=chosen.body,
        html=chosen.html,
        headers=headers,
        attachments=[_attached(path) for path in chosen.attach],
        **({"dkim": "none", "spf": "fail"} if chosen.unverified else {}),
    )
    if not post(made, request):
        return 1
    kept = _get(made, "mails", rfcMessageId=headers["Message-ID"].strip("<>"))["items"]
    if kept:
        message = _get(made, f"conversation-messages/{kept[0]['messageId']}")
        print(f"the message is {message['id']} in conversation {message['conversationId']}")
    else:
        print(f"no message came of it; see {made.base_url}/api/v1/webhook-receipts for the reason")
    return 0


def _attached(path: Path) -> sendgrid.Attachment:
    try:
        return path.name, guess_type(path.name)[0] or "application/octet-stream", path.read_bytes()
    except OSError as error:
        raise CannotRun(f"cannot read {path}: {error.strerror}") from None


def _last_mail(made: Demo) -> Any:
    sent = _get(made, "conversation-messages", direction="outbound", provider="sendgrid", limit="1")["items"]
    if not sent:
        raise CannotRun("no mail was sent yet: answer one first, or leave out --reply")
    return _get(made, "mails", messageId=sent[0]["id"])["items"][0]


def status(settings: Settings, chosen: argparse.Namespace) -> int:
    """A delivery report has been posted, and what came of it is said."""
    made = demo_of(settings)
    line = made.connection(chosen.provider)
    sid = chosen.sid or _last_sent(made)
    url = f"{made.public_url}/webhooks/{chosen.provider}/{line.id}/message-status"
    credentials = credentials_of(line, forged=chosen.forged)
    speak = twilio.report if chosen.provider == "twilio" else signalwire.report
    if not post(made, speak(url, credentials, sid=sid, status=chosen.status, error_code=chosen.error_code)):
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
        match line.provider:
            case "sendgrid":
                secret["parsePrivateKey"] = sendgrid.new_keys()[1]
            case "twilio":
                secret["authToken"] = "somebody-elses"
            case _:
                secret["signingKey"] = "somebody-elses"
    return read_credentials(line.provider, msgspec.json.encode(secret))


def post(made: Demo, request: Request) -> bool:
    """Sent to the service as it is reached from here, signed for the address the world knows."""
    url = made.base_url + request.url.removeprefix(made.public_url)
    answer = reach(lambda: httpx.request(request.method, url, headers=dict(request.headers), content=request.body))
    print(f"{request.method} {url} → {answer.status_code}")
    if answer.is_success:
        return True
    print(said_in(answer))
    return False


def said_in(answer: httpx.Response) -> str:
    """What an answer that is a refusal says; whoever is there may be no comms at all."""
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return str(answer.json()["detail"] if is_problem else answer.text[:200])


def expected(answer: httpx.Response) -> Any:
    """What was asked for; raises ``CannotRun`` with what is said instead."""
    if not answer.is_success:
        asked = answer.request
        raise CannotRun(f"{asked.method} {asked.url.path} → {answer.status_code}: {said_in(answer)}")
    return answer.json()


def _get(made: Demo, resource: str, **query: str) -> Any:
    headers = {"Authorization": f"Bearer {made.access_token}"}
    return expected(reach(lambda: httpx.get(f"{made.base_url}/api/v1/{resource}", params=query, headers=headers)))


def _last_sent(made: Demo) -> str:
    sent = _get(made, "conversation-messages", direction="outbound", limit="1")["items"]
    if not sent or not sent[0]["providerMessageId"]:
        raise CannotRun("nothing was sent yet: name a message with --sid")
    return str(sent[0]["providerMessageId"])


def reach(call: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        return call()
    except httpx.TransportError as error:
        raise CannotRun(f"the service does not answer ({type(error).__name__}): is `comms up` running?") from error
