"""Search by words: what is kept of each row, what is asked, what is found, and what of it is shown."""

from comms.search.finding import Found, Place, Texts, find, texts_of
from comms.search.highlights import highlight
from comms.search.kinds import KINDS, Kind, conversation_filter, finds
from comms.search.lists import ByCreation, first_rows
from comms.search.question import Question, Term, read

__all__ = [
    "KINDS",
    "ByCreation",
    "Found",
    "Kind",
    "Place",
    "Question",
    "Term",
    "Texts",
    "conversation_filter",
    "find",
    "finds",
    "first_rows",
    "highlight",
    "read",
    "texts_of",
]
