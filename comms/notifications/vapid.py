"""The key pair that pushes are signed with: one for the whole installation, made when somebody first asks for it.

Browsers subscribe with its public half: with another one every device would have to subscribe anew. So it is kept, and
sealed, and not derived from a key that is rotated.
"""

import uuid

import msgspec
from sqlalchemy.dialects.postgresql import insert

from comms.database import Database
from comms.providers import web_push
from comms.vault import Sealed, Vault
from models.communications import InstallationKey

NAME = "web_push"
_NOBODYS = uuid.UUID(int=0)  # it is no workspace's


class Key(msgspec.Struct, frozen=True):
    """The private half as PEM, and the public one as browsers take it."""

    private_key: bytes
    public_key: str

    def __repr__(self) -> str:
        return f"Key({self.public_key!r})"


async def key(database: Database, vault: Vault) -> Key:
    """The installation's key. Of several who make it at once one has made it."""
    async with database.everywhere() as db:
        row = await db.get(InstallationKey, NAME)
        if row is None:
            made = web_push.new_key()
            sealed = vault.seal(made, _NOBODYS, _NOBODYS)
            await db.execute(
                insert(InstallationKey)
                .values(
                    name=NAME,
                    public_key=web_push.public_key_of(made),
                    encrypted_key=sealed.encrypted_key,
                    iv=sealed.iv,
                    auth_tag=sealed.auth_tag,
                    encryption_key_id=sealed.key_id,
                )
                .on_conflict_do_nothing()
            )
            row = await db.get_one(InstallationKey, NAME)
    sealed = Sealed(row.encryption_key_id, row.iv, row.encrypted_key, row.auth_tag)
    return Key(vault.open(sealed, _NOBODYS, _NOBODYS), row.public_key)
