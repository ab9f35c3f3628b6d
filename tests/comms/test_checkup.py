"""What ``comms doctor`` says of connections, and what it mends at the provider."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from comms.cli import doctor
from comms.directory import Connection
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.repair import checkup
from comms.service import Service
from comms.settings import ProviderSettings, ServerSettings, Settings
from comms.simulators.accounts import AccountServer
from comms.simulators.exchange import Exchange
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
async def settings(settings: Settings, exchanges: tuple[Exchange, Exchange]) -> AsyncIterator[Settings]:
    """The providers are simulators."""
    accounts = AccountServer({"twilio": TWILIO, "signalwire": PROJECT})
    server = Server([route for exchange in exchanges for route in exchange.routes], otherwise=accounts)
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
    assert number.sms_fallback_url == f"{here}/messages"
    assert (number.voice_url, number.voice_fallback_url) == (f"{here}/voice#rc=1&rp=5xx,ct", f"{here}/voice-fallback")
    assert number.status_callback == f"{here}/voice-status"
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


async def test_the_public_address_is_tried_from_here(service: Service, app: Any) -> None:
    async with serving(app) as url:
        address = url.replace("ws://", "http://").removesuffix("/ws")
        assert (await checkup.reaches(address)).healthy
    assert not (await checkup.reaches(address)).healthy
    away = msgspec.structs.replace(service.settings, server=ServerSettings(public_url=address))
    assert len(await doctor._public_url(away)) == 1
