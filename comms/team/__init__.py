"""Talk within the team: who belongs to a channel, what is said there, whom it calls on, and who has read it."""

from comms.team.belonging import join, leave, name_poster, take_back_poster
from comms.team.cards import Card, cards_of
from comms.team.channels import before_removal, change, closed_to, open_all, open_direct
from comms.team.messages import edit, pin, post, remove
from comms.team.reactions import react, take_back
from comms.team.reading import read, reading_of
from comms.team.threads import follow, followers_of, unfollow

__all__ = [
    "Card",
    "before_removal",
    "cards_of",
    "change",
    "closed_to",
    "edit",
    "follow",
    "followers_of",
    "join",
    "leave",
    "name_poster",
    "open_all",
    "open_direct",
    "pin",
    "post",
    "react",
    "read",
    "reading_of",
    "remove",
    "take_back",
    "take_back_poster",
    "unfollow",
]
