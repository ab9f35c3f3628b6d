"""Campaigns, and whom they are meant for."""

from handlers.resource import READ, crud
from models.marketing import Campaign, CampaignRecipient, CampaignRecipientView, CampaignView

campaigns = crud(
    "/campaigns",
    Campaign,
    CampaignView,
    search=("name", "subject"),
    filters=("status", "type", "channel_id", "segment_id"),
)
recipients = crud(
    "/campaign-recipients",
    CampaignRecipient,
    CampaignRecipientView,
    filters=("campaign_id", "contact_id", "status"),
    verbs=READ,
)

routes = [campaigns.router(), recipients.router()]
