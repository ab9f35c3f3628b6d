"""Whose a conversation is: a member's, an agent's for as long as its lease lasts, or nobody's, and then it waits.

Every change of hands makes the conversation's ``fence`` one more. What an agent says carries the fence that it has
read, and is refused at the commit when the conversation has moved on: so no agent talks over a person, however late.

All of these find the conversation's row locked by their caller, as messages lock it that arrive or leave.
"""

from comms.ownership.holding import (
    ByAgent,
    ByMember,
    CurrentOwner,
    Holding,
    NotYours,
    Owned,
    Owner,
    Stale,
    expect_fence,
)
from comms.ownership.moving import claim, expire_leases, give, give_waiting, release, renew, take_over
from comms.ownership.settling import withdraw

__all__ = [
    "ByAgent",
    "ByMember",
    "CurrentOwner",
    "Holding",
    "NotYours",
    "Owned",
    "Owner",
    "Stale",
    "claim",
    "expect_fence",
    "expire_leases",
    "give",
    "give_waiting",
    "release",
    "renew",
    "take_over",
    "withdraw",
]
