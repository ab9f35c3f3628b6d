"""What ``comms doctor`` says of connections, and what it mends at the provider."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP

from comms import demo
from comms.cli import doctor
from comms.directory import Connection
from comms.providers.sendgrid import SendGridCredentials
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.repair import checkup
from comms.service import Service
from comms.settings import ProviderSettings, ServerSettings, Settings
from comms.simulators import mail_settings, services
from comms.simulators.accounts import AccountServer
from comms.simulators.exchange import Exchange
from comms.simulators.numbers import Number
from comms.simulators.server import Server
from tests.conftest import PUBLIC_URL
from tests.make import communications as make
from tests.make.communications import OUR_NUMBER, SIGNALWIRE, TWILIO
from tests.screens import serving

OTHER = "+14155550101"
PROJECT = SIGNALWIRE | {"apiToken": "PTtest", "spaceUrl": "acme", "basicUser": "hooks", "basicPassword": "pa55"}


@pytest.fixture
async def exchanges() -> tuple[Exchange, Exchange]:
    """Twilio and SignalWire, each with a number of ours that posts nowhere."""
    twilio = Exchange(msgspec.convert(TWILIO, TwilioCredentials), numbers=[OUR_NUMBER])
    return twilio, Exchange(msgspec.convert(PROJECT, SignalWireCredentials), numbers=[OTHER])


@pytest.fixture
def pools() -> dict[str, services.Pool]:
    """Twilio's messaging services."""
    return {}


@pytest.fixture
def short_codes() -> dict[str, Number]:
    """Twilio's short codes."""
    return {}


@pytest.fixture
def mail_hooks() -> tuple[list[Any], list[Any]]:
    """SendGrid's webhooks: for events, and for mails that come in."""
    return [], []


@pytest.fixture
async def settings(
    settings: Settings,
    exchanges: tuple[Exchange, Exchange],
    pools: dict[str, services.Pool],
    short_codes: dict[str, Number],
    mail_hooks: tuple[list[Any], list[Any]],
) -> AsyncIterator[Settings]:
    """The providers are simulators."""
    accounts = AccountServer({"twilio": TWILIO, "signalwire": PROJECT, "sendgrid": {"apiKey": "SG.test"}})
    routes = [route for exchange in exchanges for route in exchange.routes]
    routes += mail_settings.routes("SG.test", *mail_hooks)
    server = Server([*routes, *services.routes(exchanges[0], pools, short_codes)], otherwise=accounts)
    async with serving(server) as url:
        address = url.replace("ws://", "http://").removesuffix("/ws")
        yield msgspec.structs.replace(settings, providers=ProviderSettings(address, address, address))


async def looked(service: Service, *, fix: bool = False) -> list[tuple[bool, str]]:
    """What the doctor says of the connections."""
    found = doctor._connections(service.settings, service.database, fix=fix)
    return [finding async for finding in found]


async def test_a_number_that_posts_elsewhere_is_said_so_and_mended_when_asked(
    service: Service, line: Connection, exchanges: tuple[Exchange, Exchange]
) -> None:
    number = exchanges[0].numbers[OUR_NUMBER]
    number.sms_url = "https://hooks:secret@elsewhere.example/sms?key=1"
    said = await looked(service)
    wrong = [sentence for healthy, sentence in said if not healthy]
    assert f"{OUR_NUMBER}: sms_url is https://elsewhere.example/sms, not ours: run `comms doctor --fix`" in wrong
    assert f"{OUR_NUMBER}: voice_url is not set: run `comms doctor --fix`" in wrong
    assert len(wrong) == 5
    assert "secret" not in str(said)
    assert number.sms_fallback_url == ""  # it was only looked at

    mended = await looked(service, fix=True)
    assert all(healthy for healthy, _ in mended)
    here = f"{PUBLIC_URL}/webhooks/twilio/{line.id}"
    assert number.sms_url == f"{here}/messages#rc=3&rp=4xx,5xx,ct,rt"
    assert number.sms_fallback_url == f"{here}/messages#rc=3&rp=4xx,5xx,ct,rt"
    assert number.voice_url == f"{here}/voice#rc=1&rp=5xx,ct"
    assert number.voice_fallback_url == f"{here}/voice-fallback#rc=1&rp=5xx,ct"
    assert number.status_callback == f"{here}/voice-status#rc=3&rp=4xx,5xx,ct,rt"
    again = await looked(service)
    assert (True, f"{OUR_NUMBER} posts to {PUBLIC_URL}, and there once more when that fails") in again
    assert all(healthy for healthy, _ in again)
    assert any("clock" in sentence for _, sentence in again)


