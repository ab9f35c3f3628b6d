"""Who wants to hear from us: what they said is kept in a ledger, and asked before anything is sent.

    decisions = await decide(db, [Question(…), …])     before it is queued, and again at the moment of sending
    await note(db, [Word(…), …])                       somebody has said something about it

``keywords`` reads what people write, ``hearing`` takes it down as it comes in, ``answers`` confirms it once,
``reviews`` asks a person about plain words, ``hours`` knows when it is night.
"""

from comms.consent.deciding import Decision, Question, decide
from comms.consent.ledger import Noted, Word, note, note_on

__all__ = ["Decision", "Noted", "Question", "Word", "decide", "note", "note_on"]
