"""Words, as the search index keeps them and as people ask for them."""

import pytest

from comms import search
from comms.search.words import LONGEST, MOST, fold, words_of


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("José", "jose"),
        ("Jose\u0301", "jose"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Łódź", "lodz"),
        ("Søren", "soren"),
        ("İstanbul", "istanbul"),
        ("ΕΛΈΝΗ", "ελενη"),
        ("Ёлка", "елка"),
        ("ﬁn", "fin"),
        ("２０２６", "2026"),
    ],
)
def test_case_and_accents_do_not_matter(written: str, folded: str) -> None:
    assert fold(written) == folded


def test_words_end_where_letters_and_digits_do() -> None:
    assert words_of(["O'Brien <jane.doe@example.com>", None, "a_b 50%"]) == [
        "o", "brien", "jane", "doe", "example", "com", "a", "b", "50",
    ]  # fmt: skip


def test_a_text_has_so_many_words_of_such_a_length() -> None:
    assert words_of([" ".join(str(n) for n in range(2 * MOST))]) == [str(n) for n in range(MOST)]
    assert words_of(["x" * 100]) == ["x" * LONGEST]


@pytest.mark.parametrize(
    ("q", "text"),
    [
        ("jose", "Señor José"),
        ("garc", "García"),
        ("GARCIA jos", "José García"),
        ("京都", "東京都庁"),
        ("都", "東京都"),
        ("東", "東京都"),
        ("नमस्ते", "नमस्ते दुनिया"),
        ("x" * 60, "x" * 60),
        ("(415) 555-0199", "call +14155550199"),
        ("415-555", "+14155550199"),
        ("0199", "+14155550199"),
        ("0171 1234567", "+491711234567"),
        ("555 0199", "we said 555 0199"),
        ("jane 555-01", "Jane +14155550199"),
        ("a1b2", "A1B2"),
    ],
)
def test_what_is_asked_is_in_the_text(q: str, text: str) -> None:
    assert _is_in(q, text)


@pytest.mark.parametrize(
    ("q", "text"),
    [("jos garcia", "José García"), ("ose", "José"), ("京東", "東京"), ("555-0198", "+14155550199"), ("a b", "a")],
)
def test_what_is_asked_is_not_in_the_text(q: str, text: str) -> None:
    assert not _is_in(q, text)


def _is_in(q: str, text: str) -> bool:
    """As the database compares."""
    question = search.read(q)
    assert question is not None
    words = words_of([text])

    def has(term: search.Term) -> bool:
        return any(term.matches(word) for word in words)

    return all(all(map(has, part.terms)) or (part.number is not None and has(part.number)) for part in question.parts)


@pytest.mark.parametrize("q", ["", " ", "%", "&|!()", "'; --", "_", "🙂"])
def test_without_a_word_nothing_is_asked(q: str) -> None:
    assert search.read(q) is None


@pytest.mark.parametrize("q", ["a & b", "!a", "a:*", "'a' | b", "a\\", "<-> a", "((a", "a' b", "\x01a"])
def test_syntax_is_only_text(q: str) -> None:
    question = search.read(q)
    assert question is not None
    assert {term.word for term in question.terms} <= {"a", "b"}


@pytest.mark.parametrize(
    ("q", "text", "html"),
    [
        ("jose", "Señor José & Söhne", "Señor <mark>José</mark> &amp; Söhne"),
        ("script", "<script>x</script>", "&lt;<mark>script</mark>&gt;x&lt;/<mark>script</mark>&gt;"),
        ("京都", "東京都庁", "東<mark>京都</mark>庁"),
        ("手机", "iPhone手机壳 und 手机", "<mark>iPhone手机壳</mark> und <mark>手机</mark>"),
        ("555-0199", "call +1 (415) 555-0199 now", "call <mark>+1 (415) 555-0199</mark> now"),
        ("a b", "x a b", "x <mark>a</mark> <mark>b</mark>"),
    ],
)
def test_what_was_meant_is_marked_and_everything_escaped(q: str, text: str, html: str) -> None:
    question = search.read(q)
    assert question is not None
    assert search.highlight(question, text) == html


def test_a_long_text_is_cut_around_what_was_meant() -> None:
    question = search.read("needle")
    assert question is not None
    shown = search.highlight(question, "hay " * 1_000 + "needle " + "hay " * 1_000)
    assert shown is not None
    assert shown.startswith("…hay")
    assert "<mark>needle</mark>" in shown
    assert shown.endswith("hay…")
    assert len(shown) < 250
    assert search.highlight(question, "hay") is None
