"""Provider secrets at rest: AES-256-GCM, under a key that has a name so that it can be rotated."""

import os
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comms.settings import SecuritySettings

_TAG = 16


class Sealed(msgspec.Struct, frozen=True):
    """An encrypted secret, as ``workspace_api_keys`` keeps it."""

    key_id: str
    iv: bytes
    encrypted_key: bytes
    auth_tag: bytes


def kept(sealed: Sealed, plain: str) -> dict[str, str]:
    """A sealed text as JSON keeps it, with its last four characters for whoever may know that it is there."""
    return {
        "lastFour": plain[-4:],
        "keyId": sealed.key_id,
        "iv": b64encode(sealed.iv).decode(),
        "encryptedKey": b64encode(sealed.encrypted_key).decode(),
        "authTag": b64encode(sealed.auth_tag).decode(),
    }


def sealed_in(kept: Mapping[str, str]) -> Sealed:
    """What ``kept`` keeps."""
    iv, key, tag = (b64decode(kept[name]) for name in ("iv", "encryptedKey", "authTag"))
    return Sealed(kept["keyId"], iv, key, tag)


class Unsealable(Exception):
    """A stored secret cannot be decrypted: its key is not configured, or the row was tampered with."""


class Vault:
    """Seals with the first key, opens with any."""

    def __init__(self, settings: SecuritySettings) -> None:
        if not settings.keys:
            raise ValueError("a vault needs at least one key")
        self._keys = {name: AESGCM(key) for name, key in settings.keys}
        self._first = settings.keys[0][0]

    def seal(self, plain: bytes, workspace_id: uuid.UUID, row_id: uuid.UUID) -> Sealed:
        """``plain`` encrypted for one row: moved to another row or workspace, it does not open."""
        iv = os.urandom(12)
        sealed = self._keys[self._first].encrypt(iv, plain, workspace_id.bytes + row_id.bytes)
        return Sealed(key_id=self._first, iv=iv, encrypted_key=sealed[:-_TAG], auth_tag=sealed[-_TAG:])

    def open(self, sealed: Sealed, workspace_id: uuid.UUID, row_id: uuid.UUID) -> bytes:
        """The secret of that row; raises ``Unsealable``."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unsealable(f"COMMS_SECRET_KEY has no key named {sealed.key_id!r}: add it behind the first one")
        try:
            return key.decrypt(sealed.iv, sealed.encrypted_key + sealed.auth_tag, workspace_id.bytes + row_id.bytes)
        except InvalidTag:
            raise Unsealable(f"the secret of connection {row_id} does not open with key {sealed.key_id!r}") from None
