"""What people attach: announced with the message, fetched afterwards, kept in the object store until it is deleted."""

from comms.media.announcements import FETCH, REMOVE, Announced, announce
from comms.media.fetching import Media
from comms.media.keeping import NotKept, Unkept

__all__ = ["FETCH", "REMOVE", "Announced", "Media", "NotKept", "Unkept", "announce"]
