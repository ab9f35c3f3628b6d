"""Where "unsubscribe" in a mail leads: a page that asks, and the one click that mail programs make for their people."""

from html import escape

from litestar import Response, Router, get, post
from litestar.params import FromPath

from comms.consent.unsubscribing import PATH, unsubscribe
from comms.notifications.stopping import PATH as DIGESTS
from comms.notifications.stopping import stop
from handlers.given import Here
from handlers.guards import anybody

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Unsubscribe</title></head>
<body>
{body}
</body>
</html>
"""
ASK = """<p>No more mail from <b>{sender}</b> to <b>{address}</b>?</p>
<form method="post"><button>Unsubscribe</button></form>"""
DONE = "<p><b>{address}</b> gets no more mail from <b>{sender}</b>.</p>"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _page(body: str, address: str, sender: str) -> Response[str]:
    shown = body.format(address=escape(address), sender=escape(sender))
    return Response(PAGE.format(body=shown), media_type="text/html", status_code=200, headers=HEADERS)


@get("/{token:str}", include_in_schema=False, guards=[anybody])
async def ask(service: Here, token: FromPath[str]) -> Response[str]:
    """A page that asks: programs look at every link of a mail, and have unsubscribed nobody."""
    subscription = service.unsubscribing.read(token)
    return _page(ASK, subscription.address, subscription.sender)


@post("/{token:str}", include_in_schema=False, guards=[anybody])
async def done(service: Here, token: FromPath[str]) -> Response[str]:
    """They are unsubscribed, whoever posts: their mail program or the page before."""
    subscription = service.unsubscribing.read(token)
    async with service.database.workspace(subscription.workspace_id) as db:
        await unsubscribe(db, subscription)
    return _page(DONE, subscription.address, subscription.sender)


ASK_DIGESTS = """<p>No more mail from <b>{sender}</b> to <b>{address}</b> about what you have not read?</p>
<form method="post"><button>Unsubscribe</button></form>"""


@get("/{token:str}", include_in_schema=False, guards=[anybody])
async def ask_digests(service: Here, token: FromPath[str]) -> Response[str]:
    """The same page about the digests that members get of what they have not read."""
    reader = await service.stopping.reader(service.database, token)
    return _page(ASK_DIGESTS, reader.address, reader.workspace)


@post("/{token:str}", include_in_schema=False, guards=[anybody])
async def done_digests(service: Here, token: FromPath[str]) -> Response[str]:
    """They get no more digests, whoever posts."""
    reader = await service.stopping.reader(service.database, token)
    await stop(service.database, reader)
    return _page(DONE, reader.address, reader.workspace)


routes = Router(
    "/",
    route_handlers=[
        Router(PATH, route_handlers=[ask, done]),
        Router(DIGESTS, route_handlers=[ask_digests, done_digests]),
    ],
)
