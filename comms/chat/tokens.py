"""What proves that somebody is the visitor who was here before, and that a website knows them.

cv_<base64url of: workspace (16 bytes) | session (16) | HMAC-SHA256 over both (32)>
"""

import hmac
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable

from comms.settings import SecuritySettings

PREFIX = "cv_"
_LENGTH = 64


class Tokens:
    """Makes tokens with the first of our keys and believes those of any, so that keys can be rotated."""

    def __init__(self, settings: SecuritySettings) -> None:
        self._keys = [hmac.digest(key, b"comms: visitors of chats", "sha256") for _, key in settings.keys]

    def token_of(self, workspace_id: uuid.UUID, session_id: uuid.UUID) -> str:
        """The token of a session, the same whenever it is asked for."""
        said = workspace_id.bytes + session_id.bytes
        signed = said + hmac.digest(self._keys[0], said, "sha256")
        return PREFIX + urlsafe_b64encode(signed).decode().rstrip("=")

    def session_of(self, token: str) -> tuple[uuid.UUID, uuid.UUID] | None:
        """The workspace and session that a token of ours names; None for anything else, and no row is looked at."""
        if not token.startswith(PREFIX) or not token.isascii():
            return None
        try:
            signed = urlsafe_b64decode(token.removeprefix(PREFIX) + "==")
        except (Error, ValueError):
            return None
        if len(signed) != _LENGTH:
            return None
        said, proof = signed[:32], signed[32:]
        verdicts = [hmac.compare_digest(hmac.digest(key, said, "sha256"), proof) for key in self._keys]
        return (uuid.UUID(bytes=said[:16]), uuid.UUID(bytes=said[16:])) if any(verdicts) else None


def is_proved(said: str, proof: str, secrets: Iterable[str]) -> bool:
    """Whether ``proof`` is the hexadecimal HMAC-SHA256 of ``said`` under one of the secrets; in constant time."""
    expected = [hmac.digest(secret.encode(), said.encode(), "sha256").hex() for secret in secrets]
    given = proof.strip().lower().encode("utf-8", "replace")
    verdicts = [hmac.compare_digest(one.encode(), given) for one in expected]
    return any(verdicts)
