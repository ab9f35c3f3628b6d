"""Contacts: the addresses they are found by, the two that turn out to be one, and whole files of them."""

from comms.contacts.addresses import (
    PRIMARY,
    AddressTaken,
    add_points,
    change,
    create,
    create_all,
    refuse_own,
    switch_primary,
)

__all__ = ["PRIMARY", "AddressTaken", "add_points", "change", "create", "create_all", "refuse_own", "switch_primary"]
