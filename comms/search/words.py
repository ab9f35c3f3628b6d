"""Words as the search index knows them: in small letters, without accents, the same for what is kept and what is asked.

Chinese, Japanese and Thai are written without spaces: there a word is each pair of neighbouring characters. A number of
seven digits or more is also found by its last digits, so that a phone number is found however it is written.
"""

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Iterable
from functools import lru_cache

LONGEST = 40
MOST = 1_000
"""So many different words of a text can be found."""

# Marks that belong to the letter before them; they are letters to no regular expression.
_MARKS = (
    r"\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0971-\u0dff"
    r"\u0e31-\u0e4e\u0eb1-\u0ecd\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
)
WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_OTHER_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
SHORTEST_TAIL, SHORTEST_NUMBER, LONGEST_NUMBER = 3, 7, 15


def fold(text: str) -> str:
    """``text`` in small letters and without accents."""
    if text.isascii():
        return text.lower()
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not _is_accent(letter))
    return bare.casefold().translate(_OTHER_LETTERS)


def _is_accent(letter: str) -> bool:
    return unicodedata.combining(letter) != 0


def words_of(texts: Iterable[str | None]) -> list[str]:
    """The different words of some texts, as far as they are kept."""
    found: dict[str, None] = {}
    for text in texts:
        if text:
            for match in WORD.finditer(text):
                found.update(dict.fromkeys(_kept(match[0])))
                if len(found) >= MOST:
                    return list(found)[:MOST]
    return list(found)


@lru_cache(16_384)
def _kept(word: str) -> tuple[str, ...]:
    """As what a word is kept. People use few words, most of the time."""
    word = fold(word)
    if word.isascii():
        if SHORTEST_NUMBER <= len(word) <= LONGEST_NUMBER and word.isdigit():
            return tuple(word[start:] for start in range(len(word) - SHORTEST_TAIL + 1))
        return (word[:LONGEST],)
    parts: list[str] = []
    for part in pieces(word):
        parts.append(part[:LONGEST])
        if is_unspaced(part):
            parts.append(part[-1])
    return tuple(parts)


def pieces(word: str) -> list[str]:
    """The word itself, or its pairs of characters where words are not spaced."""
    parts, end = [], 0
    for run in _UNSPACED.finditer(word):
        if run.start() > end:
            parts.append(word[end : run.start()])
        characters = run[0]
        parts += [characters[at : at + 2] for at in range(max(1, len(characters) - 1))]
        end = run.end()
    if end < len(word):
        parts.append(word[end:])
    return parts


def is_unspaced(word: str) -> bool:
    """Whether this is of a script without spaces."""
    return _UNSPACED.fullmatch(word) is not None


def tag(workspace_id: uuid.UUID, kind: str, bucket: int) -> str:
    """What stands in front of every word of that bucket; ``search_tag`` in the database."""
    place = f"{workspace_id}/{kind}/{bucket}".encode()
    return hashlib.md5(place, usedforsecurity=False).hexdigest()[:8]


def document(words: Iterable[str], mark: str) -> str:
    """The words as a ``tsvector``; letters and digits need no escape within quotes."""
    return " ".join(f"'{mark}{word}'" for word in words)
