"""Who a message came from or went to, read from what the wire calls it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from comms.providers.base import Address, AddressKind

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_DIALLED = re.compile(r"[+(0-9][0-9 ()./-]*")
_LONGEST = 255  # a longer one identifies nobody
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+._-]{1,11}")

_WITHHELD_WORDS = frozenset({"", "anonymous", "unknown", "restricted", "unavailable", "private", "blocked"})
# What the words spell on a keypad: ANONYMOUS, UNAVAILABLE, UNKNOWN, BLOCKED, RESTRICTED.
_WITHHELD_NUMBERS = frozenset({"+266696687", "+86282452253", "+8656696", "+2562533", "+7378742833"})


def read_address(raw: str, region: str | None = None) -> Address:
    """The address behind ``raw``; ``region`` ("US") is where our number is, for callers given in national form.

    A channel's prefix (``whatsapp:``) is in ``raw`` and no longer in ``value``.
    """
    if _E164.fullmatch(raw) and raw not in _WITHHELD_NUMBERS:
        return Address(AddressKind.PHONE, raw, raw)
    raw = raw.replace("\0", "")
    prefix, colon, rest = raw.partition(":")
    if not colon:
        return _unprefixed(raw.strip(), raw, region)
    match prefix.strip().lower():
        case "whatsapp":
            bare = _unprefixed(rest.strip(), raw, region)
            known = bare.kind in (AddressKind.PHONE, AddressKind.WITHHELD)
            return bare if known else Address(AddressKind.RAW, raw, raw)
        case "messenger" if 0 < len(rest.strip()) <= _LONGEST:
            return Address(AddressKind.MESSENGER, rest.strip(), raw)
        case "rcs" if 0 < len(rest.strip()) <= _LONGEST:
            bare = _unprefixed(rest.strip(), raw, region)
            return bare if bare.kind is AddressKind.PHONE else Address(AddressKind.RCS, rest.strip(), raw)
        case _:  # client:, sip: and whatever comes next: kept as it came, identifies nobody
            return Address(AddressKind.RAW, raw, raw)


_CHANNELS: Mapping[str, Literal["whatsapp", "social"]] = {
    "whatsapp": "whatsapp",
    "messenger": "social",
    "rcs": "social",
}


def channel_of(raw: str) -> Literal["whatsapp", "social"] | None:
    """The channel that an address names by its prefix; None when it has none."""
    return _CHANNELS.get(raw.partition(":")[0].strip().lower()) if ":" in raw else None


def may_exist(address: Address) -> bool:
    """Whether somebody could have this number: one as long as its country's are, a short code of 5 or 6 digits."""
    if address.kind is AddressKind.SHORT_CODE:
        return len(address.value) in (5, 6)
    if address.kind is not AddressKind.PHONE:
        return True
    import phonenumbers

    try:
        length = phonenumbers.is_possible_number_with_reason(phonenumbers.parse(address.value))
    except phonenumbers.NumberParseException:
        return False
    return length == phonenumbers.ValidationResult.IS_POSSIBLE


def _unprefixed(text: str, raw: str, region: str | None) -> Address:
    if text.lower() in _WITHHELD_WORDS or f"+{text.removeprefix('+')}" in _WITHHELD_NUMBERS:
        return Address(AddressKind.WITHHELD, "", raw)
    if _E164.fullmatch(text):
        return Address(AddressKind.PHONE, text, raw)
    if _SHORT_CODE.fullmatch(text):
        return Address(AddressKind.SHORT_CODE, text, raw)
    if phone := _national(text, region):
        return Address(AddressKind.PHONE, phone, raw)
    if _ALPHANUMERIC.fullmatch(text):
        return Address(AddressKind.ALPHANUMERIC, text, raw)
    return Address(AddressKind.RAW, raw, raw)


def _national(text: str, region: str | None) -> str | None:
    if not _DIALLED.fullmatch(text) or (region is None and not text.startswith("+")):
        return None
    import phonenumbers  # 25 ms and rarely needed

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return phone if phonenumbers.is_possible_number(number) and _E164.fullmatch(phone) else None


@lru_cache(maxsize=4096)
def region_of(e164: str) -> str | None:
    """The ISO 3166 region of a phone number ("US"), None when it has none (a satellite phone, not a number)."""
    import phonenumbers

    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
    # A number nobody could be given (555-0100 in a test) still has its country.
    region = phonenumbers.region_code_for_number(number) or phonenumbers.region_code_for_country_code(
        number.country_code or 0
    )
    return None if region in (None, "ZZ", "001") else str(region)
