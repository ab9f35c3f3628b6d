"""Whether SendGrid posts to us what becomes of mails, and the mails that come in."""

from collections.abc import AsyncIterator, Collection
from urllib.parse import urlsplit, urlunsplit

from comms.directory import Connection
from comms.providers import mail_wiring
from comms.providers.mail_wiring import EventHook
from comms.providers.sendgrid import SendGridCredentials
from comms.repair.asking import Providers

Said = tuple[bool, str]


async def look(
    providers: Providers, base: str, connection: Connection, public_url: str, domains: Collection[str]
) -> AsyncIterator[Said]:
    """What there is to say of an account's webhooks; ``domains`` are those that our mail comes in by.

    Raises ``Unanswered`` and what the provider's refusal means: a key that may send need not be allowed to read these.
    """
    credentials = connection.credentials
    assert isinstance(credentials, SendGridCredentials)
    key = credentials.api_key or ""
    here = f"{public_url}/webhooks/sendgrid/{connection.id}"
    hooks = mail_wiring.events_in(await providers.ask(mail_wiring.events(base, key)))
    ours = [hook for hook in hooks if bare(hook.url) == f"{here}/events"]
    yield (
        _events(ours[0], credentials)
        if ours
        else (
            False,
            f"SendGrid tells nobody here what becomes of mails: add an event webhook to {here}/events, signed",
        )
    )
    if not domains:
        return
    parses = mail_wiring.parses_in(await providers.ask(mail_wiring.parses(base, key)))
    taken = {hook.domain: bare(hook.url) for hook in parses}
    for domain in sorted(domains):
        url = taken.get(domain)
        if url is None:
            yield False, f"SendGrid takes in no mail to {domain}: add it to Inbound Parse, with {here}/inbound"
        elif url != f"{here}/inbound":
            yield False, f"SendGrid posts the mail to {domain} to {url}: it should be {here}/inbound"
        else:
            yield True, f"SendGrid posts the mail to {domain} to us"


def _events(hook: EventHook, credentials: SendGridCredentials) -> Said:
    known = (credentials.event_public_key, credentials.next_event_public_key)
    if not hook.is_enabled:
        return False, "SendGrid's event webhook to us is switched off: enable it"
    if hook.lacking:
        return False, f"SendGrid's event webhook to us lacks {', '.join(hook.lacking)}: tick them"
    if hook.key is None:
        return False, "SendGrid's event webhook to us is not signed, and so refused: enable its signature"
    if hook.key not in known:
        return False, "SendGrid signs its events with another key than eventPublicKey: PATCH the connection's secret"
    return True, "SendGrid tells us what becomes of mails"


def bare(url: str) -> str:
    """An address without the name and password, the query and the fragment it may have."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
