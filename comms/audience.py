"""Who of a workspace may hear of an event, in the log and on the socket alike."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any, get_args

import msgspec

from comms import permissions
from models.core import Area, Level, Role

PERSONAL = frozenset(
    {
        "notification",
        "notification_read_state",
        "notification_preference",
        "push_subscription",
        "access_token",
        "session",
        "team_channel_reading",
        "team_thread_following",
    }
)
"""Nouns whose events are for the user whom ``userId`` in their data names."""

ADMINISTRATIVE = frozenset(
    {"access_token", "workspace_api_key", "webhook_endpoint", "webhook_signing_secret", "webhook_replay"}
)
"""Nouns whose events are for administrators; where they are personal too, for either."""

ADMINISTRATORS = frozenset({"owner", "admin"})

Need = tuple[Area, Level]
"""A level of permission in an area."""

NEEDS: Mapping[str, Need] = {
    "agent_template": ("packs", "read"),
    "agent_pack": ("packs", "read"),
    "invoice": ("billing", "read"),
    "expense": ("billing", "write"),
    "workspace_member": ("members", "read"),
    "user": ("members", "read"),
    # It holds an address that nobody has agreed to show: for those who could have invited it.
    "workspace_invitation": ("members", "write"),
}

OWNED: Mapping[str, str] = {"expense": "submittedBy", "user": "id"}
"""Nouns whose events the user hears too whom this field of their data names, whatever they are not permitted."""

CHANNELLED: Mapping[str, str] = {
    "team_channel": "id",
    "team_channel_member": "channelId",
    "team_message": "channelId",
    "team_message_reaction": "channelId",
}
"""Nouns whose events are for those who belong to the channel that this field of their data names, if it is closed.

Who that was is kept with the event: it was decided when it happened.
"""

WITHIN: Mapping[str, str] = {
    **CHANNELLED,
    "team_channel_reading": "channelId",
    "team_thread_following": "channelId",
}
"""Nouns of what happens in a channel: whoever has gone from a closed one hears nothing of it when they come back."""

LEFT = "team_channel_member.deleted"
"""What is told to who is no longer a member too, if it was them who left."""

CLOSED = "team_channel.closed"
"""What is told to who no longer knows of a channel, because it has become private."""

AGENTS: Need = ("agents", "read")
"""What everything else takes whose noun begins with ``agent``."""


def need_of(noun: str) -> Need | None:
    """What one must be permitted to hear of ``noun``; None when everybody may."""
    if noun in NEEDS:
        return NEEDS[noun]
    return AGENTS if noun.partition("_")[0] == "agent" else None


class Listener(msgspec.Struct, frozen=True):
    """As much of a member as decides what they may hear; ``lacks`` is what they are not permitted.

    An agent is nobody of the team: it hears what is meant for agents and nothing else.
    """

    user_id: uuid.UUID | None = None
    is_administrator: bool = False
    lacks: frozenset[Need] = frozenset()
    agent_id: uuid.UUID | None = None


def listener_of(
    user_id: uuid.UUID, role: Role, granted: Mapping[str, Any], agent_id: uuid.UUID | None = None
) -> Listener:
    """A member with that role and those ``permissions``, as one who listens; or an agent whose token they have made."""
    if agent_id is not None:
        return Listener(None, False, lacks_of("viewer", NOTHING), agent_id)
    return Listener(user_id, role in ADMINISTRATORS, lacks_of(role, granted))


NOTHING: Mapping[str, Level] = dict.fromkeys(get_args(Area), "none")


def lacks_of(role: Role, granted: Mapping[str, Any]) -> frozenset[Need]:
    """Whatever a member with that role and those ``permissions`` may not do."""
    levels: tuple[Level, ...] = ("read", "write")
    return frozenset(
        (area, level)
        for area in get_args(Area)
        for level in levels
        if not permissions.allows(role, granted, area, level)
    )


class Audience(msgspec.Struct, frozen=True):
    """One user, the administrators, either, or everybody when neither is named; of them, who is permitted ``need``.

    And ``owner_id``, in any case. Where there are ``members`` it is for them, and nobody else whatever their role.
    Of agents, these ``agents`` alone.
    """

    user_id: uuid.UUID | None = None
    administrators: bool = False
    need: Need | None = None
    owner_id: uuid.UUID | None = None
    members: frozenset[uuid.UUID] | None = None
    agents: frozenset[uuid.UUID] = frozenset()

    @property
    def is_everybody(self) -> bool:
        return self.user_id is None and not self.administrators and self.need is None and self.members is None

    @property
    def named(self) -> set[uuid.UUID]:
        """The users for whom it is something else than for others of their rights."""
        return {user_id for user_id in (self.user_id, self.owner_id, *(self.members or ())) if user_id is not None}

    def includes(self, listener: Listener) -> bool:
        """Whether ``listener`` may hear."""
        if listener.agent_id is not None:
            return listener.agent_id in self.agents
        if self.members is not None and listener.user_id not in self.members:
            return False
        if self.owner_id is not None and self.owner_id == listener.user_id:
            return True
        if self.need is not None and self.need in listener.lacks:
            return False
        if (self.user_id is None and not self.administrators) or (self.administrators and listener.is_administrator):
            return True
        return self.user_id is not None and self.user_id == listener.user_id


class _Addressed(msgspec.Struct, rename="camel"):
    user_id: uuid.UUID | None = None


EVERYBODY = Audience()


def audience_of(noun: str, data: bytes, members: Collection[uuid.UUID] | None = None) -> Audience:
    """Who may hear of an event about ``noun`` whose data is this JSON: of ``members``, if it is theirs alone."""
    if members is not None:
        return Audience(members=frozenset(members))
    if noun not in PERSONAL and noun not in ADMINISTRATIVE:
        need = need_of(noun)
        if noun in OWNED:
            owner = msgspec.json.decode(data, type=dict[str, Any]).get(OWNED[noun])
            return Audience(need=need, owner_id=None if owner is None else uuid.UUID(owner))
        return EVERYBODY if need is None else Audience(need=need)
    named = msgspec.json.decode(data, type=_Addressed).user_id if noun in PERSONAL else None
    return Audience(named, noun in ADMINISTRATIVE, need_of(noun))
