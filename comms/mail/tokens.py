"""The plus part of the addresses that replies go to: which conversation, and a proof that we have said so.

    support+<26 characters: the conversation's id><12: 60 bits of an HMAC over it and its workspace>@inbound.example.com

In base 32 and lower case, for some servers do not keep capitals. Whoever has the token was written to by us, or was
shown it: it opens a conversation for nobody who does not take part in it.
"""

import hmac
import uuid
from base64 import b32decode, b32encode
from binascii import Error

from comms.settings import SecuritySettings

_ID = 26
_PROOF = 12
LENGTH = _ID + _PROOF
LONGEST_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1


class Tokens:
    """Makes tokens with the first of our keys and believes those of any, so that keys can be rotated."""

    def __init__(self, settings: SecuritySettings) -> None:
        self._keys = [hmac.digest(key, b"comms: replies to mails", "sha256") for _, key in settings.keys]

    def address_for(self, address: str, workspace_id: uuid.UUID, conversation_id: uuid.UUID) -> str:
        """Where replies to this conversation go; the plain address when it is too long for a token."""
        local, _, domain = address.rpartition("@")
        if len(local) + 1 + LENGTH > LONGEST_LOCAL_PART:
            return address
        token = _text(conversation_id.bytes)[:_ID] + self._proof(self._keys[0], workspace_id, conversation_id)
        return f"{local}+{token}@{domain}"

    def conversation_of(self, token: str, workspace_id: uuid.UUID) -> uuid.UUID | None:
        """The conversation that a token of ours names; None for anything else."""
        token = token.lower()
        if len(token) != LENGTH:
            return None
        try:
            conversation_id = uuid.UUID(bytes=b32decode(token[:_ID].upper() + "======"))
        except (Error, ValueError):
            return None
        proofs = [self._proof(key, workspace_id, conversation_id) for key in self._keys]
        verdicts = [hmac.compare_digest(proof.encode(), token[_ID:].encode()) for proof in proofs]
        return conversation_id if any(verdicts) else None

    def _proof(self, key: bytes, workspace_id: uuid.UUID, conversation_id: uuid.UUID) -> str:
        return _text(hmac.digest(key, workspace_id.bytes + conversation_id.bytes, "sha256"))[:_PROOF]


def _text(content: bytes) -> str:
    return b32encode(content).decode("ascii").lower()


def split(address: str) -> tuple[str, str]:
    """An address of ours without its plus part, in lower case; and that part, "" when it has none."""
    local, _, domain = address.rpartition("@")
    name, _, token = local.partition("+")
    return f"{name}@{domain}".lower(), token
