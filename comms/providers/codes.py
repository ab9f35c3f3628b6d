"""What the providers' error codes mean, in words for the person who reads why a message did not arrive.

https://www.twilio.com/docs/api/errors and https://developer.signalwire.com/; both number most of them alike.
"""

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "20003": "The provider does not accept the connection's credentials.",
    "20404": "The provider does not know this account or address: check the connection.",
    "20429": "The provider takes no more requests for the moment.",
    "21211": "This is not a number that can be texted.",
    "21212": "The sender is not a number that can send.",
    "21408": "The account may not send to this country: allow it at the provider.",
    "21601": "The sender's number cannot send texts.",
    "21602": "The message is empty.",
    "21604": "The message has no recipient.",
    "21606": "The sender's number is not one of this account's, or cannot send texts.",
    "21608": "The account is a trial: it may text verified numbers only.",
    "21610": "The recipient has opted out: nothing may be sent until they text START.",
    "21611": "The number's queue at the provider is full.",
    "21612": "This number cannot be reached from the sender's number.",
    "21614": "This is not a mobile number.",
    "21617": "The message is too long: 1600 characters at most.",
    "21620": "A media address is not valid.",
    "21623": "The message has too many media: 10 at most.",
    "21655": "The content template is not valid.",
    "21703": "The messaging service has no number to send by.",
    "21717": "The sender's campaign is not active.",
    "21910": "Sender and recipient are on different channels.",
    "30001": "The number's queue at the provider overflowed.",
    "30002": "The account is suspended.",
    "30003": "The recipient's phone cannot be reached: it is off, or has no reception.",
    "30004": "The recipient's carrier blocks this message.",
    "30005": "The recipient's number does not exist, or is out of service.",
    "30006": "The recipient's number is a landline, or its carrier takes no texts.",
    "30007": "The carrier filtered the message as unwanted.",
    "30008": "The carrier does not say why it was not delivered.",
    "30009": "A part of the message was lost on its way.",
    "30010": "The message costs more than the highest price allowed.",
    "30011": "The recipient's carrier does not take media.",
    "30012": "The carrier rejected the message for its length or contents.",
    "30015": "The recipient's address is of a channel that is not known.",
    "30017": "The carrier's network is congested.",
    "30018": "The destination wants a registered sender.",
    "30019": "The recipient's phone cannot take media of this size.",
    "30022": "The sender's campaign has sent what it may for now.",
    "30023": "The sender's brand has sent what it may for today.",
    "30024": "The sender is not provisioned at the carrier.",
    "30027": "The sender's campaign has sent what the carrier allows it for today.",
    "30032": "The toll-free number is not verified yet: verify it at the provider.",
    "30034": "The number is not registered for a 10DLC campaign: register it at the provider.",
    "30035": "The number is still being registered for its campaign.",
    "30036": "The message was not sent within the time it was valid.",
    "30410": "The provider waited too long for the carrier.",
    "30500": "The provider had a fault of its own.",
    "35125": "The message is not allowed at this time of day.",
    "57012": "The secondary token was used before it was promoted.",
    "4.2.2": "The mailbox is full.",
    "4.4.7": "The recipient's mail server could not be reached for too long.",
    "5.1.1": "There is no such mailbox.",
    "5.1.2": "There is no such mail domain.",
    "5.1.10": "There is no mailbox at this domain.",
    "5.2.1": "The mailbox is switched off.",
    "5.2.2": "The mailbox is full.",
    "5.2.3": "The mail is larger than the recipient takes.",
    "5.3.4": "The mail is larger than the recipient's mail server takes.",
    "5.4.1": "The recipient's mail server could not be reached.",
    "5.7.1": "The recipient's mail server does not allow it.",
    "63001": "The channel does not accept the sender's credentials.",
    "63003": "The recipient has no account on this channel.",
    "63007": "The sender is not set up for this channel.",
    "63016": "The recipient last wrote more than 24 hours ago: WhatsApp then allows approved templates only.",
    "63017": "The account sends more than it may.",
    "63018": "The channel takes no more messages of this sender for the moment.",
    "63024": "The recipient's address is not valid on this channel.",
}

LATER = frozenset({"20429", "21611", "30001", "63017", "63018"})
"""Refused before anything was accepted, and not for ever."""

OF_CONNECTION = frozenset(
    {"20003", "20404", "21212", "21601", "21606", "21703", "21717", "30002", "30032", "30034", "63001", "63007"}
)
"""About the account or the number that sends: another one may do."""

_NO_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})


def is_no_mailbox(code: str | None) -> bool:
    """Whether a mail server's enhanced status code (RFC 3463) says that nobody has this address (any more)."""
    return code in _NO_MAILBOX


def words_of(code: str | None) -> str | None:
    """What the code means; None for one that is not in the catalogue."""
    return WORDS.get(code) if code else None
