"""Who of a workspace may hear of an event, in the log and on the socket alike."""

import uuid

import msgspec

PERSONAL = frozenset({"notification", "access_token"})
"""Nouns whose events are for the user whom ``userId`` in their data names."""

ADMINISTRATIVE = frozenset({"access_token", "workspace_api_key"})
"""Nouns whose events are for administrators; where they are personal too, for either."""

ADMINISTRATORS = frozenset({"owner", "admin"})


class Listener(msgspec.Struct, frozen=True):
    """As much of a member as decides what they may hear."""

    user_id: uuid.UUID | None = None
    is_administrator: bool = False


class Audience(msgspec.Struct, frozen=True):
    """One user, the administrators, either, or, with neither named, everybody."""

    user_id: uuid.UUID | None = None
    administrators: bool = False

    @property
    def is_everybody(self) -> bool:
        return self.user_id is None and not self.administrators

    def includes(self, listener: Listener) -> bool:
        """Whether ``listener`` may hear."""
        if self.is_everybody or (self.administrators and listener.is_administrator):
            return True
        return self.user_id is not None and self.user_id == listener.user_id


class _Addressed(msgspec.Struct, rename="camel"):
    user_id: uuid.UUID | None = None


EVERYBODY = Audience()


def audience_of(noun: str, data: bytes) -> Audience:
    """Who may hear of an event about ``noun`` whose data is this JSON."""
    if noun not in PERSONAL and noun not in ADMINISTRATIVE:
        return EVERYBODY
    named = msgspec.json.decode(data, type=_Addressed).user_id if noun in PERSONAL else None
    return Audience(named, noun in ADMINISTRATIVE)
