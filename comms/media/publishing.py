"""Attachments that a provider is to fetch: each at an address that only we can have made, for a while.

/media/{workspace}.{attachment}.{seconds since 1970}.{signature}
"""

import hashlib
import hmac
import time
import uuid
from base64 import urlsafe_b64encode

from comms.errors import Missing
from comms.settings import SecuritySettings

PATH = "/media"
SECONDS = 48 * 3600
"""A provider may have a message in its queue for ten hours, and asks for its media more than once."""


class NotPublished(Missing):
    """There is nothing at this address, or no longer."""


class Publishing:
    """Makes and reads such addresses; any key that decrypts proves one, the first makes them."""

    def __init__(self, security: SecuritySettings, public_url: str) -> None:
        self._keys = [hmac.digest(key, b"published attachments", hashlib.sha256) for _, key in security.keys]
        self._public_url = public_url

    def address_of(self, workspace_id: uuid.UUID, attachment_id: uuid.UUID, *, seconds: int = SECONDS) -> str:
        """Where the attachment can be fetched for so long, whoever knows the address."""
        said = f"{workspace_id.hex}.{attachment_id.hex}.{int(time.time()) + seconds}"
        return f"{self._public_url}{PATH}/{said}.{_signature(self._keys[0], said)}"

    def read(self, token: str) -> tuple[uuid.UUID, uuid.UUID]:
        """The workspace and the attachment behind the last part of such an address; raises ``NotPublished``."""
        said, _, signature = token.rpartition(".")
        good = [hmac.compare_digest(_signature(key, said).encode(), signature.encode()) for key in self._keys]
        if not any(good):
            raise NotPublished
        workspace, attachment, until = said.split(".")
        if int(until) < time.time():
            raise NotPublished
        return uuid.UUID(workspace), uuid.UUID(attachment)


def _signature(key: bytes, said: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, said.encode(), "sha256")).decode().rstrip("=")
