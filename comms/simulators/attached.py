"""What else an exchange's own log lists: what is attached to its messages, and calls."""

from collections.abc import Mapping, Sequence
from typing import Any

from comms.providers.signalwire import SignalWireCredentials
from comms.simulators.exchange import Exchange
from comms.simulators.server import Asked, Reply, Route, basic, is_proven


def routes(exchange: Exchange, calls: Sequence[Mapping[str, Any]] = ()) -> list[Route]:
    """The listings beside ``exchange.routes``; the ``media`` of a message that came in are the types of its items.

    ``calls`` are as the provider shows them, newest first.
    """
    known = exchange.credentials
    secret = known.api_token if isinstance(known, SignalWireCredentials) else known.auth_token
    root = "" if exchange.is_twilio else "/api/laml"

    def is_ours(asked: Asked) -> bool:
        return asked.named["account"] == exchange.account and is_proven(asked, basic(exchange.account, secret or ""))

    async def list_calls(asked: Asked) -> Reply:
        if not is_ours(asked):
            return _REFUSED
        sides = [(side.lower(), asked.query[side]) for side in ("To", "From") if side in asked.query]
        rows = [call for call in calls if all(call[name] == number for name, number in sides)]
        return Reply(200, {"calls": rows, "next_page_uri": None})

    async def fetch_call(asked: Asked) -> Reply:
        if not is_ours(asked):
            return _REFUSED
        found = next((call for call in calls if call["sid"] == asked.named["sid"]), None)
        return _MISSING if found is None else Reply(200, found)

    async def list_media(asked: Asked) -> Reply:
        if not is_ours(asked):
            return _REFUSED
        media = next((taken.media for taken in exchange.taken if taken.sid == asked.named["sid"]), ())
        rows = [{"sid": f"ME{place:032x}", "content_type": kind} for place, kind in enumerate(media)]
        return Reply(200, {"media_list": rows, "next_page_uri": None})

    account = f"{root}/2010-04-01/Accounts/{{account}}"
    return [
        Route("GET", f"{account}/Messages/{{sid}}/Media.json", list_media),
        Route("GET", f"{account}/Calls.json", list_calls),
        Route("GET", f"{account}/Calls/{{sid}}.json", fetch_call),
    ]


_REFUSED = Reply(401, {"code": 20003, "message": "Authenticate", "status": 401})
_MISSING = Reply(404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
