"""What people attach: announced with the message, fetched afterwards, kept in the object store."""

from comms.media.announcements import FETCH, Announced, announce
from comms.media.fetching import Media
from comms.media.keeping import NotKept

__all__ = ["FETCH", "Announced", "Media", "NotKept", "announce"]