async def test_signalwire_is_told_the_password_of_its_webhooks_and_no_retries(
    service: Service, workspace_id: uuid.UUID, exchanges: tuple[Exchange, Exchange]
) -> None:
    await make.number(service, workspace_id, OTHER, "signalwire")
    connection = await make.connection(service, workspace_id, "signalwire", PROJECT)
    said = await looked(service, fix=True)
    assert all(healthy for healthy, _ in said)
    here = PUBLIC_URL.replace("://", "://hooks:pa55@")
    assert exchanges[1].numbers[OTHER].sms_url == f"{here}/webhooks/signalwire/{connection.id}/messages"
    assert "pa55" not in str(said)


async def test_what_counts_instead_of_a_numbers_own_addresses_is_said_and_taken_away(
    service: Service, line: Connection, exchanges: tuple[Exchange, Exchange]
) -> None:
    number = exchanges[0].numbers[OUR_NUMBER]
    await looked(service, fix=True)
    number.sms_application_sid, number.voice_application_sid, number.trunk_sid = "AP1", "AP2", "TK1"
    wrong = [sentence for healthy, sentence in await looked(service) if not healthy]
    counts = "whose addresses count instead of the number's: run `comms doctor --fix`"
    assert wrong == [
        f"{OUR_NUMBER}: sms_application_sid is AP1, {counts}",
        f"{OUR_NUMBER}: voice_application_sid is AP2, {counts}",
        f"{OUR_NUMBER}: calls go to the SIP trunk TK1 and not to us: take it out of the trunk",
    ]
    mended = [sentence for healthy, sentence in await looked(service, fix=True) if not healthy]
    assert mended == wrong[2:]  # a trunk is somebody's decision
    assert (number.sms_application_sid, number.voice_application_sid) == ("", "")


async def test_a_messaging_service_that_hides_a_numbers_webhook_is_said_and_leaves_it_to_the_number(
    service: Service, line: Connection, exchanges: tuple[Exchange, Exchange], pools: dict[str, services.Pool]
) -> None:
    await looked(service, fix=True)
    pools["MG1"] = services.Pool("MG1", [OUR_NUMBER], "https://key:secret@elsewhere.example/in?key=1")
    wrong = [sentence for healthy, sentence in await looked(service) if not healthy]
    hides = f"messaging service MG1 posts to https://elsewhere.example/in what {OUR_NUMBER} should get"
    assert wrong == [f"{hides}: run `comms doctor --fix`"]
    pools["MG1"].inbound_request_url = None
    drops = f"messaging service MG1 drops what {OUR_NUMBER} should get"
    assert (False, f"{drops}: run `comms doctor --fix`") in await looked(service)
    # Somebody else's numbers in it are not for us to turn around.
    pools["MG1"].numbers.append("+14155559999")
    assert any(sentence.startswith(drops) for healthy, sentence in await looked(service, fix=True) if not healthy)
    assert not pools["MG1"].use_inbound_webhook_on_number
    pools["MG1"].numbers.pop()
    assert (True, "messaging service MG1 now leaves messages to its numbers' own webhooks") in await looked(
        service, fix=True
    )
    assert pools["MG1"].use_inbound_webhook_on_number
    said = await looked(service)
    assert all(healthy for healthy, _ in said)
    assert any("here in none: PATCH its messagingServiceSid" in sentence for _, sentence in said)
    pools["MG1"] = services.Pool("MG1", [OUR_NUMBER], f"{PUBLIC_URL}/webhooks/twilio/{line.id}/messages")
    assert all(healthy for healthy, _ in await looked(service))


async def test_a_short_code_is_looked_at_and_mended_too(
    service: Service, workspace_id: uuid.UUID, line: Connection, short_codes: dict[str, Number]
) -> None:
    await looked(service, fix=True)
    await make.number(service, workspace_id, "12345")
    assert any(
        sentence.startswith("12345 is not a number of") for healthy, sentence in await looked(service) if not healthy
    )
    short_codes["12345"] = Number("SC1", "12345")
    wrong = [sentence for healthy, sentence in await looked(service) if not healthy]
    assert [sentence.partition(" is ")[0] for sentence in wrong] == ["12345: sms_url", "12345: sms_fallback_url"]
    assert all(healthy for healthy, _ in await looked(service, fix=True))
    assert short_codes["12345"].sms_url == f"{PUBLIC_URL}/webhooks/twilio/{line.id}/messages#rc=3&rp=4xx,5xx,ct,rt"


