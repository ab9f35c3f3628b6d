"""How a message gets to a provider: one transport for each provider, by its name.

A transport sends one message once. It never repeats a request by itself, for a provider may have taken the first one.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from comms.consent.unsubscribing import Unsubscribing
from comms.directory import Connection
from comms.mail.carrying import ByApi, BySmtp, Read
from comms.mail.tokens import Tokens
from comms.outbox.rest import Rest
from comms.providers import rest, signalwire, twilio
from comms.providers.outgoing import Accepted, Listed, Outgoing
from comms.settings import Settings


class Transport(Protocol):
    """Carries messages of one provider."""

    async def send(self, outgoing: Outgoing, connection: Connection) -> Accepted:
        """The provider has the message; raises ``Refused``, ``Busy`` or ``Unclear`` (``comms.providers.outgoing``)."""

    async def find(self, outgoing: Outgoing, connection: Connection) -> Sequence[Listed]:
        """What the provider has that may be this message; raises ``Unclear`` if it cannot say now, or ``CannotAsk``."""

    async def close(self) -> None:
        """No connection is open any more."""


def all_of(settings: Settings, read: Read) -> Mapping[str, Transport]:
    """The transports of one process, by provider; where the providers are is for the operator alone to say.

    Mail carries files, which are ``read`` from the store.
    """
    providers = settings.providers
    tokens = Tokens(settings.security)
    unsubscribing = Unsubscribing(settings.security, settings.server.public_url)
    return {
        "twilio": Rest(rest.Messages(twilio.account_at), providers.twilio_url),
        "signalwire": Rest(rest.Messages(signalwire.account_at), providers.signalwire_url),
        "sendgrid": ByApi(providers.sendgrid_url, tokens, read, unsubscribing),
        "smtp": BySmtp(providers.smtp_hosts, tokens, read, unsubscribing),
    }
