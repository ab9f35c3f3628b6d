"""What an endpoint hears: the kinds it wants, of those that whoever switched it on may hear by their role.

Nobody in particular listens there. So what is for single people is not told, though it were its member's own, nor what
happens in closed channels, whoever belongs to them.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms.audience import ADMINISTRATIVE, PERSONAL, Audience, Listener, listener_of, need_of
from comms.errors import Invalid
from comms.happenings import doubt
from comms.identity import Identity
from models.core import Role

_KIND = re.compile(r"([a-z][a-z0-9_]*)\.([a-z0-9_]*)")


class Ear(msgspec.Struct):
    """An endpoint that listens: ``listener`` is who it hears as, ``after_seq`` where it began to.

    Where that member has left, ``until_seq`` is where in the log they did.
    """

    endpoint_id: uuid.UUID
    events: Sequence[str]
    listener: Listener
    after_seq: int = 0
    until_seq: int | None = None
    _told: dict[str, bool] = {}

    def listens_at(self, seq: int) -> bool:
        """Whether it listens there in the log."""
        return seq > self.after_seq and (self.until_seq is None or seq < self.until_seq)

    def hears(self, event: str, noun: str) -> bool:
        """Whether an event of that kind is told there; what is for some alone is not asked about."""
        if event not in self._told:
            self._told[event] = _wants(self.events, event, noun) and may_hear(self.listener, noun)
        return self._told[event]


def ear_of(row: Any) -> Ear:
    """The endpoint as one that listens, with the role and the permissions of its member."""
    listener = nobody_of(row.on_behalf_of, row.role, row.permissions)
    return Ear(row.id, row.events, listener, row.after_seq, row.until_seq, {})


def nobody_of(user_id: uuid.UUID, role: Role, permissions: Mapping[str, Any]) -> Listener:
    """Nobody in particular, with a member's role and permissions."""
    return msgspec.structs.replace(listener_of(user_id, role, permissions), user_id=None)


def may_hear(listener: Listener, noun: str) -> bool:
    """Whether what happens to ``noun`` may be told to where ``listener`` is nobody in particular."""
    if noun in PERSONAL and noun not in ADMINISTRATIVE:
        return False
    return Audience(administrators=noun in ADMINISTRATIVE, need=need_of(noun)).includes(listener)


def check(events: Sequence[str], identity: Identity) -> None:
    """Each of these kinds can happen, and be heard by who asks; else ``Invalid`` names it by its place."""
    nobody = nobody_of(identity.user_id, identity.role, identity.permissions)
    errors = {}
    for place, kind in enumerate(events):
        found = _KIND.fullmatch(kind)
        if found is None:
            reason = "must be a kind such as deal.updated, or deal. for all about deals"
        elif (never := doubt(kind)) is not None:
            reason = never
        elif found[1] in PERSONAL and found[1] not in ADMINISTRATIVE:
            reason = f"what happens to a {found[1].replace('_', ' ')} is told to single people alone"
        elif not may_hear(nobody, found[1]):
            reason = "you may not hear of it, so no endpoint of yours does"
        elif kind in events[:place]:
            reason = "is named twice"
        else:
            continue
        errors[f"events[{place}]"] = reason
    if errors:
        raise Invalid(errors)


def _wants(events: Sequence[str], event: str, noun: str) -> bool:
    return not events or event in events or f"{noun}." in events
