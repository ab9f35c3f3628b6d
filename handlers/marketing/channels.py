"""Marketing channels: their credentials go in and never come out."""

from handlers.resource import crud
from models.marketing import MarketingChannel, MarketingChannelView

channels = crud(
    "/marketing-channels",
    MarketingChannel,
    MarketingChannelView,
    search=("name",),
    filters=("type", "status"),
)

routes = [channels.router()]
