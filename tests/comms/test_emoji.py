"""One emoji, and nothing else."""

import pytest

from comms.team.emoji import emoji_of

ONES = ["👍", "👍🏽", "❤️", "👩‍🚀", "👨‍👩‍👧‍👦", "👩‍❤️‍👨", "🏳️‍🌈", "🇩🇪", "1️⃣", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☺️", "⭐", "🫡", "©️", "🕵🏽‍♀️", "🫨"]


@pytest.mark.parametrize("text", ONES)
def test_one_emoji_is_one(text: str) -> None:
    assert emoji_of(text) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "1", "👍👍", "👍a", "a👍", "👍 ", "\u200d", "\ufe0f", "👍\u200d", "🇩", "🇩🇪🇫", "<b>", "👍\n"],
)
def test_what_is_none_or_several_is_refused(text: str) -> None:
    assert emoji_of(text) is None


STRANGE = ["👍\ufe0e", "é", "1\u20e3\u20e3", "👩" + "\u200d👩" * 40, "\U0001f3f4\U000e0067", "\ud83d", "\x00"]


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_what_only_looks_like_one_is_refused(text: str) -> None:
    assert emoji_of(text) is None


@pytest.mark.parametrize(("text", "same"), [("❤", "❤️"), ("1⃣", "1️⃣"), ("👩‍❤‍👨", "👩‍❤️‍👨"), ("⭐️", "⭐"), ("👍️", "👍")])
def test_two_spellings_of_an_emoji_are_one(text: str, same: str) -> None:
    assert emoji_of(text) == same
