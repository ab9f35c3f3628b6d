"""Whether a provider knows us by the credentials of a connection: asked over HTTP, outside of any transaction."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from comms.authorities import trusted
from comms.mail.smtp import Servers
from comms.providers import Credentials
from comms.providers.outgoing import Busy, Refused
from comms.providers.sendgrid import SendGridCredentials
from comms.providers.signalwire import SignalWireCredentials, space_of
from comms.providers.smtp import SmtpCredentials
from comms.providers.twilio import TwilioCredentials
from comms.settings import ProviderSettings

TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 1024 * 1024


class Checked(msgspec.Struct, frozen=True):
    """What the provider said: ``ok``, and in words."""

    ok: bool
    detail: str


class _Question(msgspec.Struct, frozen=True):
    url: str
    headers: Mapping[str, str] = {}
    basic: tuple[str, str] | None = None


async def ask(
    settings: ProviderSettings, servers: Servers, provider: str, credentials: Credentials, whose: uuid.UUID
) -> Checked:
    """The provider's answer to these credentials within 5 s; nothing it says beyond yes or no is passed on.

    ``whose`` is the workspace that has named it, ``servers`` reaches its mail server, if that is what it is.
    """
    if isinstance(credentials, SmtpCredentials):
        return await _greeted(servers, credentials, whose)
    question = _question(settings, credentials)
    if isinstance(question, Checked):
        return question
    try:
        # No redirects and no proxies of the environment: the credentials go to this address and to no other.
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, verify=trusted()) as client:
            auth = None if question.basic is None else httpx.BasicAuth(*question.basic)
            response = await client.get(question.url, headers=dict(question.headers), auth=auth)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return Checked(False, f"{_name(provider)} does not answer ({type(error).__name__}): try again later.")
    return _understood(provider, response)


async def _greeted(servers: Servers, credentials: SmtpCredentials, whose: uuid.UUID) -> Checked:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await servers.greet(credentials, whose)
    except (Refused, Busy) as error:
        return Checked(False, error.words)
    except TimeoutError:
        return Checked(False, f"{credentials.host} does not answer: try again later.")
    return Checked(True, f"{credentials.host} accepts these credentials.")


def _question(settings: ProviderSettings, credentials: Credentials) -> "_Question | Checked":
    match credentials:
        case SendGridCredentials():
            if credentials.api_key is None:
                return Checked(False, "There is no apiKey in the secret: nothing to ask SendGrid with.")
            bearer = {"Authorization": f"Bearer {credentials.api_key}"}
            if not credentials.api_key.isascii():
                return Checked(False, "SendGrid does not accept these credentials.")
            return _Question(f"{settings.sendgrid_url}/v3/scopes", bearer)
        case SignalWireCredentials():
            if credentials.api_token is None:
                return Checked(False, "There is no apiToken in the secret: nothing to ask SignalWire with.")
            base = settings.signalwire_url or space_of(credentials.space_url)
            if base is None:
                return Checked(False, "spaceUrl in the secret must be your space, such as example.signalwire.com.")
            account = quote(credentials.project_id, safe="")
            return _Question(
                f"{base}/api/laml/2010-04-01/Accounts/{account}.json",
                basic=(credentials.project_id, credentials.api_token),
            )
        case TwilioCredentials():
            account = quote(credentials.account_sid, safe="")
            return _Question(
                f"{settings.twilio_url}/2010-04-01/Accounts/{account}.json",
                basic=(credentials.account_sid, credentials.auth_token),
            )
        case _:
            raise TypeError(type(credentials).__name__)


def _understood(provider: str, response: httpx.Response) -> Checked:
    name = _name(provider)
    if response.status_code in (401, 403, 404):
        return Checked(False, f"{name} does not accept these credentials.")
    if response.status_code != 200:
        return Checked(False, f"{name} answered {response.status_code}: try again later.")
    document = _document(response)
    if document is None:
        return Checked(False, f"{name} answered something that is not JSON: is the address right?")
    if provider != "sendgrid":
        status = document.get("status", "active")
        if status != "active":
            said = status if status in ("suspended", "closed") else "not active"
            return Checked(False, f"{name} knows this account, and it is {said}.")
    elif "mail.send" not in (document.get("scopes") or ()):
        return Checked(False, "SendGrid accepts the key, but it may not send mail: it needs the scope mail.send.")
    return Checked(True, f"{name} accepts these credentials.")


def _document(response: httpx.Response) -> dict[str, Any] | None:
    if len(response.content) > _MOST_BYTES:
        return None
    try:
        document = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        return None
    return document if isinstance(document, dict) else None


def _name(provider: str) -> str:
    return {"twilio": "Twilio", "signalwire": "SignalWire", "sendgrid": "SendGrid"}[provider]
