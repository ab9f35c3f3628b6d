"""The other side of the wire: what the simulators send is opened and read, and media are served as the providers do."""

from datetime import UTC, datetime
from typing import Any

import filetype
import httpx
import pytest

from comms.providers import DIALECTS
from comms.providers.base import Channel, MediaItem
from comms.providers.sendgrid import SendGridCredentials, open_events, open_inbound
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.simulators import sendgrid, signalwire, twilio
from comms.simulators.media import Kept, MediaServer, media_server

URL = "https://hooks.example.com/webhooks/x/7/messages?tenant=7"
ACCOUNT = TwilioCredentials("AC1", "token")
PROJECT = SignalWireCredentials("project", "PSKkey")
ENDS: Any = {"sender": "+14155550123", "recipient": "+14155550100"}
PICTURE = MediaItem("https://files.example.com/a.png", "image/png")


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("channel", [Channel.SMS, Channel.WHATSAPP, Channel.SOCIAL])
def test_a_simulated_twilio_message_is_opened_and_read(method: str, channel: Channel) -> None:
    request = twilio.message(
        URL,
        ACCOUNT,
        **ENDS,
        body="Grüße 👋\n+1",
        media=[PICTURE],
        sid="MM1",
        channel=channel,
        method=method,
        OptOutType="STOP",
    )
    message = DIALECTS["twilio"].message_of(DIALECTS["twilio"].open(request, ACCOUNT))
    assert (message.provider_message_id, message.account, message.channel) == ("MM1", "AC1", channel)
    assert (message.content, message.media, message.media_announced) == ("Grüße 👋\n+1", (PICTURE,), 1)
    assert message.sender.value.endswith("14155550123")
    assert message.details["optOutType"] == "STOP"


@pytest.mark.parametrize("shape", ["form", "get", "json", "swml"])
def test_a_simulated_signalwire_message_is_opened_and_read(shape: Any) -> None:
    request = signalwire.message(URL, PROJECT, **ENDS, body="Grüße 👋", media=[PICTURE], sid="u1", shape=shape)
    message = DIALECTS["signalwire"].message_of(DIALECTS["signalwire"].open(request, PROJECT))
    assert (message.provider, message.provider_message_id, message.account) == ("signalwire", "u1", "project")
    assert (message.content, message.media, message.media_announced) == ("Grüße 👋", (PICTURE,), 1)
    assert (message.sender.value, message.recipient.value) == ("+14155550123", "+14155550100")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_simulated_twilio_report_is_opened_and_read(method: str) -> None:
    at = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    request = twilio.report(URL, ACCOUNT, sid="SM1", status="undelivered", error_code=30003, at=at, method=method)
    report = DIALECTS["twilio"].report_of(DIALECTS["twilio"].open(request, ACCOUNT))
    assert (report.provider_message_id, report.status, report.error_code, report.at) == (
        "SM1",
        "undelivered",
        "30003",
        at,
    )


@pytest.mark.parametrize("shape", ["form", "get", "json", "native"])
def test_a_simulated_signalwire_report_is_opened_and_read(shape: Any) -> None:
    request = signalwire.report(URL, PROJECT, sid="u1", status="initiated", error_code=30003, shape=shape)
    report = DIALECTS["signalwire"].report_of(DIALECTS["signalwire"].open(request, PROJECT))
    assert (report.provider_message_id, report.status, report.error_code) == ("u1", "sending", "30003")
    assert report.details == report.details | {"from": "+14155550100", "to": "+14155550123", "numSegments": "1"}


def test_simulated_events_and_mail_are_opened() -> None:
    now = datetime.now(UTC)
    event_public, event_private = sendgrid.new_keys()
    parse_public, parse_private = sendgrid.new_keys()
    account = SendGridCredentials(
        event_public, parse_public_key=parse_public, event_private_key=event_private, parse_private_key=parse_private
    )
    delivered = sendgrid.event("delivered", "jane@example.com", now, conversation_id="c-42")
    assert open_events(sendgrid.events(URL, account, [delivered, delivered], now), account, now) == [
        delivered,
        delivered,
    ]
    mail = sendgrid.inbound(
        URL,
        account,
        now,
        sender="Jane <jane@example.com>",
        recipients=["support@hooks.example.com"],
        attachments=[('a"b.png', "image/png", b"\x89PNG\xff")],
    )
    body = open_inbound(mail, account, now)
    assert b'{"to":["support@hooks.example.com"],"from":"jane@example.com"}' in body
    assert b"\x89PNG\xff" in body


# -- Media ------------------------------------------------------------------------------------------------------------

TWILIO_PATH = "/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"


def client(server: MediaServer, base: str = "http://api.local/media") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=server), base_url=base)


@pytest.fixture
def server() -> MediaServer:
    return media_server("AC1", "token", cdn_base="http://cdn.local/media", prefix="/media")


async def test_twilio_media_need_the_password_and_lead_to_another_host(server: MediaServer) -> None:
    async with client(server) as http:
        assert (await http.get(TWILIO_PATH)).status_code == 401
        assert (await http.get(TWILIO_PATH, auth=("AC1", "wrong"))).status_code == 401
        answer = await http.get(TWILIO_PATH, auth=("AC1", "token"))
        assert (answer.status_code, answer.headers["location"]) == (307, "http://cdn.local/media/cdn/ME1")
        assert (await http.get(answer.headers["location"], auth=("AC1", "token"))).status_code == 400
        picture = await http.get(answer.headers["location"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert filetype.guess(picture.content).mime == "image/png"
    assert [(seen.host, seen.status) for seen in server.seen] == [
        ("api.local", 401), ("api.local", 401), ("api.local", 307), ("cdn.local", 400), ("cdn.local", 200),
    ]  # fmt: skip


async def test_media_may_be_late_large_and_not_what_they_say(server: MediaServer) -> None:
    server.kept["ME1"] = Kept(content=b"GIF89a", content_type="image/jpeg", size=200_000, missing=2)
    async with client(server) as http:
        assert [(await http.get("/files/ME1")).status_code for _ in range(2)] == [404, 404]
        late = await http.get("/files/ME1")
    assert (late.status_code, late.headers["content-type"], len(late.content)) == (200, "image/jpeg", 200_000)
    assert late.content.startswith(b"GIF89a")
