"""How texts are cut, by the examples of the standard's readers."""

import pytest

from comms.providers.segments import measure


@pytest.mark.parametrize(
    ("content", "encoding", "segments", "units"),
    [
        ("", "GSM-7", 1, 0),
        ("a" * 160, "GSM-7", 1, 160),
        ("a" * 161, "GSM-7", 2, 161),
        ("a" * 306, "GSM-7", 2, 306),
        ("a" * 307, "GSM-7", 3, 307),
        ("€" * 80, "GSM-7", 1, 160),
        ("€" * 81, "GSM-7", 2, 162),
        # 153 septets hold 76 characters of two: the last septet stays empty, for none is cut.
        ("€" * 153, "GSM-7", 3, 306),
        ("ç", "UCS-2", 1, 1),
        ("é" * 160, "GSM-7", 1, 160),
        ("я" * 70, "UCS-2", 1, 70),
        ("я" * 71, "UCS-2", 2, 71),
        ("😀" * 35, "UCS-2", 1, 70),
        ("😀" * 36, "UCS-2", 2, 72),
        ("😀" * 67, "UCS-2", 3, 134),
        ("It’s", "UCS-2", 1, 4),
        ("line\r\nline", "GSM-7", 1, 10),
    ],
)
def test_a_text_is_cut_as_the_standard_says(content: str, encoding: str, segments: int, units: int) -> None:
    found = measure(content)
    assert (found.encoding, found.segments, found.units) == (encoding, segments, units)


def test_it_says_what_makes_a_text_expensive() -> None:
    assert measure("It’s “quoted”, it’s").unusual == ("’", "“", "”")


def test_what_is_left_is_free_in_the_last_segment() -> None:
    assert measure("a" * 150).left == 10
    assert measure("a" * 161).left == 2 * 153 - 161
