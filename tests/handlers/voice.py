"""Voice webhooks as a provider posts them, and what it reads in the answer."""

from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx

from comms.directory import Connection
from comms.providers.base import Request
from comms.simulators import signalwire, twilio
from tests.handlers.webhooks import CUSTOMER, url_of
from tests.make.communications import OUR_NUMBER


def spoken(line: Connection, kind: str, *, sid: str, query: dict[str, Any] | None = None, **more: str) -> Request:
    """A signed voice webhook with the parameters of a call to our number."""
    url = url_of(line, kind) + (f"?{urlencode(query)}" if query else "")
    account = getattr(line.credentials, "account_sid", None) or line.credentials.project_id
    params = {
        "CallSid": sid,
        "AccountSid": account,
        "From": CUSTOMER,
        "To": OUR_NUMBER,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    } | more
    speak = twilio.signed if line.provider == "twilio" else signalwire.signed
    return speak(url, line.credentials, params)


def verbs(answer: httpx.Response) -> list[str]:
    """What the provider is told to do, in its order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/xml"
    return [verb.tag for verb in ET.fromstring(answer.text)]
