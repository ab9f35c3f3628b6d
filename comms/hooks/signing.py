"""How a delivery proves that it is ours: the Standard Webhooks scheme, https://www.standardwebhooks.com

The secret is text, ``whsec_`` and base64; what is signed is the id, the time in seconds and the body, joined by dots;
and there is a signature for each secret, so that whoever has the old one or the new one can verify it.
"""

import hashlib
import hmac
import os
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from comms.vault import Sealed, Vault
from models.hooks import WebhookSigningSecret

PREFIX = "whsec_"
BYTES = 32
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def new_secret() -> str:
    """A secret nobody has."""
    return PREFIX + b64encode(os.urandom(BYTES)).decode()


def seal(row: WebhookSigningSecret, vault: Vault, secret: str) -> None:
    """The row holds this secret, of which its last four characters can be seen."""
    held = vault.seal(secret.encode(), row.workspace_id, row.id)
    row.encryption_key_id, row.iv, row.encrypted_key, row.auth_tag = (
        held.key_id,
        held.iv,
        held.encrypted_key,
        held.auth_tag,
    )
    row.last_four = secret.rstrip("=")[-4:]


def opened(row: Mapping[str, Any], vault: Vault) -> str:
    """The secret of a row of ``webhook_signing_secrets``; raises ``Unsealable``."""
    held = Sealed(row["encryption_key_id"], row["iv"], row["encrypted_key"], row["auth_tag"])
    return vault.open(held, row["workspace_id"], row["id"]).decode()


def id_of(workspace_id: uuid.UUID, seq: int) -> str:
    """The ``webhook-id`` of an event: the same at every try, at every endpoint, and when it is told again."""
    return f"evt_{workspace_id.hex}_{seq}"


def headers_of(message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """What goes with the body, signed with each of the secrets."""
    signed = f"{message_id}.{at}.".encode() + body
    return {
        ID: message_id,
        TIMESTAMP: str(at),
        SIGNATURE: " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether whoever has the secret has sent this; how old it may be is for the caller to say."""
    signed = f"{headers.get(ID, '')}.{headers.get(TIMESTAMP, '')}.".encode() + body
    wanted = f"v1,{_signature(secret, signed)}"
    return any(hmac.compare_digest(wanted, given) for given in headers.get(SIGNATURE, "").split())


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(PREFIX))
    return b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
