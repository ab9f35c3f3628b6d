"""A connection's secrets: rotated while webhooks come, checked with the provider; and when it was last used."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from comms import checks
from comms.directory import Connection
from comms.mail.smtp import Servers
from comms.providers.signalwire import SignalWireCredentials
from comms.service import Service
from comms.settings import ProviderSettings, Settings
from comms.simulators.accounts import AccountServer
from models.base import new_id
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make.communications import TWILIO
from tests.screens import serving

API = "/api/v1"
NEXT = "twilio-secondary-auth-token"
SIGNALWIRE = {
    "projectId": "00000000-0000-4000-8000-00000000aaaa",
    "signingKey": "PSKtest1234567890abcdef",
    "apiToken": "PTtest",
    "spaceUrl": "acme.signalwire.com",
}
SENDGRID = {"eventPublicKey": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "apiKey": "SG.test"}
SECRETS: dict[str, dict[str, str]] = {"twilio": TWILIO, "signalwire": SIGNALWIRE, "sendgrid": SENDGRID}


@pytest.fixture
async def accounts() -> AccountServer:
    return AccountServer(SECRETS)


@pytest.fixture
async def settings(settings: Settings, accounts: AccountServer) -> AsyncIterator[Settings]:
    """The providers are simulators."""
    async with serving(accounts) as url:
        address = url.replace("ws://", "http://").removesuffix("/ws")
        yield msgspec.structs.replace(settings, providers=ProviderSettings(address, address, address))


async def connected(owner: Client, provider: str, secret: dict[str, Any]) -> str:
    body = {"provider": provider, "name": provider, "secret": secret}
    answer = await owner.post(f"{API}/workspace-api-keys", json=body)
    assert answer.status_code == 201, answer.text
    return f"{API}/workspace-api-keys/{answer.json()['id']}"


async def test_a_credential_of_the_wrong_kind_is_named_in_our_own_words(owner: Client) -> None:
    for provider, field in (("twilio", "accountSid"), ("signalwire", "spaceUrl"), ("sendgrid", "apiKey")):
        secret = SECRETS[provider] | {field: 5}
        body = {"provider": provider, "name": "Main", "secret": secret}
        answer = await owner.post(f"{API}/workspace-api-keys", json=body)
        assert answer.status_code == 400
        assert [(each["field"], "text" in each["reason"]) for each in answer.json()["errors"]] == [
            (f"secret.{field}", True)
        ], answer.text


async def test_nothing_is_shown_of_a_secret_that_is_hardly_longer(owner: Client) -> None:
    for password, shown in (("abcd", ""), ("correct-horse", "orse")):
        secret = {"host": "127.0.0.1", "port": 25, "username": "us", "password": password}
        address = await connected(owner, "smtp", secret)
        assert (await owner.get(address)).json()["lastFour"] == shown


# Rotation


async def test_a_rotation_accepts_both_secrets_and_then_the_next_alone(
    owner: Client, service: Service, line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    address = f"{API}/workspace-api-keys/{line.id}"
    coming = msgspec.structs.replace(line, credentials=msgspec.structs.replace(line.credentials, auth_token=NEXT))

    async def accepted() -> list[int]:
        return [(await post(anonymous, text(who, sid=f"SM{n}"))).status_code for n, who in enumerate((line, coming))]

    assert await accepted() == [200, 403]
    announced = await owner.put(f"{address}/next-secret", json={"secret": {"authToken": NEXT}})
    assert announced.status_code == 200, announced.text
    shown = announced.json()
    assert (shown["lastFour"], shown["nextLastFour"]) == (TWILIO["authToken"][-4:], NEXT[-4:])
    await service.directory.load()
    assert await accepted() == [200, 200]
    rotated = (await owner.post(f"{address}/rotation")).json()
    assert (rotated["lastFour"], rotated["nextLastFour"]) == (NEXT[-4:], None)
    await service.directory.load()
    assert await accepted() == [403, 200]
    again = await owner.post(f"{address}/rotation")
    assert again.status_code == 409
    everything = str(await admin.fetch("SELECT * FROM workspace_api_keys")) + str(
        await admin.fetch("SELECT * FROM events")
    )
    assert NEXT not in everything


async def test_a_rotation_can_be_called_off(owner: Client, service: Service) -> None:
    address = await connected(owner, "twilio", TWILIO)
    assert (await owner.delete(f"{address}/next-secret")).status_code == 404
    assert (await owner.put(f"{address}/next-secret", json={"secret": {"authToken": NEXT}})).status_code == 200
    assert (await owner.delete(f"{address}/next-secret")).status_code == 204
    assert (await owner.get(address)).json()["nextLastFour"] is None
    assert (await owner.post(f"{address}/rotation")).status_code == 409


@pytest.mark.parametrize(
    ("secret", "field"),
    [({"accountSid": "AC1"}, "secret.accountSid"), ({"authToken": ""}, "secret.authToken"), ({}, "secret"),
     ({"nextAuthToken": "x"}, "secret.nextAuthToken"), ({"authToken": 7}, "secret.authToken")],
)  # fmt: skip
async def test_a_next_secret_that_makes_no_sense_is_refused_by_name(
    owner: Client, secret: dict[str, Any], field: str
) -> None:
    address = await connected(owner, "twilio", TWILIO)
    answer = await owner.put(f"{address}/next-secret", json={"secret": secret})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


# What the provider says


@pytest.mark.parametrize("provider", SECRETS)
async def test_a_provider_that_knows_us_says_so(owner: Client, accounts: AccountServer, provider: str) -> None:
    address = await connected(owner, provider, SECRETS[provider])
    answer = await owner.post(f"{address}/check")
    assert answer.status_code == 200, answer.text
    assert answer.json()["ok"] is True
    assert len(accounts.asked) == 1
    shown = (await owner.get(address)).json()
    assert shown["checkedAt"] is not None
    assert (shown["checkPassed"], shown["checkDetail"]) == (True, answer.json()["detail"])
    assert (await owner.patch(address, json={"secret": SECRETS[provider]})).json()["checkPassed"] is None


@pytest.mark.parametrize(
    ("provider", "wrong", "says"),
    [
        ("twilio", {"authToken": "wrong"}, "does not accept"),
        ("signalwire", {"apiToken": "wrong"}, "does not accept"),
        ("signalwire", {"apiToken": None}, "no apiToken"),
        ("sendgrid", {"apiKey": "wrong"}, "does not accept"),
        ("sendgrid", {"apiKey": None}, "no apiKey"),
    ],
)
async def test_a_provider_that_does_not_know_us_says_so_in_words(
    owner: Client, provider: str, wrong: dict[str, Any], says: str
) -> None:
    secret = {name: value for name, value in (SECRETS[provider] | wrong).items() if value is not None}
    answer = (await owner.post(f"{await connected(owner, provider, secret)}/check")).json()
    assert answer["ok"] is False
    assert says in answer["detail"]
    assert "wrong" not in answer["detail"]


async def test_an_account_that_is_closed_or_may_not_send_is_no_good(owner: Client, accounts: AccountServer) -> None:
    accounts.statuses[TWILIO["accountSid"]] = "suspended"
    accounts.scopes = ["alerts.read"]
    for provider, says in (("twilio", "suspended"), ("sendgrid", "mail.send")):
        answer = (await owner.post(f"{await connected(owner, provider, SECRETS[provider])}/check")).json()
        assert answer["ok"] is False
        assert says in answer["detail"]


@pytest.mark.parametrize("space", ["169.254.169.254", "evil.example/", "acme.signalwire.com.evil.example", "a@b", ""])
async def test_a_space_elsewhere_gets_no_token(space: str) -> None:
    credentials = SignalWireCredentials(project_id="p", signing_key="k", api_token="t", space_url=space)
    found = await checks.ask(ProviderSettings(), Servers(()), "signalwire", credentials, new_id())
    assert found.ok is False
    assert "spaceUrl" in found.detail


async def test_a_provider_that_is_away_is_no_server_error(owner: Client, service: Service) -> None:
    address = await connected(owner, "twilio", TWILIO)
    nowhere = ProviderSettings(twilio_url="http://127.0.0.1:9")
    service.settings = msgspec.structs.replace(service.settings, providers=nowhere)
    answer = await owner.post(f"{address}/check")
    assert answer.status_code == 200
    assert answer.json()["ok"] is False
    assert "try again" in answer.json()["detail"]


# When it was last used


async def test_a_genuine_webhook_marks_its_connection_as_used_once_a_minute(
    owner: Client, service: Service, line: Connection, anonymous: httpx.AsyncClient
) -> None:
    async def used() -> Any:
        await service.directory.load()
        return (await owner.get(f"{API}/workspace-api-keys/{line.id}")).json()["lastUsedAt"]

    forged = msgspec.structs.replace(line, credentials=msgspec.structs.replace(line.credentials, auth_token="x"))
    assert (await post(anonymous, text(forged))).status_code == 403
    assert await used() is None
    assert (await post(anonymous, text(line))).status_code == 200
    first = await used()
    assert first is not None
    assert (await post(anonymous, text(line))).status_code == 200
    assert await used() == first
