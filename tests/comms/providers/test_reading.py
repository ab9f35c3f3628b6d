"""What the dialects read: golden requests as tables, and the fields that nobody would have sent."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms.providers import DIALECTS, read_credentials, write_credentials
from comms.providers.base import AddressKind, Channel, DeliveryReport, Forged, InboundMessage, MediaItem, Opened
from comms.providers.sendgrid import SendGridCredentials
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import SharedKey, TwilioCredentials
from tests.comms.providers import golden

LEAST = {"MessageSid": "SM1", "AccountSid": "AC1", "From": "+14155550123", "To": "+14155550100", "Body": "hi"}


def message(provider: str, kind: str) -> InboundMessage:
    expected = golden.fixture(provider, kind)
    credentials = getattr(golden, f"{provider}_credentials")(expected)
    return DIALECTS[provider].message_of(DIALECTS[provider].open(golden.request(expected), credentials))


def report(provider: str, kind: str) -> DeliveryReport:
    expected = golden.fixture(provider, kind)
    credentials = getattr(golden, f"{provider}_credentials")(expected)
    return DIALECTS[provider].report_of(DIALECTS[provider].open(golden.request(expected), credentials))


def read(**fields: str) -> InboundMessage:
    return DIALECTS["twilio"].message_of(Opened(LEAST | fields))


def test_an_sms_is_read_whole() -> None:
    sms = message("twilio", "sms_inbound")
    assert sms.provider_message_id == "SM00000000000000000000000000000001"
    assert sms.account == "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert (sms.channel, sms.content, sms.segments) == (Channel.SMS, "Hello, is the 3pm slot still open?", 1)
    assert (sms.sender.value, sms.recipient.value) == ("+14155550123", "+14155550100")
    assert sms.details["fromCity"] == "SAN FRANCISCO"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("sms_inbound_blank_fields", ""),
        ("sms_inbound_nul", "nul::end"),
        ("sms_inbound_nfd", None),
        ("sms_stop_without_optouttype", " Stop. "),
        ("sms_inbound_get", None),
        ("sms_inbound_url_query", None),
        ("neg_duplicate_value_injected", "Hello, is the 3pm slot still open?"),
    ],
)
def test_the_text_is_kept_as_it_was_written_but_for_nul(kind: str, content: str | None) -> None:
    text = message("twilio", kind).content
    assert "\0" not in text
    assert content is None or text == content


def test_decomposed_text_stays_decomposed() -> None:
    assert "e\u0301" in message("twilio", "sms_inbound_nfd").content


def test_the_longest_text_is_not_cut() -> None:
    assert len(message("twilio", "sms_inbound_1600").content) == 1600


@pytest.mark.parametrize(
    ("provider", "kind", "channel", "sender"),
    [
        ("twilio", "whatsapp_inbound_text", Channel.WHATSAPP, AddressKind.PHONE),
        ("twilio", "messenger_inbound", Channel.SOCIAL, AddressKind.MESSENGER),
        ("twilio", "mms_inbound", Channel.SMS, AddressKind.PHONE),
        ("signalwire", "sms_inbound", Channel.SMS, AddressKind.PHONE),
        ("signalwire", "swml_message", Channel.SMS, AddressKind.PHONE),
    ],
)
def test_the_channel_is_in_the_prefix(provider: str, kind: str, channel: Channel, sender: AddressKind) -> None:
    read = message(provider, kind)
    assert (read.channel, read.sender.kind) == (channel, sender)
    assert ":" not in read.sender.value


def test_rcs_is_answered_by_an_agent_and_therefore_is_not_sms() -> None:
    rcs = read(From="rcs:+14155550123", To="rcs:brand_agent")
    assert (rcs.channel, rcs.sender.value, rcs.recipient.kind) == (Channel.SOCIAL, "+14155550123", AddressKind.RCS)


def test_a_short_code_is_an_address_of_its_own_kind() -> None:
    assert message("twilio", "sms_inbound_short_code").recipient.kind is AddressKind.SHORT_CODE


def test_a_sender_in_national_form_lives_where_our_number_does() -> None:
    assert read(From="4155550123").sender.value == "+14155550123"
    assert read(From="020 7946 0018", To="+442079460000").sender.value == "+442079460018"


def test_media_are_those_that_are_there() -> None:
    assert len(message("twilio", "mms_inbound").media) == message("twilio", "mms_inbound").media_announced == 3
    missing = message("twilio", "mms_inbound_missing_item")
    assert (len(missing.media), missing.media_announced) == (1, 2)
    assert message("signalwire", "mms_inbound").media == (
        MediaItem("https://files.signalwire.com/x/y.jpg", "image/jpeg"),
    )
    gap = read(NumMedia="3", MediaUrl2="https://x/2", MediaContentType2="")
    assert (gap.media, gap.media_announced) == ((MediaItem("https://x/2"),), 3)
    unannounced = read(NumMedia="0", MediaUrl0="https://x/0")
    assert (len(unannounced.media), unannounced.media_announced) == (1, 0)
    for sent, kept in ((12, 12), (50, 40)):
        many = read(NumMedia=str(sent), **{f"MediaUrl{index}": "https://x" for index in range(sent)})
        assert (len(many.media), many.media_announced) == (kept, sent)


@pytest.mark.parametrize("number", ["", "many", "-1", "1.5", "٣", "99999999999999999999", "1_0"])
def test_a_count_that_is_no_number_fails_nothing(number: str) -> None:
    odd = read(NumMedia=number, NumSegments=number)
    assert (odd.media_announced, odd.segments) == (0, 1)


def test_a_button_speaks_when_there_is_no_text() -> None:
    assert message("twilio", "whatsapp_inbound_button").content
    assert read(Body=" ", ButtonText="Yes").content == "Yes"
    assert read(Body="No", ButtonText="Yes").content == "No"


def test_further_facts_are_kept_in_our_spelling() -> None:
    assert message("twilio", "whatsapp_inbound_text").sender_name == "Zoë 张"
    metadata = message("twilio", "whatsapp_inbound_channelmetadata").details["channelMetadata"]
    assert metadata["data"]["context"]["WaId"] == "14155550123"
    assert message("twilio", "sms_start_optouttype").details["optOutType"] == "START"
    assert {"errorCode", "errorUrl"} <= message("twilio", "sms_fallback").details.keys()
    assert "referralSourceUrl" in message("twilio", "whatsapp_inbound_referral").details
    assert "messagingServiceSid" in message("twilio", "sms_inbound_messaging_service").details
    assert "" not in message("twilio", "sms_inbound_blank_fields").details.values()


def test_further_facts_have_a_size_and_no_nul() -> None:
    odd = read(
        FromCity="x" * 99_999,
        AddOns="{" * 99_999,
        ChannelMetadata="{",
        FlowData='{"a\\u0000":["\\u0000b"]}',
        Label="\0",
    )
    assert all(len(str(value)) <= 2000 for value in odd.details.values())
    assert (odd.details["channelMetadata"], odd.details["flowData"]) == ("{", {"a": ["b"]})
    assert "label" not in odd.details


@pytest.mark.parametrize("name", sorted(LEAST.keys() - {"Body"}))
def test_a_message_without_a_mandatory_name_is_forged(name: str) -> None:
    assert read().content == "hi"
    with pytest.raises(Forged):
        DIALECTS["twilio"].message_of(Opened({key: value for key, value in LEAST.items() if key != name}))


@pytest.mark.parametrize(
    "odd", [{"AccountSid": "AC1Bodyhi"}, {"Bodyhi": ""}, {"AddBo": "dyhi"}, {"MessageStatus": "sent"}]
)
def test_a_text_may_be_missing_but_not_have_been_shifted_into_another_field(odd: dict[str, str]) -> None:
    wordless = {name: value for name, value in LEAST.items() if name != "Body"}
    assert DIALECTS["twilio"].message_of(Opened(wordless)).content == ""
    with pytest.raises(Forged):
        DIALECTS["twilio"].message_of(Opened(wordless | odd))


def test_the_older_names_of_the_message_id_will_do() -> None:
    fields = {name: value for name, value in LEAST.items() if name != "MessageSid"}
    assert DIALECTS["twilio"].message_of(Opened(fields | {"SmsMessageSid": "SM2"})).provider_message_id == "SM2"
    assert DIALECTS["twilio"].message_of(Opened(fields | {"SmsSid": "SM3"})).provider_message_id == "SM3"


def test_a_swml_message_may_have_no_text() -> None:
    mms = message("signalwire", "swml_message")
    assert (mms.content, mms.account) == ("", "00000000-0000-4000-8000-00000000aaaa")
    assert mms.media == (MediaItem("https://files.signalwire.com/x/y.jpg", "image/jpeg", 34512),)


@given(
    st.dictionaries(
        st.sampled_from(["message_id", "project_id", "from", "to", "body", "media", "segments"]),
        st.recursive(st.text(max_size=5) | st.integers() | st.none() | st.booleans(), st.lists, max_leaves=4)
        | st.lists(st.fixed_dictionaries({"url": st.text() | st.integers(), "size": st.integers() | st.text()})),
    )
)
def test_a_swml_message_of_any_shape_is_read_or_forged(inner: dict[str, Any]) -> None:
    with suppress(Forged):
        DIALECTS["signalwire"].message_of(Opened({}, {"message": inner}))


# -- Reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "kind", "status"),
    [
        ("twilio", "status_queued", "queued"),
        ("twilio", "status_sent", "sent"),
        ("twilio", "status_delivered", "delivered"),
        ("twilio", "status_undelivered", "undelivered"),
        ("twilio", "status_read_whatsapp", "read"),
        ("signalwire", "message_status_queued", "queued"),
        ("signalwire", "message_status_sent", "sent"),
        ("signalwire", "message_status_delivered", "delivered"),
        ("signalwire", "message_status_undelivered", "undelivered"),
        ("signalwire", "message_status_failed", "failed"),
    ],
)
def test_a_status_is_one_of_ours(provider: str, kind: str, status: str) -> None:
    read = report(provider, kind)
    assert (read.status, read.provider) == (status, provider)
    assert read.provider_message_id
    assert read.details["from"]


def test_a_report_says_when_and_why() -> None:
    assert report("twilio", "status_delivered").at is not None
    assert report("twilio", "status_undelivered").error_code
    fields = {"MessageSid": "SM1", "MessageStatus": "undelivered", "RawDlrDoneDate": "2411221154"}
    done = DIALECTS["twilio"].report_of(Opened(fields | {"ErrorCode": "30003", "ChannelStatusMessage": "gone"}))
    assert (done.at, done.error_code, done.error_message) == (
        datetime(2024, 11, 22, 11, 54, tzinfo=UTC),
        "30003",
        "gone",
    )
    assert DIALECTS["twilio"].report_of(Opened(fields | {"RawDlrDoneDate": "24112"})).at is None


def test_a_status_we_do_not_know_is_kept_and_fails_nothing() -> None:
    odd = DIALECTS["twilio"].report_of(Opened({"MessageSid": "SM1", "MessageStatus": "teleported"}))
    assert (odd.reported, odd.status) == ("teleported", None)


@pytest.mark.parametrize(
    "fields", [{"MessageSid": "SM1"}, {"MessageStatus": "sent"}, {"MessageSid": "", "SmsStatus": "x"}]
)
def test_a_report_without_a_mandatory_name_is_forged(fields: dict[str, str]) -> None:
    with pytest.raises(Forged):
        DIALECTS["twilio"].report_of(Opened(fields))


def test_the_native_report_of_signalwire_is_read() -> None:
    document = {
        "id": "u1",
        "project_id": "p1",
        "status": "initiated",
        "from": "+1",
        "timestamp": "2024-11-22T11:54:00Z",
    }
    fields = {"error_code": "", **document}
    read = DIALECTS["signalwire"].report_of(Opened(fields, document))
    assert (read.status, read.reported, read.account, read.error_code) == ("sending", "initiated", "p1", None)
    assert read.at == datetime(2024, 11, 22, 11, 54, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2024-11-22T11:54:00+02:00", datetime(2024, 11, 22, 9, 54, tzinfo=UTC)),
        ("Fri, 22 Nov 2024 11:54:00 +0000", datetime(2024, 11, 22, 11, 54, tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:00", None),  # before the first year there is
        ("9999-12-31T23:59:59-05:00", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 +0000", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_time_is_one_that_can_be_kept_or_none(written: str, at: datetime | None) -> None:
    document = {"id": "u1", "status": "delivered", "timestamp": written}
    assert DIALECTS["signalwire"].report_of(Opened(document, document)).at == at


# -- Credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "credentials"),
    [
        ("twilio", TwilioCredentials("AC1", "token", shared_keys={"k": SharedKey("s")})),
        ("signalwire", SignalWireCredentials("p", "PSKkey", basic_user="u")),
        ("sendgrid", SendGridCredentials("public", parse_public_key="parse")),
    ],
)
def test_credentials_survive_being_written(provider: str, credentials: Any) -> None:
    written = write_credentials(credentials)
    assert b"_" not in written.replace(b"HMAC_", b"")
    assert read_credentials(provider, written) == credentials
