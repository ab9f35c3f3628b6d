"""Campaigns: how they pass from draft to completed, and whom they are meant for."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Uuid, case, cast, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, segments, states
from comms.database import Database
from comms.errors import Conflict, Invalid, Refused
from models.base import now
from models.crm import Contact
from models.marketing import Campaign, CampaignRecipient, CampaignView, Segment

ALLOWED: states.Allowed = {
    "changed": ("draft", "paused"),
    "deleted": ("draft",),
    "given recipients": ("draft", "scheduled"),
    "scheduled": ("draft", "scheduled"),
    "unscheduled": ("scheduled",),
    "started": ("draft", "scheduled"),
    "paused": ("active",),
    "resumed": ("paused",),
    "completed": ("active", "paused"),
}

RANK: Mapping[str, int] = {
    "pending": 0,
    "sent": 1,
    "failed": 2,
    "delivered": 3,
    "bounced": 4,
    "opened": 5,
    "clicked": 6,
    "unsubscribed": 7,
    "complained": 7,
}
"""How far a recipient has come: a later report of something earlier changes nothing.

As of messages: who says "delivered" after a failure is believed, and a server that took a mail may still return it.
"""

_TIMED: Mapping[str, str] = {
    "sent": "sent_at",
    "delivered": "delivered_at",
    "opened": "opened_at",
    "clicked": "clicked_at",
}


class Added(msgspec.Struct, rename="camel"):
    """How many contacts are recipients now who were not, how many were already, and how many there are in all."""

    added: int
    already_there: int
    recipient_count: int


async def change(db: AsyncSession, campaign: Campaign, values: Mapping[str, Any]) -> None:
    """The draft or paused campaign has the new values."""
    states.expect("campaign", campaign.status, "changed", ALLOWED)
    for name, value in values.items():
        setattr(campaign, name, value)


def expect_draft(campaign: Campaign) -> None:
    """``Conflict`` when the campaign may not be deleted, because it has begun or is about to."""
    states.expect("campaign", campaign.status, "deleted", ALLOWED)


async def schedule(campaign: Campaign, at: datetime) -> None:
    """The campaign is to start at that time, which is in the future. The caller holds its row, here and below."""
    states.expect("campaign", campaign.status, "scheduled", ALLOWED)
    if at <= now():
        raise Invalid({"scheduledAt": "must be in the future: start the campaign to have it begin now"})
    campaign.status, campaign.scheduled_at = "scheduled", at


async def unschedule(campaign: Campaign) -> None:
    """The campaign is a draft again."""
    states.expect("campaign", campaign.status, "unscheduled", ALLOWED)
    campaign.status, campaign.scheduled_at = "draft", None


async def start(db: AsyncSession, campaign: Campaign) -> None:
    """The campaign is under way; who is in its segment at this moment is among its recipients."""
    states.expect("campaign", campaign.status, "started", ALLOWED)
    if campaign.segment_id is not None:
        await add_segment(db, campaign, campaign.segment_id)
    await _count(db, campaign)
    if campaign.recipient_count == 0:
        raise Conflict("this campaign has no recipients: add some, or give it a segment that has contacts")
    campaign.status, campaign.sent_at = "active", now()


async def pause(campaign: Campaign) -> None:
    """The campaign rests, and can be changed meanwhile."""
    states.expect("campaign", campaign.status, "paused", ALLOWED)
    campaign.status = "paused"


async def resume(campaign: Campaign) -> None:
    """The campaign goes on."""
    states.expect("campaign", campaign.status, "resumed", ALLOWED)
    campaign.status = "active"


async def complete(campaign: Campaign) -> None:
    """The campaign is over."""
    states.expect("campaign", campaign.status, "completed", ALLOWED)
    campaign.status, campaign.completed_at = "completed", now()


async def start_due(database: Database) -> int:
    """Every scheduled campaign whose time has come is under way; says how many have begun.

    One that cannot begin, for want of recipients or of an active segment, is a draft again: it is not tried for ever.
    """
    begun = 0
    while True:
        async with database.everywhere() as db:
            due = select(Campaign).where(Campaign.status == "scheduled", Campaign.scheduled_at <= now())
            due = due.order_by(Campaign.scheduled_at).limit(1).with_for_update(key_share=True, skip_locked=True)
            campaign = await db.scalar(due)
            if campaign is None:
                return begun
            try:
                await start(db, campaign)
                told = "campaign.started"
                begun += 1
            except Refused:
                await unschedule(campaign)
                told = "campaign.unscheduled"
            await db.flush()
            events.record(db, told, campaign, msgspec.convert(campaign, CampaignView, from_attributes=True))


async def add_contacts(db: AsyncSession, campaign: Campaign, ids: Sequence[uuid.UUID]) -> Added:
    """These contacts are recipients, once each; ``Invalid`` names those that are not in this workspace."""
    known = set((await db.scalars(select(Contact.id).where(Contact.id.in_(ids)))).all())
    wrong = {
        f"contactIds[{place}]": "refers to nothing in this workspace"
        for place, identity in enumerate(ids)
        if identity not in known
    }
    if wrong:
        raise Invalid(wrong)
    return await _add(db, campaign, Contact.id.in_(ids))


async def add_segment(db: AsyncSession, campaign: Campaign, segment_id: uuid.UUID) -> Added:
    """The contacts of the segment, as it is now, are recipients, once each."""
    segment = await db.scalar(select(Segment).where(Segment.id == segment_id))
    if segment is None:
        raise Invalid({"segmentId": "refers to nothing in this workspace"})
    if not segment.is_active:
        raise Conflict("this segment is not active: activate it before a campaign uses it")
    return await _add(db, campaign, segments.belongs(segment))


async def _add(db: AsyncSession, campaign: Campaign, who: Any) -> Added:
    """One statement, however many they are. The caller holds the campaign's row, so the count stays right."""
    states.expect("campaign", campaign.status, "given recipients", ALLOWED)
    at = now()
    here = Contact.workspace_id == campaign.workspace_id
    chosen = select(
        Contact.workspace_id,
        _new_ids(at),
        literal(campaign.id),
        Contact.id,
        literal(at),
        literal(at),
    ).where(here, who)
    columns = ("workspace_id", "id", "campaign_id", "contact_id", "created_at", "updated_at")
    told = (
        insert(CampaignRecipient)
        .from_select(columns, chosen, include_defaults=False)
        .on_conflict_do_nothing(index_elements=["workspace_id", "campaign_id", "contact_id"])
        .returning(text("1"))
        .cte("told")
    )
    query = select(
        select(func.count()).select_from(told).scalar_subquery(),
        select(func.count()).select_from(Contact).where(here, who).scalar_subquery(),
    )
    added, matching = (await db.execute(query)).one()
    await _count(db, campaign)
    return Added(added, matching - added, campaign.recipient_count)


