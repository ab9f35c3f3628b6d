"""The address in every digest by which its member gets no more of them: one that only we can have made (RFC 8058).

/no-more-digests/{workspace}{member}.{signature}, in base64url.
"""

import hashlib
import hmac
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error

import msgspec
from sqlalchemy import select

from comms.database import Database
from comms.errors import Missing
from comms.events import Actor
from comms.notifications import preferences
from comms.settings import SecuritySettings
from models.core import User, Workspace, WorkspaceMember

PATH = "/no-more-digests"
_LENGTH = 32  # two UUIDs


class NoDigest(Missing):
    """This link leads nowhere: it was not made here, or has been cut short."""


class Reader(msgspec.Struct, frozen=True):
    """Who gets the digests of which workspace, and where."""

    workspace_id: uuid.UUID
    user_id: uuid.UUID
    workspace: str
    address: str


class Stopping:
    """Makes and reads such addresses; any key that decrypts proves one, the first makes them. They never end."""

    def __init__(self, security: SecuritySettings, public_url: str) -> None:
        self._keys = [hmac.digest(key, b"comms: no more digests", hashlib.sha256) for _, key in security.keys]
        self._public_url = public_url

    def address_of(self, workspace_id: uuid.UUID, user_id: uuid.UUID) -> str:
        """Where the member says that they want no more digests of this workspace."""
        said = workspace_id.bytes + user_id.bytes
        return f"{self._public_url}{PATH}/{_text(said)}.{_text(_signature(self._keys[0], said))}"

    async def reader(self, database: Database, token: str) -> Reader:
        """Whom the last part of such an address is about; raises ``NoDigest``."""
        workspace_id, user_id = self._read(token)
        async with database.everywhere() as db:
            found = await db.execute(
                select(Workspace.name, User.email)
                .join(WorkspaceMember, WorkspaceMember.workspace_id == Workspace.id)
                .join(User, User.id == WorkspaceMember.user_id)
                .where(Workspace.id == workspace_id, User.id == user_id)
            )
            row = found.one_or_none()
        if row is None:
            raise NoDigest
        return Reader(workspace_id, user_id, row.name, row.email)

    def _read(self, token: str) -> tuple[uuid.UUID, uuid.UUID]:
        try:
            said, signature = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
        except (Error, ValueError):
            raise NoDigest from None
        good = [hmac.compare_digest(_signature(key, said), signature) for key in self._keys]
        if len(said) != _LENGTH or not any(good):
            raise NoDigest
        return uuid.UUID(bytes=said[:16]), uuid.UUID(bytes=said[16:])


async def stop(database: Database, reader: Reader) -> None:
    """They get no more digests of this workspace, until they want them again; what is unread is in the app."""
    async with database.workspace(reader.workspace_id, Actor("user", reader.user_id)) as db:
        await preferences.change(db, reader.workspace_id, reader.user_id, {"digest": "never"})


def _signature(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, "sha256")[:18]


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
