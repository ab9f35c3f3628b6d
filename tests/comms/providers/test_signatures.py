"""Whom the dialects believe: every golden request, the official validators as oracles, and bytes that nobody sent."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalwire.core.security import webhook_validator
from twilio.request_validator import RequestValidator

from comms.providers import DIALECTS, wire
from comms.providers.base import Forged, Request, Unreadable, WebhookRefused
from comms.providers.sendgrid import SIGNATURE, TIMESTAMP, SendGridCredentials, open_events, open_inbound
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import SETTINGS, SharedKey, TwilioCredentials, _Repeated
from comms.simulators import sendgrid as sendgrid_simulator
from comms.simulators import signalwire as signalwire_simulator
from comms.simulators import twilio as twilio_simulator
from tests.comms.providers import golden

TWILIO, SIGNALWIRE = DIALECTS["twilio"], DIALECTS["signalwire"]
URL = "https://hooks.example.com/webhooks/twilio/7/messages"
ACCOUNT = TwilioCredentials("AC1", "token")
PROJECT = SignalWireCredentials("project", "PSKkey")

# Captured and sent again: the signature is right, the unique key on the message id is what refuses it.
REPLAYED = {"neg_replayed_later"}
# The boundary of a name moved: it verifies, and fails for want of a mandatory name.
SHIFTED = {"neg_boundary_shift"}


def believed(opening: Callable[..., object], *given: Any) -> bool:
    try:
        opening(*given)
    except Forged:
        return False
    return True


def resigned(request: Request, **changes: Any) -> Request:
    return Request(**({name: getattr(request, name) for name in request.__struct_fields__} | changes))


@pytest.mark.parametrize("kind", golden.names("twilio"))
def test_a_golden_twilio_request_gets_the_verdict_of_its_fixture(kind: str) -> None:
    expected = golden.fixture("twilio", kind)
    request, credentials = golden.request(expected), golden.twilio_credentials(expected)
    if expected.get("accept_optional"):
        return
    if kind in SHIFTED:
        opened = TWILIO.open(request, credentials)
        assert not believed(TWILIO.message_of, opened)
        return
    assert believed(TWILIO.open, request, credentials) is (expected["accept"] or kind in REPLAYED)


@pytest.mark.parametrize("kind", golden.names("signalwire"))
def test_a_golden_signalwire_request_gets_the_verdict_of_its_fixture(kind: str) -> None:
    expected = golden.fixture("signalwire", kind)
    request, credentials = golden.request(expected), golden.signalwire_credentials(expected)
    assert believed(SIGNALWIRE.open, request, credentials) is expected["accept"]


@pytest.mark.parametrize("kind", golden.names("sendgrid"))
def test_a_golden_sendgrid_request_gets_the_verdict_of_its_fixture(kind: str) -> None:
    expected = golden.fixture("sendgrid", kind)
    request, credentials, now = golden.request(expected), golden.sendgrid_credentials(expected), golden.moment(expected)
    opening = open_events if "events" in request.url or "event" in kind else open_inbound
    assert believed(opening, request, credentials, now) is expected["accept"]


@pytest.mark.parametrize(
    "kind",
    [kind for provider in ("twilio", "signalwire") for kind in map(f"{provider}/{{}}".format, golden.names(provider))],
)
def test_a_request_seen_under_another_url_verifies_under_its_own(kind: str) -> None:
    provider, _, name = kind.partition("/")
    expected = golden.fixture(provider, name)
    if "correct_url" not in expected:
        return
    credentials = getattr(golden, f"{provider}_credentials")(expected)
    DIALECTS[provider].open(resigned(golden.request(expected), url=expected["correct_url"]), credentials)


# -- Secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["token", "next-token"])
def test_the_current_and_the_next_twilio_token_are_both_believed(secret: str) -> None:
    request = twilio_simulator.message(URL, TwilioCredentials("AC1", secret), sender="+1", recipient="+2")
    assert believed(TWILIO.open, request, TwilioCredentials("AC1", "token", "next-token"))
    assert not believed(TWILIO.open, request, TwilioCredentials("AC1", "a-third", "a-fourth"))


@pytest.mark.parametrize("secret", ["PSKkey", "PSKnext"])
def test_the_current_and_the_next_signing_key_are_both_believed(secret: str) -> None:
    request = signalwire_simulator.message(URL, SignalWireCredentials("p", secret), sender="+1", recipient="+2")
    assert believed(SIGNALWIRE.open, request, SignalWireCredentials("p", "PSKkey", "PSKnext"))
    assert not believed(SIGNALWIRE.open, request, SignalWireCredentials("p", "PSKthird"))


def test_the_current_and_the_next_sendgrid_key_are_both_believed() -> None:
    now = datetime.now(UTC)
    (old, _), (new, private) = sendgrid_simulator.new_keys(), sendgrid_simulator.new_keys()
    request = sendgrid_simulator.events(URL, SendGridCredentials(new, event_private_key=private), [], now)
    assert believed(open_events, request, SendGridCredentials(old, next_event_public_key=new), now)
    assert not believed(open_events, request, SendGridCredentials(old), now)


def test_a_blank_secret_proves_nothing() -> None:
    blank = TwilioCredentials("AC1", "", "")
    assert not believed(TWILIO.open, twilio_simulator.signed(URL, blank, {"Body": "hi"}), blank)
    unset = SignalWireCredentials("p", "")
    assert not believed(SIGNALWIRE.open, signalwire_simulator.signed(URL, unset, {"Body": "hi"}), unset)
    shared = TwilioCredentials("AC1", "token", shared_keys={"k": SharedKey("")})
    assert not believed(TWILIO.open, twilio_simulator.signed_with_shared_key(URL, shared, {}, "k"), shared)


def test_a_shared_key_is_pinned_to_its_algorithm_and_to_its_header() -> None:
    account = TwilioCredentials("AC1", "token", shared_keys={"k": SharedKey("s"), "old": SharedKey("s", "HMAC_SHA1")})
    params = {"Body": "hi"}
    for key in ("k", "old"):
        assert believed(TWILIO.open, twilio_simulator.signed_with_shared_key(URL, account, params, key), account)
    genuine = twilio_simulator.signed_with_shared_key(URL, account, params, "old")
    for settings in (
        "key=k,algorithm=HMAC_SHA1",
        "key=k",
        "key=other,algorithm=HMAC_SHA1",
        "",
        "key=old,algorithm=MD5",
    ):
        forged = resigned(genuine, headers={**genuine.headers, SETTINGS: settings})
        assert not believed(TWILIO.open, forged, account)
    with_token = twilio_simulator.signed(URL, account, params)
    assert believed(TWILIO.open, with_token, account)
    claimed = resigned(with_token, headers={**with_token.headers, SETTINGS: "key=old,algorithm=HMAC_SHA1"})
    assert not believed(TWILIO.open, claimed, account)


def test_credentials_do_not_print_their_secrets() -> None:
    secrets = [
        TwilioCredentials("AC1", "hush", shared_keys={"k": SharedKey("hush")}),
        SignalWireCredentials("p", "hush"),
        SendGridCredentials("hush", event_private_key="hush"),
        SharedKey("hush"),
    ]
    assert "hush" not in f"{secrets!r} {secrets}"


# -- Holes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_a_signature_over_the_url_alone_proves_no_body(content_type: str) -> None:
    bare = twilio_simulator.signed(URL, ACCOUNT, {})
    assert believed(TWILIO.open, bare, ACCOUNT)
    forged = resigned(bare, headers={**bare.headers, "content-type": content_type}, body=b'{"Body":"forged"}')
    assert not believed(TWILIO.open, forged, ACCOUNT)
    bare = signalwire_simulator.signed(URL, PROJECT, {}, "get")
    assert believed(SIGNALWIRE.open, bare, PROJECT)
    forged = resigned(bare, method="POST", headers={**bare.headers, "content-type": content_type}, body=b'{"a":"b"}')
    assert not believed(SIGNALWIRE.open, forged, PROJECT)


@pytest.mark.parametrize("body", [b"&", b"=", b"&&=&", b"{}", b'{"":""}'])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json"])
def test_a_body_that_adds_no_text_is_not_proven_by_the_url(body: bytes, content_type: str) -> None:
    for dialect, credentials, bare in (
        (TWILIO, ACCOUNT, twilio_simulator.signed(URL, ACCOUNT, {})),
        (SIGNALWIRE, PROJECT, signalwire_simulator.signed(URL, PROJECT, {})),
    ):
        forged = resigned(bare, headers={**bare.headers, "content-type": content_type}, body=body)
        assert not believed(dialect.open, forged, credentials)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "post"])
def test_a_body_is_believed_only_by_post(method: str) -> None:
    genuine = twilio_simulator.message(URL, ACCOUNT, sender="+1", recipient="+2")
    assert not believed(TWILIO.open, resigned(genuine, method=method), ACCOUNT)
    genuine = signalwire_simulator.message(URL, PROJECT, sender="+1", recipient="+2")
    assert not believed(SIGNALWIRE.open, resigned(genuine, method=method), PROJECT)


def test_a_json_body_is_believed_by_its_hash_in_the_url() -> None:
    request = twilio_simulator.signed_json(URL, ACCOUNT, b'{"Message":"\\u0000hi"}')
    assert TWILIO.open(request, ACCOUNT).document == {"Message": "hi"}
    assert not believed(TWILIO.open, resigned(request, body=b'{"Message":"ho"}'), ACCOUNT)


def test_proven_json_that_is_no_json_is_unreadable_and_not_forged() -> None:
    for body in (b"{", b"[" * 100_000, b"\xff", b"NaN"):
        with pytest.raises(Unreadable):
            TWILIO.open(twilio_simulator.signed_json(URL, ACCOUNT, body), ACCOUNT)


@pytest.mark.parametrize("suffix", ["", "/", ":443", ":443/"])
def test_a_handshake_is_believed_with_the_slash_and_the_port_twilio_may_add(suffix: str) -> None:
    host, slash = suffix.removesuffix("/"), "/" if suffix.endswith("/") else ""
    signed = twilio_simulator.handshake(f"wss://voice.example.com{host}/relay{slash}", ACCOUNT)
    assert believed(TWILIO.open, resigned(signed, url="wss://voice.example.com/relay"), ACCOUNT)
    assert not believed(TWILIO.open, resigned(signed, url="wss://voice.example.com/other"), ACCOUNT)


def test_a_configured_basic_password_is_put_back_into_the_url() -> None:
    project = SignalWireCredentials("p", "PSKkey", basic_user="u", basic_password="p@ss")
    message = signalwire_simulator.message(URL, project, sender="+1", recipient="+2", shape="swml")
    call = signalwire_simulator.signed_json(URL, project, {"call": {}}, call=True)
    for request in (message, call):
        assert believed(SIGNALWIRE.open, request, project)
    assert not believed(SIGNALWIRE.open, message, SignalWireCredentials("p", "PSKkey"))


def test_the_stronger_signature_decides_alone() -> None:
    call = signalwire_simulator.signed_json(URL, PROJECT, {"call": {}}, call=True)
    assert believed(SIGNALWIRE.open, call, PROJECT)
    for worse in ("0" * 64, ""):
        forged = resigned(call, headers={**call.headers, "x-signalwire-sha256-signature": worse})
        assert not believed(SIGNALWIRE.open, forged, PROJECT)


@pytest.mark.parametrize(("age", "verdict"), [(-6, False), (-4, True), (0, True), (60 * 24, True), (60 * 26, False)])
def test_events_are_believed_for_twenty_five_hours(age: int, verdict: bool) -> None:
    public, private = sendgrid_simulator.new_keys()
    credentials, now = SendGridCredentials(public, event_private_key=private), datetime.now(UTC)
    request = sendgrid_simulator.events(URL, credentials, [{"event": "open"}], now - timedelta(minutes=age))
    assert believed(open_events, request, credentials, now) is verdict


def test_events_that_are_no_array_are_unreadable() -> None:
    public, private = sendgrid_simulator.new_keys()
    credentials, now = SendGridCredentials(public, event_private_key=private), datetime.now(UTC)
    for body in (b"{}", b"[", b"\xff"):
        request = sendgrid_simulator._signed(URL, "application/json", body, private, now)
        with pytest.raises(Unreadable):
            open_events(request, credentials, now)


def test_half_an_emoji_does_not_lose_the_batch() -> None:
    public, private = sendgrid_simulator.new_keys()
    now = datetime.now(UTC)
    request = sendgrid_simulator._signed(URL, "application/json", rb'[{"reason":"\ud83d \u0000"},7]', private, now)
    assert open_events(request, SendGridCredentials(public), now) == [{"reason": "? "}, 7]


@pytest.mark.parametrize("key", ["", "!", "AAAA", b64encode(b"no key").decode()])
def test_a_configured_key_that_is_none_proves_nothing(key: str) -> None:
    _, private = sendgrid_simulator.new_keys()
    now = datetime.now(UTC)
    request = sendgrid_simulator._signed(URL, "application/json", b"[]", private, now)
    assert not believed(open_events, request, SendGridCredentials(key), now)
    assert not believed(open_inbound, request, SendGridCredentials(key), now)


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
