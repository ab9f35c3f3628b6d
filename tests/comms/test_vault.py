"""Secrets at rest."""

import msgspec
import pytest

from comms.settings import SecuritySettings
from comms.vault import Unsealable, Vault
from models.base import new_id

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)


def test_what_is_sealed_opens_for_its_own_row_only() -> None:
    vault, workspace, row = Vault(SecuritySettings(keys=(OLD,))), new_id(), new_id()
    sealed = vault.seal(b"token", workspace, row)
    assert b"token" not in sealed.encrypted_key
    assert vault.open(sealed, workspace, row) == b"token"
    with pytest.raises(Unsealable):
        vault.open(sealed, workspace, new_id())
    with pytest.raises(Unsealable):
        vault.open(sealed, new_id(), row)


def test_a_rotated_key_still_opens_what_the_old_one_sealed() -> None:
    workspace, row = new_id(), new_id()
    sealed = Vault(SecuritySettings(keys=(OLD,))).seal(b"token", workspace, row)
    both = Vault(SecuritySettings(keys=(NEW, OLD)))
    assert both.open(sealed, workspace, row) == b"token"
    assert both.seal(b"token", workspace, row).key_id == "new"
    with pytest.raises(Unsealable, match="no key named 'old'"):
        Vault(SecuritySettings(keys=(NEW,))).open(sealed, workspace, row)


def test_a_changed_byte_does_not_open() -> None:
    vault, workspace, row = Vault(SecuritySettings(keys=(OLD,))), new_id(), new_id()
    sealed = vault.seal(b"token", workspace, row)
    spoilt = msgspec.structs.replace(sealed, encrypted_key=b"x" + sealed.encrypted_key[1:])
    with pytest.raises(Unsealable):
        vault.open(spoilt, workspace, row)
