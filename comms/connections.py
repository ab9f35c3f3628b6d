"""Connections to providers, the side that writes: secrets go in sealed, and never come out this way."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from comms.providers import CREDENTIALS, Credentials, read_credentials, write_credentials
from comms.vault import Vault
from models.base import new_id
from models.core import WorkspaceApiKey, WorkspaceApiKeyView

WEBHOOKS: Mapping[str, Mapping[str, str]] = {
    "twilio": {"messages": "messages", "messageStatus": "message-status"},
    "signalwire": {"messages": "messages", "messageStatus": "message-status"},
    "sendgrid": {"inbound": "inbound", "events": "events"},
}
"""What each provider is configured to post to us: the name we show, and the last part of its address."""

_SHOWN: Mapping[str, str] = {"twilio": "auth_token", "signalwire": "signing_key", "sendgrid": "event_public_key"}
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
    """The connection holds these credentials instead of any before. A rotation sends the next secret along."""
    credentials = read_secret(row.provider, secret)
    sealed = vault.seal(write_credentials(credentials), row.workspace_id, row.id)
    row.encryption_key_id = sealed.key_id
    row.iv = sealed.iv
    row.encrypted_key = sealed.encrypted_key
    row.auth_tag = sealed.auth_tag
    row.last_four = str(getattr(credentials, _SHOWN[row.provider]))[-4:]


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
        reason, _, place = str(error).partition(" - at `$")
        raise Invalid({f"secret{place.rstrip('`')}": reason}) from None


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
