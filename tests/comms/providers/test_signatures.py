"""Whom the dialects believe: every golden request, every secret, and the holes there were."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comms.providers import DIALECTS
from comms.providers.base import Forged, Request, Unreadable
from comms.providers.sendgrid import SendGridCredentials, open_events, open_inbound
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import SETTINGS, SharedKey, TwilioCredentials
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
