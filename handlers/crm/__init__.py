"""The people a business talks to, and the business it hopes to do with them."""

from litestar import Router

from handlers.crm import contacts, deals, files, interactions, merges, prospects, timeline

routes = Router(
    "/",
    tags=["crm"],
    route_handlers=[
        *contacts.routes,
        *merges.routes,
        *timeline.routes,
        *files.routes,
        *deals.routes,
        *prospects.routes,
        *interactions.routes,
    ],
)
