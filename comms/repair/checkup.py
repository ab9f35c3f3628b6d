"""Whether a connection would work: what its provider says of the credentials, its numbers, and where they post.

    credentials     the provider accepts them
    clock           ours and the provider's agree: signatures and codes are good for minutes
    ownership       each number is this account's
    webhooks        each number posts to us, falls back to us, and tries again

and, asked to mend, the provider is told where a number posts.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

import httpx
import msgspec

from comms import checks
from comms.directory import Connection
from comms.providers import log
from comms.providers.outgoing import Answer, NotSent
from comms.providers.rest import Account, document_of, expect_success, instant_of
from comms.providers.sendgrid import SendGridCredentials, proves_inbound
from comms.providers.signalwire import SignalWireCredentials, with_password
from comms.repair.asking import Providers, Unanswered
from comms.settings import ProviderSettings
from models.base import now

SKEW_SECONDS = 60
RETRIES: Mapping[str, Mapping[str, str]] = {
    # By default Twilio tries again only when it cannot connect, once.
    # https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
    "twilio": {"sms_url": "#rc=3&rp=4xx,5xx,ct,rt", "voice_url": "#rc=1&rp=5xx,ct"},
}
PLACES = {
    "sms_url": "messages",
    "sms_fallback_url": "messages",
    "voice_url": "voice",
    "voice_fallback_url": "voice-fallback",
    "status_callback": "voice-status",
}
"""What a number is told at its provider: each address by the provider's name, and the webhook of ours it is."""


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at: whether it is as it should be, in a sentence."""

    healthy: bool
    sentence: str


class Ours(msgspec.Struct, frozen=True):
    """A number as we know it."""

    number: str
    sms: bool = True
    voice: bool = True
    messaging_service_sid: str | None = None


class Checkup:
    """Looks at connections; ``fix`` tells their providers where the numbers post."""

    def __init__(self, settings: ProviderSettings, public_url: str, *, fix: bool = False) -> None:
        self._settings = settings
        self._public_url = public_url
        self._fix = fix
        self._providers = Providers(settings)

    async def close(self) -> None:
        """No provider is asked any more."""
        await self._providers.close()

    async def examine(self, connection: Connection, numbers: Sequence[Ours]) -> AsyncIterator[Finding]:
        """What there is to say of a connection and the numbers that leave by it."""
        name = f"connection {connection.id} to {connection.provider}"
        checked = await checks.ask(self._settings, connection.provider, connection.credentials)
        yield Finding(checked.ok, f"{name}: {checked.detail}")
        if isinstance(connection.credentials, SendGridCredentials) and not proves_inbound(connection.credentials):
            yield Finding(
                False,
                f"{name}: its secret has no parsePublicKey, so no mail can be proven and none is taken: turn on the"
                " signature of Inbound Parse at SendGrid, and enter its key",
            )
        if not checked.ok or connection.provider == "sendgrid":
            return
        try:
            account = self._providers.account_of(connection)
        except Unanswered as error:
            yield Finding(False, f"{name}: {error}")
            return
        is_clock_told = False
        for ours in numbers:
            try:
                answer = await self._providers.ask(log.number(account, ours.number))
                if not is_clock_told and (finding := _clock(connection, answer)) is not None:
                    is_clock_told = True
                    yield finding
                hooks = log.number_in(answer, ours.number)
                if hooks is None:
                    yield Finding(False, f"{ours.number} is not a number of {name}: add it there, or release it here")
                    continue
                async for finding in self._hooks(connection, account, ours, hooks):
                    yield finding
            except (Unanswered, NotSent) as error:
                yield Finding(False, f"{ours.number} could not be looked at: {getattr(error, 'words', error)}")

    async def _hooks(
        self, connection: Connection, account: Account, ours: Ours, hooks: log.Hooks
    ) -> AsyncIterator[Finding]:
        wanted = addresses(connection, ours, self._public_url)
        wrong = {name: url for name, url in wanted.items() if hooks.urls[name] != url}
        if wrong and self._fix:
            answer = await self._providers.ask(log.rewire(account, hooks, wrong))
            expect_success(answer, document_of(answer))
            yield Finding(True, f"{ours.number}: {', '.join(wrong)} now set at {connection.provider}")
            wrong = {}
        for name in wrong:
            place = f"{_shown(hooks.urls[name])}, not ours" if hooks.urls[name] else "not set"
            yield Finding(False, f"{ours.number}: {name} is {place}: run `comms doctor --fix`")
        if wanted and not wrong:
            yield Finding(True, f"{ours.number} posts to {self._public_url}, and there once more when that fails")
        if ours.messaging_service_sid is not None:
            yield Finding(
                True,
                f"{ours.number} is in messaging service {ours.messaging_service_sid}: unless that leaves messages to"
                " its senders' webhooks, its inbound URL must be the number's sms_url",
            )


def addresses(connection: Connection, ours: Ours, public_url: str) -> dict[str, str]:
    """Where a number should post, by the provider's names."""
    retries = RETRIES.get(connection.provider, {})
    used = [name for name in PLACES if (ours.sms if name.startswith("sms") else ours.voice)]
    urls = {}
    for name in used:
        url = f"{public_url}/webhooks/{connection.provider}/{connection.id}/{PLACES[name]}"
        if isinstance(connection.credentials, SignalWireCredentials):
            url = with_password(url, connection.credentials)
        urls[name] = url + retries.get(name, "")
    return urls


async def reaches(public_url: str) -> Finding:
    """Whether PUBLIC_URL leads to a comms, as far as can be told from here: a way in from outside may differ."""
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            response = await client.get(f"{public_url}/healthz")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(False, f"{public_url} does not answer from here ({type(error).__name__}): is the service up?")
    if response.status_code != 200 or response.headers.get("content-type", "").partition(";")[0] != "application/json":
        return Finding(False, f"{public_url}/healthz answers {response.status_code}, and not as comms does")
    return Finding(True, f"{public_url} leads to comms")


def _clock(connection: Connection, answer: Answer) -> Finding | None:
    """Whether our clock is the provider's, which stands in every answer."""
    theirs: datetime | None = instant_of(answer.headers.get("date"))
    if theirs is None:
        return None
    behind = (theirs - now()).total_seconds()
    if abs(behind) > SKEW_SECONDS:
        which = "behind" if behind > 0 else "ahead of"
        return Finding(False, f"this machine's clock is {abs(behind):.0f} s {which} {connection.provider}'s: set it")
    return Finding(True, f"this machine's clock is {connection.provider}'s, within {SKEW_SECONDS} s")


def _shown(url: str) -> str:
    """An address without the password in it; another system's may hold one."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
