"""Who is behind what the wire says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms.providers.addresses import read_address, region_of
from comms.providers.base import AddressKind


@pytest.mark.parametrize(
    ("raw", "kind", "value"),
    [
        ("+14155550100", AddressKind.PHONE, "+14155550100"),
        ("+1 (415) 555-0100", AddressKind.PHONE, "+14155550100"),
        (" 14155550100", AddressKind.PHONE, "+14155550100"),
        ("(415) 555-0100", AddressKind.PHONE, "+14155550100"),
        ("whatsapp:+14155550100", AddressKind.PHONE, "+14155550100"),
        ("rcs:+14155550100", AddressKind.PHONE, "+14155550100"),
        ("rcs:brand_agent", AddressKind.RCS, "brand_agent"),
        ("messenger:109", AddressKind.MESSENGER, "109"),
        ("whatsapp:US.1234", AddressKind.RAW, "whatsapp:US.1234"),
        ("messenger:", AddressKind.RAW, "messenger:"),
        ("client:Bob", AddressKind.RAW, "client:Bob"),
        ("sip:Bob@example.com", AddressKind.RAW, "sip:Bob@example.com"),
        ("72975", AddressKind.SHORT_CODE, "72975"),
        ("988", AddressKind.SHORT_CODE, "988"),
        ("ACME Shop", AddressKind.ALPHANUMERIC, "ACME Shop"),
        ("Too long a name", AddressKind.RAW, "Too long a name"),
        ("+0123", AddressKind.RAW, "+0123"),
        ("+14155550100\n", AddressKind.PHONE, "+14155550100"),
        ("+١٤١٥٥٥٥٠١٠٠", AddressKind.RAW, "+١٤١٥٥٥٥٠١٠٠"),
    ],
)
def test_an_address_is_read_for_what_it_is(raw: str, kind: AddressKind, value: str) -> None:
    address = read_address(raw, "US")
    assert (address.kind, address.value, address.raw) == (kind, value, raw)


@pytest.mark.parametrize(
    "raw",
    ["", " ", "anonymous", "Anonymous", "RESTRICTED", "unknown", "private", "+266696687", "266696687", "+2562533"],
)
def test_a_withheld_caller_is_nobody(raw: str) -> None:
    address = read_address(raw)
    assert (address.kind, address.value, address.is_identity) == (AddressKind.WITHHELD, "", False)


def test_a_national_number_is_nobody_without_a_region() -> None:
    assert not read_address("4155550100").is_identity


@given(st.text(max_size=20), st.sampled_from([None, "US", "GB", "??"]))
def test_any_text_is_some_address_without_nul(raw: str, region: str | None) -> None:
    address = read_address(raw, region)
    assert "\0" not in address.value + address.raw
    assert address.kind is not AddressKind.PHONE or address.value.startswith("+")


@pytest.mark.parametrize(
    ("e164", "region"), [("+14155550100", "US"), ("+442079460018", "GB"), ("+8835100", None), ("no number", None)]
)
def test_a_number_has_its_region(e164: str, region: str | None) -> None:
    assert region_of(e164) == region
