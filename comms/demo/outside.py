"""The other side of the demo's wire: each provider as far as it is simulated, in one server below ``/simulators``."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from comms.authorities import trusted
from comms.demo import callers
from comms.demo.written import CUSTOMER, SIMULATORS, Demo
from comms.directory import Connection
from comms.providers import read_credentials
from comms.providers.base import Request
from comms.repair.checkup import Ours, addresses
from comms.settings import Settings
from comms.simulators import attached, mail_settings, services
from comms.simulators.accounts import AccountServer
from comms.simulators.exchange import Exchange, Reporting
from comms.simulators.mail_exchange import MailExchange
from comms.simulators.media import media_server
from comms.simulators.sent_mail import FOLDER, SentMail
from comms.simulators.server import Asked, Reply, Route, Server
from comms.simulators.telephone import CallsApi, Person, Switchboard

STEP_SECONDS = 0.7
"""Between what the demo's carriers report: long enough to be seen on a screen."""
TELEPHONE_SECOND = 0.3
"""How long a second lasts on the demo's telephones: calls are seen on a screen, and nobody waits for them."""


def simulators(made: Demo, settings: Settings) -> Server:
    """What answers below ``/simulators``: accounts, texts, calls, numbers and mail, and the media of messages."""
    secret = made.connection("twilio").secret
    media = media_server(
        secret["accountSid"],
        secret["authToken"],
        cdn_base=f"http://localhost:{settings.server.port}{SIMULATORS}",
        prefix=SIMULATORS,
    )
    secrets_of = {connection.provider: connection.secret for connection in made.connections}
    accounts = AccountServer(secrets_of, prefix=SIMULATORS, otherwise=media)
    post = poster(made.base_url)
    exchanges = [exchange(made, provider, post) for provider in ("twilio", "signalwire")]
    phones = [CallsApi(switchboard(made, provider)) for provider in ("twilio", "signalwire")]
    routes = [route for one in phones for route in (*one.routes, *callers.routes(one))]
    routes += [route for one in exchanges for route in (*one.routes, *attached.routes(one))]
    routes += services.routes(exchanges[0], {}, {})
    routes += mail_exchange(made, post, SentMail(settings.data_dir / FOLDER)).routes + _mail_settings(made)
    routes.append(Route("GET", "/chat", _chat))
    return Server(routes, prefix=SIMULATORS, otherwise=accounts, remember=0)


async def _chat(asked: Asked) -> Reply:
    """A page that chats, of the widget whose ``key`` the address names."""
    page = Path(__file__).with_name("chat.html").read_bytes()
    return Reply(200, content=page, content_type="text/html; charset=utf-8")


def exchange(made: Demo, provider: str, post: Callable[[Request], Awaitable[int]]) -> Exchange:
    """The demo's account at a provider of texts, whose number posts to the demo."""
    line = made.connection(provider)
    credentials: Any = read_credentials(provider, msgspec.json.encode(line.secret))
    number = str(line.phone_number)
    made_here = Exchange(credentials, numbers=[number], post=post, reporting=Reporting(seconds=STEP_SECONDS))
    ours = Connection(id=line.id, workspace_id=made.workspace_id, provider=provider, credentials=credentials)
    for name, url in addresses(ours, Ours(number), made.public_url).items():
        setattr(made_here.numbers[number], name, url)
    return made_here


def switchboard(made: Demo, provider: str) -> Switchboard:
    """The demo's telephones at a provider: whoever is rung answers, presses 1 when asked to, and talks for a minute.

    The customer has less to say.
    """
    line = made.connection(provider)
    credentials: Any = read_credentials(provider, msgspec.json.encode(line.secret))
    ask = asker(made.base_url)

    async def fetch(request: Request) -> tuple[int, str]:
        try:
            answer = await ask(request)
        except ConnectionError:  # to a provider, nobody there is as good as a failure
            return 503, ""
        return answer.status_code, answer.text

    return Switchboard(
        credentials,
        fetch,
        people={CUSTOMER: Person(keys=("1",))},
        anybody=Person(keys=("1",), talks=60 / TELEPHONE_SECOND),
        second=TELEPHONE_SECOND,
        fallback_url=f"{made.public_url}/webhooks/{provider}/{line.id}/voice-fallback",
        recordings_at=made.base_url + SIMULATORS,
    )


def mail_exchange(made: Demo, post: Callable[[Request], Awaitable[int]], kept: SentMail) -> MailExchange:
    """The demo's account at SendGrid, whose mails reach nobody and are kept to be looked at."""
    line = made.connection("sendgrid")
    credentials: Any = read_credentials("sendgrid", msgspec.json.encode(line.secret))
    url = f"{made.public_url}/webhooks/sendgrid/{line.id}/events"
    return MailExchange(credentials, events_url=url, post=post, keep=kept.keep_document)


def _mail_settings(made: Demo) -> list[Route]:
    """The demo's webhooks, as its account at SendGrid shows them."""
    line = made.connection("sendgrid")
    here = f"{made.public_url}/webhooks/sendgrid/{line.id}"
    parse = {"url": f"{here}/inbound", "hostname": str(line.email_address).rpartition("@")[2]}
    event = mail_settings.event_hook(f"{here}/events", line.secret["eventPublicKey"])
    return mail_settings.routes(line.secret["apiKey"], [event], [parse])


def poster(base_url: str) -> Callable[[Request], Awaitable[int]]:
    """Posts webhooks to the process at ``base_url``, and says how they were answered."""
    ask = asker(base_url)

    async def post(request: Request) -> int:
        return (await ask(request)).status_code

    return post


def asker(base_url: str) -> Callable[[Request], Awaitable[httpx.Response]]:
    """Asks the process at ``base_url``, whatever address the world knows it by."""

    async def ask(request: Request) -> httpx.Response:
        parts = urlsplit(request.url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {**request.headers, "host": parts.netloc.rpartition("@")[2]}
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=False, verify=trusted()) as client:
                return await client.request(request.method, base_url + path, content=request.body, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionError(str(error)) from error

    return ask