async def _count(db: AsyncSession, campaign: Campaign) -> None:
    """How many there are, which is not how many were added: a deleted contact is nobody's recipient any more."""
    here = (CampaignRecipient.workspace_id == campaign.workspace_id, CampaignRecipient.campaign_id == campaign.id)
    query = select(func.count()).select_from(CampaignRecipient).where(*here)
    campaign.recipient_count = (await db.execute(query)).scalar_one()


def _new_ids(at: datetime) -> ColumnElement[uuid.UUID]:
    """A UUIDv7 for every row, which PostgreSQL itself makes only from 18 on: a random one with the time in front.

    Bits 52 and 53 turn its version from 4 (0100) to 7 (0111).
    """
    time = func.substring(func.int8send(literal(int(at.timestamp() * 1000), BigInteger)), 3)
    timed = func.overlay(func.uuid_send(func.gen_random_uuid()), time, 1, 6)
    return cast(func.encode(func.set_bit(func.set_bit(timed, 52, 1), 53, 1), "hex"), Uuid)


async def note(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    recipient_id: uuid.UUID,
    status: str,
    at: datetime,
    error: str | None = None,
) -> bool:
    """The recipient has come that far, unless further already; says whether anything has changed.

    Reports come twice and in any order: each time is kept the first time it is heard of. What was returned was not
    delivered, whoever said so.
    """
    rank = case(RANK, value=CampaignRecipient.status)
    values: dict[str, Any] = {"status": case((rank < RANK[status], status), else_=CampaignRecipient.status)}
    is_new = rank < RANK[status]
    if status in _TIMED:
        column = getattr(CampaignRecipient, _TIMED[status])
        values[_TIMED[status]] = func.coalesce(column, at)
        is_new = is_new | column.is_(None)
    if status == "bounced":
        values["delivered_at"] = case((rank < RANK[status], None), else_=CampaignRecipient.delivered_at)
    elif status == "delivered":
        is_new = is_new & (CampaignRecipient.status != "bounced")
    if error is not None:
        values["error_message"] = error
    noted = (
        update(CampaignRecipient)
        .where(CampaignRecipient.workspace_id == workspace_id, CampaignRecipient.id == recipient_id, is_new)
        .values(values)
        .returning(CampaignRecipient.id)
        .execution_options(synchronize_session=False)
    )
    return (await db.scalar(noted)) is not None
