"""The official validators as oracles of whom the dialects believe, and bytes that nobody sent."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalwire.core.security import webhook_validator
from twilio.request_validator import RequestValidator

from comms.providers import wire
from comms.providers.base import Forged, Request, WebhookRefused
from comms.providers.sendgrid import SIGNATURE, TIMESTAMP, SendGridCredentials, open_events, open_inbound
from comms.providers.twilio import SETTINGS, SharedKey, TwilioCredentials, _Repeated
from comms.simulators import signalwire as signalwire_simulator
from comms.simulators import twilio as twilio_simulator
from tests.comms.providers import golden
from tests.comms.providers.test_signatures import ACCOUNT, PROJECT, SIGNALWIRE, TWILIO, URL, believed, resigned

# -- The official validators as oracles --------------------------------------------------------------------------------

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
PAIRS = st.lists(st.tuples(st.sampled_from(["Body", "BodyH", "From", "é"]) | TEXT, TEXT), min_size=1, max_size=8)
HOSTS = st.sampled_from(["https://h.example", "https://h.example:443", "https://h.example:1234", "http://h.example"])
PATHS = st.sampled_from(["/a", "/a?b=c&d=", "/A%2Fb/?x=%20y"])


@given(pairs=PAIRS, signed=HOSTS, seen=HOSTS, path=PATHS, change=st.sampled_from(["", "body", "path", "signature"]))
def test_twilio_is_believed_exactly_when_its_own_validator_believes(
    pairs: wire.Pairs, signed: str, seen: str, path: str, change: str
) -> None:
    body = urlencode(pairs).encode()
    if not any(name or value for name, value in pairs):
        return
    validator = RequestValidator("token")
    signature = validator.compute_signature(signed + path, _Repeated.of(pairs))
    url = seen + path + ("x" if change == "path" else "")
    received = pairs + ([("Body", "more")] if change == "body" else [])
    signature = signature.swapcase() if change == "signature" else signature
    request = Request(
        "POST",
        url,
        {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature},
        urlencode(received).encode() if change == "body" else body,
    )
    official = validator.validate(url, _Repeated.of(received), signature)
    assert believed(TWILIO.open, request, ACCOUNT) is official


@given(pairs=PAIRS, signed=HOSTS, seen=HOSTS, path=PATHS, change=st.sampled_from(["", "body", "path"]))
def test_signalwire_forms_are_believed_exactly_when_its_own_validator_believes(
    pairs: wire.Pairs, signed: str, seen: str, path: str, change: str
) -> None:
    body = urlencode(pairs)
    if not any(name or value for name, value in pairs):
        return
    message = signed + path + webhook_validator._sorted_concat_params(pairs)
    signature = webhook_validator._b64_hmac_sha1("PSKkey", message)
    url, received = seen + path + ("x" if change == "path" else ""), body + ("&Body=more" if change == "body" else "")
    headers = {"content-type": "application/x-www-form-urlencoded", "x-signalwire-signature": signature}
    request = Request("POST", url, headers, received.encode())
    official = webhook_validator.validate_webhook_signature("PSKkey", signature, url, received)
    assert believed(SIGNALWIRE.open, request, PROJECT) is official


@given(document=st.dictionaries(TEXT, TEXT | st.integers() | st.none()), change=st.booleans(), strong=st.booleans())
def test_signalwire_json_is_believed_exactly_when_its_own_validator_believes(
    document: dict[str, Any], change: bool, strong: bool
) -> None:
    request = signalwire_simulator.signed_json(URL, PROJECT, document, call=strong)
    if change:
        request = resigned(request, body=request.body + b" ")
    official = webhook_validator.validate_webhook_signature(
        "PSKkey", request.headers["x-signalwire-signature"], URL, request.body.decode()
    )
    if strong:
        digest = request.headers["x-signalwire-sha256-signature"]
        body = request.body.decode()
        assert webhook_validator.validate_webhook_signature_sha256("PSKkey", digest, URL, body) is official
    assert believed(SIGNALWIRE.open, request, PROJECT) is official is not change


@pytest.mark.parametrize("shape", ["form", "get", "json", "swml"])
def test_simulated_signalwire_messages_satisfy_its_own_validator(shape: Any) -> None:
    request = signalwire_simulator.message(URL, PROJECT, sender="+1", recipient="+2", shape=shape)
    signature = request.headers["x-signalwire-signature"]
    assert webhook_validator.validate_webhook_signature("PSKkey", signature, request.url, request.body.decode())


def test_json_with_its_hash_in_the_url_is_believed_from_signalwire_too() -> None:
    body = b'{"event":"call.state"}'
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = webhook_validator._b64_hmac_sha1("PSKkey", url)
    request = Request("POST", url, {"content-type": "application/json", "x-twilio-signature": signature}, body)
    assert webhook_validator.validate_webhook_signature("PSKkey", signature, url, body.decode())
    assert believed(SIGNALWIRE.open, request, PROJECT)
    assert not believed(SIGNALWIRE.open, resigned(request, body=b"{}"), PROJECT)


# -- Bytes that nobody sent --------------------------------------------------------------------------------------------


@given(text=st.text(alphabet="ab&=+%;é0F\x00 \ud800", max_size=40))
def test_a_form_is_parsed_as_the_standard_library_parses_it(text: str) -> None:
    assert wire._pairs_of(text) == parse_qsl(text, keep_blank_values=True)


def test_a_form_of_too_many_fields_is_refused_unsorted() -> None:
    with pytest.raises(Forged):
        wire.form_of(b"a=b&" * wire.MOST_FIELDS)


NAMES = st.sampled_from(
    [
        "content-type", "x-twilio-signature", SETTINGS, "x-signalwire-signature", "x-signalwire-sha256-signature",
        SIGNATURE, TIMESTAMP, "upgrade",
    ]
)  # fmt: skip
VALUES = st.text(max_size=40) | st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "websocket",
        "key=k,algorithm=HMAC_SHA256",
        "1732276440",
        "AAAA",
    ]
)
REQUESTS = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PATCH", ""]),
    url=st.text(max_size=40)
    | st.sampled_from(
        ["https://[", "https://[::1]:x/", "wss://h:99999/a", "https://h/\ud800", "https://h/?bodySHA256=%ff"]
    ),
    headers=st.dictionaries(NAMES, VALUES),
    body=st.binary(max_size=60),
)


@given(request=REQUESTS)
def test_whatever_comes_in_is_refused_and_never_breaks(request: Request) -> None:
    account = TwilioCredentials("AC1", "token", shared_keys={"k": SharedKey("s")})
    keys = SendGridCredentials(golden.KEYS["sendgrid"]["event_public_key"])
    now = datetime.now(UTC)
    assert not believed(TWILIO.open, request, account)
    assert not believed(SIGNALWIRE.open, request, PROJECT)
    assert not believed(open_events, request, keys, now)
    assert not believed(open_inbound, request, keys, now)


@given(body=st.binary(max_size=80), form=st.booleans())
def test_whatever_is_signed_is_read_or_refused_and_never_breaks(body: bytes, form: bool) -> None:
    requests: list[tuple[Any, Any, Request]] = [(TWILIO, ACCOUNT, twilio_simulator.signed_json(URL, ACCOUNT, body))]
    digest = webhook_validator._b64_hmac_sha1
    try:
        pairs = wire.form_of(body)
    except Forged:
        pairs = []
    suffix = webhook_validator._sorted_concat_params(pairs)
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-signalwire-signature": digest("PSKkey", URL + suffix),
    }
    requests.append((SIGNALWIRE, PROJECT, Request("POST", URL, headers, body)))
    for dialect, credentials, request in requests:
        for reading in (dialect.message_of, dialect.report_of):
            try:
                reading(dialect.open(request, credentials))
            except WebhookRefused:
                continue
