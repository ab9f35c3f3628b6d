"""What is attached to the messages of an exchange, as its own log lists it."""

from comms.providers.signalwire import SignalWireCredentials
from comms.simulators.exchange import Exchange
from comms.simulators.server import Asked, Reply, Route, basic, is_proven


def routes(exchange: Exchange) -> list[Route]:
    """The listing beside ``exchange.routes``; the ``media`` of a message that came in are the types of its items."""
    known = exchange.credentials
    secret = known.api_token if isinstance(known, SignalWireCredentials) else known.auth_token
    root = "" if exchange.is_twilio else "/api/laml"

    async def listed(asked: Asked) -> Reply:
        if asked.named["account"] != exchange.account or not is_proven(asked, basic(exchange.account, secret or "")):
            return Reply(401, {"code": 20003, "message": "Authenticate", "status": 401})
        media = next((taken.media for taken in exchange.taken if taken.sid == asked.named["sid"]), ())
        rows = [{"sid": f"ME{place:032x}", "content_type": kind} for place, kind in enumerate(media)]
        return Reply(200, {"media_list": rows, "next_page_uri": None})

    return [Route("GET", f"{root}/2010-04-01/Accounts/{{account}}/Messages/{{sid}}/Media.json", listed)]
