"""How the ledger writes addresses, so that every way to write one finds the same words."""

from comms.providers.addresses import read_address
from comms.providers.base import AddressKind
from models.types import spelt


def whom(address: str) -> str:
    """The address of a contact: E.164 without its channel's prefix, a mail address in lower case."""
    if "@" in address and ":" not in address:
        return spelt(address).lower()
    read = read_address(address)
    return read.value if read.is_identity else address.strip()


def whose(sender: str) -> str:
    """A sender of ours as ``workspace_phone_numbers`` writes it, a mail address, a messaging service, or ``*``."""
    if "@" in sender and ":" not in sender:
        return spelt(sender).lower()
    read = read_address(sender)
    if read.kind in (AddressKind.MESSENGER, AddressKind.RCS):
        return f"{read.kind}:{read.value}"
    return read.value if read.is_identity else sender.strip()
