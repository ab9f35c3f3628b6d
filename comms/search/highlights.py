"""Which parts of a text were meant: cut out with what stands around them, escaped, and marked for a screen."""

import html
import re
import unicodedata
from functools import lru_cache

import msgspec

from comms.search.question import Question
from comms.search.words import WORD, fold, is_unspaced, pieces

BEFORE, AROUND = 60, 200
_NUMBER = re.compile(r"\+?\(?\d[\d\s()./+-]*\d")


def highlight(question: Question, text: str) -> str | None:
    """An excerpt as HTML with ``<mark>`` around what was meant; None when nothing was."""
    text = unicodedata.normalize("NFC", text)
    spans = _joined(sorted(_spans(question, text)))
    if not spans:
        return None
    start = max(0, spans[0][0] - BEFORE)
    if start:
        start = text.find(" ", start, spans[0][0]) + 1 or start
    end = min(len(text), start + AROUND)
    if end < len(text):
        end = max(text.rfind(" ", spans[0][1], end), min(spans[0][1], end)) if " " in text[spans[0][1] : end] else end
    parts, at = ["…" if start else ""], start
    for first, last in spans:
        if last > end:
            break
        parts += [html.escape(text[at:first]), "<mark>", html.escape(text[first:last]), "</mark>"]
        at = last
    parts += [html.escape(text[at:end]), "…" if end < len(text) else ""]
    return "".join(parts)


class _Sought(msgspec.Struct, frozen=True):
    """What a text is looked through for: words, beginnings of words, and numbers however they are written."""

    words: frozenset[str]
    begun: tuple[str, ...]
    digits: tuple[str, ...]


@lru_cache(256)
def _sought(question: Question) -> _Sought:
    """The same for each of the many texts of a page."""
    terms = question.terms
    numbers = [part.number.word for part in question.parts if part.number]
    numbers += [term.word for term in terms if term.word.isdigit() and len(term.word) >= 3]
    return _Sought(
        frozenset(term.word for term in terms),
        tuple(term.word for term in terms if term.is_beginning),
        tuple(numbers),
    )


def _spans(question: Question, text: str) -> list[tuple[int, int]]:
    spans = []
    sought = _sought(question)
    for match in WORD.finditer(text):
        word = match[0]
        folded = fold(word)
        others = [] if word.isascii() else pieces(folded)
        if others and is_unspaced(word):
            spans += [(match.start() + at, match.start() + at + n) for at, n in _unspaced(word, question)]
        elif folded.startswith(sought.begun) or not sought.words.isdisjoint((folded, *others)):
            spans.append(match.span())
    for number in _NUMBER.finditer(text) if sought.digits else ():
        written = "".join(character for character in number[0] if character.isdigit())
        if len(written) >= 7 and any(some in written for some in sought.digits):
            spans.append(number.span())
    return spans


def _unspaced(word: str, question: Question) -> list[tuple[int, int]]:
    """Places and lengths of what was meant in a run of characters without spaces."""
    return [
        (at, len(term.word)) for term in question.terms for at in range(len(word)) if word.startswith(term.word, at)
    ]


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in spans:
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
