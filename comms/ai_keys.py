"""A workspace's own keys to AI providers: they go in sealed, and only what asks those providers opens them."""

import uuid

from comms import vault as vaults
from comms.errors import Missing
from comms.settings import Secret
from comms.vault import Vault
from models.core import AiProvider, Workspace


def seal(row: Workspace, vault: Vault, provider: AiProvider, key: str) -> None:
    """The workspace has this key to ``provider`` instead of any before."""
    sealed = vault.seal(key.encode(), row.id, _place(provider))
    row.encrypted_api_keys = {**row.encrypted_api_keys, provider: vaults.kept(sealed, key)}


def forget(row: Workspace, provider: AiProvider) -> None:
    """The workspace has no key to ``provider``."""
    if provider not in row.encrypted_api_keys:
        raise Missing(f"This workspace has no key to {provider}.")
    row.encrypted_api_keys = {name: kept for name, kept in row.encrypted_api_keys.items() if name != provider}


def opened(row: Workspace, vault: Vault, provider: AiProvider) -> Secret | None:
    """The key itself, if the workspace has one; raises ``Unsealable``."""
    kept = row.encrypted_api_keys.get(provider)
    if kept is None:
        return None
    return Secret(vault.open(vaults.sealed_in(kept), row.id, _place(provider)).decode())


def _place(provider: AiProvider) -> uuid.UUID:
    """What a key is sealed for, beside its workspace: one provider's does not open as another's."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{provider}.ai-keys.comms")
