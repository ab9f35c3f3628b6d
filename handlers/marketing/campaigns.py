"""Campaigns, and whom they are meant for."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import delete, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import campaigns as stories
from comms.campaigns import Added
from comms.credentials import Identity
from comms.errors import Invalid
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.marketing import Campaign, CampaignRecipient, CampaignRecipientView, CampaignView


class Schedule(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """When a campaign is to start, in the future."""

    scheduled_at: Annotated[datetime, msgspec.Meta(examples=["2036-03-01T09:00:00Z"])]


class Recipients(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Who is to be a recipient: these contacts, or those of a segment; one of the two."""

    contact_ids: Annotated[list[uuid.UUID], msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    segment_id: uuid.UUID | None = None


async def change_campaign(db: AsyncSession, identity: Identity, row: Campaign, values: dict[str, Any]) -> None:
    """A draft, or a paused one, put differently."""
    await stories.change(db, row, values)


campaigns = crud(
    "/campaigns",
    Campaign,
    CampaignView,
    search=("name", "subject"),
    filters=("status", "type", "channel_id", "segment_id"),
    verbs=("list", "get", "create", "change"),
    change=change_campaign,
)
recipients = crud(
    "/campaign-recipients",
    CampaignRecipient,
    CampaignRecipientView,
    filters=("campaign_id", "contact_id", "status"),
    verbs=READ,
)


@delete("/{row_id:uuid}", operation_id="delete_campaign", guards=[writer])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """A draft is gone, with its recipients. What has begun is completed instead."""
    stories.expect_draft(await campaigns.find(db, identity, row_id, to_change=True))
    await campaigns.remove(db, identity, row_id)


@post("/{row_id:uuid}/schedule", operation_id="schedule_campaign", guards=[writer])
async def schedule(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Schedule]) -> CampaignView:
    """The draft is to start at a time in the future; one that is scheduled already is moved there."""
    return await _become(db, identity, row_id, "scheduled", lambda row: stories.schedule(row, data.scheduled_at))


@delete("/{row_id:uuid}/schedule", operation_id="unschedule_campaign", status_code=200, guards=[writer])
async def unschedule(db: Db, identity: Asker, row_id: RowId) -> CampaignView:
    """The scheduled campaign is a draft again."""
    return await _become(db, identity, row_id, "unscheduled", stories.unschedule)


@post("/{row_id:uuid}/start", operation_id="start_campaign", guards=[writer])
async def start(db: Db, identity: Asker, row_id: RowId) -> CampaignView:
    """The draft or scheduled campaign is active. The contacts its segment has now are among its recipients."""
    return await _become(db, identity, row_id, "started", lambda row: stories.start(db, row))


@post("/{row_id:uuid}/pause", operation_id="pause_campaign", guards=[writer])
async def pause(db: Db, identity: Asker, row_id: RowId) -> CampaignView:
    """The active campaign rests, and can be changed meanwhile."""
    return await _become(db, identity, row_id, "paused", stories.pause)


@delete("/{row_id:uuid}/pause", operation_id="resume_campaign", status_code=200, guards=[writer])
async def resume(db: Db, identity: Asker, row_id: RowId) -> CampaignView:
    """The paused campaign is active again."""
    return await _become(db, identity, row_id, "resumed", stories.resume)


@post("/{row_id:uuid}/completion", operation_id="complete_campaign", guards=[writer])
async def complete(db: Db, identity: Asker, row_id: RowId) -> CampaignView:
    """The active or paused campaign is over, for good."""
    return await _become(db, identity, row_id, "completed", stories.complete)


async def _become(
    db: AsyncSession, identity: Identity, row_id: uuid.UUID, what: str, story: Callable[[Campaign], Awaitable[None]]
) -> CampaignView:
    """The campaign is what the story makes of it, and that is told, unless it was just that."""
    row = await campaigns.find(db, identity, row_id, to_change=True)
    before = campaigns.shown(row)
    await story(row)
    view: CampaignView = await campaigns.tell_if(campaigns.shown(row) != before, db, identity, what, row)
    return view


@post(
    "/{row_id:uuid}/recipients",
    operation_id="add_campaign_recipients",
    guards=[writer],
    example={"segmentId": "0198c0de-5000-7a30-9b99-c3572da10fab"},
)
async def add(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Recipients]) -> Added:
    """These contacts, or those a segment has now, are recipients of the campaign, which has not started yet.

    Each contact is a recipient once, however often it is added. The log has one event about the campaign, none about
    each recipient.
    """
    if (data.contact_ids is None) == (data.segment_id is None):
        raise Invalid({"contactIds": "or segmentId must be given, and not both"})
    row = await campaigns.find(db, identity, row_id, to_change=True)
    before = campaigns.shown(row)
    if data.contact_ids is not None:
        added = await stories.add_contacts(db, row, data.contact_ids)
    else:
        assert data.segment_id is not None
        added = await stories.add_segment(db, row, data.segment_id)
    if added.added:
        # Recipients may have been deleted since they were counted: it is these that have been added.
        before = msgspec.structs.replace(before, recipient_count=added.recipient_count - added.added)
        await campaigns.tell(db, identity, "recipients_added", row, before)
    return added


@listed(recipients, "/{campaign_id:uuid}/recipients", operation_id="list_recipients_of_campaign")
async def of_campaign(
    request: Request, db: Db, identity: Asker, campaign_id: FromPath[uuid.UUID], asked: Any
) -> Page[CampaignRecipientView]:
    """The recipients of one campaign."""
    campaign = await campaigns.find(db, identity, campaign_id)
    return await recipients.listing.page(db, request, asked, CampaignRecipient.campaign_id == campaign.id)


routes = [
    campaigns.router(remove, schedule, unschedule, start, pause, resume, complete, add, of_campaign),
    recipients.router(),
]
