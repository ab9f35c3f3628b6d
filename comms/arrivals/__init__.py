"""Inbound messages: each finds its place, is kept once and is told to all, in one transaction for all that wait.

``story`` is read first; ``passage`` is a message on its way, ``keeping`` the statement that keeps it, ``facts`` what is
told of it; ``at_once`` does the common case in one statement.
"""

from comms.arrivals.at_once import receive_at_once
from comms.arrivals.passage import KIND, Arrival, Received
from comms.arrivals.story import receive, spoil

__all__ = ["KIND", "Arrival", "Received", "receive", "receive_at_once", "spoil"]
