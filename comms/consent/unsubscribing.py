"""The address behind a mail program's button "unsubscribe": one that only we can have made (RFC 2369, RFC 8058).

/unsubscribe/{whose mail, from whom, of which workspace}.{signature}
"""

import hashlib
import hmac
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.consent.addresses import whom, whose
from comms.consent.ledger import Word, note
from comms.errors import Missing
from comms.settings import SecuritySettings
from models.base import new_id, now
from models.communications import EVERYWHERE, Consent

PATH = "/unsubscribe"


class NoSubscription(Missing):
    """This link leads nowhere: it was not made here, or has been cut short."""


class Subscription(msgspec.Struct, frozen=True, array_like=True):
    """Mails to ``address`` from ``sender``, an address of this workspace."""

    workspace_id: uuid.UUID
    address: str
    sender: str


class Unsubscribing:
    """Makes and reads such addresses; any key that decrypts proves one, the first makes them. They never end."""

    def __init__(self, security: SecuritySettings, public_url: str) -> None:
        self._keys = [hmac.digest(key, b"comms: unsubscribing", hashlib.sha256) for _, key in security.keys]
        self._public_url = public_url

    def address_of(self, subscription: Subscription) -> str:
        """Where whoever gets these mails says that they want no more."""
        said = _text(msgspec.json.encode(subscription))
        return f"{self._public_url}{PATH}/{said}.{_signature(self._keys[0], said)}"

    def read(self, token: str) -> Subscription:
        """What the last part of such an address is about; raises ``NoSubscription``."""
        said, _, signature = token.rpartition(".")
        good = [hmac.compare_digest(_signature(key, said).encode(), signature.encode()) for key in self._keys]
        if not any(good):
            raise NoSubscription
        return msgspec.json.decode(urlsafe_b64decode(said + "=" * (-len(said) % 4)), type=Subscription)


async def unsubscribe(db: AsyncSession, subscription: Subscription) -> None:
    """Nothing more is sent to this address from that one, until they say otherwise; said again, it was said."""
    newest = (
        select(Consent.state)
        .where(
            Consent.address == whom(subscription.address),
            Consent.sender.in_((whose(subscription.sender), EVERYWHERE)),
        )
        .order_by(Consent.heard_at.desc(), Consent.state.desc())
        .limit(1)
    )
    if await db.scalar(newest) == "opted_out":
        return
    word = Word(
        workspace_id=subscription.workspace_id,
        address=subscription.address,
        sender=subscription.sender,
        says="stop",
        source="unsubscribe",
        channel="email",
        at=now(),
        proof=f"unsubscribe:{new_id()}",
    )
    await note(db, [word])


def _signature(key: bytes, said: str) -> str:
    return _text(hmac.digest(key, said.encode(), "sha256"))[:27]


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
