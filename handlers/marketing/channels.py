"""Marketing channels: their credentials go in and never come out."""

from collections.abc import Sequence
from typing import Any

from litestar import patch, post
from litestar.params import JSONBody

from comms import channels as stories
from comms.errors import Invalid
from handlers import shapes
from handlers.batches import Many, batched
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import writer
from handlers.resource import crud
from models.marketing import MarketingChannel, MarketingChannelView

channels = crud(
    "/marketing-channels",
    MarketingChannel,
    MarketingChannelView,
    search=("name",),
    filters=("type", "status"),
    verbs=("list", "get", "delete"),
)
New: Any = channels.new
Edit: Any = channels.edit


@post("/", operation_id="create_marketing_channel", guards=[writer])
async def create(db: Db, identity: Asker, service: Here, data: JSONBody[New]) -> MarketingChannelView:
    """A channel exists. What is in `config.credentials` is sealed and never shown again, here or in events."""
    row = await stories.create(db, service.vault, identity.workspace_id, shapes.given(data))
    view: MarketingChannelView = await channels.tell(db, identity, "created", row)
    return view


@batched(channels)
async def create_all(db: Db, identity: Asker, service: Here, many: Many) -> Sequence[Any]:
    """Make up to 500 channels, each made or refused by itself. What is in `config.credentials` is sealed."""
    rows: list[Any] = []
    for values in many:
        try:
            rows.append(await stories.create(db, service.vault, identity.workspace_id, values))
        except Invalid as refusal:
            rows.append(refusal)
    return rows


@patch("/{row_id:uuid}", operation_id="change_marketing_channel", guards=[writer])
async def change(db: Db, identity: Asker, service: Here, row_id: RowId, data: JSONBody[Edit]) -> MarketingChannelView:
    """The channel has these values. A `config` without `credentials` keeps those there are; null forgets them."""
    row = await channels.find(db, identity, row_id, to_change=True)
    before, sealed = channels.shown(row), row.iv
    await stories.change(row, service.vault, shapes.given(data))
    unshown = () if row.iv == sealed else ("credentials",)
    view: MarketingChannelView = await channels.settle(db, identity, row, before, unshown)
    return view


routes = [channels.router(create, create_all, change)]
