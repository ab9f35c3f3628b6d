"""What single members can take, and whether they are there to take it."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions
from comms.assignment.rules import tidy_skills
from comms.errors import Invalid
from models.base import new_id
from models.routing import DEFAULT_CAPACITY, Availability, RoutingProfile


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> RoutingProfile:
    """The member has a profile; raises ``Invalid``."""
    [profile] = await create_all(db, workspace_id, [values])
    if isinstance(profile, Invalid):
        raise profile
    return profile


async def create_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[RoutingProfile | Invalid]:
    """Each of these members has a profile; ``Invalid`` is one that will not do, or of who is no active member."""
    active = await mentions.active_of(db, workspace_id, {values["user_id"] for values in many})
    outcome: list[RoutingProfile | Invalid] = []
    for values in many:
        try:
            if values["user_id"] not in active:
                raise Invalid({"userId": mentions.NOT_ACTIVE})
            kept = _kept(values, DEFAULT_CAPACITY, {})
            outcome.append(RoutingProfile(workspace_id=workspace_id, id=new_id(), **kept))
        except Invalid as error:
            outcome.append(error)
    db.add_all(profile for profile in outcome if isinstance(profile, RoutingProfile))
    return outcome


async def change(db: AsyncSession, profile: RoutingProfile, values: Mapping[str, Any]) -> None:
    """The profile has the new values; raises ``Invalid``."""
    if "user_id" in values and values["user_id"] != profile.user_id:
        raise Invalid({"userId": "cannot change: whose profile this is stays"})
    for name, value in _kept(values, profile.capacity, profile.channel_capacity).items():
        setattr(profile, name, value)


async def appear(
    db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, availability: Availability
) -> tuple[RoutingProfile, bool]:
    """The member says to be available, or away: their profile, held, and whether it was made for that."""
    made = await db.scalar(
        insert(RoutingProfile)
        .values(workspace_id=workspace_id, id=new_id(), user_id=user_id, availability=availability)
        .on_conflict_do_nothing(index_elements=["workspace_id", "user_id"])
        .returning(RoutingProfile.id)
    )
    held = select(RoutingProfile).where(RoutingProfile.workspace_id == workspace_id, RoutingProfile.user_id == user_id)
    profile = (await db.scalars(held.with_for_update(key_share=True))).one()
    return profile, made is not None


def _kept(values: Mapping[str, Any], capacity: int, channels: Mapping[str, int]) -> dict[str, Any]:
    kept = dict(values)
    if "skills" in values:
        kept["skills"] = tidy_skills(values["skills"])
    most = kept.get("capacity", capacity)
    wrong = {
        f"channelCapacity.{channel}": f"must be at most the capacity, {most}"
        for channel, places in kept.get("channel_capacity", channels).items()
        if places > most
    }
    if wrong:
        raise Invalid(wrong)
    return kept
