"""Marketing channels: what their configuration holds openly, and the credentials that go in and never come out."""

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from comms.vault import Sealed, Vault
from models.base import new_id
from models.marketing import MarketingChannel

CREDENTIALS = "credentials"
MOST, LONGEST = 20, 4_096

# A secret beside ``credentials`` would be shown to everybody: better refused than leaked.
_SECRET = re.compile(r"passw|secret|token|credential|api[-_]?key|private[-_]?key|authorization", re.IGNORECASE)


async def create(
    db: AsyncSession, vault: Vault, workspace_id: uuid.UUID, values: Mapping[str, Any]
) -> MarketingChannel:
    """The channel exists, its credentials sealed; ``Invalid`` names what is wrong with its configuration."""
    channel = MarketingChannel(workspace_id=workspace_id, id=new_id(), credential_names=[])
    _fill(channel, vault, values)
    db.add(channel)
    return channel


async def change(channel: MarketingChannel, vault: Vault, values: Mapping[str, Any]) -> None:
    """The channel has the new values. Credentials stay as they are unless ``config`` names them; null forgets them."""
    _fill(channel, vault, values)


def credentials_of(channel: MarketingChannel, vault: Vault) -> dict[str, str]:
    """The channel's credentials, for whoever speaks to its provider; none when it has none."""
    if channel.encrypted_key is None or channel.iv is None or channel.auth_tag is None:
        return {}
    sealed = Sealed(channel.encryption_key_id or "", channel.iv, channel.encrypted_key, channel.auth_tag)
    return msgspec.json.decode(vault.open(sealed, channel.workspace_id, channel.id), type=dict[str, str])


def _fill(channel: MarketingChannel, vault: Vault, values: Mapping[str, Any]) -> None:
    kept = dict(values)
    if "config" in values:
        config = dict(values["config"])
        is_named = CREDENTIALS in config
        credentials = config.pop(CREDENTIALS, None)
        wrong = {
            f"config.{place}": "looks like a secret: it belongs in config.credentials, where nobody can read it"
            for place in _secret_places(config)
        }
        wrong |= _mistakes(credentials)
        if wrong:
            raise Invalid(wrong)
        kept["config"] = config
        if is_named:
            _seal(channel, vault, credentials or {})
    for name, value in kept.items():
        setattr(channel, name, value)


def _seal(channel: MarketingChannel, vault: Vault, credentials: Mapping[str, str]) -> None:
    channel.credential_names = sorted(credentials)
    if not credentials:
        channel.encrypted_key = channel.iv = channel.auth_tag = channel.encryption_key_id = None
        return
    sealed = vault.seal(msgspec.json.encode(credentials), channel.workspace_id, channel.id)
    channel.encryption_key_id, channel.iv = sealed.key_id, sealed.iv
    channel.encrypted_key, channel.auth_tag = sealed.encrypted_key, sealed.auth_tag


def _mistakes(credentials: Any) -> dict[str, str]:
    if credentials is None:
        return {}
    if not isinstance(credentials, dict) or len(credentials) > MOST:
        return {"config.credentials": f"must be an object of at most {MOST} texts"}
    return {
        f"config.credentials.{name}": f"must be text of 1 to {LONGEST} characters"
        for name, value in credentials.items()
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST
    }


def _secret_places(config: Any, above: str = "") -> Iterator[str]:
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for name, value in items:
        place = f"{above}.{name}".lstrip(".")
        if isinstance(name, str) and _SECRET.search(name):
            yield place
        else:
            yield from _secret_places(value, place)
