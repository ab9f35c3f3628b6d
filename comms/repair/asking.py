"""Providers asked over REST: by which account, and in which words it fails."""

from comms.directory import Connection
from comms.outbox.rest import Rest
from comms.providers import rest, signalwire, twilio
from comms.providers.outgoing import Answer, Busy, Call, Refused, Unclear
from comms.providers.rest import Account
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.settings import ProviderSettings


class Unanswered(Exception):
    """The provider cannot be asked, or does not say; the message says why, for people."""


class Providers:
    """The REST APIs of the providers that have numbers."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._rest = Rest(rest.Messages(twilio.account_at), None)

    def account_of(self, connection: Connection) -> Account:
        """The account behind a connection; ``Unanswered`` when its secret lacks what it takes."""
        credentials = connection.credentials
        try:
            if isinstance(credentials, TwilioCredentials):
                return twilio.account_at(credentials, self._settings.twilio_url)
            if isinstance(credentials, SignalWireCredentials):
                return signalwire.account_at(credentials, self._settings.signalwire_url)
        except Refused as error:
            raise Unanswered(error.words) from error
        if credentials is None:
            raise Unanswered("The connection's secret does not open: is an older COMMS_SECRET_KEY missing?")
        raise Unanswered(f"{connection.provider} has no log to ask for.")

    async def ask(self, call: Call) -> Answer:
        """What the provider answers, good or bad; ``Unanswered`` when it does not."""
        try:
            return await self._rest.ask(call)
        except (Busy, Unclear) as error:
            raise Unanswered(f"The provider does not answer: {error.words}.") from error

    async def close(self) -> None:
        """No connection is open any more."""
        await self._rest.close()
