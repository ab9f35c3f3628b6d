"""What somebody types into a search box: all of the words, the last one perhaps unfinished."""

import re

import msgspec

from comms.search.words import LONGEST, SHORTEST_TAIL, WORD, fold, is_unspaced, pieces

_NUMBER = re.compile(r"\+?\(?\d[\d\s()./+-]*\d")
_MARK = "\x01"  # where the database puts the mark of the bucket it looks into
MOST_WORDS = 20
SHORT = 1
SHORTEST_DIALLED = 5


class Term(msgspec.Struct, frozen=True):
    """A word, or the beginning of one."""

    word: str
    is_beginning: bool = False

    def matches(self, word: str) -> bool:
        """Whether a folded word is the one meant."""
        return word.startswith(self.word) if self.is_beginning else word == self.word

    def __str__(self) -> str:
        return f"'{_MARK}{self.word}'{':*' if self.is_beginning else ''}"


class Part(msgspec.Struct, frozen=True):
    """Some words, all of which are meant; a number written in groups may also stand in one piece."""

    terms: tuple[Term, ...]
    number: Term | None = None

    def __str__(self) -> str:
        together = " & ".join(map(str, self.terms))
        return f"(({together}) | {self.number})" if self.number else f"({together})"


class Question(msgspec.Struct, frozen=True):
    """All parts are meant. Nothing of it is syntax: what is neither letter nor digit only separates."""

    parts: tuple[Part, ...]

    @property
    def terms(self) -> list[Term]:
        """All words, and the numbers in one piece."""
        numbers = [part.number for part in self.parts if part.number]
        return [term for part in self.parts for term in part.terms] + numbers

    def wanted(self, *, whole: bool = False) -> str:
        """What the index is asked: all of it, except a single letter beside whole words; or what is ``whole``."""
        return " & ".join(map(str, self.parts[:-1] if self._ends_apart(whole) else self.parts))

    def filtered(self, *, whole: bool = False) -> str | None:
        """What the rows found are asked besides: half of all words may begin with one letter."""
        return str(self.parts[-1]) if self._ends_apart(whole) else None

    def whole(self) -> str:
        """All of it."""
        return " & ".join(map(str, self.parts))

    def _ends_apart(self, whole: bool) -> bool:
        last = self.parts[-1]
        return len(self.parts) > 1 and last.number is None and (whole or len(last.terms[-1].word) <= SHORT)


def read(text: str) -> Question | None:
    """What ``text`` asks; None when there is no word in it."""
    parts: list[Part] = []
    end = 0
    for number in _NUMBER.finditer(text):
        before = text[end : number.start()]
        if before and before[-1].isalnum():
            continue  # digits at the end of a word
        parts += _words(before)
        parts.append(_number(number[0]))
        end = number.end()
    parts += _words(text[end:])
    parts = list(dict.fromkeys(parts))[:MOST_WORDS]
    if not parts:
        return None
    return Question((*parts[:-1], _unfinished(parts[-1])))


def _words(text: str) -> list[Part]:
    return [Part((_term(piece),)) for match in WORD.finditer(text) for piece in pieces(fold(match[0])) if piece]


def _term(word: str) -> Term:
    # One character of an unspaced script begins the pairs it stands in.
    return Term(word[:LONGEST], len(word) > LONGEST or (len(word) == 1 and is_unspaced(word)))


def _number(text: str) -> Part:
    """A number in groups, or as it is dialled within its country: also meant without the zero, in one piece."""
    groups = tuple(Term(match[0]) for match in WORD.finditer(text))
    written = "".join(term.word for term in groups)
    digits = written.lstrip("0")
    if len(digits) < SHORTEST_TAIL or (len(groups) == 1 and (digits == written or len(digits) < SHORTEST_DIALLED)):
        return Part(groups)
    return Part(groups, Term(digits[:LONGEST], is_beginning=True))


def _unfinished(part: Part) -> Part:
    last = part.terms[-1]
    return Part((*part.terms[:-1], Term(last.word, is_beginning=True)), part.number)
