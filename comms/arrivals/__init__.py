"""Inbound messages: each finds its place, is kept once and is told to all, in one transaction for all that wait.

``story`` is read first; ``passage`` is a message on its way, ``keeping`` the statement that keeps it, ``facts`` what is
told of it; ``known`` and ``strangers`` are shortcuts of one statement each, with ``at_once`` as what they share.
"""

from comms.arrivals.known import receive_from_known
from comms.arrivals.passage import KIND, Arrival, Passage, Received
from comms.arrivals.story import enter, receive, spoil
from comms.arrivals.strangers import receive_from_strangers

SHORTCUTS = (receive_from_known, receive_from_strangers)
"""What is tried first, one after the other; the story takes what they leave."""

__all__ = ["KIND", "SHORTCUTS", "Arrival", "Passage", "Received", "enter", "receive", "spoil"]
