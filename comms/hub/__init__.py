"""Everybody who is connected sees what has happened, in order, milliseconds after it was committed.

``hub`` tells the story; ``log`` reads the event log, ``frames`` encodes it once for all, ``topics`` says who wants and
who may see what, ``rooms`` holds a workspace's sockets, ``fanout`` writes to them, ``replay`` brings a returning client
up to date, ``protocol`` declares every frame, ``speech`` understands what clients say, ``whispers`` are for the moment,
``presence`` is a workspace's roster and ``attendance`` keeps them all, ``rights`` knows who may still hear what, and
``building`` is what they all work in.
"""

from comms.hub.hub import Hub
from comms.hub.rooms import Socket

__all__ = ["Hub", "Socket"]
