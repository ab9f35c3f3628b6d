"""The providers we know: each one's dialect, and its credentials as a connection keeps them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from comms.providers.base import Dialect
from comms.providers.sendgrid import SendGridCredentials
from comms.providers.signalwire import SignalWire, SignalWireCredentials
from comms.providers.smtp import SmtpCredentials
from comms.providers.twilio import Twilio, TwilioCredentials

Credentials = TwilioCredentials | SignalWireCredentials | SendGridCredentials | SmtpCredentials

DIALECTS: Mapping[str, Dialect[Any]] = {dialect.name: dialect for dialect in (Twilio(), SignalWire())}
CREDENTIALS: Mapping[str, type[Credentials]] = {
    "twilio": TwilioCredentials,
    "signalwire": SignalWireCredentials,
    "sendgrid": SendGridCredentials,
    "smtp": SmtpCredentials,
}


def read_credentials(provider: str, document: bytes) -> Credentials:
    """The credentials in a JSON document.

    ``msgspec.ValidationError`` when one is missing, ``KeyError`` when the provider is not one of ours.
    """
    return msgspec.json.decode(document, type=CREDENTIALS[provider])


def write_credentials(credentials: Credentials) -> bytes:
    """The JSON document that ``read_credentials`` reads: secrets in clear, to be encrypted at once."""
    return msgspec.json.encode(credentials)
