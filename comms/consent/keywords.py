"""What people write about hearing from us: keywords that mean nothing else, and plain words that a person looks at.

The keywords are Twilio's defaults (https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out), which carriers
expect of everybody. Plain words are read conservatively: they ask for a review, and opt nobody out by themselves.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from comms.providers.base import AddressKind, InboundMessage
from models.communications import ConsentSays

STOP = frozenset({"STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL", "ARRET"})
START = frozenset({"START", "YES", "UNSTOP"})
HELP = frozenset({"HELP", "INFO"})
SAYS: Mapping[str, ConsentSays] = {
    **dict.fromkeys(STOP, "stop"),
    **dict.fromkeys(START, "start"),
    **dict.fromkeys(HELP, "help"),
}
# The same words, written as people write them: the provider has not understood these, and has not answered.
_LOOSELY: Mapping[str, str] = {"STOP ALL": "STOPALL", "OPT OUT": "OPTOUT", "OPT-OUT": "OPTOUT", "ARRÊT": "ARRET"}
_AROUND = " \t\r\n\v\f\u00a0\u200b.,;:!?\"'()[]*_-~“”‘’«»"
_LONGEST_KEYWORD = 24
_LONGEST_PLAIN = 320

_ME = r"(?:me|us|this number|my number|my phone|here)\b"
_SENDS = r"(?:text|txt|messag|contact|call|e-?mail|spam|writ|bother|harass|send|reach)\w*"
_SENT = r"(?:texts?|txts?|messages?|msgs?|sms|e?mails?|calls?|spam|notifications?|ads?|stuff)\b"
_STOP_IT = re.compile(
    rf" (?:all )?(?:(?:the|these|those|with) )*{_SENDS}(?: (?:{_ME}|{_SENT}|please|it|this|these|them|to\b)|\W*$)"
    rf"| (?:the|these|those|all|sending)(?: \w+){{0,2}} {_SENT}"
)
_WRITE_ME = re.compile(
    rf" (?:ever )?(?:text|txt|message|msg|contact|call|e-?mail|write|reach)(?: to)? {_ME}"
    r"(?! (?:until|till|before|after|at|on|back|if|when|late|yet|so)\b)"
)
_OFF = re.compile(rf" (?:{_ME}|my name\b|my contact\b)(?: please)? (?:off|from|out)\b")
_NUMBER = re.compile(r" (?:my|this) number\b")
_CONSENT = re.compile(r" (?:my )?(?:consent|permission)\b")
_NOTHING = re.compile("")
_FOLLOWED = (
    ("stop", _STOP_IT),
    ("quit", _STOP_IT),
    ("cease", _STOP_IT),
    ("do not", _WRITE_ME),
    ("don't", _WRITE_ME),
    ("dont", _WRITE_ME),
    ("never", _WRITE_ME),
    ("no longer", _WRITE_ME),
    ("take", _OFF),
    ("remove", _OFF),
    ("delete", _OFF),
    ("lose", _NUMBER),
    ("delete", _NUMBER),
    ("forget", _NUMBER),
    ("revoke", _CONSENT),
    ("withdraw", _CONSENT),
    ("unsubscribe", _NOTHING),
    ("opt", re.compile(r"(?:ing)?[ -]?(?:me |us )?out\b")),
    ("no more", re.compile(rf" {_SENT}")),
    ("leave me alone", _NOTHING),
)
"""Words, and what has to follow for them to ask for silence. Most messages have none, and no pattern is tried."""
_NEGATED = re.compile(r"(?:n't|nt|not|never|without|non-?)[ -]$")
_ALONE = re.compile(
    r"\W*(?:(?:please|pls|plz|kindly)\W*)?(?:remove me|stop(?:\W+(?:please|pls|plz|now|it|this|already|thanks|thank you"
    r"|immediately))*)\W*"
)


class Said(msgspec.Struct, frozen=True):
    """What a message says about hearing from us: ``says``, in these ``words``.

    ``exactly``: the provider understands the same word; ``by_provider``: it says so itself. Where it is said
    ``plainly``, in words of the writer's own, a person has to look.
    """

    says: ConsentSays
    words: str
    exactly: bool = False
    by_provider: bool = False
    plainly: bool = False


def said_in(content: str, details: Mapping[str, Any]) -> Said | None:
    """What is said in a message; nothing, in nearly every one. The provider's own finding comes first."""
    if "optOutType" in details:
        says = _BY_PROVIDER.get(str(details["optOutType"]).strip().upper())
        if says is not None:
            return Said(says, content.strip()[:200] or str(details["optOutType"]), by_provider=True)
    if len(content) <= _LONGEST_KEYWORD:
        word = content.strip().upper()
        if word in SAYS:
            return Said(SAYS[word], word, exactly=True)
        word = " ".join(word.strip(_AROUND).split())
        word = _LOOSELY.get(word, word)
        if word in SAYS and word not in _NOT_LOOSELY:
            return Said(SAYS[word], word)
    elif len(content) > _LONGEST_PLAIN:
        return None
    text = content.lower().replace("’", "'") if "’" in content else content.lower()
    for word, followed_by in _FOLLOWED:
        if word in text and (words := _plainly(content, text, word, followed_by)):
            return Said("stop", words, plainly=True)
    return None


def _plainly(content: str, text: str, word: str, followed_by: re.Pattern[str]) -> str | None:
    """The words with which a message, ``text`` in lower case, asks for silence."""
    if len(text) != len(content):  # a letter that is longer in lower case: the places would not be the same
        content = text
    if word in ("stop", "remove") and _ALONE.fullmatch(text):
        return content.strip()
    place = text.find(word)
    while place >= 0:
        found = followed_by.match(text, place + len(word))
        begins = place == 0 or not text[place - 1].isalnum()
        if found and begins and not _NEGATED.search(text[max(0, place - 8) : place]):
            return content[place : found.end()].strip()[:200]
        place = text.find(word, place + 1)
    return None


_BY_PROVIDER: Mapping[str, ConsentSays] = {"STOP": "stop", "START": "start", "HELP": "help"}
# "Yes!", "Info?", "Help!!" and "(end)" are what people say to each other all day.
_NOT_LOOSELY = START - {"START", "UNSTOP"} | HELP | {"END", "CANCEL"}

_TOLL_FREE = re.compile(r"\+18(?:00|33|44|55|66|77|88)\d{7}")


def speaks_of_it(message: InboundMessage) -> bool:
    """Whether a message has to be looked at: cheap, for it is asked of every one."""
    return said_in(message.content, message.details) is not None


def is_answered(message: InboundMessage, said: Said) -> bool:
    """Whether the provider has answered, so that we must not.

    Twilio answers its keywords on long codes and over RCS, and whatever it says that it has understood; SignalWire
    leaves it all to us.
    """
    if said.by_provider:
        return True
    if message.provider != "twilio" or not said.exactly:
        return False
    kind = message.recipient.kind
    return kind is AddressKind.RCS or (kind is AddressKind.PHONE and message.channel == "sms")


def means_something(message: InboundMessage, said: Said) -> bool:
    """Whether the word means that on the number it was sent to: toll-free networks lift a stop for START and UNSTOP."""
    return not (said.words == "YES" and _TOLL_FREE.fullmatch(message.recipient.value))