async def test_sendgrids_webhooks_are_looked_at_as_far_as_its_key_may(
    service: Service, workspace_id: uuid.UUID, mail_hooks: tuple[list[Any], list[Any]]
) -> None:
    events, parses = mail_hooks
    line = await make.sendgrid_connection(service, workspace_id)
    await make.mail_address(service, workspace_id, "support@acme.example", inbound_address="in@Mail.acme.example")
    here = f"{PUBLIC_URL}/webhooks/sendgrid/{line.id}"

    async def wrong() -> list[str]:
        return [sentence for healthy, sentence in await looked(service) if not healthy]

    assert await wrong() == [
        f"SendGrid tells nobody here what becomes of mails: add an event webhook to {here}/events, signed",
        f"SendGrid takes in no mail to mail.acme.example: add it to Inbound Parse, with {here}/inbound",
    ]
    assert isinstance(line.credentials, SendGridCredentials)
    events.append(mail_settings.event_hook(f"{here}/events", line.credentials.event_public_key))
    parses.append({"url": "https://hooks:pa55@elsewhere.example/mail?key=1", "hostname": "mail.acme.example"})
    (posts,) = await wrong()
    assert posts.startswith("SendGrid posts the mail to mail.acme.example to https://elsewhere.example/mail:")
    parses[0] = {"url": here.replace("://", "://hooks:pa55@") + "/inbound", "hostname": "mail.acme.example"}
    assert await wrong() == []
    for change, says in (
        ({"enabled": False}, "switched off"),
        ({"bounce": False}, "lacks bounce"),
        ({"public_key": None}, "not signed"),
        ({"public_key": "MFkw"}, "another key"),
    ):
        kept = dict(events[0])
        events[0].update(change)
        (said,) = await wrong()
        assert says in said
        events[0] = kept


async def test_a_mail_server_has_no_webhooks_to_look_at(
    service: Service, workspace_id: uuid.UUID, settings: Settings
) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(object(), loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    secret = {"host": "127.0.0.1", "port": port, "security": "none"}
    connection = await make.connection(service, workspace_id, "smtp", secret)
    known = msgspec.structs.replace(settings.providers, smtp_hosts=(f"127.0.0.1:{port}",))
    found = [finding async for finding in checkup.Checkup(known, PUBLIC_URL).examine(connection, [])]
    server.close()
    assert [(finding.healthy, "accepts these credentials" in finding.sentence) for finding in found] == [(True, True)]


@pytest.mark.parametrize(
    ("secret", "phone_number", "says"),
    [
        (TWILIO | {"authToken": "wrong"}, OUR_NUMBER, "does not accept these credentials"),
        (TWILIO, "+14155550177", "+14155550177 is not a number of connection"),
    ],
)
async def test_what_is_not_ours_at_the_provider_is_said(
    service: Service, workspace_id: uuid.UUID, secret: Any, phone_number: str, says: str
) -> None:
    await make.number(service, workspace_id, phone_number)
    await make.connection(service, workspace_id, secret=secret)
    said = await looked(service, fix=True)
    assert any(not healthy and says in sentence for healthy, sentence in said), said
    assert "wrong" not in str(said)


async def test_a_clock_that_is_wrong_is_said(
    service: Service, line: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = 3600
    real = checkup.now
    monkeypatch.setattr(checkup, "now", lambda: real().fromtimestamp(real().timestamp() + hour, tz=real().tzinfo))
    said = await looked(service)
    assert any(not healthy and "ahead of twilio's: set it" in sentence for healthy, sentence in said)


def test_a_demo_on_a_port_of_its_own_is_looked_for_there(settings: Settings, tmp_path: Path) -> None:
    made = demo.Demo(
        base_url="http://127.0.0.1:8123",
        public_url="https://demo.example",
        workspace_id=uuid.uuid4(),
        user_id=uuid.uuid4(),
        email="ada@example.com",
        access_token="ck_x",
        connections=[],
    )
    demo.path_in(tmp_path).write_bytes(msgspec.json.encode(made))
    plain = msgspec.structs.replace(settings, data_dir=tmp_path, providers=ProviderSettings())
    there = doctor._as_it_runs(plain)
    assert there.providers.twilio_url == f"http://127.0.0.1:8123{demo.SIMULATORS}"
    assert there.server.public_url == "https://demo.example"
    chosen = ProviderSettings("https://twilio.example")
    assert doctor._as_it_runs(msgspec.structs.replace(plain, providers=chosen)).providers == chosen


async def test_the_public_address_is_tried_from_here(service: Service, app: Any) -> None:
    async with serving(app) as url:
        address = url.replace("ws://", "http://").removesuffix("/ws")
        assert (await checkup.reaches(address)).healthy
    assert not (await checkup.reaches(address)).healthy
    away = msgspec.structs.replace(service.settings, server=ServerSettings(public_url=address))
    assert len(await doctor._public_url(away)) == 1
