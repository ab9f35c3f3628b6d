"""Whether a connection would work: what its provider says of the credentials, its numbers, and where they post.

    credentials     the provider accepts them
    clock           ours and the provider's agree: signatures and codes are good for minutes
    ownership       each number is this account's
    webhooks        each number posts to us, falls back to us, and tries again; nothing hides that it does

and, asked to mend, the provider is told where a number posts.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

import httpx
import msgspec

from comms import checks
from comms.authorities import trusted
from comms.directory import Connection
from comms.mail.smtp import Servers
from comms.providers import twilio, wire, wiring
from comms.providers.outgoing import Answer, NotSent, Refused
from comms.providers.rest import Account
from comms.providers.sendgrid import SendGridCredentials, proves_inbound
from comms.providers.signalwire import SignalWireCredentials, with_password
from comms.repair import mailboxes, services
from comms.repair.asking import Providers, Unanswered
from comms.settings import ProviderSettings
from models.base import now

SKEW_SECONDS = 60
RETRIES: Mapping[str, Mapping[str, str]] = {
    # SignalWire tries a status callback three times, what it asks for once and then its fallback, and takes no other
    # wishes than shorter or longer time-outs. https://developer.signalwire.com/guides/common-webhook-errors/
    "twilio": {
        "sms_url": twilio.RETRIES,
        "sms_fallback_url": twilio.RETRIES,
        "voice_url": "#rc=1&rp=5xx,ct",
        "voice_fallback_url": "#rc=1&rp=5xx,ct",
        "status_callback": twilio.RETRIES,
    },
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
        self._servers = Servers(settings.smtp_hosts)

    async def close(self) -> None:
        """No provider is asked any more."""
        await self._providers.close()

    async def examine(
        self, connection: Connection, numbers: Sequence[Ours], domains: Collection[str] = ()
    ) -> AsyncIterator[Finding]:
        """What there is to say of a connection and the numbers that leave by it; ``domains`` are those of our mail."""
        name = f"connection {connection.id} to {connection.provider}"
        checked = await checks.ask(
            self._settings, self._servers, connection.provider, connection.credentials, connection.workspace_id
        )
        yield Finding(checked.ok, f"{name}: {checked.detail}")
        if isinstance(connection.credentials, SendGridCredentials) and not proves_inbound(connection.credentials):
            yield Finding(
                False,
                f"{name}: its secret has no parsePublicKey, so no mail can be proven and none is taken: turn on the"
                " signature of Inbound Parse at SendGrid, and enter its key",
            )
        if checked.ok and connection.provider == "sendgrid":
            async for finding in self._mailboxes(connection, domains):
                yield finding
        if not checked.ok or connection.provider in ("sendgrid", "smtp"):
            return
        try:
            account = self._providers.account_of(connection)
        except Unanswered as error:
            yield Finding(False, f"{name}: {error}")
            return
        is_clock_told = False
        for ours in numbers:
            if not ours.number.startswith("+") and connection.provider != "twilio":
                yield Finding(True, f"{ours.number}: {connection.provider} does not show where a short code posts")
                continue
            try:
                answer = await self._providers.ask(wiring.number(account, ours.number))
                if not is_clock_told and (clock := _clock(connection, answer)) is not None:
                    is_clock_told = True
                    yield clock
                hooks = wiring.number_in(answer, ours.number)
                if hooks is None:
                    yield Finding(False, f"{ours.number} is not a number of {name}: add it there, or release it here")
                    continue
                async for finding in self._hooks(connection, account, ours, hooks):
                    yield finding
            except (Unanswered, NotSent) as error:
                yield Finding(False, f"{ours.number} could not be looked at: {getattr(error, 'words', error)}")
        if connection.provider == "twilio" and numbers:
            async for finding in self._pools(connection, account, numbers):
                yield finding

    async def _mailboxes(self, connection: Connection, domains: Collection[str]) -> AsyncIterator[Finding]:
        try:
            base = self._settings.sendgrid_url
            async for said in mailboxes.look(self._providers, base, connection, self._public_url, domains):
                yield Finding(*said)
        except (Unanswered, NotSent) as error:
            # A key of few rights may send, and not read this.
            words = getattr(error, "words", error)
            yield Finding(isinstance(error, Refused), f"sendgrid's webhooks could not be looked at: {words}")

    async def _hooks(
        self, connection: Connection, account: Account, ours: Ours, hooks: wiring.Hooks
    ) -> AsyncIterator[Finding]:
        wanted = addresses(connection, ours, self._public_url)
        hooks = msgspec.structs.replace(
            hooks, applications={name: sid for name, sid in hooks.applications.items() if _uses(ours, name)}
        )
        wrong = _wrong(hooks, wanted)
        if self._fix and (wrong or hooks.applications):
            mended = [*wrong, *hooks.applications]
            answer = await self._providers.ask(wiring.rewire(account, hooks, wrong))
            hooks = wiring.rewired_in(answer, hooks)
            wrong = _wrong(hooks, wanted)
            done = [name for name in mended if name not in wrong and name not in hooks.applications]
            yield Finding(True, f"{ours.number}: {', '.join(done) or 'nothing'} now set at {connection.provider}")
        for name in wrong:
            place = f"{_shown(hooks.urls[name])}, not ours" if hooks.urls[name] else "not set"
            yield Finding(False, f"{ours.number}: {name} is {place}: run `comms doctor --fix`")
        for name, sid in hooks.applications.items():
            words = f"{name} is {sid}, whose addresses count instead of the number's: run `comms doctor --fix`"
            yield Finding(False, f"{ours.number}: {words}")
        if ours.voice and hooks.trunk is not None:
            yield Finding(
                False, f"{ours.number}: calls go to the SIP trunk {hooks.trunk} and not to us: take it out of the trunk"
            )
        if wanted and not wrong and not hooks.applications:
            yield Finding(True, f"{ours.number} posts to {self._public_url}, and there once more when that fails")

    async def _pools(self, connection: Connection, account: Account, numbers: Sequence[Ours]) -> AsyncIterator[Finding]:
        """Whether messaging services leave our numbers' messages to us."""
        base = self._settings.twilio_url
        try:
            pools = await services.pools_of(self._providers, account, base)
            for pool in pools:
                async for finding in self._pool(connection, account, numbers, pool):
                    yield finding
        except (Unanswered, NotSent) as error:
            # A key of few rights may do all that we need, and not this.
            words = getattr(error, "words", error)
            yield Finding(isinstance(error, Refused), f"twilio's messaging services could not be looked at: {words}")

    async def _pool(
        self, connection: Connection, account: Account, numbers: Sequence[Ours], pool: services.Shared
    ) -> AsyncIterator[Finding]:
        sid = pool.service.sid
        for ours in numbers:
            if ours.number in pool.numbers and ours.messaging_service_sid != sid:
                yield Finding(
                    True,
                    f"{ours.number} is in messaging service {sid}, and here in {ours.messaging_service_sid or 'none'}:"
                    " PATCH its messagingServiceSid, so that who opts out of one of its numbers opts out of them all",
                )
        within = [ours for ours in numbers if ours.number in pool.numbers and ours.sms]
        hidden = [
            ours.number
            for ours in within
            if not pool.posts_to(addresses(connection, ours, self._public_url)["sms_url"])
        ]
        if not within:
            return
        if not hidden:
            yield Finding(True, f"messaging service {sid} leaves the messages of {len(within)} of our numbers to us")
            return
        what = "drops" if pool.drops else f"posts to {_shown(pool.service.inbound_url or '')}"
        sentence = f"messaging service {sid} {what} what {', '.join(hidden)} should get"
        others = services.strangers(pool, [ours.number for ours in numbers])
        if others:
            yield Finding(
                False, f"{sentence}: have it defer to the senders' webhooks. It has numbers of others too: {others[0]}"
            )
        elif self._fix:
            await services.leave_to_numbers(self._providers, account, self._settings.twilio_url, pool.service)
            yield Finding(True, f"messaging service {sid} now leaves messages to its numbers' own webhooks")
        else:
            yield Finding(False, f"{sentence}: run `comms doctor --fix`")


def _uses(ours: Ours, name: str) -> bool:
    return ours.sms if name.startswith("sms") else ours.voice


def _wrong(hooks: wiring.Hooks, wanted: Mapping[str, str]) -> dict[str, str]:
    return {name: url for name, url in wanted.items() if hooks.urls[name] != url}


def addresses(connection: Connection, ours: Ours, public_url: str) -> dict[str, str]:
    """Where a number should post, by the provider's names."""
    retries = RETRIES.get(connection.provider, {})
    used = [name for name in PLACES if _uses(ours, name)]
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
        async with httpx.AsyncClient(timeout=5, trust_env=False, verify=trusted()) as client:
            response = await client.get(f"{public_url}/healthz")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(False, f"{public_url} does not answer from here ({type(error).__name__}): is the service up?")
    if response.status_code != 200 or response.headers.get("content-type", "").partition(";")[0] != "application/json":
        return Finding(False, f"{public_url}/healthz answers {response.status_code}, and not as comms does")
    return Finding(True, f"{public_url} leads to comms")


def _clock(connection: Connection, answer: Answer) -> Finding | None:
    """Whether our clock is the provider's, which stands in every answer."""
    theirs: datetime | None = wire.instant_of(answer.headers.get("date"))
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
