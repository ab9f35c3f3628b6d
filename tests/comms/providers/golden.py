"""The golden webhook requests of ``tests/fixtures``, as the dialects take them."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comms.providers.base import Request
from comms.providers.sendgrid import TIMESTAMP, SendGridCredentials
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import SETTINGS, SharedKey, TwilioCredentials

FIXTURES = Path(__file__).parents[2] / "fixtures"
KEYS = json.loads((FIXTURES / "keys.json").read_text())


def names(provider: str) -> list[str]:
    """Every fixture of a provider."""
    found = sorted(path.stem for path in (FIXTURES / provider).glob("*.json"))
    assert found, f"no fixtures of {provider} under {FIXTURES}"
    return found


def fixture(provider: str, kind: str) -> dict[str, Any]:
    """One golden request with its verdicts."""
    golden: dict[str, Any] = json.loads((FIXTURES / provider / f"{kind}.json").read_text())
    return golden


def request(golden: dict[str, Any]) -> Request:
    """The request as the web server would hand it over."""
    headers = {name.lower(): value for name, value in golden["headers"].items()}
    if golden.get("content_type"):
        headers["content-type"] = golden["content_type"]
    body = b64decode(golden["body_base64"]) if "body_base64" in golden else golden["body"].encode()
    return Request(golden["method"], golden["url"], headers, body)


def twilio_credentials(golden: dict[str, Any]) -> TwilioCredentials:
    """The account that the fixture's secret belongs to; as a shared key where the request says it used one."""
    if SETTINGS not in request(golden).headers:
        return TwilioCredentials("ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", golden["secret"])
    shared = {KEYS["twilio"]["shared_key_id"]: SharedKey(golden["secret"], "HMAC_SHA256")}
    return TwilioCredentials("ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", KEYS["twilio"]["primary"], shared_keys=shared)


def signalwire_credentials(golden: dict[str, Any]) -> SignalWireCredentials:
    return SignalWireCredentials("00000000-0000-4000-8000-00000000aaaa", golden["secret"])


def sendgrid_credentials(golden: dict[str, Any]) -> SendGridCredentials:
    """The fixture's key, for events and for mail alike."""
    return SendGridCredentials(golden["secret"], parse_public_key=golden["secret"])


def moment(golden: dict[str, Any]) -> datetime:
    """When the request arrived: as it was stamped, or today for the fixture of an old one and one without a stamp."""
    stamp = request(golden).headers.get(TIMESTAMP, "")
    if golden["kind"] == "event_replayed_old" or not stamp.isdigit():
        return datetime.now(UTC)
    return datetime.fromtimestamp(int(stamp), UTC)
