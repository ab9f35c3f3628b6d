"""Search by words: what is kept of each row, what is asked, what is found, and what of it is shown."""

from comms.search.finding import Found, Place, Texts, find, meant, texts_of
from comms.search.highlights import highlight
from comms.search.kinds import KINDS, Kind, finds
from comms.search.question import Question, Term, read

__all__ = [
    "KINDS",
    "Found",
    "Kind",
    "Place",
    "Question",
    "Term",
    "Texts",
    "find",
    "finds",
    "highlight",
    "meant",
    "read",
    "texts_of",
]
