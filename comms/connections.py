"""Connections to providers, the side that writes: secrets go in sealed, and never come out this way."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid, Missing
from comms.providers import CREDENTIALS, Credentials, read_credentials, write_credentials
from comms.reasons import reason_of
from comms.vault import Sealed, Unsealable, Vault
from models.base import new_id
from models.core import WorkspaceApiKey, WorkspaceApiKeyView

_TEXTS_AND_CALLS = {
    "messages": "messages",
    "messageStatus": "message-status",
    "voice": "voice",
    "voiceStatus": "voice-status",
    "voiceFallback": "voice-fallback",
}
WEBHOOKS: Mapping[str, Mapping[str, str]] = {
    "twilio": _TEXTS_AND_CALLS,
    "signalwire": _TEXTS_AND_CALLS,
    "sendgrid": {"inbound": "inbound", "events": "events"},
    "smtp": {},
}
"""What each provider is configured to post to us: the name we show, and the last part of its address."""

ROTATING: Mapping[str, tuple[str, ...]] = {
    "twilio": ("auth_token",),
    "signalwire": ("signing_key",),
    "sendgrid": ("event_public_key", "parse_public_key"),
    "smtp": (),
}
"""The credentials that prove webhooks: each has a ``next_`` one beside it, which is accepted too."""

SHORTEST_SHOWN = 8
"""How long a secret is of which the last four characters are shown."""

_SHOWN: Mapping[str, str] = {
    "twilio": "auth_token",
    "signalwire": "signing_key",
    "sendgrid": "event_public_key",
    "smtp": "password",
}
"""The credential whose last four characters tell people which secret a connection holds."""


async def connect(
    db: AsyncSession,
    vault: Vault,
    *,
    workspace_id: uuid.UUID,
    provider: str,
    name: str,
    secret: Mapping[str, Any],
    created_by: uuid.UUID | None = None,
    id: uuid.UUID | None = None,
) -> WorkspaceApiKey:
    """The workspace is connected to a provider's account; ``Invalid`` names what is wrong with ``secret``."""
    row = WorkspaceApiKey(
        workspace_id=workspace_id, id=id or new_id(), provider=provider, name=name, created_by=created_by
    )
    seal(row, vault, secret)
    db.add(row)
    await db.flush()
    return row


def seal(row: WorkspaceApiKey, vault: Vault, secret: Mapping[str, Any]) -> None:
    """The connection holds these credentials instead of any before; nothing has been said of them yet."""
    keep(row, vault, read_secret(row.provider, secret))


def keep(row: WorkspaceApiKey, vault: Vault, credentials: Credentials) -> None:
    """The connection holds these credentials."""
    sealed = vault.seal(write_credentials(credentials), row.workspace_id, row.id)
    row.encryption_key_id = sealed.key_id
    row.iv = sealed.iv
    row.encrypted_key = sealed.encrypted_key
    row.auth_tag = sealed.auth_tag
    shown = _SHOWN[row.provider]
    coming: str | None = getattr(credentials, f"next_{shown}", None)
    row.last_four = _last_four(getattr(credentials, shown) or "")  # a mail server may want no password
    row.next_last_four = None if coming is None else _last_four(coming)
    row.checked_at = row.check_passed = row.check_detail = None


def _last_four(secret: str) -> str:
    """By which a secret is recognised; nothing of one so short that they would be half of it."""
    return secret[-4:] if len(secret) >= SHORTEST_SHOWN else ""


def opened(row: WorkspaceApiKey, vault: Vault) -> Credentials:
    """The credentials themselves; ``Conflict`` when they do not open any more."""
    try:
        sealed = Sealed(row.encryption_key_id, row.iv, row.encrypted_key, row.auth_tag)
        return read_credentials(row.provider, vault.open(sealed, row.workspace_id, row.id))
    except Unsealable as error:
        raise Conflict(f"The secret cannot be opened: {error}. Or set it anew.") from None


def announce(row: WorkspaceApiKey, vault: Vault, secret: Mapping[str, Any]) -> None:
    """Webhooks proved by this next secret are accepted too, under the names of the current one."""
    names = ROTATING[row.provider]
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(CREDENTIALS[row.provider])}
    wrong = {f"secret.{name}": "is not rotated" for name in secret if fields.get(name) not in names}
    wrong |= {
        f"secret.{name}": "must be text, and not empty"
        for name, value in secret.items()
        if not isinstance(value, str) or not value
    }
    if wrong or not secret:
        raise Invalid(wrong or {"secret": "names nothing to rotate"})
    coming = {f"next_{fields[name]}": value for name, value in secret.items()}
    current = msgspec.structs.replace(opened(row, vault), **dict.fromkeys(_nexts(row.provider)))
    keep(row, vault, msgspec.structs.replace(current, **coming))


def rotate(row: WorkspaceApiKey, vault: Vault) -> None:
    """The next secret is the current one, and the one before proves nothing any more."""
    credentials = opened(row, vault)
    coming = {name: getattr(credentials, f"next_{name}") for name in ROTATING[row.provider]}
    turned = {name: value for name, value in coming.items() if value is not None}
    if not turned:
        raise Conflict("There is no next secret to rotate to: PUT it at next-secret first.")
    cleared = dict.fromkeys(_nexts(row.provider))
    keep(row, vault, msgspec.structs.replace(credentials, **cleared, **turned))


def call_off(row: WorkspaceApiKey, vault: Vault) -> None:
    """Only the current secret proves webhooks."""
    if row.next_last_four is None and all(getattr(opened(row, vault), name) is None for name in _nexts(row.provider)):
        raise Missing("This connection has no next secret.")
    keep(row, vault, msgspec.structs.replace(opened(row, vault), **dict.fromkeys(_nexts(row.provider))))


def _nexts(provider: str) -> tuple[str, ...]:
    return tuple(f"next_{name}" for name in ROTATING[provider])


def read_secret(provider: str, secret: Mapping[str, Any]) -> Credentials:
    """The credentials as somebody typed them: complete, not empty, and nothing that we do not know."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(CREDENTIALS[provider])}
    wrong = {f"secret.{name}": f"is not a credential of {provider}" for name in secret if name not in fields}
    wrong |= {
        f"secret.{name}": "is required" for name, field in fields.items() if field.required and not secret.get(name)
    }
    wrong |= {f"secret.{name}": "is empty" for name, value in secret.items() if name in fields and value == ""}
    if wrong:
        raise Invalid(wrong)
    try:
        return read_credentials(provider, msgspec.json.encode(secret))
    except msgspec.ValidationError as error:
        place, reason = reason_of(error, CREDENTIALS[provider])
        raise Invalid({f"secret{place}": reason}) from None


def with_addresses(view: WorkspaceApiKeyView, public_url: str) -> WorkspaceApiKeyView:
    """The connection with what its provider is to be told: where to post."""
    kinds = WEBHOOKS[view.provider]
    addresses = {label: f"{public_url}/webhooks/{view.provider}/{view.id}/{kind}" for label, kind in kinds.items()}
    return msgspec.structs.replace(view, webhook_urls=addresses)


async def expect(db: AsyncSession, connection_id: uuid.UUID | None, provider: str) -> None:
    """The connection is one of ``provider``'s; ``Invalid`` names it when it is another's, or not there."""
    if connection_id is None:
        return
    found = await db.scalar(select(WorkspaceApiKey.provider).where(WorkspaceApiKey.id == connection_id))
    if found is None:
        raise Invalid({"connectionId": "refers to nothing in this workspace"})
    if found != provider:
        raise Invalid({"connectionId": f"is a connection to {found}, not to {provider}"})
