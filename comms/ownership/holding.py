"""Who has a conversation, and whether what somebody says may be said under the fence it carries."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from comms.errors import Conflict
from models.communications import Conversation


class ByMember(msgspec.Struct, frozen=True):
    """A member is to own the conversation."""

    id: uuid.UUID


class ByAgent(msgspec.Struct, frozen=True):
    """An agent is to own it, until it renews its lease, or for so many seconds."""

    id: uuid.UUID
    seconds: float = 120.0


Owner = ByMember | ByAgent | None
"""Whose a conversation is to be; None is nobody's."""


class CurrentOwner(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Whose a conversation is at this moment: a member's, an agent's, or with neither nobody's."""

    user_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The member who has it.")] = None
    agent_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The agent that has it.")] = None
    lease_expires_at: Annotated[
        datetime | None, msgspec.Meta(description="Until when the agent has it, unless it renews that.")
    ] = None
    fence: Annotated[int, msgspec.Meta(description="What has to be said with what is written now.", examples=[4])]


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a conversation, as its locked row says."""

    assigned_to: uuid.UUID | None
    agent_id: uuid.UUID | None
    lease_expires_at: datetime | None
    fence: int

    def is_with(self, agent_id: uuid.UUID, at: datetime) -> bool:
        """Whether it is that agent's, whose lease is not over."""
        return self.agent_id == agent_id and self.is_leased(at)

    def is_leased(self, at: datetime) -> bool:
        """Whether an agent has it whose lease is not over."""
        return self.lease_expires_at is not None and self.lease_expires_at > at

    @property
    def owner(self) -> CurrentOwner:
        return CurrentOwner(
            user_id=self.assigned_to,
            agent_id=self.agent_id,
            lease_expires_at=self.lease_expires_at,
            fence=self.fence,
        )


def holding_of(conversation: Conversation) -> Holding:
    """Who has the conversation."""
    return msgspec.convert(conversation, Holding, from_attributes=True)


def holding_in(row: Mapping[str, Any]) -> Holding:
    """The same of a row that a statement has read."""
    return Holding(**{name: row[name] for name in Holding.__struct_fields__})


class NotYours(Conflict):
    """The conversation is somebody else's; ``owner`` is whose, and under which fence."""

    def __init__(self, words: str, holding: Holding, *, conflicting_id: uuid.UUID | None = None) -> None:
        self.owner = holding.owner
        super().__init__(f"{words}: {_described(holding)}", conflicting_id=conflicting_id)


class Owned(NotYours):
    """The conversation has an owner already."""


class Stale(NotYours):
    """The conversation has changed hands since."""


def _described(holding: Holding) -> str:
    if holding.assigned_to is not None:
        whose = f"it is member {holding.assigned_to}'s"
    elif holding.agent_id is not None:
        whose = f"it is agent {holding.agent_id}'s until {holding.lease_expires_at:%Y-%m-%dT%H:%M:%SZ}"
    else:
        whose = "it is nobody's, and waits for an owner"
    return f"{whose}, under fence {holding.fence}"


def expect_fence(
    holding: Holding, *, fence: int | None, agent_id: uuid.UUID | None, is_agents: bool, at: datetime
) -> None:
    """What somebody says may be said now; raises ``Stale``.

    An agent says the fence, and has the conversation by a lease that is not over. Anybody else may say none.
    """
    if is_agents and (agent_id is None or fence is None):
        raise Stale("an agent says the fence under which it writes", holding)
    if fence is not None and fence != holding.fence:
        raise Stale(f"this was written under fence {fence}", holding)
    if agent_id is not None and holding.agent_id != agent_id:
        raise Stale("this agent does not have the conversation", holding)
    if agent_id is not None and not holding.is_leased(at):
        raise Stale("this agent's lease is over", holding)
